"""Run this.

Owns the tables `runs`, `run_scripts`, `run_files`, `run_tasks`, `run_after` and `run_keys`: the intent, its compiled
job, the submission (exactly once), the outcome and the log. Imports the kernel, clusters and identity.
"""

from headrace_server.runs.model import (
    ACTIVE,
    ENDED,
    After,
    LogChunk,
    Moments,
    NewFile,
    NewRun,
    Options,
    Page,
    Preset,
    Reason,
    Run,
    RunFilter,
    RunState,
    Stream,
    TaskCounts,
    TaskFailure,
    Wait,
)
from headrace_server.runs.runs import Runs

__all__ = [
    "ACTIVE",
    "ENDED",
    "After",
    "LogChunk",
    "Moments",
    "NewFile",
    "NewRun",
    "Options",
    "Page",
    "Preset",
    "Reason",
    "Run",
    "RunFilter",
    "RunState",
    "Runs",
    "Stream",
    "TaskCounts",
    "TaskFailure",
    "Wait",
]
