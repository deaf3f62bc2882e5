"""Fakes with a small world inside, for tests that need speed more than Slurm."""
