"""Keeps a cluster's nodes and partitions, read again only as far as they changed."""

import asyncio
from datetime import datetime

import structlog

import slurmrest
from headrace_server.clusters.model import WatchCounters
from headrace_server.clusters.pace import Pace
from headrace_server.kernel import Clock

log = structlog.get_logger()


class Resources:
    """Nodes and partitions, each with the moment it was last known to be true (None: never known)."""

    def __init__(self, slurm: slurmrest.AsyncClient, clock: Clock, counters: WatchCounters, pace: Pace) -> None:
        self.nodes: tuple[slurmrest.Node, ...] = ()
        self.nodes_at: datetime | None = None
        self.partitions: tuple[slurmrest.Partition, ...] = ()
        self.partitions_at: datetime | None = None
        self.known = asyncio.Event()
        self._slurm = slurm
        self._clock = clock
        self._counters = counters
        self._pace = pace
        self._nodes_update: datetime | None = None
        self._partitions_update: datetime | None = None

    async def run(self) -> None:
        """Read again and again until cancelled. A failure is told by the sweeps; here only the age grows."""
        loop = asyncio.get_running_loop()
        partitions_due = whole_due = loop.time()
        while True:
            now = loop.time()
            whole = now >= whole_due
            try:
                async with asyncio.timeout(self._pace.sweep_timeout_s):
                    await self._read_nodes(whole=whole)
                    if whole or now >= partitions_due:
                        await self._read_partitions(whole=whole)
                        partitions_due = now + self._pace.partitions_s
                if whole:
                    whole_due = now + self._pace.resources_whole_s
                self.known.set()
            except (slurmrest.SlurmError, TimeoutError) as error:
                self._counters.errors += 1
                whole_due = now
                log.info("nodes and partitions not read", error=str(error) or "timed out")
            await asyncio.sleep(self._pace.nodes_s)

    async def _read_nodes(self, *, whole: bool) -> None:
        asked_at = self._clock.now()
        self._counters.resource_fetches += 1
        answer = await self._slurm.nodes(update_time=None if whole else self._nodes_update)
        # An answer without nodes while some were known is no news but a daemon that is just starting.
        if not answer.unchanged:
            if self.nodes and not answer.nodes:
                return
            self.nodes, self._nodes_update = answer.nodes, answer.last_update
        self.nodes_at = asked_at

    async def _read_partitions(self, *, whole: bool) -> None:
        asked_at = self._clock.now()
        self._counters.resource_fetches += 1
        answer = await self._slurm.partitions(update_time=None if whole else self._partitions_update)
        if not answer.unchanged:
            if self.partitions and not answer.partitions:
                return
            self.partitions, self._partitions_update = answer.partitions, answer.last_update
        self.partitions_at = asked_at
