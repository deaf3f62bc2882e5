"""Time, as a part that tests can replace."""

from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """Tells the time."""

    def now(self) -> datetime:
        """Return the present moment, in UTC."""
        ...


class SystemClock:
    """The machine's own clock."""

    def now(self) -> datetime:
        """Return the present moment, in UTC."""
        return datetime.now(UTC)


class SteppedClock:
    """A clock that moves when a test says so."""

    def __init__(self, start: datetime) -> None:
        self._now = start

    def now(self) -> datetime:
        """Return the moment that was last set."""
        return self._now

    def step(self, seconds: float) -> None:
        """Move on (or, negative, back) by `seconds`."""
        self._now += timedelta(seconds=seconds)
