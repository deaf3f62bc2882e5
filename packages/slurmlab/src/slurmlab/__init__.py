"""Real multi-host Slurm clusters on one machine, with faults on request."""
