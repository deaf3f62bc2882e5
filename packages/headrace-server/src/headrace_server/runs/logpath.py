"""Where a run's log is: Slurm's file name patterns, filled in. Pure.

The patterns are sbatch's ("filename pattern" in its manual). slurmrestd fills them in itself only from 25.05 on.
"""

import re
from dataclasses import dataclass

from headrace_server.runs.model import ACTIVE, Stream
from headrace_server.runs.refusals import NoSuchLog
from headrace_server.runs.tables import Record, TaskRecord

_PATTERN = re.compile(r"%(\d*)([%AaJjNnstux])")
NO_LOG = "/dev/null"


@dataclass(frozen=True)
class LogNotYet:
    """The log's name cannot be known before the job is."""


def log_path(record: Record, stream: Stream, task: TaskRecord | None, index: int | None) -> str | LogNotYet:
    """Return the absolute path of a log. Raises NoSuchLog."""
    pattern = record.standard_output if stream == "out" else record.standard_error
    if stream == "err" and pattern is None:
        raise NoSuchLog("This run writes its errors into the same log.", run=record.id, fix="Read stream=out.")
    if pattern is None or pattern == NO_LOG:
        raise NoSuchLog("This run keeps no log.", run=record.id)
    if record.array_tasks is not None and index is None:
        raise NoSuchLog("This run is an array: name the task.", run=record.id, field="task")
    if record.array_tasks is None and index is not None:
        raise NoSuchLog("This run is not an array.", run=record.id, field="task")
    if record.job_id is None or record.working_directory is None:
        return LogNotYet()
    if record.array_tasks is not None and task is None:
        return LogNotYet()
    job_id = record.job_id if task is None else (task.job_id or record.job_id)
    nodes = record.nodes if task is None else task.nodes
    if nodes is None and "%N" in pattern and record.state in ACTIVE:
        return LogNotYet()
    return _absolute(record, _filled(pattern, record, job_id, index, nodes))


def shown_path(record: Record, pattern: str | None) -> str | None:
    """Return a log's path for people: filled in where it can be, else the pattern."""
    if pattern is None or record.working_directory is None:
        return pattern
    if record.array_tasks is None and record.job_id is not None:
        pattern = _filled(pattern, record, record.job_id, None, record.nodes)
    return _absolute(record, pattern)


def _absolute(record: Record, path: str) -> str:
    return path if path.startswith("/") else f"{(record.working_directory or '').rstrip('/')}/{path}"


def _filled(pattern: str, record: Record, job_id: int, index: int | None, nodes: str | None) -> str:
    if "\\" in pattern:  # sbatch: a backslash anywhere turns patterns off
        return pattern.replace("\\", "")
    words: dict[str, str] = {
        "%": "%",
        "A": str(record.job_id if index is not None else job_id),
        "a": "4294967294" if index is None else str(index),
        "J": str(job_id),
        "j": str(job_id),
        "N": _first(nodes),
        "n": "0",
        "s": "batch",
        "t": "0",
        "u": record.user_name,
        "x": record.name,
    }

    def fill(match: re.Match[str]) -> str:
        width, letter = match[1], match[2]
        word = words[letter]
        return word.zfill(min(int(width), 10)) if width and letter in "AaJjnst" else word

    return _PATTERN.sub(fill, pattern)


def _first(hostlist: str | None) -> str:
    """Return the first host of a hostlist such as `c[1-3,7],d1`."""
    head = (hostlist or "").partition(",")[0] if "[" not in (hostlist or "").partition(",")[0] else (hostlist or "")
    match = re.match(r"([^\[,]+)(?:\[(\d+))?", head)
    return "" if match is None else match[1] + (match[2] or "")
