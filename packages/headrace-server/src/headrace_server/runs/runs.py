"""The room's one door: every page, route and command asks `Runs`; each use case lives in the file of its verb."""

from collections.abc import AsyncIterator

from headrace_server.clusters import Cluster, Clusters
from headrace_server.identity import Identity, Person
from headrace_server.kernel import Clock, Controller, Database, Wakeups
from headrace_server.runs.model import LogChunk, NewRun, Page, Preset, Run, RunFilter, Stream


class Runs:
    """Runs of all clusters. Another user's run is `NoSuchRun`; operators may read and cancel all."""

    def __init__(
        self, database: Database, clock: Clock, wakeups: Wakeups, clusters: Clusters, identity: Identity
    ) -> None:
        raise NotImplementedError

    async def submit(
        self, person: Person, new: NewRun, *, idempotency_key: str | None = None, wait_s: float | None = None
    ) -> Run:
        """Write the wish down and answer with Slurm's answer, or after `wait_s` (default: the wish's own).

        Raises what preflight refuses (nothing is stored then), and a `SlurmRefused` that names the run.
        """
        raise NotImplementedError

    async def get(self, person: Person, run_id: str) -> Run:
        """Return one run."""
        raise NotImplementedError

    async def list(
        self, person: Person, which: RunFilter | None = None, cursor: str | None = None, limit: int = 50
    ) -> Page[Run]:
        """Return a page of runs, newest first."""
        raise NotImplementedError

    async def script(self, person: Person, run_id: str) -> str:
        """Return the batch script exactly as Slurm got it."""
        raise NotImplementedError

    async def cancel(self, person: Person, run_id: str) -> Run:
        """Ask for the run's end. Raises `RunEnded` when it has ended."""
        raise NotImplementedError

    async def read_log(
        self, person: Person, run_id: str, *, stream: Stream, task: int | None, offset: int, limit: int
    ) -> LogChunk:
        """Return a piece of the log from `offset`; empty, with size None, while there is no file."""
        raise NotImplementedError

    def follow_log(
        self, person: Person, run_id: str, *, stream: Stream, task: int | None, offset: int = 0
    ) -> AsyncIterator[LogChunk]:
        """Yield the log from `offset` as it grows; the last piece says `ended`. A heartbeat is an empty piece."""
        raise NotImplementedError

    def watch(self, person: Person, run_id: str | None = None) -> AsyncIterator[Run | None]:
        """Yield a run (or each of the person's runs) now and whenever it changes; None is a heartbeat.

        With `run_id` the iteration ends when the run has ended; without, only changes are yielded, for ever.
        """
        raise NotImplementedError

    def presets(self) -> tuple[Preset, ...]:
        """Return the presets, the default first."""
        raise NotImplementedError

    def controllers(self, cluster: Cluster) -> tuple[Controller, ...]:
        """Return what keeps the runs of one cluster going: the submitter and the follower."""
        raise NotImplementedError
