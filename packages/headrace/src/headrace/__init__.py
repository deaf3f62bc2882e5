"""Self-service HPC on Slurm: the client, for a laptop."""
