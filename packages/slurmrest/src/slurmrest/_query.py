"""Paths and query strings as slurmrestd wants them.

It accepts only unreserved characters undecoded (a raw ``:`` or ``,`` is answered with a bare 500), takes lists only as
repeated keys, and silently ignores parameters it does not know.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from urllib.parse import quote

from ._errors import InvalidRequest

Value = str | int | bool | datetime


def target(family: str, version: str, segments: Iterable[str | int], query: Iterable[tuple[str, Value]] = ()) -> str:
    """Return ``/slurm/v0.0.45/job/12?signal=USR1`` from its parts, everything encoded."""
    path = "/".join(quote(str(segment), safe="") for segment in segments)
    pairs = "&".join(f"{quote(key, safe='')}={quote(_text(value), safe='')}" for key, value in query)
    return f"/{family}/{version}/{path}" + (f"?{pairs}" if pairs else "")


def _text(value: Value) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime):
        return str(int(value.timestamp()))
    return str(value)


SIGNALS = frozenset(
    {
        "HUP", "INT", "QUIT", "ABRT", "KILL", "ALRM", "TERM", "USR1", "USR2", "URG", "CONT", "STOP", "TSTP", "TTIN",
        "TTOU", "PIPE", "XCPU",
    }
)  # fmt: skip
"""The names that Slurm knows (sig_name2num in src/common/proc_args.c)."""


def check_signal(signal: str | int) -> str | int:
    """Return a signal that slurmrestd understands."""
    if isinstance(signal, int):
        if 0 < signal < 65:
            return signal
    elif signal.upper().removeprefix("SIG") in SIGNALS:
        return signal.upper().removeprefix("SIG")
    raise InvalidRequest(f"{signal!r} is not a signal that Slurm knows.", code="signal_invalid")


def split_job_id(job_id: int | str) -> tuple[int, int | None, int | None]:
    """Return (job, array task, heterogeneous offset) of ``123``, ``"123_4"`` or ``"123+1"``."""
    base, plus, offset = str(job_id).partition("+")
    base, underscore, task = base.partition("_")
    parts = [base, *([task] if underscore else []), *([offset] if plus else [])]
    if not all(part.isascii() and part.isdecimal() for part in parts) or int(base) == 0:
        raise InvalidRequest(f"{job_id!r} is not a job id.", code="job_id_invalid")
    return int(base), int(task) if underscore else None, int(offset) if plus else None
