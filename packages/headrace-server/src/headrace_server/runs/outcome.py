"""What Slurm's states mean for a run. Pure."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from headrace_server.clusters import WatchedJob
from headrace_server.runs.model import ENDED, RunState, TaskCounts
from headrace_server.runs.tables import TaskRecord
from slurmrest import ExitCode, HistoryJob, Job

FINAL: dict[str, RunState] = {
    "COMPLETED": "completed",
    "FAILED": "failed",
    "NODE_FAIL": "failed",
    "BOOT_FAIL": "failed",
    "OUT_OF_MEMORY": "failed",
    "LAUNCH_FAILED": "failed",
    "PREEMPTED": "failed",
    "REVOKED": "failed",
    "TIMEOUT": "timed_out",
    "DEADLINE": "timed_out",
    "CANCELLED": "cancelled",
}
RUNNING = frozenset({"RUNNING", "SUSPENDED", "STOPPED", "RESIZING", "SIGNALING", "STAGE_OUT"})
BACK_IN_QUEUE = frozenset({"REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "SPECIAL_EXIT"})
TEXTS: dict[str, tuple[str, str]] = {
    "NODE_FAIL": ("node-failed", "A node of the run failed."),
    "BOOT_FAIL": ("node-failed", "A node of the run did not boot."),
    "OUT_OF_MEMORY": ("out-of-memory", "The run used more memory than it asked for."),
    "LAUNCH_FAILED": ("launch-failed", "Slurm could not start the run on its node."),
    "PREEMPTED": ("preempted", "Slurm stopped the run to make room for a more important one."),
    "TIMEOUT": ("time-limit-reached", "The run reached its time limit."),
    "DEADLINE": ("deadline-reached", "The run could not end before its deadline."),
}


@dataclass(frozen=True)
class Seen:
    """One job or array task as somebody (the watch, slurmctld, accounting) saw it last. None is unknown."""

    task: int | None
    job_id: int | None
    state: RunState
    slurm_states: tuple[str, ...]
    reason: str | None = None
    nodes: str | None = None
    exit_code: int | None = None
    signal: int | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    standard_output: str | None = None
    standard_error: str | None = None
    submitted_at: datetime | None = None


@dataclass(frozen=True)
class Rest:
    """The tasks of an array that Slurm has not split off; it keeps them as one. `tasks`: how many, None is unknown."""

    tasks: int | None
    state: RunState
    slurm_states: tuple[str, ...]
    reason: str | None = None
    ended_at: datetime | None = None

    @staticmethod
    def of(seen: Seen) -> "Rest":
        """Make it of a job that stands for many."""
        return Rest(None, seen.state, seen.slurm_states, seen.reason, seen.ended_at)


def state_of(slurm_states: Sequence[str]) -> RunState:
    """Translate one job's states, base state first. What nobody knows is `unknown`, never an end."""
    base, flags = (slurm_states[0] if slurm_states else ""), set(slurm_states[1:])
    if flags & BACK_IN_QUEUE or base == "PENDING" or base in BACK_IN_QUEUE:
        return "pending"
    if base in RUNNING:
        return "running"
    return FINAL.get(base, "unknown")


def seen_of_watch(job: WatchedJob) -> Seen | None:
    """Read a record of the watch. None for the rest of an array, which is many tasks that are not begun."""
    if len(job.array_tasks) > 1:
        return None
    details = job.details
    # Details may be older than the states: then their exit code and end are not those of this state.
    if details is None or details.states != job.states:
        base = Seen(job.array_task, details.job_id if details else None, state_of(job.states), job.states)
        return base if details is None else _with_start(base, details)
    return seen_of_job(details, job.array_task)


def seen_of_job(job: Job, task: int | None) -> Seen:
    """Read a job of slurmctld."""
    state = state_of(job.states)
    begun, ended = state not in {"pending", "unknown"}, state in ENDED
    never_ran = ended and job.start_time is not None and job.nodes is None
    return Seen(
        task=task,
        job_id=job.job_id,
        state=state,
        slurm_states=job.states,
        reason=job.state_reason,
        nodes=job.nodes,
        exit_code=_code(job.exit_code) if ended else None,
        signal=_signal(job.exit_code) if ended else None,
        started_at=job.start_time if begun and not never_ran else None,
        ended_at=job.end_time if ended else None,
        standard_output=job.standard_output,
        standard_error=job.standard_error,
        submitted_at=job.submit_time,
    )


def seen_of_history(job: HistoryJob) -> Seen:
    """Read a job of accounting."""
    state = state_of(job.states)
    ended = state in ENDED
    return Seen(
        task=job.array_task_id,
        job_id=job.job_id,
        state=state,
        slurm_states=job.states,
        reason=job.state_reason,
        nodes=job.nodes,
        exit_code=_code(job.exit_code) if ended else None,
        signal=_signal(job.exit_code) if ended else None,
        started_at=job.start_time if state != "pending" else None,
        ended_at=job.end_time if ended else None,
        submitted_at=job.submit_time,
    )


def counts_of(total: int, tasks: Collection[TaskRecord]) -> TaskCounts:
    """Count an array's tasks; those that Slurm has not split off are pending."""
    number = {state: sum(one.state == state for one in tasks) for state in ("running", "completed", "cancelled")}
    failed = sum(one.state in {"failed", "timed_out"} for one in tasks)
    rest = max(0, total - sum(number.values()) - failed)
    return TaskCounts(total=total, pending=rest, failed=failed, **number)


def array_state(counts: TaskCounts, tasks: Collection[TaskRecord], rest_ended: bool) -> RunState:
    """Sum an array up. `rest_ended`: the tasks that were never split off were cancelled together."""
    if counts.running:
        return "running"
    if counts.pending and not rest_ended:
        return "running" if counts.completed or counts.failed else "pending"
    if any(one.state == "failed" for one in tasks):
        return "failed"
    if counts.failed:
        return "timed_out"
    return "cancelled" if counts.cancelled or rest_ended else "completed"


def reason_of_end(slurm_states: Sequence[str]) -> tuple[str | None, str | None]:
    """Return code and text for an end that has a name of its own."""
    return next((TEXTS[word] for word in slurm_states if word in TEXTS), (None, None))


def _with_start(seen: Seen, details: Job) -> Seen:
    if seen.state == "pending":
        return Seen(seen.task, details.job_id, seen.state, seen.slurm_states, reason=details.state_reason)
    begun = state_of(details.states) != "pending"
    return Seen(
        seen.task,
        details.job_id,
        seen.state,
        seen.slurm_states,
        nodes=details.nodes if begun else None,
        started_at=details.start_time if begun else None,
        standard_output=details.standard_output,
        standard_error=details.standard_error,
    )


def _code(code: ExitCode | None) -> int | None:
    return None if code is None else code.return_code


def _signal(code: ExitCode | None) -> int | None:
    return None if code is None or not code.signal else code.signal
