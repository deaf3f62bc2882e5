"""The only controller that submits and cancels. It runs under the cluster's lease, in one process at a time."""

import asyncio

import structlog

import slurmrest
from headrace_server.clusters import Cluster, FilesUnavailable
from headrace_server.kernel import Clock, Database, Lease, UserNameInvalid, Wakeups
from headrace_server.runs import store
from headrace_server.runs.model import Reason
from headrace_server.runs.steps import Steps
from headrace_server.runs.submission import Submission
from headrace_server.runs.tables import Record
from headrace_server.runs.voice import topic_of_submitter

AT_ONCE = 6
"""Runs worked on at once for a cluster: below slurmrest's pool of 8 connections."""
READ_AT_ONCE = 50
LOOK_AGAIN_S = 60.0
log = structlog.get_logger()


class Submitter:
    """Brings each run that has no job to the point where it has one, and each wish to cancel to Slurm."""

    def __init__(self, cluster: Cluster, database: Database, clock: Clock, wakeups: Wakeups, steps: Steps) -> None:
        self.name = f"submit:{cluster.name}"
        self.topic = topic_of_submitter(cluster.name)
        self._cluster = cluster
        self._database = database
        self._clock = clock
        self._wakeups = wakeups
        self._steps = steps
        self._left: set[str] = set()

    async def reconcile(self, lease: Lease) -> float:
        """Do what is due; return when the next thing is. What becomes due meanwhile is begun at once."""
        under_way: dict[str, asyncio.Task[None]] = {}
        async with self._wakeups.subscribe(self.topic) as calls, asyncio.TaskGroup() as group:
            while True:
                due, next_s = await self._due()
                for record in due:
                    if record.id not in {*under_way, *self._left} and len(under_way) < AT_ONCE:
                        under_way[record.id] = group.create_task(self._advance(record, lease), name=record.id)
                if not under_way:
                    return next_s
                called = asyncio.create_task(calls.names())
                await asyncio.wait({*under_way.values(), called}, return_when=asyncio.FIRST_COMPLETED)
                called.cancel()
                under_way = {run_id: task for run_id, task in under_way.items() if not task.done()}

    async def _due(self) -> tuple[list[Record], float]:
        now = self._clock.now()
        async with self._database.read() as connection:
            due = await store.due(connection, self._cluster.name, now, READ_AT_ONCE)
            later = await store.next_due(connection, self._cluster.name, now)
        return due, LOOK_AGAIN_S if later is None else min(LOOK_AGAIN_S, (later - now).total_seconds())

    async def _advance(self, record: Record, lease: Lease) -> None:
        """Take one run as far as it gets. What Slurm or the cluster's files say against it goes into its row."""
        parts = (self._cluster, self._database, self._clock, self._wakeups, self._steps)
        try:
            submission = Submission(record, lease, *parts)
        except UserNameInvalid:  # identity lets no such person in; a row like this comes from elsewhere
            log.warning("a run of a user that is never acted as", run=record.id, user=record.user_name)
            self._left.add(record.id)
            return
        try:
            await submission.advance()
        except slurmrest.SlurmError as error:
            await submission.failed(error)
        except FilesUnavailable as error:
            await submission.wait(Reason("files-unavailable", error.detail))
