"""The table of a cluster's jobs: takes sweeps and details, gives out immutable views. Pure; no network, no clock.

A sweep names every record of slurmctld by the record's own id and gives its states; for arrays also which tasks the
record stands for. It does not say which array a record belongs to: task 4 of array 100, running as job 105, is "105,
task 4". Only its details tell, so until they are there such a record is filed under its own id.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from types import MappingProxyType

import msgspec

import slurmrest
from headrace_server.clusters.model import NO_JOBS, WatchedJob


@dataclass(frozen=True)
class Changes:
    """What one sweep changed."""

    touched: frozenset[int] = frozenset()
    """Ids (of arrays: the array's) under which something is new, changed or gone."""
    look_at: tuple[int, ...] = ()
    """Own ids of the records whose details are missing or older than their state."""


@dataclass
class JobTable:
    """All records of the last sweep, by their own id."""

    _records: dict[int, WatchedJob] = field(default_factory=dict[int, WatchedJob])
    _groups: dict[int, dict[int, None]] = field(default_factory=dict[int, dict[int, None]])
    _swept: slurmrest.JobStates = field(default_factory=lambda: slurmrest.JobStates(states={}, array_tasks={}))
    _view: Mapping[int, tuple[WatchedJob, ...]] = field(default_factory=lambda: NO_JOBS)
    _stale: set[int] = field(default_factory=set[int])

    def __len__(self) -> int:
        return len(self._records)

    def __contains__(self, job_id: int) -> bool:
        return job_id in self._records

    def record(self, job_id: int) -> WatchedJob | None:
        """Return the record whose own id this is."""
        return self._records.get(job_id)

    def group(self, filed_under: int) -> tuple[int, ...]:
        """Return the own ids of the records filed under an id."""
        return tuple(self._groups.get(filed_under, ()))

    def records(self) -> Iterator[WatchedJob]:
        """Yield all records."""
        yield from self._records.values()

    def sweep(self, swept: slurmrest.JobStates) -> Changes:
        """Take a whole sweep: afterwards every record has its state from it, and nothing else is there."""
        before, self._swept = self._swept, swept
        if before == swept:
            return Changes()
        touched: set[int] = set()
        look_at: list[int] = []
        for job_id in before.states.keys() - swept.states.keys():
            touched.add(self._remove(job_id))
        for job_id, states in swept.states.items():
            tasks = swept.array_tasks.get(job_id, ())
            if before.states.get(job_id) == states and before.array_tasks.get(job_id, ()) == tasks:
                continue
            record = self._place(job_id, states, tasks)
            touched.add(record.filed_under)
            if record.details is None or record.details.states != states:
                look_at.append(job_id)
        self._stale |= touched
        return Changes(frozenset(touched), tuple(look_at))

    def learn(self, job: slurmrest.Job, at: datetime) -> frozenset[int]:
        """Attach details asked for at `at`; return the ids under which a person would see a difference."""
        record = self._records.get(job.job_id)
        if record is None or (record.details_at is not None and record.details_at > at):
            return frozenset()
        known = replace(record, details=job, details_at=at, array_job_id=job.array_job_id)
        self._put(known, record)
        self._stale |= {known.filed_under, record.filed_under}
        if record.details is not None and _visible(record.details) == _visible(job):
            return frozenset()
        return frozenset({known.filed_under, record.filed_under})

    def view(self) -> Mapping[int, tuple[WatchedJob, ...]]:
        """Return all records by the id they are filed under; the same object as long as nothing changed."""
        if self._stale:
            jobs = dict(self._view)
            for filed_under in self._stale:
                group = self._groups.get(filed_under)
                if group:
                    jobs[filed_under] = tuple(sorted((self._records[job_id] for job_id in group), key=_order))
                else:
                    jobs.pop(filed_under, None)
            self._view = MappingProxyType(jobs)
            self._stale = set()
        return self._view

    def _place(self, job_id: int, states: tuple[str, ...], tasks: tuple[int, ...]) -> WatchedJob:
        known = self._records.get(job_id)
        fresh = WatchedJob(job_id, job_id if len(tasks) > 1 else None, tasks, states)
        if known is not None and tasks:
            fresh = replace(fresh, array_job_id=known.array_job_id or fresh.array_job_id)
        # A job that was over and is not any more was requeued, or its id was given to another job: forget its details.
        if known is not None and not (known.finished and not fresh.finished):
            fresh = replace(fresh, details=known.details, details_at=known.details_at)
        self._put(fresh, known)
        if known is not None:
            self._stale.add(known.filed_under)
        return fresh

    def _put(self, record: WatchedJob, before: WatchedJob | None) -> None:
        self._records[record.job_id] = record
        if before is not None and before.filed_under != record.filed_under:
            self._unfile(before)
        self._groups.setdefault(record.filed_under, {})[record.job_id] = None

    def _remove(self, job_id: int) -> int:
        record = self._records.pop(job_id)
        self._unfile(record)
        return record.filed_under

    def _unfile(self, record: WatchedJob) -> None:
        group = self._groups[record.filed_under]
        del group[record.job_id]
        if not group:
            del self._groups[record.filed_under]


def _order(record: WatchedJob) -> tuple[bool, int, int]:
    """Sort tasks by number, the rest of the array last; het components by their own id."""
    return (len(record.array_tasks) > 1, record.array_task or 0, record.job_id)


def _visible(job: slurmrest.Job) -> slurmrest.Job:
    # The scheduler touches these at every cycle; nobody is to be woken for it.
    return msgspec.structs.replace(job, last_evaluated=None, priority=None)
