"""Wake-ups: "look again at X", from whoever changed X to whoever shows or drives it.

A wake-up carries a topic and a name, never data: who hears it reads the database. So a lost one costs a delay, not a
lie, and the same code works in one process (`LocalWakeups`) and across replicas (`PostgresWakeups`).
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Protocol

import psycopg
import structlog
from sqlalchemy import text
from sqlalchemy.engine import URL

from headrace_server.kernel.database import Database

CHANNEL = "headrace_wakeups"
RECONNECT_S = 1.0
log = structlog.get_logger()


class Subscription:
    """The names that were called since the last look. Names called twice are heard once, so memory is bounded."""

    def __init__(self) -> None:
        self._names: dict[str, None] = {}
        self._called = asyncio.Event()

    def call(self, name: str) -> None:
        """Note `name`."""
        self._names[name] = None
        self._called.set()

    async def names(self, timeout_s: float | None = None) -> tuple[str, ...]:
        """Wait until something is called, at most `timeout_s`; return the names, oldest first (none on time-out)."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._called.wait()
        except TimeoutError:
            return ()
        self._called.clear()
        names = tuple(self._names)
        self._names.clear()
        return names


class Wakeups(Protocol):
    """Publishes and hears wake-ups."""

    async def publish(self, topic: str, *names: str) -> None:
        """Wake all who subscribed to `topic`, with each of `names`."""
        ...

    @asynccontextmanager
    def subscribe(self, topic: str) -> AsyncGenerator[Subscription]:
        """Hear `topic` while the context is open."""
        ...


class LocalWakeups:
    """Wake-ups within one process."""

    def __init__(self) -> None:
        self._subscriptions: dict[str, set[Subscription]] = {}

    async def publish(self, topic: str, *names: str) -> None:
        """Wake all who subscribed to `topic`, with each of `names`."""
        for name in names:
            self.deliver(topic, name)

    def deliver(self, topic: str, name: str) -> None:
        """Hand a wake-up to this process's subscribers."""
        for subscription in self._subscriptions.get(topic, ()):
            subscription.call(name)

    @asynccontextmanager
    async def subscribe(self, topic: str) -> AsyncGenerator[Subscription]:
        """Hear `topic` while the context is open."""
        subscription = Subscription()
        self._subscriptions.setdefault(topic, set()).add(subscription)
        try:
            yield subscription
        finally:
            self._subscriptions[topic].discard(subscription)


class PostgresWakeups(LocalWakeups):
    """Wake-ups across replicas by LISTEN/NOTIFY. `run` must be running for this process to hear anything."""

    def __init__(self, database: Database) -> None:
        super().__init__()
        self._database = database
        self.listening = asyncio.Event()

    async def publish(self, topic: str, *names: str) -> None:
        """Wake all who subscribed to `topic`, in every process, in one transaction."""
        if not names:
            return
        async with self._database.write() as connection:
            payloads = [{"channel": CHANNEL, "payload": f"{topic}\n{name}"} for name in names]
            await connection.execute(text("select pg_notify(:channel, :payload)"), payloads)

    async def run(self) -> None:
        """Listen until cancelled; a cut connection is made again (what was missed meanwhile the timers catch)."""
        while True:
            try:
                await self._listen()
            except psycopg.OperationalError as error:
                log.warning("wake-ups: the database connection was cut", error=str(error))
                await asyncio.sleep(RECONNECT_S)

    async def _listen(self) -> None:
        url: URL = self._database.url.set(drivername="postgresql")
        connection = await psycopg.AsyncConnection.connect(url.render_as_string(hide_password=False), autocommit=True)
        async with connection:
            await connection.execute(f"LISTEN {CHANNEL}")
            self.listening.set()
            async for notice in connection.notifies():
                topic, _, name = notice.payload.partition("\n")
                self.deliver(topic, name)
