"""The registered clusters, and how to act on one as one of its users."""

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from datetime import datetime

import httpx

import slurmrest
from headrace_server.clusters.files import Files
from headrace_server.clusters.files.sftp import SftpFiles
from headrace_server.clusters.model import ClusterSettings, NoSuchCluster
from headrace_server.clusters.watch import Watch
from headrace_server.kernel import Clock, Wakeups, checked_user_name

TOKEN_LIFESPAN_S = 900
SUBMISSION_LIFESPAN_S = 60
"""How long the token of one submission is good. After a crash, so long "Slurm has no such job" is not final."""
VIEWS_KEPT = 1000


class Cluster:
    """One Slurm cluster: its watch, its files, and its REST API as any of its users."""

    def __init__(
        self,
        settings: ClusterSettings,
        clock: Clock,
        wakeups: Wakeups,
        *,
        transport: httpx.AsyncBaseTransport | None = None,
        files: Files | None = None,
    ) -> None:
        self.name = settings.name
        self.settings = settings
        self._clock = clock
        self._service = slurmrest.AsyncClient(
            settings.slurmrestd_url, self._token(settings.service_user), transport=transport
        )
        self._views: OrderedDict[str, slurmrest.AsyncClient] = OrderedDict()
        self.watch = Watch(settings.name, self._service, clock, wakeups)
        self.files: Files = files or SftpFiles(settings, clock)

    def slurm(self, user: str) -> slurmrest.AsyncClient:
        """Return Slurm as `user` sees it, with tokens of 15 minutes signed by the cluster's key. One pool for all."""
        view = self._views.get(user)
        if view is None:
            view = self._service.acting_as(self._token(checked_user_name(user)))
            self._views[user] = view
            if len(self._views) > VIEWS_KEPT:
                self._views.popitem(last=False)
        self._views.move_to_end(user)
        return view

    def age_s(self, moment: datetime) -> float:
        """Return how long ago something was known."""
        return (self._clock.now() - moment).total_seconds()

    async def close(self) -> None:
        """Let go of all connections."""
        await self.files.close()
        await self._service.aclose()

    def _token(self, user: str) -> slurmrest.HS256Key:
        return slurmrest.HS256Key(
            self.settings.jwt_key_file,
            user=user,
            lifespan_s=TOKEN_LIFESPAN_S,
            submission_lifespan_s=SUBMISSION_LIFESPAN_S,
        )


class Clusters:
    """All registered clusters; the first one is meant where none is named."""

    def __init__(self, settings: Sequence[ClusterSettings], clock: Clock, wakeups: Wakeups) -> None:
        self._clusters = {one.name: Cluster(one, clock, wakeups) for one in settings}

    def get(self, name: str | None = None) -> Cluster:
        """Return a cluster by name, the first one for None; raise `NoSuchCluster`."""
        if name is None and self._clusters:
            return next(iter(self))
        cluster = self._clusters.get(name or "")
        if cluster is None:
            raise NoSuchCluster(
                f"There is no cluster {name!r}." if name else "No cluster is registered.",
                field="cluster",
                asked=name,
                allowed=sorted(self._clusters),
            )
        return cluster

    def __iter__(self) -> Iterator[Cluster]:
        return iter(self._clusters.values())

    async def close(self) -> None:
        """Let go of all connections."""
        for cluster in self:
            await cluster.close()
