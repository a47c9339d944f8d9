"""The course catalogue and what reads it."""
