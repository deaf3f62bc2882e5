"""Paths and query strings as slurmrestd wants them.

It accepts only unreserved characters undecoded (a raw ``:`` or ``,`` is answered with a bare 500), takes lists only as
repeated keys, and silently ignores parameters it does not know.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from urllib.parse import quote

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
