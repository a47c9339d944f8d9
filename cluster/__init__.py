"""The only folder that talks to Slurm: the embedded one-machine Slurm, and submit, watch and cancel on any Slurm."""
