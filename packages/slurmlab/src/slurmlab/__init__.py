"""Real multi-host Slurm clusters on one machine, with faults on request."""

from slurmlab.config import RELEASES, LabConfig, SlurmRelease
from slurmlab.errors import LabError
from slurmlab.lab import Lab

__all__ = ["RELEASES", "Lab", "LabConfig", "LabError", "SlurmRelease"]
