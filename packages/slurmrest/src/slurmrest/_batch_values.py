"""Values of sbatch options: time limits, moments, sizes, node counts, signals. Pure; errors are `ValueError`."""

from __future__ import annotations

import math
import re
from datetime import datetime, timedelta, timezone

_INT_MAX = 2**31 - 1
_BLANK = " \t"
_UNITS_S = {
    "seconds": 1, "second": 1, "minutes": 60, "minute": 60, "hours": 3600, "hour": 3600,
    "days": 86400, "day": 86400, "weeks": 604800, "week": 604800,
}  # fmt: skip
_HOURS_BY_WORD = {"midnight": 0, "noon": 12, "elevenses": 11, "fika": 15, "teatime": 16}
_SIGNALS = frozenset(
    """HUP INT QUIT ABRT KILL ALRM TERM CHLD USR1 USR2 PIPE URG CONT STOP TSTP TTIN TTOU XCPU""".split()
)
_MAIL_WORDS = {
    "ARRAY_TASKS": ("ARRAY_TASKS",),
    "BEGIN": ("BEGIN",),
    "END": ("END",),
    "FAIL": ("FAIL",),
    "INVALID_DEPEND": ("INVALID_DEPENDENCY",),
    "REQUEUE": ("REQUEUE",),
    "STAGE_OUT": ("STAGE_OUT",),
    "TIME_LIMIT": ("TIME=100%",),
    "TIME_LIMIT_90": ("TIME=90%",),
    "TIME_LIMIT_80": ("TIME=80%",),
    "TIME_LIMIT_50": ("TIME=50%",),
    "ALL": ("INVALID_DEPENDENCY", "BEGIN", "END", "FAIL", "REQUEUE", "STAGE_OUT"),
}


def parse_time_limit(text: str) -> float:
    """Return minutes, rounded up, of a time limit as Slurm writes it; `math.inf` for no limit.

    Takes ``minutes``, ``minutes:seconds``, ``hours:minutes:seconds``, ``days-hours``, ``days-hours:minutes`` and
    ``days-hours:minutes:seconds``, ``UNLIMITED``, ``INFINITE``, ``-1``. Zero means no limit, as it does for sbatch.
    """
    if text.lower() in {"-1", "infinite", "unlimited"}:
        return math.inf
    seconds = _duration_s(text)
    return math.inf if seconds == 0 else math.ceil(seconds / 60)


def parse_duration_s(text: str) -> float:
    """Return seconds of a duration in the same syntax as a time limit; `math.inf` for no end."""
    return math.inf if text.lower() in {"-1", "infinite", "unlimited"} else _duration_s(text)


def _duration_s(text: str) -> int:
    with_days = re.fullmatch(r"([0-9]+)-([0-9]+)(?::([0-9]+))?(?::([0-9]+))?", text)
    without = re.fullmatch(r"([0-9]+)(?::([0-9]+))?(?::([0-9]+))?", text)
    if with_days:
        days, hours, minutes, seconds = (int(part or 0) for part in with_days.groups())
    elif without:
        first, second, third = (int(part or 0) for part in without.groups())
        days = 0
        hours, minutes, seconds = (first, second, third) if without[3] is not None else (0, first, second)
    else:
        raise ValueError(f"{text!r} is not a time: write minutes, MM:SS, HH:MM:SS, D-HH, D-HH:MM or D-HH:MM:SS.")
    total = ((days * 24 + hours) * 60 + minutes) * 60 + seconds
    if total > _INT_MAX:
        raise ValueError(f"{text!r} is longer than Slurm can count (68 years).")
    return total


def parse_memory_mib(text: str) -> int:
    """Return MiB of a size such as ``4000``, ``512K``, ``4G``, ``1T``, ``16GB``; kibibytes are rounded up."""
    match = re.fullmatch(r"\s*\+?([0-9]+)(?:([kmgt])(?:b)?)?", text, re.IGNORECASE)
    if not match:
        raise ValueError(f"{text!r} is not a size: write a whole number with K, M, G or T; MiB when there is no unit.")
    number = int(match[1])
    unit = (match[2] or "m").lower()
    mib = -(-number // 1024) if unit == "k" else number * {"m": 1, "g": 1024, "t": 1024**2}[unit]
    if mib >= 2**62:
        raise ValueError(f"{text!r} is more than Slurm can count.")
    return mib


def parse_count(text: str, *, minimum: int = 1) -> int:
    """Return a whole number of at least ``minimum``."""
    if not re.fullmatch(r"\s*\+?[0-9]+", text) or not minimum <= int(text) < _INT_MAX:
        raise ValueError(f"{text!r} is not a whole number of at least {minimum}.")
    return int(text)


def parse_node_count(text: str) -> tuple[int, int, bool]:
    """Return the least and the greatest number of nodes, and whether it is a list of sizes (``"2,4,8"``, ``"1-15:4"``).

    ``k`` and ``m`` multiply by 1024 and 1024².
    """
    if "," in text or ":" in text:
        if not re.fullmatch(r"[0-9]+(-[0-9]+(:[0-9]+)?)?(,[0-9]+(-[0-9]+(:[0-9]+)?)?)*", text):
            raise ValueError(f"{text!r} is not a list of node counts.")
        numbers = [int(number) for part in text.split(",") for number in part.split(":")[0].split("-")]
        return min(numbers), max(numbers), True
    # "-4" is 1 to 4 for sbatch.
    written = f"1{text}" if text.startswith("-") else text
    match = re.fullmatch(r"\s*([0-9]+)([km])?\s*(?:-\s*([0-9]+)([km])?)?\s*", written, re.IGNORECASE)
    if not match:
        raise ValueError(f"{text!r} is not a number of nodes: write 4 or 2-4.")
    factor = {"": 1, "k": 1024, "m": 1024**2}
    least = int(match[1]) * factor[(match[2] or "").lower()]
    greatest = int(match[3]) * factor[(match[4] or "").lower()] if match[3] else least
    if greatest < least:
        raise ValueError(f"{text!r}: the greatest number of nodes is less than the least.")
    return least, greatest, False


def parse_signal(text: str) -> tuple[str, int, tuple[str, ...]]:
    """Return signal, seconds before the end and Slurm's flags of ``[R][B]:SIGNAL[@SECONDS]``."""
    match = re.fullmatch(r"([RB]{0,2}):?\s*([A-Za-z0-9]+)\s*(?:@\s*\+?([0-9]+))?", text, re.IGNORECASE)
    if not match:
        raise ValueError(f"{text!r} is not [R][B]:SIGNAL[@SECONDS], such as B:USR1@120.")
    flags = {"R": "RESERVATION_JOB", "B": "BATCH_JOB"}
    name = match[2].upper().removeprefix("SIG")
    known = 1 <= int(name) <= 64 if name.isdigit() else name in _SIGNALS
    seconds = int(match[3]) if match[3] else 60
    if not known:
        raise ValueError(f"{match[2]!r} is not a signal.")
    if seconds > 0xFFFF:
        raise ValueError(f"{seconds} s is too long before the end: at most 65535.")
    return name, seconds, tuple(sorted({flags[letter] for letter in match[1].upper()}))


def parse_mail_types(text: str) -> tuple[str, ...]:
    """Return the events of ``--mail-type`` in the API's words; none for ``NONE``. Unknown ones are errors."""
    events: dict[str, None] = {}
    for word in text.split(","):
        if word.upper() == "NONE":
            return ()
        if word.upper() not in _MAIL_WORDS:
            raise ValueError(f"{word!r} is not an event: {', '.join(_MAIL_WORDS)} or NONE.")
        events |= dict.fromkeys(_MAIL_WORDS[word.upper()])
    return tuple(events)


def parse_moment(text: str, now: datetime) -> datetime:
    """Return the moment that sbatch understands by ``--begin`` or ``--deadline``, in UTC.

    ``now`` carries the time zone in which times of day are meant. Known: ``now+2hours``, ``16:00``, ``4:00 PM``,
    ``2027-01-20T12:34``, ``01/20/27-12:34``, ``0120``, ``tomorrow``, ``noon``, ``uts1800000000``. A time without a date
    is the next such time.
    """
    if match := re.fullmatch(r"uts([0-9]{7,12})", text, re.IGNORECASE):
        return datetime.fromtimestamp(int(match[1]), tz=timezone.utc)  # noqa: UP017 - readable on both sides of 3.11
    reader = _MomentReader(text, now)
    try:
        return reader.read().astimezone(timezone.utc)  # noqa: UP017
    except (ValueError, OverflowError) as error:
        raise ValueError(f"{text!r} is not a moment: write 16:00, 2027-01-20T12:34, tomorrow or now+2hours.") from error


class _MomentReader:
    """Walks over the text once, as sbatch does: pieces in any order, separated by blanks, ``-`` or ``T``."""

    def __init__(self, text: str, now: datetime) -> None:
        self._rest = text
        self._now = now
        self._date: tuple[int | None, int, int] | None = None  # year (None: not said), month, day
        self._clock: tuple[int, int, int] | None = None

    def read(self) -> datetime:
        while self._rest:
            if self._rest[0] in f"{_BLANK}-T":
                self._rest = self._rest[1:]
            elif self._rest[:3].lower() == "now":
                return self._delta(self._rest[3:])
            elif not (self._word() or self._time() or self._day()):
                raise ValueError(self._rest)
        return self._combine()

    def _delta(self, rest: str) -> datetime:
        units = "|".join(_UNITS_S)
        match = re.fullmatch(rf"\s*(?:([+-])\s*([0-9]+)\s*({units})?\s*)?", rest, re.IGNORECASE)
        if not match:
            raise ValueError(rest)
        seconds = int(match[2] or 0) * _UNITS_S[(match[3] or "second").lower()]
        return self._now + timedelta(seconds=-seconds if match[1] == "-" else seconds)

    def _word(self) -> bool:
        lower = self._rest.lower()
        for word, days in (("today", 0), ("tomorrow", 1)):
            if lower.startswith(word):
                day = self._now + timedelta(days=days)
                self._date = (day.year, day.month, day.day)
                self._rest = self._rest[len(word) :]
                return True
        for word, hour in _HOURS_BY_WORD.items():
            if lower.startswith(word):
                self._clock = (hour, 0, 0)
                self._rest = self._rest[len(word) :]
                return True
        return False

    def _time(self) -> bool:
        match = re.match(r"([0-9]{1,2}):([0-9]{2})(?::([0-9]{2}))?\s*(am|pm)?", self._rest, re.IGNORECASE)
        if not match:
            return False
        hour, minute, second = int(match[1]), int(match[2]), int(match[3] or 0)
        if match[4]:
            if hour > 12:
                raise ValueError(self._rest)
            hour = hour % 12 + (12 if match[4].lower() == "pm" else 0)
        self._clock = (hour, minute, second)
        self._rest = self._rest[match.end() :]
        return True

    def _day(self) -> bool:
        if match := re.match(r"([0-9]{4})-([0-9]{1,2})-([0-9]{1,2})", self._rest):
            self._date = (int(match[1]), int(match[2]), int(match[3]))
        elif match := re.match(r"([0-9]{1,2})[./]?([0-9]{1,2})[./]?([0-9]{2})?", self._rest):
            self._date = (2000 + int(match[3]) if match[3] else None, int(match[1]), int(match[2]))
        else:
            return False
        self._rest = self._rest[match.end() :]
        return True

    def _combine(self) -> datetime:
        if self._date is None and self._clock is None:
            raise ValueError(self._rest)
        hour, minute, second = self._clock or (0, 0, 0)
        if self._date is None:
            later = (hour, minute) > (self._now.hour, self._now.minute)
            day = self._now if later else self._now + timedelta(days=1)
            self._date = (day.year, day.month, day.day)
        year, month, day_of_month = self._date
        if year is None:
            now = self._now
            ahead = (month, day_of_month, hour, minute) > (now.month, now.day, now.hour, now.minute)
            year = now.year if ahead else now.year + 1
        return datetime(year, month, day_of_month, hour, minute, second, tzinfo=self._now.tzinfo)
