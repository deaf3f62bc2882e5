"""How numbers and moments read on a page. The script in assets/src/time.js says the same things the same way."""

import math
import re
from datetime import UTC, datetime

ESCAPES = re.compile(r"\x1b(?:\[[0-9;?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[ -/]+[0-~]|[@-Z\\-_])")
NOTHING = "\N{EN DASH}"


def duration(seconds: float | None) -> str:
    """Return a length of time in at most two units: `30 ms`, `0.4 s`, `12 s`, `3m 05s`, `2h 14m`, `3d 04h`.

    None, an unknown length, is a dash.
    """
    if seconds is None:
        return NOTHING
    if seconds < 0.0995:
        return f"{max(0, round(seconds * 1000))} ms"
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = int(seconds + 0.5)
    if whole < 60:
        return f"{whole} s"
    for most_s, unit_s, unit, part_s, part in ((3600, 60, "m", 1, "s"), (86400, 3600, "h", 60, "m")):
        if whole < most_s:
            return f"{whole // unit_s}{unit} {whole % unit_s // part_s:02d}{part}"
    return f"{whole // 86400}d {whole % 86400 // 3600:02d}h"


def counted(seconds: float) -> str:
    """Return a length of which Slurm counted one end, in whole seconds: a short one is known to a second only."""
    return f"< {math.ceil(seconds) + 1} s" if seconds < 9.95 else duration(seconds)


def moment(value: datetime | None) -> str:
    """Return a moment as people without scripts see it, in UTC; scripts put it into their own zone."""
    return f"{value.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC" if value else NOTHING


def plain(text: str) -> str:
    """Return what a terminal would show of a log: without escape sequences, and what a carriage return rewrote gone."""
    lines = ESCAPES.sub("", text).split("\n")
    return "\n".join(line.rstrip("\r").rpartition("\r")[2] for line in lines)


def iso(value: datetime) -> str:
    """Return a moment for the `datetime` attribute."""
    return value.astimezone(UTC).isoformat(timespec="milliseconds")


def epoch_ms(value: datetime) -> int:
    """Return a moment as milliseconds since 1970."""
    return int(value.timestamp() * 1000)
