"""Leases with fencing tokens: of all replicas, one runs a controller, and one that slept too long cannot write.

A lease is a row. Its token grows at every change of holder; a holder's write transaction asserts its token
(`Lease.guard`), so a process that lost the lease while it was paused fails instead of overwriting its successor.
"""

from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import BigInteger, Column, String, Table, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from headrace_server.kernel.database import Database, UtcDateTime, metadata
from headrace_server.kernel.errors import Conflict

leases = Table(
    "leases",
    metadata,
    Column("name", String(200), primary_key=True),
    Column("holder", String(200)),
    Column("token", BigInteger, nullable=False),
    Column("expires_at", UtcDateTime(), nullable=False),
)


class LeaseLost(Conflict):
    """Another replica has taken over."""

    code = "lease-lost"


@dataclass(frozen=True)
class Lease:
    """The right to run `name` until it expires; `token` grows with every change of holder."""

    name: str
    holder: str
    token: int

    async def guard(self, connection: AsyncConnection) -> None:
        """Raise `LeaseLost` in the caller's write transaction unless this lease is still the newest."""
        row = (
            await connection.execute(select(leases.c.token).where(leases.c.name == self.name).with_for_update())
        ).one_or_none()
        if row is None or row.token != self.token:
            raise LeaseLost(f"{self.name} is now run by another process.")


class Leases:
    """Takes, renews and gives back leases for one process, named `holder`."""

    def __init__(self, database: Database, holder: str, ttl_s: float = 15.0) -> None:
        self._database = database
        self._holder = holder
        self.ttl_s = ttl_s

    async def acquire(self, name: str) -> Lease | None:
        """Take the lease if it is free, expired, or already ours (a restart under the same name gets a new token)."""
        async with self._database.write() as connection:
            now = await self._database.now(connection)
            expires_at = now + timedelta(seconds=self.ttl_s)
            row = (
                await connection.execute(select(leases).where(leases.c.name == name).with_for_update())
            ).one_or_none()
            if row is None:
                try:
                    async with connection.begin_nested():
                        values = {"name": name, "holder": self._holder, "token": 1, "expires_at": expires_at}
                        await connection.execute(insert(leases).values(**values))
                except IntegrityError:  # another replica was quicker
                    return None
                return Lease(name, self._holder, 1)
            if row.holder not in (None, self._holder) and row.expires_at > now:
                return None
            changed = {"holder": self._holder, "token": row.token + 1, "expires_at": expires_at}
            await connection.execute(update(leases).where(leases.c.name == name).values(**changed))
            return Lease(name, self._holder, row.token + 1)

    async def renew(self, lease: Lease) -> None:
        """Extend the lease, or raise `LeaseLost`."""
        async with self._database.write() as connection:
            await lease.guard(connection)
            expires_at = await self._database.now(connection) + timedelta(seconds=self.ttl_s)
            await connection.execute(update(leases).where(leases.c.name == lease.name).values(expires_at=expires_at))

    async def release(self, lease: Lease) -> None:
        """Give the lease back, so that a successor need not wait for it to expire."""
        async with self._database.write() as connection:
            mine = (leases.c.name == lease.name) & (leases.c.token == lease.token)
            await connection.execute(update(leases).where(mine).values(holder=None))
