"""Write a wish down, then wait for Slurm's answer to it."""

import hashlib
import json
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from headrace_server.clusters import Clusters
from headrace_server.identity import Person
from headrace_server.kernel import Clock, Conflict, Database, Wakeups, new_id
from headrace_server.runs import store
from headrace_server.runs.compose import Composed, compose, stored
from headrace_server.runs.hear import until
from headrace_server.runs.model import NewRun, TaskCounts
from headrace_server.runs.preflight import Brought, preflight
from headrace_server.runs.refusals import REFUSALS, AfterInvalid, IdempotencyKeyInvalid, IdempotencyKeyReused
from headrace_server.runs.steps import Steps
from headrace_server.runs.tables import Record
from headrace_server.runs.voice import tell, topic_of_submitter

LONGEST_INTENT = timedelta(days=7)
LONGEST_WAIT_S = 60.0
KEY_LENGTH = 255


@dataclass(frozen=True)
class Parts:
    """What the use cases of this room work with."""

    database: Database
    clock: Clock
    wakeups: Wakeups
    clusters: Clusters
    steps: Steps


class KeyTaken(Conflict):
    """Another request with this idempotency key is being handled at this moment."""

    code = "idempotency-key-in-use"


async def submit(
    parts: Parts, person: Person, new: NewRun, idempotency_key: str | None, wait_s: float | None
) -> Record:
    """Store the run (intent before effect), wake the submitter, and return the run with Slurm's answer.

    After `wait_s`, or as soon as it is known why the answer is late, the run is returned as it stands. The same key and
    the same wish return the same run. Raises what preflight refuses (nothing is stored then) and a Refused that names
    the run when Slurm refused it.
    """
    key = _checked_key(idempotency_key)
    fingerprint = _fingerprint(new)
    record = await _known(parts, person, key, fingerprint)
    if record is None:
        record = await _write(parts, person, new, key, fingerprint)
        await parts.steps("run-written")
    await tell(parts.wakeups, record.user_name, record.id)
    await parts.wakeups.publish(topic_of_submitter(record.cluster), record.id)
    wanted_s = new.wait_s if wait_s is None else wait_s
    patience_s = min(wanted_s, LONGEST_WAIT_S) if wanted_s > 0 else 0.0  # not a number is no patience either
    record = await until(parts.database, parts.wakeups, record, _answered, patience_s)
    if record.state == "refused":
        kind = REFUSALS.get(record.reason_code or "", next(iter(REFUSALS.values())))
        raise kind(record.reason_text or kind.title(), run=record.id)
    return record


def _answered(record: Record) -> bool:
    return record.state != "submitting" or record.reason_code is not None


async def _known(parts: Parts, person: Person, key: str | None, fingerprint: str) -> Record | None:
    """Return the run that this key stands for already, if any."""
    if key is None:
        return None
    async with parts.database.read() as connection:
        found = await store.find_key(connection, person.name, key)
        if found is None:
            return None
        if found[0] != fingerprint:
            raise IdempotencyKeyReused(
                "This Idempotency-Key stands for another request.",
                field="Idempotency-Key",
                asked=key,
                run=found[1],
                fix="Use a new key for a new wish.",
            )
        return await store.find(connection, found[1])


async def _write(parts: Parts, person: Person, new: NewRun, key: str | None, fingerprint: str) -> Record:
    files = preflight(new)
    now = parts.clock.now()
    cluster = parts.clusters.get(new.cluster)
    cluster.slurm(person.name)  # refuses names that are never acted as
    composed = compose(new, now, brings_files=bool(files))
    begun_ago = min(timedelta(milliseconds=max(new.begun_ms_ago, 0)), LONGEST_INTENT)
    record = Record(
        id=new_id(),
        user_name=person.name,
        cluster=cluster.name,
        name=composed.name,
        door=new.door,
        layer=composed.layer,
        preset=composed.preset,
        state="submitting",
        array_tasks=composed.array_tasks,
        tasks=TaskCounts(total=composed.total),
        working_directory=composed.description.working_directory,
        standard_output=composed.description.standard_output,
        standard_error=composed.description.standard_error,
        own_folder=composed.own_folder,
        description=stored(composed.description),
        intent_at=now - begun_ago,
        created_at=now,
    )
    try:
        async with parts.database.write() as connection:
            await _insert(connection, record, composed, files, new)
            if key is not None:
                await _claim(connection, record, key, fingerprint)
    except KeyTaken:
        winner = await _known(parts, person, key, fingerprint)
        if winner is None:
            raise
        return winner
    return record


async def _insert(
    connection: AsyncConnection, record: Record, composed: Composed, files: tuple[Brought, ...], new: NewRun
) -> None:
    others = await store.find_many(connection, [one.run for one in new.after])
    for position, one in enumerate(new.after):
        other = others.get(one.run)
        if other is None or other.user_name != record.user_name or other.cluster != record.cluster:
            raise AfterInvalid(
                f"There is no run {one.run[:40]!r} of yours on cluster {record.cluster}.",
                field=f"after.{position}.run",
                asked=one.run[:40],
            )
    await store.add(connection, record, composed.description.script, files, new.after)


async def _claim(connection: AsyncConnection, record: Record, key: str, fingerprint: str) -> None:
    if not await store.claim_key(connection, record.user_name, key, fingerprint, record.id, record.created_at):
        raise KeyTaken("The same request was sent twice at the same moment.")


def _checked_key(key: str | None) -> str | None:
    if key is not None and not (0 < len(key) <= KEY_LENGTH and key.isascii() and key.isprintable()):
        raise IdempotencyKeyInvalid(
            f"An Idempotency-Key is 1 to {KEY_LENGTH} printable ASCII characters.", field="Idempotency-Key"
        )
    return key


def _fingerprint(new: NewRun) -> str:
    """Return a digest of the wish itself: not of how long the person took, nor of how long the answer may."""
    wish: dict[str, Any] = asdict(new)
    for name in ("begun_ms_ago", "wait_s"):
        wish.pop(name)
    return hashlib.sha256(json.dumps(wish, sort_keys=True, default=str).encode()).hexdigest()
