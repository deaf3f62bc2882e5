"""Queries on the room's tables. Everything takes the connection of a transaction that the caller opened."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, and_, delete, func, insert, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from headrace_server.runs.model import ACTIVE, After, RunState
from headrace_server.runs.preflight import Brought
from headrace_server.runs.tables import (
    Record,
    TaskRecord,
    record_of,
    run_after,
    run_files,
    run_keys,
    run_scripts,
    run_tasks,
    runs,
    task_of,
)


async def add(
    connection: AsyncConnection, record: Record, script: str, files: Sequence[Brought], after: Sequence[After]
) -> None:
    """Write a new run with all that belongs to it."""
    await connection.execute(insert(runs).values(**_values(asdict(record))))
    await connection.execute(insert(run_scripts).values(run_id=record.id, script=script))
    if files:
        rows = [{"run_id": record.id, "path": f.path, "mode": f.mode, "content": f.content} for f in files]
        await connection.execute(insert(run_files), rows)
    if after:
        rows = [{"run_id": record.id, "other": one.run, "condition": one.condition} for one in after]
        await connection.execute(insert(run_after), rows)


async def find(connection: AsyncConnection, run_id: str) -> Record | None:
    """Return a run, or None."""
    row = (await connection.execute(select(runs).where(runs.c.id == run_id))).one_or_none()
    return None if row is None else record_of(row)


async def lock(connection: AsyncConnection, run_id: str) -> Record | None:
    """Return a run and keep others from changing it until this transaction ends."""
    row = (await connection.execute(select(runs).where(runs.c.id == run_id).with_for_update())).one_or_none()
    return None if row is None else record_of(row)


async def find_many(connection: AsyncConnection, run_ids: Iterable[str]) -> dict[str, Record]:
    """Return the runs with these ids, by id."""
    found = await connection.execute(select(runs).where(runs.c.id.in_(list(run_ids))))
    return {row.id: record_of(row) for row in found}


async def change(connection: AsyncConnection, record: Record, **values: Any) -> Record:
    """Write some columns of a run; return it as it is now."""
    await connection.execute(update(runs).where(runs.c.id == record.id).values(**_values(values)))
    return replace(record, **values)


async def page(
    connection: AsyncConnection,
    *,
    user: str | None,
    states: frozenset[RunState],
    before: tuple[datetime, str] | None,
    limit: int,
) -> list[Record]:
    """Return at most `limit` runs, newest first, that are older than `before` (moment and id of the last one seen)."""
    query = select(runs).order_by(runs.c.created_at.desc(), runs.c.id.desc()).limit(limit)
    if user is not None:
        query = query.where(runs.c.user_name == user)
    if states:
        query = query.where(runs.c.state.in_(sorted(states)))
    if before is not None:
        moment, run_id = before
        query = query.where(
            or_(runs.c.created_at < moment, and_(runs.c.created_at == moment, runs.c.id < run_id)),
        )
    return [record_of(row) for row in await connection.execute(query)]


async def due(connection: AsyncConnection, cluster: str, now: datetime, limit: int) -> list[Record]:
    """Return runs of a cluster that have no job yet, or whose end Slurm was not told, and are due; oldest first."""
    query = select(runs).where(_to_do(cluster), or_(runs.c.next_try_at.is_(None), runs.c.next_try_at <= now))
    return [record_of(row) for row in await connection.execute(query.order_by(runs.c.created_at).limit(limit))]


async def next_due(connection: AsyncConnection, cluster: str, now: datetime) -> datetime | None:
    """Return when the next run that waits for its time is due."""
    query = select(func.min(runs.c.next_try_at)).where(_to_do(cluster), runs.c.next_try_at > now)
    found: datetime | None = (await connection.execute(query)).scalar_one()
    return found


def _to_do(cluster: str) -> ColumnElement[bool]:
    to_cancel = and_(
        runs.c.state.in_(sorted(ACTIVE - {"submitting"})),
        runs.c.cancel_requested_at.is_not(None),
        runs.c.cancel_sent_at.is_(None),
    )
    return and_(runs.c.cluster == cluster, or_(runs.c.state == "submitting", to_cancel))


async def followed(connection: AsyncConnection, cluster: str) -> dict[str, tuple[int, datetime | None]]:
    """Return job and moment of submission of each active run that has a job. Read at every turn, so only this much."""
    query = select(runs.c.id, runs.c.job_id, runs.c.submitted_at).where(
        runs.c.cluster == cluster, runs.c.state.in_(sorted(ACTIVE - {"submitting"})), runs.c.job_id.is_not(None)
    )
    return {row.id: (row.job_id, row.submitted_at) for row in await connection.execute(query)}


async def script(connection: AsyncConnection, run_id: str) -> str:
    """Return a run's script."""
    found: str = (
        await connection.execute(select(run_scripts.c.script).where(run_scripts.c.run_id == run_id))
    ).scalar_one()
    return found


async def file_names(connection: AsyncConnection, run_id: str) -> list[str]:
    """Return the names of the files that are still to be placed."""
    query = select(run_files.c.path).where(run_files.c.run_id == run_id).order_by(run_files.c.path)
    return [row.path for row in await connection.execute(query)]


async def file(connection: AsyncConnection, run_id: str, path: str) -> Brought:
    """Return one file that is still to be placed."""
    query = select(run_files).where(run_files.c.run_id == run_id, run_files.c.path == path)
    row = (await connection.execute(query)).one()
    return Brought(row.path, row.mode, row.content)


async def drop_files(connection: AsyncConnection, run_id: str) -> None:
    """Forget a run's files: they are placed now, or never will be."""
    await connection.execute(delete(run_files).where(run_files.c.run_id == run_id))


async def after(connection: AsyncConnection, run_ids: Sequence[str]) -> dict[str, tuple[After, ...]]:
    """Return what each of these runs waits for."""
    query = select(run_after).where(run_after.c.run_id.in_(list(run_ids))).order_by(run_after.c.other)
    found: dict[str, tuple[After, ...]] = {}
    for row in await connection.execute(query):
        found[row.run_id] = (*found.get(row.run_id, ()), After(row.other, row.condition))
    return found


async def tasks(connection: AsyncConnection, run_id: str) -> dict[int, TaskRecord]:
    """Return the array tasks seen so far, by index."""
    found = await connection.execute(select(run_tasks).where(run_tasks.c.run_id == run_id))
    return {row.task: task_of(row) for row in found}


async def failed_tasks(connection: AsyncConnection, run_ids: Sequence[str], limit: int) -> dict[str, list[TaskRecord]]:
    """Return the first `limit` tasks of each run that did not end well."""
    bad = ("failed", "timed_out")
    query = (
        select(run_tasks)
        .where(run_tasks.c.run_id.in_(list(run_ids)), run_tasks.c.state.in_(bad))
        .order_by(run_tasks.c.run_id, run_tasks.c.task)
    )
    found: dict[str, list[TaskRecord]] = {}
    for row in await connection.execute(query):
        if len(found.setdefault(row.run_id, [])) < limit:
            found[row.run_id].append(task_of(row))
    return found


async def put_tasks(connection: AsyncConnection, changed: Sequence[TaskRecord], known: Iterable[int]) -> None:
    """Write array tasks; those in `known` have a row already."""
    there = set(known)
    fresh = [asdict(one) for one in changed if one.task not in there]
    if fresh:
        await connection.execute(insert(run_tasks), fresh)
    for one in changed:
        if one.task in there:
            which = (run_tasks.c.run_id == one.run_id) & (run_tasks.c.task == one.task)
            await connection.execute(update(run_tasks).where(which).values(**asdict(one)))


async def release_waiting(connection: AsyncConnection, run_id: str) -> None:
    """Make the runs that wait for this one's job due now."""
    dependents = select(run_after.c.run_id).where(run_after.c.other == run_id)
    which = (runs.c.id.in_(dependents)) & (runs.c.state == "submitting") & (runs.c.reason_code == "waiting-for-run")
    await connection.execute(update(runs).where(which).values(next_try_at=None))


async def claim_key(
    connection: AsyncConnection, user: str, key: str, fingerprint: str, run_id: str, now: datetime
) -> bool:
    """Tie an idempotency key to a run; False when the key is taken."""
    values = {"user_name": user, "key": key, "fingerprint": fingerprint, "run_id": run_id, "created_at": now}
    try:
        async with connection.begin_nested():
            await connection.execute(insert(run_keys).values(**values))
    except IntegrityError:
        return False
    return True


async def find_key(connection: AsyncConnection, user: str, key: str) -> tuple[str, str] | None:
    """Return the fingerprint and the run of a key, or None."""
    query = select(run_keys).where(run_keys.c.user_name == user, run_keys.c.key == key)
    row = (await connection.execute(query)).one_or_none()
    return None if row is None else (row.fingerprint, row.run_id)


def _values(values: dict[str, Any]) -> dict[str, Any]:
    if "tasks" in values and not isinstance(values["tasks"], dict):
        values = values | {"tasks": asdict(values["tasks"])}
    return values
