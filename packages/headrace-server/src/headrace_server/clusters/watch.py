"""The watch: reads one cluster's Slurm once, for everybody.

Once a second it sweeps the states of all jobs, asks for the details of what changed, puts a new snapshot in the old
one's place and then wakes whoever subscribed. What it cannot learn it does not make up: while Slurm does not answer, or
answers what cannot be, the last snapshot stands and grows old, and the condition says why.
"""

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

import structlog

import slurmrest
from headrace_server.clusters.announce import Announcer
from headrace_server.clusters.details import Details
from headrace_server.clusters.model import (
    NO_JOBS,
    Condition,
    NotWatched,
    Reachable,
    Snapshot,
    Unreachable,
    WatchCounters,
)
from headrace_server.clusters.pace import Pace
from headrace_server.clusters.resources import Resources
from headrace_server.clusters.table import JobTable
from headrace_server.kernel import Clock, Wakeups

# A jump to none, or from at least this many to fewer than half, is believed only when the next sweep says the same.
JUMP_FROM = 20
log = structlog.get_logger()


class DoubtfulAnswer(Exception):
    """slurmctld reports far fewer jobs than a moment ago; it may just be starting."""


@dataclass(frozen=True)
class _Swept:
    answer: slurmrest.JobStates
    taken_at: datetime
    took_s: float


def topic_of(cluster: str) -> str:
    """Return the topic on which a cluster's watch publishes; names are job ids (of arrays: the array's)."""
    return f"watch:{cluster}"


class Watch:
    """The running copy of one cluster's state."""

    def __init__(
        self, name: str, slurm: slurmrest.AsyncClient, clock: Clock, wakeups: Wakeups, pace: Pace | None = None
    ) -> None:
        self.name = name
        self.counters = WatchCounters()
        self.snapshot: Snapshot | None = None
        self.condition: Condition = NotWatched(clock.now())
        self._slurm = slurm
        self._clock = clock
        self._pace = pace or Pace()
        self._table = JobTable()
        self._details = Details(slurm, self._table, clock, self.counters, self._pace)
        self._resources = Resources(slurm, clock, self.counters, self._pace)
        self._announcer = Announcer(topic_of(name), wakeups)
        self._hurry = asyncio.Event()
        self._usual_s = 0.0
        self._doubted = False
        self._touched: set[int] = set()

    def expect(self, job_id: int) -> None:
        """Say that `job_id` was just submitted, cancelled or changed by us: sweep soon, and look at it first."""
        self._details.expect(job_id)
        self._hurry.set()

    async def run(self) -> None:
        """Sweep until cancelled. One process at a time does this, under the lease `cluster:NAME`."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._announcer.run())
                group.create_task(self._resources.run())
                group.create_task(self._sweep_on())
        finally:
            self.condition = NotWatched(self._clock.now())
            await self._details.stop()

    async def _sweep_on(self) -> None:
        loop = asyncio.get_running_loop()
        failures = 0
        while True:
            began = loop.time()
            self._hurry.clear()
            try:
                swept = await self._sweep()
            except DoubtfulAnswer as doubt:
                # Asked again at the usual pace: most likely the next answer is whole, or says the same.
                self._fail("empty_unconfirmed", str(doubt))
                await self._pause(began, self._pace.sweep_s)
            except slurmrest.SlurmError as error:
                failures += 1
                self._fail(error.code, str(error))
                backoff_s = self._pace.sweep_s * 2 ** min(failures - 1, 10)
                await self._pause(began, min(backoff_s, self._pace.backoff_most_s))
            else:
                failures = 0
                await self._publish(swept)
                await self._pause(began, max(self._pace.sweep_s, swept.took_s / self._pace.sweep_share))

    async def _sweep(self) -> _Swept:
        loop = asyncio.get_running_loop()
        taken_at, began = self._clock.now(), loop.time()
        self.counters.sweeps += 1
        asking = asyncio.create_task(self._slurm.job_states())
        try:
            patience_s = max(self._pace.patience_s, 5 * self._usual_s)
            done, _ = await asyncio.wait({asking}, timeout=patience_s)
            if not done:
                self._fail("no_answer", f"Slurm has not answered for {patience_s:.0f} s.")
                done, _ = await asyncio.wait({asking}, timeout=self._pace.sweep_timeout_s - patience_s)
            if not done:
                raise slurmrest.TimedOut(f"No answer within {self._pace.sweep_timeout_s:.0f} s.", effect_unknown=False)
        finally:
            asking.cancel()
        answer = await asking
        took_s = loop.time() - began
        await self._doubt(len(answer.states))
        # One slow sweep says little; a busy slurmrestd shows in several.
        self._usual_s += (min(took_s, self._pace.patience_s) - self._usual_s) / 5
        return _Swept(answer, taken_at, took_s)

    async def _doubt(self, now: int) -> None:
        """Raise `DoubtfulAnswer` unless it can be that there are only `now` jobs."""
        known = len(self._table)
        if not known or (now and (known < JUMP_FROM or now * 2 >= known)):
            self._doubted = False
            return
        pings = await self._slurm.ping()
        alive = any(ping.responding for ping in pings)
        if alive and self._doubted:
            self._doubted = False
            return
        self._doubted = alive
        said = "the controller answers" if alive else "no controller answers"
        raise DoubtfulAnswer(f"Slurm reports {now} jobs after {known}, and {said}. Waiting for it to say so again.")

    async def _publish(self, swept: _Swept) -> None:
        """Build the next snapshot beside the old one, put it in its place, then tell."""
        changes = self._table.sweep(swept.answer)
        self._touched |= changes.touched
        self._details.want(changes.look_at)
        await self._details.work()
        for job, asked_at in self._details.collect():
            self._touched |= self._table.learn(job, asked_at)
        if self.snapshot is None and not self._resources.known.is_set():
            # The first snapshot waits a moment for the nodes, not longer: unknown is a value.
            with suppress(TimeoutError):
                async with asyncio.timeout(self._pace.details_wait_s):
                    await self._resources.known.wait()
        before, jobs = self.snapshot, self._table.view()
        self.snapshot = Snapshot(
            sequence=before.sequence + 1 if before else 1,
            taken_at=swept.taken_at,
            jobs=jobs,
            nodes=self._resources.nodes,
            nodes_at=self._resources.nodes_at,
            partitions=self._resources.partitions,
            partitions_at=self._resources.partitions_at,
        )
        if not isinstance(self.condition, Reachable):
            log.info("cluster reachable", cluster=self.name, jobs=len(self._table))
            self.condition = Reachable(self._clock.now())
        touched, self._touched = self._touched, set()
        # A task that was filed under its own id only until its details came was never seen there.
        seen = before.jobs if before else NO_JOBS
        self._announcer.say(str(job_id) for job_id in sorted(touched) if job_id in jobs or job_id in seen)

    def _fail(self, code: str, text: str) -> None:
        self.counters.errors += 1
        if isinstance(self.condition, Unreachable):
            since = self.condition.since
        else:
            since = self._clock.now()
            log.warning("cluster unreachable", cluster=self.name, code=code, error=text)
        self.condition = Unreachable(since, code, text)

    async def _pause(self, began: float, wait_s: float) -> None:
        """Sleep until `wait_s` after `began`; when something is expected, only as long as one sweep a time allows."""
        loop = asyncio.get_running_loop()
        await asyncio.sleep(max(0.0, began + self._pace.sweep_s - loop.time()))
        try:
            async with asyncio.timeout_at(began + wait_s):
                await self._hurry.wait()
        except TimeoutError:
            return
