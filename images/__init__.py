"""Software environments as reproducible, signed images."""
