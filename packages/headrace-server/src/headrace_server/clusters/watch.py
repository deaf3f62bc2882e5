"""The watch: reads one cluster's Slurm once, for everybody."""

import slurmrest

from headrace_server.clusters.model import Condition, NotWatched, Snapshot, WatchCounters
from headrace_server.kernel import Clock, Wakeups


def topic_of(cluster: str) -> str:
    """Return the topic on which a cluster's watch publishes; names are job ids (of arrays: the array's)."""
    return f"watch:{cluster}"


class Watch:
    """The running copy of one cluster's state."""

    def __init__(self, name: str, slurm: slurmrest.AsyncClient, clock: Clock, wakeups: Wakeups) -> None:
        self.name = name
        self.counters = WatchCounters()
        self.snapshot: Snapshot | None = None
        self.condition: Condition = NotWatched(clock.now())
        self._slurm = slurm
        self._clock = clock
        self._wakeups = wakeups

    def expect(self, job_id: int) -> None:
        """Say that `job_id` was just submitted, cancelled or changed by us: sweep soon, and look at it first."""
        raise NotImplementedError

    async def run(self) -> None:
        """Sweep until cancelled. One process at a time does this, under the lease `cluster:NAME`."""
        raise NotImplementedError
