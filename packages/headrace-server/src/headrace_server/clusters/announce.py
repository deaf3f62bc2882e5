"""Tells subscribers which jobs changed, without ever holding the sweeps up."""

import asyncio
from collections.abc import Iterable

import structlog

from headrace_server.kernel import HeadraceError, Wakeups

RETRY_S = 1.0
log = structlog.get_logger()


class Announcer:
    """Publishes names on one topic. Names said twice before they went out go out once, so memory is bounded."""

    def __init__(self, topic: str, wakeups: Wakeups) -> None:
        self._topic = topic
        self._wakeups = wakeups
        self._names: dict[str, None] = {}
        self._said = asyncio.Event()

    def say(self, names: Iterable[str]) -> None:
        """Have `names` published soon."""
        self._names.update(dict.fromkeys(names))
        if self._names:
            self._said.set()

    async def run(self) -> None:
        """Publish until cancelled. While the database is away the names wait."""
        while True:
            await self._said.wait()
            self._said.clear()
            while self._names:
                # Taken out before they are published: what is said meanwhile goes out again.
                names, self._names = self._names, {}
                try:
                    await self._wakeups.publish(self._topic, *names)
                except HeadraceError as error:
                    self._names = names | self._names
                    log.warning("wake-ups wait", topic=self._topic, waiting=len(self._names), error=str(error))
                    await asyncio.sleep(RETRY_S)
