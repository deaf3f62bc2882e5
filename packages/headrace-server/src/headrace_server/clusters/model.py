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


class UserNameInvalid(Invalid):
    """This is not the name of an ordinary user."""

    code = "user-name-invalid"


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
    """One record of slurmctld: a job, a split-off array task, the rest of an array, or a het component.

    `states` is of the snapshot's sweep. `details` may be older (`details_at` says when they were asked for) or missing:
    None means not known, not empty.
    """

    key: slurmrest.JobKey
    """As Slurm writes it: `123`, `123_4`, `123_[5-9]`, `123+1`."""
    job_id: int
    """The id it is filed under: the array's for a task, the leader's for a het component, else its own."""
    array_job_id: int | None
    array_task: int | None
    """The index of a task that slurmctld has split off."""
    array_tasks: str | None
    """The indexes that are not split off yet: `5-9`, `0,3-7:2`; one record stands for all of them."""
    het_offset: int | None
    states: tuple[str, ...]
    """Slurm's words, base state first."""
    details: slurmrest.Job | None = None
    details_at: datetime | None = None

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
