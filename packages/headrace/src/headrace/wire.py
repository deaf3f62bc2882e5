"""The API's shapes, as far as this client reads them. Unknown fields are ignored, so that newer servers can be used.

Kept by hand: three of the API's twenty shapes are enough. A test holds them against the committed OpenAPI document.
"""

from __future__ import annotations

from datetime import datetime

import msgspec

ENDED = frozenset({"completed", "failed", "cancelled", "timed_out", "refused"})


class Reason(msgspec.Struct, frozen=True):
    """Why a run is in its state."""

    code: str
    text: str


class Tasks(msgspec.Struct, frozen=True):
    """How the tasks of an array stand."""

    total: int = 1
    pending: int = 0
    running: int = 0
    completed: int = 0
    failed: int = 0
    cancelled: int = 0


class Moments(msgspec.Struct, frozen=True):
    """When things happened."""

    intent_at: datetime
    created_at: datetime
    submitted_at: datetime | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None


class Wait(msgspec.Struct, frozen=True):
    """A named part of the timeline."""

    name: str
    seconds: float
    ongoing: bool = False
    why: str | None = None


class Run(msgspec.Struct, frozen=True):
    """A run, as it stands."""

    id: str
    user: str
    cluster: str
    name: str
    door: str
    layer: str
    state: str
    moments: Moments
    preset: str | None = None
    slurm_states: tuple[str, ...] = ()
    reason: Reason | None = None
    job_id: int | None = None
    array: bool = False
    tasks: Tasks = Tasks()
    nodes: str | None = None
    exit_code: int | None = None
    signal: int | None = None
    working_directory: str | None = None
    standard_output: str | None = None
    standard_error: str | None = None
    waits: tuple[Wait, ...] = ()
    as_of: datetime | None = None

    @property
    def ended(self) -> bool:
        """Whether nothing changes any more."""
        return self.state in ENDED


class RunPage(msgspec.Struct, frozen=True):
    """One page of runs, newest first."""

    items: tuple[Run, ...]
    next: str | None = None


class LogChunk(msgspec.Struct, frozen=True):
    """A piece of a log; offsets count bytes."""

    data: str
    offset: int
    next_offset: int
    size: int | None = None
    ended: bool = False


class LoggedIn(msgspec.Struct, frozen=True):
    """A new token."""

    token: str
    user: str
    expires_at: datetime


class Me(msgspec.Struct, frozen=True):
    """Who is asking."""

    user: str
    role: str


class Problem(msgspec.Struct, frozen=True):
    """An error, as RFC 9457 has it."""

    code: str = "unknown"
    detail: str = ""
    title: str = ""
    fix: str | None = None
