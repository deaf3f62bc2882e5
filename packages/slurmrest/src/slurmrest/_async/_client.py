"""The client."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from types import TracebackType
from typing import TYPE_CHECKING

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
from .._tokens import TokenProvider

if TYPE_CHECKING:
    import httpx


class AsyncClient:
    """One slurmrestd, seen as one user. Views made by `acting_as` share connections and the negotiated version."""

    def __init__(
        self,
        url: str,
        token: TokenProvider,
        *,
        version: str | None = None,
        timeout_s: float = 60,
        connect_timeout_s: float = 5,
        max_connections: int = 8,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        raise NotImplementedError

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close all connections. A view made by `acting_as` closes nothing."""
        raise NotImplementedError

    def acting_as(self, token: TokenProvider) -> AsyncClient:
        """Return a client with another identity on the same connections."""
        raise NotImplementedError

    async def api_version(self) -> str:
        """Return the API version in use, such as ``"v0.0.45"``: the highest that both sides speak."""
        raise NotImplementedError

    async def ping(self) -> tuple[ControllerPing, ...]:
        """Return whether each slurmctld answers slurmrestd. A refused token raises, unlike in the API itself."""
        raise NotImplementedError

    async def job_states(self) -> JobStates:
        """Return the states of all jobs in slurmctld; cheap enough for once a second."""
        raise NotImplementedError

    async def jobs(self, *, update_time: datetime | None = None) -> JobList:
        """Return all jobs in slurmctld: about 8 kB and 1 ms of the daemon's time for each job."""
        raise NotImplementedError

    async def job(self, job_id: int | str) -> tuple[Job, ...]:
        """Return a job's records: several for an array or a heterogeneous job, one for ``"123_4"`` or ``"123+1"``."""
        raise NotImplementedError

    async def submit(
        self,
        description: JobDescription,
        *,
        operation_key: str | None = None,
        since: datetime | None = None,
        settle_s: float = 5,
    ) -> Submitted:
        """Submit a batch job; with an operation key, exactly once."""
        raise NotImplementedError

    async def find_operation(self, operation_key: str, *, user: str, since: datetime) -> FoundOperation | None:
        """Return the job that carries the key, wherever Slurm still knows it; None if there is none."""
        raise NotImplementedError

    async def cancel(self, job_id: int | str, *, signal: str | int | None = None) -> None:
        """Cancel a job or array task (``"123_4"``), or send it a signal."""
        raise NotImplementedError

    async def nodes(self, *, update_time: datetime | None = None) -> NodeList:
        """Return all nodes."""
        raise NotImplementedError

    async def partitions(self, *, update_time: datetime | None = None) -> PartitionList:
        """Return all partitions."""
        raise NotImplementedError

    async def history(
        self,
        *,
        job_id: int | str | None = None,
        users: Sequence[str] = (),
        start: datetime | None = None,
        end: datetime | None = None,
        skip_steps: bool = True,
    ) -> tuple[HistoryJob, ...]:
        """Return jobs from accounting."""
        raise NotImplementedError
