"""The room's one door: every page, route and command asks `Runs`; each use case lives in the file of its verb."""

from collections.abc import AsyncIterator

from headrace_server.clusters import Cluster, Clusters
from headrace_server.identity import Person
from headrace_server.kernel import Clock, Controller, Database, Wakeups
from headrace_server.runs import log, store
from headrace_server.runs.cancel import cancel
from headrace_server.runs.cursor import position_of, written
from headrace_server.runs.follower import Follower
from headrace_server.runs.hear import changes, changes_of_all
from headrace_server.runs.model import ENDED, LogChunk, NewRun, Page, Preset, Run, RunFilter, Stream
from headrace_server.runs.presets import every_preset
from headrace_server.runs.refusals import NoSuchRun
from headrace_server.runs.steps import Steps, no_steps
from headrace_server.runs.submit import Parts, submit
from headrace_server.runs.submitter import Submitter
from headrace_server.runs.tables import Record
from headrace_server.runs.tail import Tails
from headrace_server.runs.view import view

MOST_LISTED = 500


class Runs:
    """Runs of all clusters. Another user's run is `NoSuchRun`; operators may read and cancel all."""

    def __init__(self, database: Database, clock: Clock, wakeups: Wakeups, clusters: Clusters) -> None:
        self.steps: Steps = no_steps
        """Fault points (`runs.steps`), set by tests before the server begins."""
        self._parts = Parts(database, clock, wakeups, clusters, self._step)
        self._tails = Tails()

    async def submit(
        self, person: Person, new: NewRun, *, idempotency_key: str | None = None, wait_s: float | None = None
    ) -> Run:
        """Write the wish down and answer with Slurm's answer, or after `wait_s` (default: the wish's own).

        Raises what preflight refuses (nothing is stored then), and a `SlurmRefused` that names the run.
        """
        return await self._shown(await submit(self._parts, person, new, idempotency_key, wait_s))

    async def get(self, person: Person, run_id: str) -> Run:
        """Return one run."""
        return await self._shown(await self._allowed(person, run_id))

    async def list(
        self, person: Person, which: RunFilter | None = None, cursor: str | None = None, limit: int = 50
    ) -> Page[Run]:
        """Return a page of runs, newest first."""
        which = which or RunFilter()
        limit = min(max(limit, 1), MOST_LISTED)
        user = which.user if person.role == "operator" else person.name
        before = None if cursor is None else position_of(cursor)
        async with self._parts.database.read() as connection:
            records = await store.page(connection, user=user, states=which.states, before=before, limit=limit + 1)
            shown = await view(connection, records[:limit], self._parts.clusters, self._parts.clock.now())
        following = written(records[limit - 1]) if len(records) > limit else None
        return Page(shown, following)

    async def script(self, person: Person, run_id: str) -> str:
        """Return the batch script exactly as Slurm got it."""
        record = await self._allowed(person, run_id)
        async with self._parts.database.read() as connection:
            return await store.script(connection, record.id)

    async def cancel(self, person: Person, run_id: str) -> Run:
        """Ask for the run's end. Raises `RunEnded` when it has ended."""
        record = await self._allowed(person, run_id)
        return await self._shown(await cancel(self._parts, record.id))

    async def read_log(
        self, person: Person, run_id: str, *, stream: Stream, task: int | None, offset: int, limit: int
    ) -> LogChunk:
        """Return a piece of the log from `offset`; empty, with size None, while there is no file."""
        record = await self._allowed(person, run_id)
        return await log.read_log(self._parts, record, stream, task, offset, limit)

    async def follow_log(
        self, person: Person, run_id: str, *, stream: Stream, task: int | None, offset: int = 0
    ) -> AsyncIterator[LogChunk]:
        """Yield the log from `offset` as it grows; the last piece says `ended`. A heartbeat is an empty piece."""
        record = await self._allowed(person, run_id)
        async for chunk in log.follow_log(self._parts, self._tails, record, stream, task, offset):
            yield chunk

    async def watch(self, person: Person, run_id: str | None = None) -> AsyncIterator[Run | None]:
        """Yield a run now and whenever it changes, until it has ended; or, without `run_id`, changes of all the
        person's runs, for ever (an operator's: everybody's). None is a heartbeat; the first one says "I listen now".
        """
        if run_id is None:
            everybody = None if person.role == "operator" else person.name
            async for record in changes_of_all(self._parts.database, self._parts.wakeups, everybody):
                yield None if record is None else await self._shown(record)
            return
        record = await self._allowed(person, run_id)
        async for change in changes(self._parts.database, self._parts.wakeups, record.id, record.user_name):
            yield None if change is None else await self._shown(change)
            if change is not None and change.state in ENDED:
                return

    def presets(self) -> tuple[Preset, ...]:
        """Return the presets, the default first."""
        return every_preset()

    def controllers(self, cluster: Cluster) -> tuple[Controller, ...]:
        """Return what keeps the runs of one cluster going: the submitter and the follower."""
        parts = self._parts
        common = (cluster, parts.database, parts.clock, parts.wakeups, parts.steps)
        return Submitter(*common), Follower(*common)

    async def _step(self, name: str) -> None:
        await self.steps(name)

    async def _allowed(self, person: Person, run_id: str) -> Record:
        async with self._parts.database.read() as connection:
            record = await store.find(connection, run_id)
        if record is None or (record.user_name != person.name and person.role != "operator"):
            raise NoSuchRun(f"There is no run {run_id[:40]!r}.", asked=run_id[:40])
        return record

    async def _shown(self, record: Record) -> Run:
        async with self._parts.database.read() as connection:
            (run,) = await view(connection, [record], self._parts.clusters, self._parts.clock.now())
        return run
