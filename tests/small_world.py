"""A cluster small enough to hold in the hand: Slurm, its watch and its files in memory, with faults on request."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, cast

import slurmrest
from headrace_server.clusters import Cluster, Clusters, FileChunk, FileMissing, Reachable, Snapshot, WatchedJob
from headrace_server.identity import Person
from headrace_server.kernel import (
    Clock,
    Database,
    HeadraceError,
    Lease,
    Leases,
    LocalWakeups,
    SteppedClock,
)
from headrace_server.runs import Runs
from slurmrest import ExitCode, FoundOperation, HistoryJob, Job, JobDescription, Submitted

ADA, BO, OLGA = Person("ada", "user"), Person("bo", "user"), Person("olga", "operator")


@dataclass
class SmallSlurm:
    """Jobs by id; `faults` are raised by the next calls of a name, before or after they took effect."""

    clock: Clock
    jobs: dict[int, Job] = field(default_factory=dict[int, Job])
    kept: dict[int, tuple[HistoryJob, ...]] = field(default_factory=dict[int, tuple[HistoryJob, ...]])
    descriptions: dict[int, JobDescription] = field(default_factory=dict[int, JobDescription])
    before: dict[str, list[slurmrest.SlurmError]] = field(default_factory=dict[str, list[slurmrest.SlurmError]])
    after: dict[str, list[slurmrest.SlurmError]] = field(default_factory=dict[str, list[slurmrest.SlurmError]])
    next_id: int = 100

    def _fail(self, when: dict[str, list[slurmrest.SlurmError]], name: str) -> None:
        if when.get(name):
            raise when[name].pop(0)

    async def submit(self, description: JobDescription, *, operation_key: str) -> Submitted:
        self._fail(self.before, "submit")
        self.next_id += 1
        self.descriptions[self.next_id] = description
        self.put(self.next_id, ("PENDING",), operation_key=operation_key, state_reason="Priority")
        self._fail(self.after, "submit")
        return Submitted(job_id=self.next_id, operation_key=operation_key)

    async def find_operation(self, operation_key: str, *, since: datetime | None) -> FoundOperation | None:
        self._fail(self.before, "find_operation")
        for job in self.jobs.values():
            if job.operation_key == operation_key:
                return FoundOperation(
                    job_id=job.job_id,
                    operation_key=operation_key,
                    states=job.states,
                    submit_time=job.submit_time,
                    source="slurmctld",
                )
        return None

    async def cancel(self, job_id: int) -> None:
        self._fail(self.before, "cancel")
        if job_id not in self.jobs:
            raise slurmrest.JobNotFound("gone")
        self.put(job_id, ("CANCELLED",), end_time=self.clock.now())

    async def job(self, job_id: int) -> tuple[Job, ...]:
        self._fail(self.before, "job")
        if job_id not in self.jobs:
            raise slurmrest.JobNotFound("gone")
        return (self.jobs[job_id],)

    async def history(self, *, job_id: int, start: datetime, end: datetime) -> tuple[HistoryJob, ...]:
        self._fail(self.before, "history")
        return self.kept.get(job_id, ())

    def put(self, job_id: int, states: tuple[str, ...], **values: Any) -> None:
        """Bring a job into a state."""
        old = self.jobs.get(job_id)
        base: dict[str, Any] = (
            {"submit_time": self.clock.now(), "name": "x"}
            if old is None
            else {name: getattr(old, name) for name in old.__struct_fields__}
        )
        fixed: dict[str, Any] = {"job_id": job_id, "key": str(job_id), "states": states}
        self.jobs[job_id] = Job(**{**base, **fixed, **values})


class SmallFiles:
    """Files by user and path."""

    def __init__(self) -> None:
        self.files: dict[tuple[str, str], bytes] = {}
        self.modes: dict[tuple[str, str], int] = {}
        self.folders: set[tuple[str, str]] = set()
        self.reads = 0
        self.fault: HeadraceError | None = None

    async def read(self, user: str, path: str, offset: int, limit: int) -> FileChunk:
        self.reads += 1
        if self.fault is not None:
            raise self.fault
        if (user, path) not in self.files:
            raise FileMissing(f"There is no file {path}.")
        data = self.files[user, path]
        return FileChunk(data[offset : offset + limit], len(data))

    async def write(self, user: str, path: str, data: bytes, mode: int) -> None:
        if self.fault is not None:
            raise self.fault
        self.files[user, path], self.modes[user, path] = data, mode

    async def make_folder(self, user: str, path: str) -> None:
        if self.fault is not None:
            raise self.fault
        self.folders.add((user, path))

    async def home(self, user: str) -> str:
        return f"/home/{user}"


class SmallWatch:
    """A snapshot that is taken when a test says so."""

    def __init__(self, clock: Clock) -> None:
        self.snapshot: Snapshot | None = None
        self.condition = Reachable(clock.now())
        self.expected: list[int] = []

    def expect(self, job_id: int) -> None:
        self.expected.append(job_id)


class SmallWorld:
    """A server's parts on a small cluster. Nothing happens by itself: `submitter()` and `follower()` do one turn."""

    def __init__(self, database: Database, clock: SteppedClock) -> None:
        self.database, self.clock = database, clock
        self.slurm = SmallSlurm(clock)
        self.files = SmallFiles()
        self.watch = SmallWatch(clock)
        self.name = "small"
        self.wakeups = LocalWakeups()
        self.runs = Runs(database, clock, self.wakeups, cast("Clusters", _OneCluster(self)))
        self.submitter, self.follower = self.runs.controllers(cast("Cluster", _ACluster(self)))
        self._lease: Lease | None = None

    async def lease(self) -> Lease:
        if self._lease is None:
            self._lease = await Leases(self.database, "test").acquire("cluster:small")
            assert self._lease is not None
        return self._lease

    async def submit_due(self) -> float:
        return await self.submitter.reconcile(await self.lease())

    async def follow(self, *, sweep: bool = True) -> float:
        if sweep:
            self.sweep()
        return await self.follower.reconcile(await self.lease())

    def sweep(self, *extra: WatchedJob) -> None:
        """Take a snapshot of all jobs, a second from now."""
        self.clock.step(1)
        now = self.clock.now()
        grouped: dict[int, tuple[WatchedJob, ...]] = {}
        for job in self.slurm.jobs.values():
            tasks = () if job.array_task_id is None else (job.array_task_id,)
            watched = WatchedJob(job.job_id, job.array_job_id, tasks, job.states, job, now)
            grouped[watched.filed_under] = (*grouped.get(watched.filed_under, ()), watched)
        for one in extra:
            grouped[one.filed_under] = (*grouped.get(one.filed_under, ()), one)
        before = self.watch.snapshot
        self.watch.snapshot = Snapshot(1 if before is None else before.sequence + 1, now, grouped)

    def ended(self, job_id: int, states: tuple[str, ...], code: int = 0, signal: int | None = None) -> None:
        """End a job now."""
        self.slurm.put(
            job_id,
            states,
            nodes="c1",
            start_time=self.clock.now(),
            end_time=self.clock.now(),
            exit_code=ExitCode(return_code=code, signal=signal),
            state_reason=None,
        )


class _ACluster:
    def __init__(self, world: SmallWorld) -> None:
        self.name, self.files, self.watch = world.name, world.files, world.watch
        self._world = world

    def slurm(self, user: str) -> SmallSlurm:
        assert user
        return self._world.slurm


class _OneCluster:
    def __init__(self, world: SmallWorld) -> None:
        self._cluster = _ACluster(world)

    def get(self, name: str | None = None) -> _ACluster:
        del name
        return self._cluster
