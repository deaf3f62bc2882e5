"""The controller that follows jobs: it hears the watch, and asks slurmctld or accounting only where that cannot tell.

It holds no truth of its own: what it remembers (`_applied`) only spares writes, and a restart reads all active runs
again.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime, timedelta

import structlog

import slurmrest
from headrace_server.clusters import Cluster, Snapshot, WatchedJob, topic_of
from headrace_server.kernel import Clock, Database, Lease, Wakeups, operation_key
from headrace_server.runs import store
from headrace_server.runs.apply import Change, change_of_array, change_of_job
from headrace_server.runs.model import ENDED
from headrace_server.runs.outcome import Rest, Seen, seen_of_history, seen_of_job, seen_of_watch, state_of
from headrace_server.runs.steps import Steps
from headrace_server.runs.tables import Record, TaskRecord
from headrace_server.runs.voice import tell

LOOK_AGAIN_S = 5.0
SOON_S = 0.5
PATIENCE = timedelta(seconds=2)
"""How long the watch may take for the details of a job that ended, before they are fetched here."""
UNKNOWN_AFTER = timedelta(minutes=10)
LOOK_BACK = timedelta(minutes=5)
RETRY_FIRST_S, RETRY_MOST_S = 2.0, 60.0
BATCH = 100
LOOKS_AT_ONCE = 4
log = structlog.get_logger()


class Follower:
    """Keeps the rows of a cluster's active runs as Slurm has them. Writes only what changed."""

    def __init__(self, cluster: Cluster, database: Database, clock: Clock, wakeups: Wakeups, steps: Steps) -> None:
        self.name = f"follow:{cluster.name}"
        self.topic = topic_of(cluster.name)
        self._cluster = cluster
        self._database = database
        self._clock = clock
        self._wakeups = wakeups
        self._steps = steps
        self._applied: dict[str, tuple[WatchedJob, ...]] = {}
        self._doubtful_since: dict[str, datetime] = {}
        self._looks: dict[str, tuple[int, datetime]] = {}

    async def reconcile(self, lease: Lease) -> float:
        """Bring all active runs up to the newest snapshot."""
        snapshot = self._cluster.watch.snapshot
        if snapshot is None:
            return LOOK_AGAIN_S
        async with self._database.read() as connection:
            active = await store.followed(connection, self._cluster.name)
        self._forget(set(active))
        changed: list[str] = []
        missing: list[str] = []
        for run_id, (job_id, submitted_at) in active.items():
            jobs = snapshot.job(job_id)
            if not jobs:
                # A job younger than the snapshot is not missing.
                if submitted_at is None or snapshot.taken_at > submitted_at:
                    missing.append(run_id)
            elif self._applied.get(run_id) != jobs:
                changed.append(run_id)
        for start in range(0, len(changed), BATCH):
            missing += await self._apply(changed[start : start + BATCH], snapshot, lease)
        soon = await self._look(missing, lease)
        return SOON_S if soon else LOOK_AGAIN_S

    async def _apply(self, run_ids: Sequence[str], snapshot: Snapshot, lease: Lease) -> list[str]:
        """Write what a snapshot says of these runs; return those of which it does not say enough."""
        doubtful: list[str] = []
        told: list[Record] = []
        async with self._database.write() as connection:
            await lease.guard(connection)
            records = await store.find_many(connection, run_ids)
            for record in records.values():
                if record.state in ENDED or record.job_id is None:
                    continue
                jobs = snapshot.job(record.job_id)
                known = await store.tasks(connection, record.id) if record.array_tasks else {}
                change = self._change(record, jobs, known)
                if change.incomplete:
                    doubtful.append(record.id)
                    # An array goes on being counted; only its end waits until every task is known.
                    if not record.array_tasks or change.columns.get("state") in ENDED:
                        continue
                else:
                    self._applied[record.id] = jobs
                    self._doubtful_since.pop(record.id, None)
                if change:
                    await store.put_tasks(connection, change.tasks, known)
                    told.append(await store.change(connection, record, **change.columns))
        await self._tell(told)
        return doubtful

    def _change(self, record: Record, jobs: Sequence[WatchedJob], known: dict[int, TaskRecord]) -> Change:
        now = self._clock.now()
        if not record.array_tasks:
            seen = seen_of_watch(jobs[0])
            return Change(incomplete=True) if seen is None else change_of_job(record, seen, now)
        seen_tasks = [one for one in map(seen_of_watch, jobs) if one is not None]
        together = [job for job in jobs if len(job.array_tasks) > 1]
        rest = rest_of(together[0], sum(len(job.array_tasks) for job in together)) if together else None
        return change_of_array(record, seen_tasks, rest, known, now)

    async def _look(self, run_ids: Sequence[str], lease: Lease) -> bool:
        """Ask slurmctld, then accounting, for runs that the snapshot does not explain; tell whether some must wait."""
        now = self._clock.now()
        due: list[str] = []
        for run_id in run_ids:
            since = self._doubtful_since.setdefault(run_id, now)
            _, next_at = self._looks.get(run_id, (0, since + PATIENCE))
            if next_at <= now:
                due.append(run_id)
        gate = asyncio.Semaphore(LOOKS_AT_ONCE)

        async def one(run_id: str) -> None:
            async with gate:
                await self._look_at(run_id, lease)

        async with asyncio.TaskGroup() as group:
            for run_id in due:
                group.create_task(one(run_id))
        return bool(run_ids)

    async def _look_at(self, run_id: str, lease: Lease) -> None:
        tries, _ = self._looks.get(run_id, (0, None))
        pause_s = min(RETRY_FIRST_S * 2 ** min(tries, 10), RETRY_MOST_S)
        self._looks[run_id] = (tries + 1, self._clock.now() + timedelta(seconds=pause_s))
        async with self._database.read() as connection:
            record = await store.find(connection, run_id)
        if record is None or record.job_id is None or record.state in ENDED:
            return
        try:
            seen, rest = await self._ask(record)
        except slurmrest.SlurmError as error:
            log.info("a job cannot be looked up now", run=run_id, error=str(error))
            return
        async with self._database.write() as connection:
            await lease.guard(connection)
            current = await store.lock(connection, run_id)
            if current is None or current.state in ENDED:
                return
            known = await store.tasks(connection, run_id) if current.array_tasks else {}
            if not seen and rest is None:
                change = self._lost(current)
            elif current.array_tasks:
                change = change_of_array(current, seen, rest, known, self._clock.now())
            else:
                change = change_of_job(current, seen[-1], self._clock.now())
            if change.incomplete and change.columns.get("state") in ENDED:
                return  # accounting lags behind; ask again
            if change:
                await store.put_tasks(connection, change.tasks, known)
                current = await store.change(connection, current, **change.columns)
        if change:
            await self._tell([current])

    async def _ask(self, record: Record) -> tuple[list[Seen], Rest | None]:
        """Return what slurmctld and accounting know of a job: its tasks, and the rest of an array."""
        slurm, job_id = self._cluster.slurm(record.user_name), record.job_id
        assert job_id is not None  # noqa: S101 - the caller's condition, for the type checker
        found: dict[int | None, Seen] = {}
        rest: Rest | None = None
        earliest = (record.submitted_at or record.created_at) - LOOK_BACK
        key = operation_key(record.id)
        history: Sequence[slurmrest.HistoryJob] = ()
        live: Sequence[slurmrest.Job] = ()
        with suppress(slurmrest.JobNotFound):
            live = await slurm.job(job_id)
        if not live or record.array_tasks:
            history = await slurm.history(job_id=job_id, start=earliest, end=self._clock.now() + LOOK_BACK)
        for old in history:
            if (old.submit_time and old.submit_time < earliest) or old.operation_key not in (None, key):
                continue  # the number was used by another job before
            if record.array_tasks and old.array_task_id is None:
                rest = Rest.of(seen_of_history(old))
            else:
                found[old.array_task_id] = seen_of_history(old)
        for job in live:
            if job.array_task_string is not None and job.array_task_id is None:
                rest = Rest.of(seen_of_job(job, None))
            else:
                found[job.array_task_id] = seen_of_job(job, job.array_task_id)
        return list(found.values()), rest

    def _lost(self, record: Record) -> Change:
        """Nobody knows the job now. It is never called failed for that; after a while it is `unknown`."""
        now = self._clock.now()
        since = record.missing_since or now
        if now - since >= UNKNOWN_AFTER:
            if record.state == "unknown":
                return Change()
            text = "Neither slurmctld nor accounting knows the job any more."
            return Change({"state": "unknown", "reason_code": "job-unknown", "reason_text": text, "as_of": now})
        if record.missing_since is not None:
            return Change()
        text = "Slurm does not list the job at the moment; it is being looked for."
        return Change({"missing_since": now, "reason_code": "job-not-found-yet", "reason_text": text, "as_of": now})

    async def _tell(self, records: Sequence[Record]) -> None:
        for record in records:
            await tell(self._wakeups, record.user_name, record.id)
        if records:
            await self._steps("run-followed")

    def _forget(self, active: set[str]) -> None:
        for memory in (self._applied, self._doubtful_since, self._looks):
            for run_id in memory.keys() - active:
                del memory[run_id]


def rest_of(job: WatchedJob, tasks: int) -> Rest:
    """Read the record that stands for the tasks of an array that are not split off."""
    details = job.details
    reason = details.state_reason if details else None
    ended_at = details.end_time if details else None
    return Rest(tasks, state_of(job.states), job.states, reason, ended_at)
