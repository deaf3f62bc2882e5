"""Times, memory and arrays as Slurm writes them, read into numbers. Pure.

Sources: sbatch(1), --time, --mem and --array.
"""

import itertools
import math
import re
from dataclasses import dataclass

from headrace_server.runs.refusals import ArrayInvalid, ArrayTooLarge, MemoryInvalid, TimeLimitInvalid
from slurmrest.batch import parse_memory_mib, parse_time_limit

MOST_MINUTES = 366 * 24 * 60 * 10
"""Ten years. Slurm keeps limits in 32 bits; a number near its top wraps to "no limit" or to nothing."""
MOST_ARRAY_INDEX = 4_000_000
"""Slurm's own end of MaxArraySize is 4000001; the cluster's is usually far lower and judged by Slurm."""
MOST_MEMORY_MIB = 2**50
_RANGE = re.compile(r"(\d{1,12})(?:-(\d{1,12})(?::(\d{1,12}))?)?", re.ASCII)


def minutes_of(limit: str | int) -> float:
    """Return a time limit in minutes, `math.inf` for UNLIMITED; seconds are rounded up, as Slurm does.

    Formats: minutes, minutes:seconds, hours:minutes:seconds, days-hours, days-hours:minutes and
    days-hours:minutes:seconds.
    Slurm takes 0 and -1 for "no limit"; here they are refused, because they are more often a slip than a wish.
    """
    text = str(limit).strip()
    if text.upper() in {"UNLIMITED", "INFINITE"}:
        return math.inf
    if isinstance(limit, bool) or len(text) > 40:
        raise _not_a_time(limit, "it is not a time in Slurm's syntax")
    try:
        minutes = parse_time_limit(text)
    except ValueError as error:
        raise _not_a_time(limit, str(error)) from error
    if minutes == math.inf:
        raise _not_a_time(limit, "a run needs at least one minute; for no limit write UNLIMITED")
    if minutes > MOST_MINUTES:
        raise _not_a_time(limit, "it is longer than ten years")
    return minutes


def memory_mib(amount: str | int, field: str = "options.memory") -> int:
    """Return an amount of memory in MiB: a bare number is MiB, K M G T are units; less than one MiB is rounded up."""
    text = str(amount).strip()
    try:
        mib = parse_memory_mib(text) if len(text) <= 40 and not isinstance(amount, bool) else -1
    except ValueError:
        mib = -1
    if not 0 <= mib <= MOST_MEMORY_MIB:
        raise MemoryInvalid(
            f"{text[:40]!r} is not an amount of memory.",
            field=field,
            asked=text[:40],
            allowed="MiB, or a number with K, M, G or T",
        )
    return mib


@dataclass(frozen=True)
class Array:
    """An array of tasks: disjoint ranges (first, last, step), and how many may run at once."""

    ranges: tuple[tuple[int, int, int], ...]
    at_once: int | None

    @property
    def total(self) -> int:
        """How many tasks there are."""
        return sum((last - first) // step + 1 for first, last, step in self.ranges)

    def __contains__(self, task: int) -> bool:
        return any(first <= task <= last and (task - first) % step == 0 for first, last, step in self.ranges)


def array_of(text: str, most_index: int = MOST_ARRAY_INDEX) -> Array:
    """Read an array such as `0-23`, `1,3,5-9:2` or `0-99%4`."""
    spec, percent, at_once = text.strip().partition("%")
    if percent and not (at_once.isascii() and at_once.isdecimal() and 0 < int(at_once[:12]) <= most_index):
        raise ArrayInvalid(f"{text[:80]!r}: after % stands how many tasks may run at once.", **_asked(text))
    ranges: list[tuple[int, int, int]] = []
    for part in spec.split(","):
        match = _RANGE.fullmatch(part.strip())
        if match is None:
            raise ArrayInvalid(f"{text[:80]!r} is not an array.", **_asked(text))
        first, last, step = int(match[1]), int(match[2] or match[1]), int(match[3] or 1)
        if last < first or step < 1:
            raise ArrayInvalid(f"{text[:80]!r}: {part[:40]} has no tasks.", **_asked(text))
        if last > most_index:
            raise ArrayTooLarge(
                f"{text[:80]!r}: task {last} is beyond {most_index}, the highest index.",
                field="options.array",
                asked=text[:80],
                allowed=f"0-{most_index}",
                fix="Use fewer tasks, and let each do more.",
            )
        ranges.append((first, last, step))
        if len(ranges) > 10_000:
            raise ArrayInvalid("The array has more than 10000 parts.", **_asked(text))
    array = Array(tuple(ranges), int(at_once) if percent else None)
    if _overlap(array.ranges):
        raise ArrayInvalid(f"{text[:80]!r} names a task twice.", **_asked(text))
    return array


def _overlap(ranges: tuple[tuple[int, int, int], ...]) -> bool:
    ordered = sorted(ranges)
    if all(left[1] < right[0] for left, right in itertools.pairwise(ordered)):
        return False
    seen: set[int] = set()
    for first, last, step in ordered:
        tasks = range(first, last + 1, step)
        if not seen.isdisjoint(tasks):
            return True
        seen.update(tasks)
    return False


def _asked(text: str) -> dict[str, str]:
    return {"field": "options.array", "asked": text[:80], "allowed": "for example 0-23, 1,3,5-9:2 or 0-99%4"}


def _not_a_time(limit: str | int, why: str) -> TimeLimitInvalid:
    return TimeLimitInvalid(
        f"The time limit {str(limit)[:40]!r} cannot be used: {why}.",
        field="options.time_limit",
        asked=str(limit)[:40],
        allowed="minutes, minutes:seconds, hours:minutes:seconds, days-hours, days-hours:minutes:seconds or UNLIMITED",
    )
