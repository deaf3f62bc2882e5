"""What runs beside the API: for each cluster its watch and its runs' controllers, held by one process at a time."""

import asyncio

from headrace_server.clusters import Cluster, Clusters
from headrace_server.kernel import Database, Lease, Leases, PostgresWakeups, Wakeups, hold, reconcile
from headrace_server.runs import Runs


async def work(database: Database, wakeups: Wakeups, clusters: Clusters, runs: Runs, holder: str) -> None:
    """Do all background work of this process until cancelled. `holder` names the process in the leases."""
    leases = Leases(database, holder)

    async def serve(cluster: Cluster, lease: Lease) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(cluster.watch.run(), name=f"watch {cluster.name}")
            for controller in runs.controllers(cluster):
                group.create_task(reconcile(controller, lease, wakeups), name=controller.name)

    async with asyncio.TaskGroup() as group:
        if isinstance(wakeups, PostgresWakeups):
            group.create_task(wakeups.run(), name="wake-ups")
        for cluster in clusters:
            group.create_task(hold(f"cluster:{cluster.name}", leases, lambda lease, c=cluster: serve(c, lease)))
