"""A notebook server as a Slurm job: profiles, start, readiness, and what a waiting person sees."""
