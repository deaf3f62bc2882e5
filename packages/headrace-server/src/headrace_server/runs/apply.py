"""From what was seen of a run's job to the columns of its row. Pure; the follower writes them."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from headrace_server.runs.model import ENDED, TaskCounts
from headrace_server.runs.outcome import Rest, Seen, array_state, counts_of, reason_of_end
from headrace_server.runs.tables import Record, TaskRecord

NODES_SHOWN = 32


@dataclass(frozen=True)
class Change:
    """Columns of the run that differ now, and array tasks that do. `incomplete`: ask Slurm itself before writing."""

    columns: Mapping[str, Any] = field(default_factory=dict[str, Any])
    tasks: tuple[TaskRecord, ...] = ()
    incomplete: bool = False

    def __bool__(self) -> bool:
        return bool(self.columns or self.tasks)


def change_of_job(record: Record, seen: Seen, now: datetime) -> Change:
    """Say what a job without an array does to its run."""
    if seen.state in ENDED and seen.ended_at is None:
        return Change(incomplete=True)
    columns: dict[str, Any] = {
        "state": seen.state if seen.state != "unknown" else record.state,
        "slurm_states": seen.slurm_states,
        "nodes": seen.nodes or record.nodes,
        "started_at": seen.started_at if seen.state == "pending" else seen.started_at or record.started_at,
        "ended_at": seen.ended_at,
        "exit_code": seen.exit_code,
        "signal": seen.signal,
        "tasks": _one(seen),
        "missing_since": None,
        **_reason(record, seen),
    }
    return Change(_different(record, columns, now))


def change_of_array(
    record: Record, seen: Sequence[Seen], rest: Rest | None, known: Mapping[int, TaskRecord], now: datetime
) -> Change:
    """Say what an array's tasks do to its run. `rest` stands for the tasks that Slurm has not split off."""
    fresh = {one.task: _task(record.id, one) for one in seen if one.task is not None}
    tasks = {**known, **fresh}
    lost = any(one.state not in ENDED for task, one in known.items() if task not in fresh)
    waiting = 0 if rest is None else record.tasks.total if rest.tasks is None else rest.tasks
    unseen = len(tasks) + waiting < record.tasks.total
    vague = any(one.state in ENDED and one.ended_at is None for one in fresh.values())
    counts = counts_of(record.tasks.total, tasks.values())
    rest_ended = rest is not None and rest.state in ENDED
    if rest_ended:
        gone = counts.total - len(tasks)
        counts = TaskCounts(**{**vars(counts), "pending": counts.pending - gone, "cancelled": counts.cancelled + gone})
    state = array_state(counts, tasks.values(), rest_ended)
    ended = state in ENDED
    bad = sorted((one for one in tasks.values() if one.state in {"failed", "timed_out"}), key=lambda one: one.task)
    starts = [one.started_at for one in tasks.values() if one.started_at]
    ends = [one.ended_at for one in (*tasks.values(), *((rest,) if rest_ended and rest else ())) if one.ended_at]
    columns: dict[str, Any] = {
        "state": state,
        "slurm_states": _words(seen, rest, ended, record),
        "nodes": _nodes(tasks.values()),
        "started_at": min(starts, default=None),
        "ended_at": max(ends, default=None) if ended else None,
        "exit_code": (max((one.exit_code or 0 for one in bad), default=0) if ended else None),
        "signal": next((one.signal for one in bad if one.signal), None) if ended else None,
        "tasks": counts,
        "missing_since": None,
        **_array_reason(record, counts, rest, ended),
    }
    if state == "cancelled":
        columns["exit_code"] = None
    changed = tuple(one for task, one in fresh.items() if known.get(task) != one)
    return Change(_different(record, columns, now), changed, incomplete=lost or unseen or vague)


def _different(record: Record, columns: dict[str, Any], now: datetime) -> dict[str, Any]:
    columns = {name: value for name, value in columns.items() if getattr(record, name) != value}
    return {**columns, "as_of": now} if columns else {}


def _reason(record: Record, seen: Seen) -> dict[str, Any]:
    code, text = None, None
    if seen.state == "pending":
        # Slurm gives a job its reason a moment after its states; until then the last one stands.
        queue = seen.reason or record.queue_reason
        code, text = ("slurm-reason", queue) if queue else (None, None)
        return {"queue_reason": queue, "reason_code": code, "reason_text": text, "reason_number": None}
    if seen.state in ENDED:
        code, text = reason_of_end(seen.slurm_states)
        if code is None and seen.state == "failed":
            code, text = _of_exit(seen.exit_code, seen.signal)
    return {"reason_code": code, "reason_text": text, "reason_number": None}


def _array_reason(record: Record, counts: TaskCounts, rest: Rest | None, ended: bool) -> dict[str, Any]:
    queue = (rest.reason if rest is not None else None) or record.queue_reason
    code, text = None, None
    if ended and counts.failed:
        code, text = "tasks-failed", f"{counts.failed} of {counts.total} tasks did not end well."
    elif not ended and counts.pending and queue:
        code, text = "slurm-reason", queue
    return {"queue_reason": queue, "reason_code": code, "reason_text": text, "reason_number": None}


def _of_exit(exit_code: int | None, signal: int | None) -> tuple[str | None, str | None]:
    if signal:
        return "killed-by-signal", f"The program was ended by signal {signal}."
    if exit_code:
        return "exit-code", f"The program ended with exit code {exit_code}."
    return None, None


def _one(seen: Seen) -> TaskCounts:
    state = "failed" if seen.state == "timed_out" else seen.state
    return TaskCounts(
        total=1, **({state: 1} if state in {"pending", "running", "completed", "failed", "cancelled"} else {})
    )


def _task(run_id: str, seen: Seen) -> TaskRecord:
    return TaskRecord(
        run_id=run_id,
        task=seen.task or 0,
        job_id=seen.job_id,
        state=seen.state,
        slurm_states=seen.slurm_states,
        exit_code=seen.exit_code,
        signal=seen.signal,
        nodes=seen.nodes,
        started_at=seen.started_at,
        ended_at=seen.ended_at,
    )


def _words(seen: Sequence[Seen], rest: Rest | None, ended: bool, record: Record) -> tuple[str, ...]:
    every = (*seen, *((rest,) if rest else ()))
    words = {word: None for one in every if ended or one.state not in ENDED for word in one.slurm_states}
    return tuple(sorted(words)) or record.slurm_states


def _nodes(tasks: Collection[TaskRecord]) -> str | None:
    names = sorted({one.nodes for one in tasks if one.nodes})
    if len(names) > NODES_SHOWN:
        return ",".join(names[:NODES_SHOWN]) + ",…"
    return ",".join(names) or None
