"""The client: what people do with a cluster, in version-neutral values."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from types import TracebackType
from typing import TYPE_CHECKING

from .. import _failure, _reading, _wire
from .._errors import AlreadyFinished, InvalidRequest, JobNotFound, SlurmdbUnavailable
from .._model import (
    ControllerPing,
    FoundOperation,
    HistoryJob,
    Job,
    JobDescription,
    JobList,
    JobStates,
    NodeList,
    PartitionList,
    Submitted,
)
from .._query import Value, check_signal, split_job_id
from .._tokens import TokenProvider
from . import _submitting
from ._connection import Connection
from ._exchange import Exchange

if TYPE_CHECKING:
    import ssl

    import httpx


class AsyncClient:
    """One slurmrestd, seen as one user.

    ``url`` is ``http://host:6820``, ``https://…`` or ``unix:/path/to/socket``. ``version`` pins the API version, which
    is negotiated otherwise. ``timeout_s`` is the longest silence in an answer. At most ``max_connections`` are open at
    a time, however many views (`acting_as`) share them. ``operation_key_in`` says which field of a job carries the
    operation key: ``"extra"`` or ``"comment"`` (then after the user's own text).
    """

    def __init__(  # noqa: PLR0913 - each is one setting with a default that fits
        self,
        url: str,
        token: TokenProvider,
        *,
        version: str | None = None,
        timeout_s: float = 60,
        connect_timeout_s: float = 5,
        max_connections: int = 8,
        verify: ssl.SSLContext | bool = True,
        operation_key_in: str = "extra",
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        if operation_key_in not in {"extra", "comment"}:
            raise InvalidRequest("operation_key_in is extra or comment.")
        connection = Connection(
            url,
            version=version,
            timeout_s=timeout_s,
            connect_timeout_s=connect_timeout_s,
            max_connections=max_connections,
            verify=verify,
            transport=transport,
        )
        self._exchange = Exchange(connection, token)
        self._operation_key_in = operation_key_in
        self._owns_connection = True

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close all connections. A view made by `acting_as` closes nothing."""
        if self._owns_connection:
            await self._exchange.connection.aclose()

    def acting_as(self, token: TokenProvider) -> AsyncClient:
        """Return a client with another identity on the same connections; cheap enough to make for one call."""
        view = object.__new__(type(self))
        view._exchange = Exchange(self._exchange.connection, token)
        view._operation_key_in = self._operation_key_in
        view._owns_connection = False
        return view

    @property
    def user(self) -> str | None:
        """The user this client acts as, where its token provider says so."""
        return self._exchange.token.user

    async def api_version(self) -> str:
        """Return the API version in use, such as ``"v0.0.45"``: the highest that both sides speak."""
        return (await self._exchange.version()).name

    async def ping(self) -> tuple[ControllerPing, ...]:
        """Return whether each slurmctld answers slurmrestd.

        Raises `AuthenticationFailed` for a refused token, which slurmrestd itself reports as a controller that is down.
        """
        answer = await self._exchange.get(_wire.PingAnswer, ("ping", ""))
        pings = tuple(_reading.ping(record) for record in (answer.pings if answer else None) or ())
        if any("authentication" in (ping.status or "").lower() for ping in pings) or not any(
            ping.responding for ping in pings
        ):
            await self._exchange.check_token()
        return pings

    async def job_states(self) -> JobStates:
        """Return the states of all jobs in slurmctld; cheap enough for once a second."""
        answer = await self._exchange.get(_wire.StatesAnswer, ("jobs", "state", ""))
        return _reading.job_states((answer.jobs if answer else None) or ())

    async def jobs(self, *, update_time: datetime | None = None) -> JobList:
        """Return all jobs in slurmctld: about 8 kB and 1 ms of the daemon's time for each job.

        With ``update_time`` the answer may be ``unchanged``.
        """
        answer = await self._exchange.get(_wire.JobsAnswer, ("jobs", ""), _since(update_time))
        last_update = _wire.moment(answer.last_update) if answer else None
        # slurmrestd says "nothing changed" as a 200 with no jobs and no last_update.
        if answer is None or (update_time is not None and last_update is None):
            return JobList(unchanged=True, last_update=update_time)
        return JobList(
            jobs=tuple(_reading.job(record) for record in answer.jobs or ()),
            last_update=last_update,
            last_backfill=_wire.moment(answer.last_backfill),
        )

    async def job(self, job_id: int | str) -> tuple[Job, ...]:
        """Return a job's records: several for an array or a heterogeneous job, one for ``"123_4"`` or ``"123+1"``.

        Raises `JobNotFound` for what slurmctld does not know (any more).
        """
        base, task, offset = split_job_id(job_id)
        answer = await self._exchange.get(_wire.JobsAnswer, ("job", base))
        found = tuple(_reading.job(record) for record in (answer.jobs if answer else None) or ())
        # slurmrestd answers with the whole array whatever was asked.
        if task is not None:
            found = tuple(job for job in found if _reading.holds_task(job, task))
        if offset is not None:
            found = tuple(job for job in found if job.het_job_offset == offset)
        if not found:
            raise JobNotFound(f"Slurm's controller does not know job {job_id}.")
        return found

    async def submit(
        self, description: JobDescription, *, operation_key: str | None = None, settle_s: float = 5
    ) -> Submitted:
        """Submit a batch job; with an operation key, exactly once.

        When the answer is lost, the key is looked up for ``settle_s`` seconds: the job is returned with ``found``, or
        `SubmissionUncertain` says from when on `find_operation` is final. The job is sent a second time only when it is
        certain that the first request can no longer be accepted. Without a key a lost answer raises `TimedOut` or
        `ConnectionLost` with ``effect_unknown``.

        What cannot be a job is refused before anything is sent (`InvalidRequest` and below, ``errno`` None).
        """
        return await _submitting.submit(self._exchange, description, operation_key, self._operation_key_in, settle_s)

    async def find_operation(
        self, operation_key: str, *, since: datetime | None, user: str | None = None
    ) -> FoundOperation | None:
        """Return the job that carries the key, wherever Slurm still knows it; None if there is none.

        ``since``: the job was not submitted before this (None looks everywhere, at the cost of a whole dump). ``user``:
        whose job it is; the client's user if not given. None is final only after the ``certain_after`` of the
        submission's `SubmissionUncertain`. Raises when Slurm cannot tell: an unreachable daemon is not a None.
        """
        return await _submitting.find_operation(self._exchange, operation_key, since, user or self.user)

    async def cancel(self, job_id: int | str, *, signal: str | int | None = None) -> None:
        """Cancel a job or array task (``"123_4"``), or send it a signal (``"USR1"``, 10).

        Cancelling an array of which a part has ended cancels the rest. Raises `JobNotFound`, `AlreadyFinished`,
        `PermissionDenied`. Never repeated by itself.
        """
        base, task, _ = split_job_id(job_id)
        # An unknown signal would not be refused: slurmrestd reports it and kills the job.
        query: list[tuple[str, Value]] = [] if signal is None else [("signal", check_signal(signal))]
        answer = await self._exchange.change(_wire.CancelAnswer, "DELETE", ("job", job_id), query)
        # The truth is in `status`, which lists what was not done; HTTP says 200 and `errors` is empty.
        failed = [(item, item.error) for item in answer.status or () if item.error is not None and item.error.code]
        for _, error in failed:
            if error.code != _failure.ALREADY_DONE:
                raise _failure.error_of(error.code or 0, error.message or error.string, f"job {job_id}")
        if failed:
            ended = {_wire.integer(item.job_id) for item, _ in failed}
            records = await self.job(base if task is None else job_id)
            if all(job.job_id in ended for job in records):
                raise AlreadyFinished(f"Job {job_id} has already ended.", errno=_failure.ALREADY_DONE)

    async def nodes(self, *, update_time: datetime | None = None) -> NodeList:
        """Return all nodes. With ``update_time`` the answer may be ``unchanged``."""
        answer = await self._exchange.get(_wire.NodesAnswer, ("nodes", ""), _since(update_time))
        last_update = _wire.moment(answer.last_update) if answer else None
        if answer is None or (update_time is not None and last_update is None):
            return NodeList(unchanged=True, last_update=update_time)
        return NodeList(nodes=tuple(_reading.node(record) for record in answer.nodes or ()), last_update=last_update)

    async def partitions(self, *, update_time: datetime | None = None) -> PartitionList:
        """Return all partitions. With ``update_time`` the answer may be ``unchanged``."""
        answer = await self._exchange.get(_wire.PartitionsAnswer, ("partitions", ""), _since(update_time))
        last_update = _wire.moment(answer.last_update) if answer else None
        if answer is None or (update_time is not None and last_update is None):
            return PartitionList(unchanged=True, last_update=update_time)
        says_flags = (await self._exchange.version()).partition_flags
        return PartitionList(
            partitions=tuple(_reading.partition(record, says_flags=says_flags) for record in answer.partitions or ()),
            last_update=last_update,
        )

    async def history(
        self,
        *,
        job_id: int | str | None = None,
        users: Sequence[str] = (),
        accounts: Sequence[str] = (),
        names: Sequence[str] = (),
        states: Sequence[str] = (),
        start: datetime | None = None,
        end: datetime | None = None,
        skip_steps: bool = True,
    ) -> tuple[HistoryJob, ...]:
        """Return jobs from accounting: one job (several records for an array), or those active in a period.

        Without ``start`` slurmdbd begins at midnight, as sacct does. An unknown job is an empty answer.
        """
        query: list[tuple[str, Value]] = [("skip_steps", True)] if skip_steps else []
        if job_id is not None:
            split_job_id(job_id)
            query.append(("step", str(job_id)))
        query += [("users", user) for user in users]
        query += [("account", account) for account in accounts]
        query += [("job_name", name) for name in names]
        query += [("state", state) for state in states]
        if start is not None:
            query.append(("start_time", start))
        if end is not None or states:
            # slurmdbd takes states at the end of the period: without an end the period is empty.
            query.append(("end_time", end or datetime.now(UTC)))
        try:
            answer = await self._exchange.get(_wire.HistoryAnswer, ("jobs", ""), query, family="slurmdb")
        except SlurmdbUnavailable as error:
            # A refused token looks like a database that is down.
            if error.code != "no_accounting":
                await self._exchange.check_token()
            raise
        return tuple(_reading.history_job(record) for record in (answer.jobs if answer else None) or ())


def _since(update_time: datetime | None) -> list[tuple[str, Value]]:
    return [] if update_time is None else [("update_time", update_time)]
