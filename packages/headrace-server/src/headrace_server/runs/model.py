"""The nouns of this room and their rules; pure. The dataclasses here are the shapes on the wire (`/api/v1/runs`)."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import ClassVar, Generic, Literal, TypeVar

from pydantic import ConfigDict

Door = Literal["portal", "cli", "command", "api", "gateway", "airflow", "jupyter"]
Layer = Literal["preset", "tuned", "script"]
RunState = Literal[
    "submitting", "pending", "running", "completed", "failed", "cancelled", "timed_out", "refused", "unknown"
]
Stream = Literal["out", "err"]
Condition = Literal["ok", "notok", "any"]
WaitName = Literal["deciding", "submitting", "queue", "running"]

ACTIVE: frozenset[RunState] = frozenset({"submitting", "pending", "running", "unknown"})
"""States that may still change. `unknown` is one of them: nothing is given up because nobody could say."""
ENDED: frozenset[RunState] = frozenset({"completed", "failed", "cancelled", "timed_out", "refused"})
FAILURES_SHOWN = 50
"""How many failed array tasks a run names; the counts are always complete."""

REASONS = frozenset(
    """cluster-unreachable cluster-refuses-token accounting-unreachable submission-uncertain cluster-fault
    files-unavailable waiting-for-run slurm-message slurm-reason job-not-found-yet job-unknown exit-code
    killed-by-signal tasks-failed out-of-memory node-failed launch-failed preempted time-limit-reached
    deadline-reached""".split()
)
"""What a run's reason may be, besides the codes of refusals. Listed in docs/errors.md."""

T = TypeVar("T")
_CLOSED = ConfigDict(extra="forbid")


@dataclass(frozen=True)
class Options:
    """Scheduling parameters, in sbatch's words. None leaves a choice to the preset, the script or Slurm."""

    __pydantic_config__: ClassVar[ConfigDict] = _CLOSED

    account: str | None = None
    partition: str | None = None
    qos: str | None = None
    reservation: str | None = None
    time_limit: str | int | None = None
    """Minutes, or Slurm's syntax: `30`, `1:30:00`, `2-12`, `UNLIMITED`."""
    nodes: str | int | None = None
    """A count or a range: `2`, `2-4`."""
    tasks: int | None = None
    tasks_per_node: int | None = None
    cpus_per_task: int | None = None
    memory: str | int | None = None
    """Per node: MiB, or with a unit: `4G`. `0` asks for all of the node's."""
    memory_per_cpu: str | int | None = None
    gres: str | None = None
    gpus: str | int | None = None
    array: str | None = None
    """`0-23`, `1,3,5-9:2%4`."""
    dependency: str | None = None
    constraint: str | None = None
    nodelist: str | None = None
    exclude: str | None = None
    licenses: str | None = None
    exclusive: bool | None = None
    environment: dict[str, str] = field(default_factory=dict[str, str])
    working_directory: str | None = None
    """Absolute path on the cluster. Without it a run has a folder of its own, `~/headrace/<run id>`."""
    standard_output: str | None = None
    standard_error: str | None = None
    standard_input: str | None = None
    arguments: tuple[str, ...] = ()
    """Arguments of the script."""
    comment: str | None = None
    begin: datetime | None = None
    hold: bool | None = None
    requeue: bool | None = None
    nice: int | None = None
    signal: str | None = None
    mail_user: str | None = None
    mail_on: tuple[str, ...] = ()


@dataclass(frozen=True)
class NewFile:
    """A file brought along, placed in the run's folder as the user before the run is submitted."""

    __pydantic_config__: ClassVar[ConfigDict] = _CLOSED

    path: str
    """Relative, inside the run's folder."""
    content_base64: str
    mode: int = 0o644


@dataclass(frozen=True)
class After:
    """A run to wait for: until it ended well (`ok`), badly (`notok`) or at all (`any`)."""

    __pydantic_config__: ClassVar[ConfigDict] = _CLOSED

    run: str
    condition: Condition = "ok"


@dataclass(frozen=True)
class NewRun:
    """The wish: either `command` (an argv) or `script` (text), with options."""

    __pydantic_config__: ClassVar[ConfigDict] = _CLOSED

    door: Door = "api"
    begun_ms_ago: int = 0
    """How long ago the person began to ask: composer opened, command typed."""
    cluster: str | None = None
    name: str | None = None
    preset: str | None = None
    command: tuple[str, ...] = ()
    script: str | None = None
    options: Options = field(default_factory=Options)
    files: tuple[NewFile, ...] = ()
    after: tuple[After, ...] = ()
    wait_s: float = 10.0
    """How long the answer may wait for Slurm's; after that the run is answered as it stands, `submitting`."""


@dataclass(frozen=True)
class Reason:
    """Why a run is in its state. `code` is stable (docs/errors.md); `number` is Slurm's, if it has one."""

    code: str
    text: str
    number: int | None = None


@dataclass(frozen=True)
class TaskCounts:
    """How the tasks of an array stand; a run without an array has one."""

    total: int = 1
    pending: int = 0
    running: int = 0
    completed: int = 0
    failed: int = 0
    cancelled: int = 0


@dataclass(frozen=True)
class TaskFailure:
    """One array task that did not end well."""

    task: int
    slurm_states: tuple[str, ...]
    exit_code: int | None
    signal: int | None
    nodes: str | None


@dataclass(frozen=True)
class Moments:
    """When things happened. `intent_at` is the person's beginning, `created_at` the row's, the others Slurm's."""

    intent_at: datetime
    created_at: datetime
    submitted_at: datetime | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None


@dataclass(frozen=True)
class Wait:
    """A named part of the timeline. `why` is Slurm's reason (queue) or ours (submitting)."""

    name: WaitName
    seconds: float
    ongoing: bool
    why: str | None = None


@dataclass(frozen=True)
class Run:
    """What a person asked for, and how it stands. `as_of` says when the cluster was last seen to say so."""

    id: str
    user: str
    cluster: str
    name: str
    door: Door
    layer: Layer
    preset: str | None
    state: RunState
    slurm_states: tuple[str, ...]
    reason: Reason | None
    job_id: int | None
    array: bool
    tasks: TaskCounts
    failures: tuple[TaskFailure, ...]
    nodes: str | None
    exit_code: int | None
    signal: int | None
    working_directory: str | None
    standard_output: str | None
    standard_error: str | None
    cancel_requested: bool
    moments: Moments
    waits: tuple[Wait, ...]
    after: tuple[After, ...]
    as_of: datetime | None
    array_tasks: str | None = None
    """The array's indexes as they were asked for: `0-23`, `5-9:2%4`."""

    @property
    def ended(self) -> bool:
        """Whether the run has its outcome."""
        return self.state in ENDED


@dataclass(frozen=True)
class RunFilter:
    """Which runs to list. `user` is honoured for operators only; without it an operator sees everybody's."""

    states: frozenset[RunState] = frozenset()
    user: str | None = None


@dataclass(frozen=True)
class Page(Generic[T]):
    """One page of a list, newest first; `next` is the cursor of the following page, or None at the end."""

    items: tuple[T, ...]
    next: str | None


@dataclass(frozen=True)
class LogChunk:
    """A piece of a log. Offsets count bytes; `data` is text (what is not UTF-8 shows as U+FFFD).

    `size` is the file's size when it was read; None while there is no file yet. `ended`: the run has ended and
    nothing follows this piece.
    """

    data: str
    offset: int
    next_offset: int
    size: int | None
    ended: bool


@dataclass(frozen=True)
class Preset:
    """A common kind of run, described for a form."""

    name: str
    title: str
    description: str
    defaults: dict[str, str | int | None]
    asks: tuple[str, ...]
    """The options that this preset asks about, in the form's order."""


def waits_of(
    moments: Moments, state: RunState, why: str | None, queue_why: str | None, now: datetime
) -> tuple[Wait, ...]:
    """Cut the timeline into named waits; the last one goes on while the run is active."""
    ended = state in ENDED
    # A run without a later moment ended in the part it had reached (refused, or cancelled while it waited).
    close = (moments.ended_at or moments.created_at) if ended else now
    submitted_end = moments.submitted_at or close
    parts: list[Wait] = [
        _wait("deciding", moments.intent_at, moments.created_at, ongoing=False),
        _wait("submitting", moments.created_at, submitted_end, not ended and moments.submitted_at is None, why),
    ]
    if moments.submitted_at is not None:
        queue_end = moments.started_at or close
        waiting = not ended and moments.started_at is None
        parts.append(_wait("queue", moments.submitted_at, queue_end, waiting, queue_why))
    if moments.started_at is not None:
        parts.append(_wait("running", moments.started_at, close, not ended))
    return tuple(parts)


def _wait(name: WaitName, begin: datetime, end: datetime, ongoing: bool, why: str | None = None) -> Wait:
    # Slurm counts in whole seconds and has a clock of its own: a negative wait is a rounding, not a fact.
    return Wait(name, max(0.0, round((end - begin).total_seconds(), 3)), ongoing, why)
