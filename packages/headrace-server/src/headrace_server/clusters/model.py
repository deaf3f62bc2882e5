"""Clusters, what the watch knows of them, and what can go wrong. Pure values."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from types import MappingProxyType

import slurmrest
from headrace_server.kernel import Forbidden, Invalid, Missing, Refused, Unavailable


class NoSuchCluster(Missing):
    """No cluster of that name is registered."""

    code = "no-such-cluster"


class PathInvalid(Invalid):
    """This is not a path."""

    code = "path-invalid"


class FileMissing(Missing):
    """There is no such file or folder."""

    code = "file-missing"


class FileDenied(Forbidden):
    """The cluster does not let this user at the file."""

    code = "file-denied"


class FileRefused(Refused):
    """The cluster's file system refused: not a regular file, no space, over quota, and the like."""

    code = "file-refused"


class FilesUnavailable(Unavailable):
    """The cluster's files cannot be reached."""

    code = "files-unavailable"


@dataclass(frozen=True)
class ClusterSettings:
    """One registered cluster: where its slurmrestd and its files are, and the keys to act there as its users."""

    name: str
    slurmrestd_url: str
    jwt_key_file: Path
    service_user: str = "slurm"
    login_host: str | None = None
    login_port: int = 22
    ssh_ca_key_file: Path | None = None
    ssh_known_hosts_file: Path | None = None


@dataclass(frozen=True)
class NotWatched:
    """Nobody in this process has looked at the cluster yet."""

    since: datetime


@dataclass(frozen=True)
class Reachable:
    """Slurm answers."""

    since: datetime


@dataclass(frozen=True)
class Unreachable:
    """Slurm does not answer, or not believably. `code` is slurmrest's, or `empty_unconfirmed`. The snapshot stands."""

    since: datetime
    code: str
    text: str


Condition = NotWatched | Reachable | Unreachable


@dataclass
class WatchCounters:
    """What the watch has cost Slurm since it began: requests sent, answered or not."""

    sweeps: int = 0
    full_dumps: int = 0
    detail_fetches: int = 0
    resource_fetches: int = 0
    errors: int = 0


@dataclass(frozen=True, slots=True)
class WatchedJob:
    """One record of slurmctld: a job, a started array task, the tasks of an array that wait, or a het component.

    `states` is of the snapshot's sweep. `details` may be older (`details_at` says when they were asked for) or missing:
    None means not known, not empty.
    """

    job_id: int
    """The record's own id. Of an array's waiting tasks it is the array's; a task gets its own when it starts."""
    array_job_id: int | None
    """The array's id. None: not an array, or (when `array_tasks` is not empty) not known before the details are."""
    array_tasks: tuple[int, ...]
    """The task numbers the record stands for; empty if it is no array's."""
    states: tuple[str, ...]
    """Slurm's words, base state first."""
    details: slurmrest.Job | None = None
    details_at: datetime | None = None

    @property
    def filed_under(self) -> int:
        """The id under which a snapshot holds it: the array's, the het job's leader's, or its own."""
        if self.array_job_id is not None:
            return self.array_job_id
        if self.details is not None and self.details.het_job_id is not None:
            return self.details.het_job_id
        return self.job_id

    @property
    def array_task(self) -> int | None:
        """The task number, where the record stands for just one."""
        return self.array_tasks[0] if len(self.array_tasks) == 1 else None

    @property
    def state(self) -> str:
        """The base state, or `UNKNOWN`."""
        return self.states[0] if self.states else "UNKNOWN"

    @property
    def finished(self) -> bool:
        """Whether the base state is final and nothing is still being cleaned up."""
        return self.state in slurmrest.FINISHED and "COMPLETING" not in self.states


NO_JOBS: Mapping[int, tuple[WatchedJob, ...]] = MappingProxyType({})


@dataclass(frozen=True)
class Snapshot:
    """One consistent view of a cluster; immutable. All job states are of one sweep, begun at `taken_at`."""

    sequence: int
    taken_at: datetime
    jobs: Mapping[int, tuple[WatchedJob, ...]] = field(default_factory=lambda: NO_JOBS)
    """By job id; arrays under the ARRAY's id, heterogeneous jobs under the leader's."""
    nodes: tuple[slurmrest.Node, ...] = ()
    nodes_at: datetime | None = None
    """None: not known yet."""
    partitions: tuple[slurmrest.Partition, ...] = ()
    partitions_at: datetime | None = None

    def job(self, job_id: int) -> tuple[WatchedJob, ...]:
        """Return a job's records; none when slurmctld does not know it (any more: then ask accounting)."""
        return self.jobs.get(job_id, ())
