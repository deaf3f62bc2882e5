"""Leadership and the reconcile loop.

`hold` runs a body in whichever replica holds a lease. Inside it, `reconcile` looks at the world, brings it one step
nearer to what is wanted, and sleeps until called. A controller takes no input but its lease: it reads the world again
each time, so a missed call or a crash costs only a delay.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol

import structlog

from headrace_server.kernel.errors import HeadraceError
from headrace_server.kernel.leases import Lease, LeaseLost, Leases
from headrace_server.kernel.wakeups import Wakeups

BACKOFF_FIRST_S, BACKOFF_MOST_S = 0.5, 30.0
log = structlog.get_logger()


class Controller(Protocol):
    """Something that keeps one part of the world in order."""

    name: str
    topic: str

    async def reconcile(self, lease: Lease) -> float:
        """Do what is due now; return in how many seconds to look again, called or not."""
        ...


async def reconcile(controller: Controller, lease: Lease, wakeups: Wakeups) -> None:
    """Run `controller` until cancelled. What it raises is logged and tried again, later and later."""
    backoff_s = BACKOFF_FIRST_S
    async with wakeups.subscribe(controller.topic) as calls:
        while True:
            try:
                wait_s = await controller.reconcile(lease)
                backoff_s = BACKOFF_FIRST_S
            except LeaseLost:
                raise
            except Exception as error:
                log.error("controller failed", controller=controller.name, exc_info=error)
                await asyncio.sleep(backoff_s)
                backoff_s = min(backoff_s * 2, BACKOFF_MOST_S)
                continue
            await calls.names(wait_s)


async def hold(name: str, leases: Leases, body: Callable[[Lease], Awaitable[None]]) -> None:
    """Run `body` whenever this process holds the lease `name`, until cancelled. Losing it cancels the body."""
    while True:
        lease = await _acquire(name, leases)
        if lease is None:
            await asyncio.sleep(leases.ttl_s / 3)
            continue
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(_keep(lease, leases))
                group.create_task(_run(body, lease))
        except* LeaseLost:
            log.info("lease lost", lease=name)
        except* Exception as errors:
            log.error("the work under a lease failed; it starts again", lease=name, exc_info=errors)
            await asyncio.sleep(BACKOFF_FIRST_S)
        finally:
            await asyncio.shield(_give_back(lease, leases))


async def _run(body: Callable[[Lease], Awaitable[None]], lease: Lease) -> None:
    await body(lease)
    raise LeaseLost(f"{lease.name}: the work ended")


async def _acquire(name: str, leases: Leases) -> Lease | None:
    try:
        return await leases.acquire(name)
    except HeadraceError as error:
        log.warning("cannot take a lease", lease=name, error=str(error))
        return None


async def _keep(lease: Lease, leases: Leases) -> None:
    """Renew the lease while the work goes on. While the database is away the lease may run out: then we stop."""
    failing_for_s = 0.0
    while True:
        await asyncio.sleep(leases.ttl_s / 3)
        try:
            await leases.renew(lease)
            failing_for_s = 0.0
        except LeaseLost:
            raise
        except HeadraceError as error:
            failing_for_s += leases.ttl_s / 3
            if failing_for_s >= leases.ttl_s:
                raise LeaseLost(f"{lease.name}: could not be renewed: {error}") from error


async def _give_back(lease: Lease, leases: Leases) -> None:
    try:
        await leases.release(lease)
    except HeadraceError as error:
        log.info("lease not given back; it will expire", lease=lease.name, error=str(error))
