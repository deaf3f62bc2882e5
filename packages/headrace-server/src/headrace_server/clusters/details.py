"""Fetches job details within a budget: of what changed first, then in a slow rotation of what did not.

slurmctld answers for one job in milliseconds, for all jobs in seconds. So single jobs are asked for, a bounded number
after each sweep; a full dump is made only when a large share is out of date, and not more than once a minute.
"""

import asyncio
from collections import deque
from collections.abc import Iterable
from datetime import datetime, timedelta

import structlog

import slurmrest
from headrace_server.clusters.model import WatchCounters, WatchedJob
from headrace_server.clusters.pace import Pace
from headrace_server.clusters.table import JobTable
from headrace_server.kernel import Clock

UNEXPLAINED_KEPT = 10_000
log = structlog.get_logger()
Arrived = tuple[slurmrest.Job, datetime]


class Details:
    """What is wanted of one cluster, what is under way, and what has arrived since it was last collected."""

    def __init__(
        self, slurm: slurmrest.AsyncClient, table: JobTable, clock: Clock, counters: WatchCounters, pace: Pace
    ) -> None:
        self._slurm = slurm
        self._table = table
        self._clock = clock
        self._counters = counters
        self._pace = pace
        self._wanted: dict[int, None] = {}
        self._expected: dict[int, None] = {}
        self._round: deque[int] = deque()
        self._unexplained: deque[tuple[datetime, int]] = deque(maxlen=UNEXPLAINED_KEPT)
        self._arrived: list[Arrived] = []
        self._array_asked: dict[int, float] = {}
        self._dumped_at: float | None = None
        self._dump: asyncio.Task[None] | None = None
        self._batch: asyncio.Task[None] | None = None

    def want(self, job_ids: Iterable[int]) -> None:
        """Note records (by their own ids) whose details are missing or old."""
        self._wanted.update(dict.fromkeys(job_ids))

    def expect(self, job_id: int) -> None:
        """Look at this job before all others."""
        self._expected[job_id] = None
        if len(self._expected) > 1000:
            del self._expected[next(iter(self._expected))]

    async def work(self) -> None:
        """Start what is due, and wait a little for it. What takes longer goes on and is collected later."""
        now = asyncio.get_running_loop().time()
        self._forget_the_gone()
        if self._dump_is_due(now):
            self._dumped_at = now
            self._dump = asyncio.create_task(self._dump_all())
        elif self._batch is None or self._batch.done():
            targets = self._choose(now)
            if targets:
                self._batch = asyncio.create_task(self._fetch_all(targets))
        running = [task for task in (self._dump, self._batch) if task is not None and not task.done()]
        if running:
            await asyncio.wait(running, timeout=self._pace.details_wait_s)

    def collect(self) -> list[Arrived]:
        """Hand over what has arrived."""
        arrived, self._arrived = self._arrived, []
        return arrived

    async def stop(self) -> None:
        """End what is under way."""
        running = [task for task in (self._dump, self._batch) if task is not None]
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        self._dump = self._batch = None

    def _forget_the_gone(self) -> None:
        for job_id in [job_id for job_id in self._wanted if job_id not in self._table]:
            del self._wanted[job_id]
        for array in [array for array in self._array_asked if not self._table.group(array)]:
            del self._array_asked[array]

    def _dump_is_due(self, now: float) -> bool:
        if self._dump is not None and not self._dump.done():
            return False
        if self._dumped_at is None:
            return len(self._table) > 0
        many = max(len(self._table) * self._pace.dump_share, self._pace.details_per_sweep)
        return len(self._wanted) > many and now - self._dumped_at >= self._pace.dump_every_s

    async def _dump_all(self) -> None:
        asked_at = self._clock.now()
        self._counters.full_dumps += 1
        try:
            async with asyncio.timeout(self._pace.dump_timeout_s):
                answer = await self._slurm.jobs()
        except (slurmrest.SlurmError, TimeoutError) as error:
            self._counters.errors += 1
            log.warning("full dump failed", error=str(error) or "timed out")
            return
        for job in answer.jobs:
            self._arrive(job, asked_at)

    def _choose(self, now: float) -> list[int]:
        """Choose which ids to ask for: expected, then changed, then the rotation. An array's id brings all of it."""
        budget = self._pace.details_per_sweep
        targets: dict[int, None] = {}
        for job_id in list(self._expected):
            # One that is in no sweep yet stays expected.
            if budget > 0 and self._table.group(job_id) and self._may_ask(job_id, now):
                budget -= self._take(job_id, targets, now)
                del self._expected[job_id]
        # While a dump is under way it brings most of the rest.
        if self._dump is not None and not self._dump.done():
            return list(targets)
        for job_id in list(self._wanted):
            if budget <= 0:
                break
            if job_id in self._wanted and self._may_ask(job_id, now):
                budget -= self._take(job_id, targets, now)
        if budget > 0:
            self._choose_rotation(min(budget, self._pace.rotation_per_sweep), targets, now)
        return list(targets)

    def _choose_rotation(self, budget: int, targets: dict[int, None], now: float) -> None:
        present = self._clock.now()
        # The scheduler gives a new job its reason a moment after submission, without any change of state.
        while self._unexplained and budget > 0 and present >= self._unexplained[0][0]:
            _, job_id = self._unexplained.popleft()
            record = self._table.record(job_id)
            if record is not None and record.state == "PENDING" and self._may_ask(job_id, now):
                budget -= self._take(job_id, targets, now)
        if not self._round:
            self._round.extend(self._next_round())
        while self._round and budget > 0:
            record = self._table.record(self._round.popleft())
            if record is None or record.details_at is None or record.finished or record.job_id in targets:
                continue
            old = (present - record.details_at).total_seconds() >= self._pace.rotation_after_s
            if old and self._may_ask(record.job_id, now):
                budget -= self._take(record.job_id, targets, now)

    def _next_round(self) -> list[int]:
        """List unfinished records, the pending ones first: what will become of them is what people wait for."""
        unfinished = [record for record in self._table.records() if not record.finished]
        unfinished.sort(key=lambda record: record.state != "PENDING")
        return [record.job_id for record in unfinished]

    def _may_ask(self, job_id: int, now: float) -> bool:
        """Hold large arrays back: their answer holds all their records."""
        records = len(self._table.group(job_id))
        asked = self._array_asked.get(job_id)
        return asked is None or now - asked >= records / self._pace.array_records_per_s

    def _take(self, job_id: int, targets: dict[int, None], now: float) -> int:
        targets[job_id] = None
        self._wanted.pop(job_id, None)
        group = self._table.group(job_id)
        if len(group) <= 1:
            return 1
        self._array_asked[job_id] = now
        for member in group:
            self._wanted.pop(member, None)
        return len(group)

    async def _fetch_all(self, targets: list[int]) -> None:
        waiting = deque(targets)

        async def worker() -> None:
            while waiting:
                await self._fetch(waiting.popleft())

        async with asyncio.TaskGroup() as group:
            for _ in range(min(self._pace.details_at_once, len(targets))):
                group.create_task(worker())

    async def _fetch(self, job_id: int) -> None:
        asked_at = self._clock.now()
        self._counters.detail_fetches += 1
        try:
            async with asyncio.timeout(self._pace.details_timeout_s):
                jobs = await self._slurm.job(job_id)
        except slurmrest.JobNotFound:
            return  # the next sweep will not have it either
        except (slurmrest.SlurmError, TimeoutError) as error:
            self._counters.errors += 1
            log.info("details not fetched", job_id=job_id, error=str(error) or "timed out")
            self.want(one for one in {job_id, *self._table.group(job_id)} if _is_old(self._table.record(one)))
            return
        for job in jobs:
            self._arrive(job, asked_at)

    def _arrive(self, job: slurmrest.Job, asked_at: datetime) -> None:
        self._arrived.append((job, asked_at))
        if job.state == "PENDING" and job.state_reason is None:
            self._unexplained.append((asked_at + timedelta(seconds=self._pace.unexplained_s), job.job_id))
        record = self._table.record(job.job_id)
        if record is not None and record.states == job.states:
            self._wanted.pop(job.job_id, None)


def _is_old(record: WatchedJob | None) -> bool:
    return record is not None and (record.details is None or record.details.states != record.states)
