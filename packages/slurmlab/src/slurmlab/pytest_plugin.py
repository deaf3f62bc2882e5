"""Pytest fixtures for real Slurm."""
