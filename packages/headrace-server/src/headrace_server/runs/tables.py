"""The room's tables, and a row of `runs` as a value."""

from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any, cast

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    Row,
    String,
    Table,
    Text,
)

from headrace_server.kernel import UtcDateTime, metadata
from headrace_server.runs.model import REASONS, Door, Layer, Reason, RunState, TaskCounts
from headrace_server.runs.refusals import REFUSALS

runs = Table(
    "runs",
    metadata,
    Column("id", String(16), primary_key=True),
    Column("user_name", String(64), nullable=False),
    Column("cluster", String(100), nullable=False),
    Column("name", String(200), nullable=False),
    Column("door", String(16), nullable=False),
    Column("layer", String(16), nullable=False),
    Column("preset", String(64)),
    Column("state", String(16), nullable=False),
    Column("slurm_states", JSON, nullable=False),
    Column("reason_code", String(64)),
    Column("reason_text", Text),
    Column("reason_number", Integer),
    Column("queue_reason", Text),
    Column("job_id", BigInteger),
    Column("array_tasks", Text),
    Column("tasks", JSON, nullable=False),
    Column("nodes", Text),
    Column("exit_code", Integer),
    Column("signal", Integer),
    Column("working_directory", Text),
    Column("standard_output", Text),
    Column("standard_error", Text),
    Column("own_folder", Boolean, nullable=False),
    Column("description", JSON, nullable=False),
    Column("placed_at", UtcDateTime()),
    Column("begun_at", UtcDateTime()),
    Column("certain_after", UtcDateTime()),
    Column("tries", Integer, nullable=False),
    Column("next_try_at", UtcDateTime()),
    Column("cancel_requested_at", UtcDateTime()),
    Column("cancel_sent_at", UtcDateTime()),
    Column("missing_since", UtcDateTime()),
    Column("intent_at", UtcDateTime(), nullable=False),
    Column("created_at", UtcDateTime(), nullable=False),
    Column("submitted_at", UtcDateTime()),
    Column("started_at", UtcDateTime()),
    Column("ended_at", UtcDateTime()),
    Column("as_of", UtcDateTime()),
    Index("ix_runs_user_name_created_at_id", "user_name", "created_at", "id"),
    Index("ix_runs_created_at_id", "created_at", "id"),
    Index("ix_runs_cluster_state", "cluster", "state"),
)
# Of their own, so that listing runs never reads four megabytes of script.
run_scripts = Table(
    "run_scripts",
    metadata,
    Column("run_id", String(16), ForeignKey("runs.id"), primary_key=True),
    Column("script", Text, nullable=False),
)
run_files = Table(
    "run_files",
    metadata,
    Column("run_id", String(16), ForeignKey("runs.id"), primary_key=True),
    Column("path", String(1000), primary_key=True),
    Column("mode", Integer, nullable=False),
    Column("content", LargeBinary, nullable=False),
)
run_tasks = Table(
    "run_tasks",
    metadata,
    Column("run_id", String(16), ForeignKey("runs.id"), primary_key=True),
    Column("task", Integer, primary_key=True),
    Column("job_id", BigInteger),
    Column("state", String(16), nullable=False),
    Column("slurm_states", JSON, nullable=False),
    Column("exit_code", Integer),
    Column("signal", Integer),
    Column("nodes", Text),
    Column("started_at", UtcDateTime()),
    Column("ended_at", UtcDateTime()),
)
run_after = Table(
    "run_after",
    metadata,
    Column("run_id", String(16), ForeignKey("runs.id"), primary_key=True),
    Column("other", String(16), ForeignKey("runs.id"), primary_key=True),
    Column("condition", String(8), nullable=False),
)
run_keys = Table(
    "run_keys",
    metadata,
    Column("user_name", String(64), primary_key=True),
    Column("key", String(255), primary_key=True),
    Column("fingerprint", String(64), nullable=False),
    Column("run_id", String(16), ForeignKey("runs.id"), nullable=False),
    Column("created_at", UtcDateTime(), nullable=False),
)


@dataclass(frozen=True, kw_only=True)
class Record:
    """A row of `runs`.

    `begun_at`: a submission may be under way since then, or its answer was lost; None: nothing was sent. Before
    `certain_after` "Slurm does not know the key" is not final. `missing_since`: neither slurmctld nor accounting knew
    the job since then.
    """

    id: str
    user_name: str
    cluster: str
    name: str
    door: Door
    layer: Layer
    preset: str | None
    state: RunState
    slurm_states: tuple[str, ...] = ()
    reason_code: str | None = None
    reason_text: str | None = None
    reason_number: int | None = None
    queue_reason: str | None = None
    job_id: int | None = None
    array_tasks: str | None = None
    """The array's indexes as they were asked for; None: not an array."""
    tasks: TaskCounts = field(default_factory=TaskCounts)
    nodes: str | None = None
    exit_code: int | None = None
    signal: int | None = None
    working_directory: str | None = None
    standard_output: str | None = None
    standard_error: str | None = None
    own_folder: bool = False
    description: dict[str, Any]
    placed_at: datetime | None = None
    begun_at: datetime | None = None
    certain_after: datetime | None = None
    tries: int = 0
    next_try_at: datetime | None = None
    cancel_requested_at: datetime | None = None
    cancel_sent_at: datetime | None = None
    missing_since: datetime | None = None
    intent_at: datetime
    created_at: datetime
    submitted_at: datetime | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    as_of: datetime | None = None

    @property
    def reason(self) -> Reason | None:
        """Why the run is in its state, if there is something to say."""
        if self.reason_code is None:
            return None
        return Reason(self.reason_code, self.reason_text or "", self.reason_number)

    def __post_init__(self) -> None:
        if self.reason_code is not None and self.reason_code not in REASONS and self.reason_code not in REFUSALS:
            raise ValueError(f"{self.reason_code} is not a documented reason")


@dataclass(frozen=True, kw_only=True)
class TaskRecord:
    """A row of `run_tasks`: one array task that slurmctld has split off."""

    run_id: str
    task: int
    job_id: int | None
    state: RunState
    slurm_states: tuple[str, ...]
    exit_code: int | None = None
    signal: int | None = None
    nodes: str | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None


def record_of(row: Row[Any]) -> Record:
    """Make a `Record` of a row."""
    values = dict(row._mapping)  # noqa: SLF001 - SQLAlchemy's public way to a row's names
    values["slurm_states"] = tuple(cast("list[str]", values["slurm_states"]))
    values["tasks"] = TaskCounts(**cast("dict[str, int]", values["tasks"]))
    return Record(**{name: values[name] for name in _RECORD_NAMES})


def task_of(row: Row[Any]) -> TaskRecord:
    """Make a `TaskRecord` of a row."""
    values = dict(row._mapping)  # noqa: SLF001
    values["slurm_states"] = tuple(cast("list[str]", values["slurm_states"]))
    return TaskRecord(**{name: values[name] for name in _TASK_NAMES})


_RECORD_NAMES = tuple(one.name for one in fields(Record))
_TASK_NAMES = tuple(one.name for one in fields(TaskRecord))
