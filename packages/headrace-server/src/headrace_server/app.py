"""The composition root: the one place that chooses parts and joins them."""

import asyncio
import os
import secrets
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import asdict, dataclass
from importlib.metadata import version

from fastapi import Depends, FastAPI, Request
from fastapi.responses import JSONResponse
from starlette.middleware.trustedhost import TrustedHostMiddleware

from headrace_server import portal
from headrace_server.clusters import Cluster, Clusters, NotWatched, Reachable, Unreachable
from headrace_server.clusters import api as clusters_api
from headrace_server.identity import Identity, current_person
from headrace_server.identity import api as identity_api
from headrace_server.identity import pages as identity_pages
from headrace_server.kernel import (
    Database,
    HeadraceError,
    LocalWakeups,
    PostgresWakeups,
    SystemClock,
    Wakeups,
    problems,
)
from headrace_server.runs import Runs
from headrace_server.runs import api as runs_api
from headrace_server.runs import pages as runs_pages
from headrace_server.settings import Settings
from headrace_server.worker import work


@dataclass(frozen=True)
class House:
    """All parts of one server process, joined."""

    settings: Settings
    database: Database
    wakeups: Wakeups
    clusters: Clusters
    identity: Identity
    runs: Runs

    async def close(self) -> None:
        """Close connections, in the order opposite to their making."""
        await self.clusters.close()
        await self.database.close()


def join(settings: Settings) -> House:
    """Make the parts that `settings` ask for. Opens nothing yet."""
    clock = SystemClock()
    database = Database(settings.database, clock)
    wakeups: Wakeups = LocalWakeups() if database.is_sqlite else PostgresWakeups(database)
    clusters = Clusters(settings.clusters, clock, wakeups)
    identity = Identity(database, clock)
    runs = Runs(database, clock, wakeups, clusters)
    return House(settings, database, wakeups, clusters, identity, runs)


def build(settings: Settings, *, api: bool = True, worker: bool = True, holder: str | None = None) -> FastAPI:
    """Return the application. With `worker`, its background work runs in this process too, under the name `holder`."""
    house = join(settings)
    holder = holder or f"{os.uname().nodename}:{os.getpid()}:{secrets.token_hex(4)}"

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncGenerator[None]:
        async with AsyncExitStack() as stack:
            stack.push_async_callback(house.close)
            await house.database.migrate()
            if worker:
                task = asyncio.create_task(
                    work(house.database, house.wakeups, house.clusters, house.runs, holder), name="worker"
                )
                stack.push_async_callback(_stop, task)
            elif isinstance(house.wakeups, PostgresWakeups):
                task = asyncio.create_task(house.wakeups.run(), name="wake-ups")
                stack.push_async_callback(_stop, task)
            yield

    app = FastAPI(
        title="Headrace",
        version=version("headrace-server"),
        description="Self-service HPC on Slurm. Errors are RFC 9457 problems; docs/errors.md lists their codes.",
        lifespan=lifespan,
        openapi_url="/api/v1/openapi.json",
        docs_url=None,
        redoc_url=None,
    )
    app.state.settings, app.state.database, app.state.wakeups = settings, house.database, house.wakeups
    app.state.clusters, app.state.identity, app.state.runs = house.clusters, house.identity, house.runs
    problems.install(app, portal.error_page)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=settings.allowed_hosts, www_redirect=False)
    _add_health(app, house)
    if api:
        for room in (identity_api, clusters_api, runs_api):
            # The clusters' room knows nobody, so it is said here that only people who are logged in may look.
            known = [Depends(current_person)] if room is clusters_api else []
            app.include_router(room.router, prefix="/api/v1", responses=problems.RESPONSES, dependencies=known)
        portal.install(app)
        for room in (identity_pages, runs_pages):
            app.include_router(room.router)
    return app


@dataclass(frozen=True)
class Check:
    """One part's answer to "are you there?"."""

    name: str
    ok: bool
    detail: str = ""


def _add_health(app: FastAPI, house: House) -> None:
    @app.get("/healthz", include_in_schema=False)
    async def healthz() -> dict[str, str]:
        """Say that the process answers."""
        return {"status": "ok"}

    @app.get("/readyz", include_in_schema=False)
    async def readyz(_: Request) -> JSONResponse:
        """Say whether this process can do its work: the database must answer; clusters are reported, not required."""
        checks = [await _check_database(house.database)]
        checks += [_check_cluster(cluster) for cluster in house.clusters]
        ready = checks[0].ok
        return JSONResponse({"ready": ready, "checks": [asdict(check) for check in checks]}, 200 if ready else 503)


async def _check_database(database: Database) -> Check:
    try:
        await database.ping()
    except HeadraceError as error:
        return Check("database", ok=False, detail=error.detail)
    return Check("database", ok=True)


def _check_cluster(cluster: Cluster) -> Check:
    name, condition = f"cluster {cluster.name}", cluster.watch.condition
    match condition:
        case Reachable():
            return Check(name, ok=True)
        case Unreachable():
            return Check(name, ok=False, detail=f"{condition.code}: {condition.text}")
        case NotWatched():
            return Check(name, ok=True, detail="watched by another process, or not yet")


async def _stop(task: "asyncio.Task[None]") -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
