"""From rows to what people see of a run."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from headrace_server.clusters import Clusters, NoSuchCluster, Reachable
from headrace_server.runs import store
from headrace_server.runs.logpath import shown_path
from headrace_server.runs.model import (
    ACTIVE,
    FAILURES_SHOWN,
    After,
    Moments,
    Run,
    TaskFailure,
    waits_of,
)
from headrace_server.runs.tables import Record, TaskRecord


async def view(
    connection: AsyncConnection, records: Sequence[Record], clusters: Clusters, now: datetime
) -> tuple[Run, ...]:
    """Return the runs of these rows, with what belongs to them, in two queries however many they are."""
    arrays = [record.id for record in records if record.array_tasks and record.tasks.failed]
    failures = await store.failed_tasks(connection, arrays, FAILURES_SHOWN) if arrays else {}
    after = await store.after(connection, [record.id for record in records])
    return tuple(
        run_of(record, failures.get(record.id, ()), after.get(record.id, ()), _as_of(record, clusters), now)
        for record in records
    )


def run_of(
    record: Record, failures: Sequence[TaskRecord], after: tuple[After, ...], as_of: datetime | None, now: datetime
) -> Run:
    """Make a run of its row."""
    moments = Moments(
        intent_at=record.intent_at,
        created_at=record.created_at,
        submitted_at=record.submitted_at,
        started_at=record.started_at,
        ended_at=record.ended_at,
    )
    why = record.reason_text if record.job_id is None else None
    return Run(
        id=record.id,
        user=record.user_name,
        cluster=record.cluster,
        name=record.name,
        door=record.door,
        layer=record.layer,
        preset=record.preset,
        state=record.state,
        slurm_states=record.slurm_states,
        reason=record.reason,
        job_id=record.job_id,
        array=record.array_tasks is not None,
        tasks=record.tasks,
        failures=tuple(
            TaskFailure(one.task, one.slurm_states, one.exit_code, one.signal, one.nodes) for one in failures
        ),
        nodes=record.nodes,
        exit_code=record.exit_code,
        signal=record.signal,
        working_directory=record.working_directory,
        standard_output=shown_path(record, record.standard_output),
        standard_error=shown_path(record, record.standard_error),
        cancel_requested=record.cancel_requested_at is not None,
        moments=moments,
        waits=waits_of(moments, record.state, why, record.queue_reason, now),
        after=after,
        as_of=as_of,
        array_tasks=record.array_tasks,
    )


def _as_of(record: Record, clusters: Clusters) -> datetime | None:
    """An active run is as fresh as the last sweep that found nothing new about it."""
    if record.state not in ACTIVE or record.job_id is None or record.missing_since is not None:
        return record.as_of
    try:
        watch = clusters.get(record.cluster).watch
    except NoSuchCluster:
        return record.as_of
    if watch.snapshot is None or not isinstance(watch.condition, Reachable):
        return record.as_of
    return max(watch.snapshot.taken_at, record.as_of or watch.snapshot.taken_at)
