"""A typed client for Slurm's REST API, sync and async."""
