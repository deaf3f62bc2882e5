"""Routes: which clusters there are, and what one is made of. Who may ask is decided where the router is included."""

import math
from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Request

import slurmrest
from headrace_server.clusters.model import Condition, NotWatched, Reachable, Snapshot
from headrace_server.clusters.registry import Cluster, Clusters

router = APIRouter(tags=["clusters"])


@dataclass(frozen=True)
class ConditionView:
    """Whether Slurm answers. `code` and `text` say why it does not; `unknown`: another process watches the cluster."""

    state: Literal["reachable", "unreachable", "unknown"]
    since: datetime
    code: str | None
    text: str | None


@dataclass(frozen=True)
class ClusterSummary:
    """One cluster. Numbers are of `as_of`; null means not known."""

    name: str
    condition: ConditionView
    as_of: datetime | None
    age_s: float | None
    jobs: dict[str, int] | None
    """How many jobs and array tasks slurmctld holds, by base state."""


@dataclass(frozen=True)
class NodeView:
    """A compute node. Null means not known."""

    name: str
    states: tuple[str, ...]
    cpus: int | None
    cpus_allocated: int | None
    memory_mib: int | None
    memory_allocated_mib: int | None
    gres: str | None
    gres_used: str | None
    features: tuple[str, ...]
    partitions: tuple[str, ...]
    reason: str | None


@dataclass(frozen=True)
class PartitionView:
    """A partition and its limits. Null means not known, or no limit where `unlimited_time` says so."""

    name: str
    states: tuple[str, ...]
    nodes: str | None
    node_count: int | None
    cpus: int | None
    is_default: bool | None
    time_limit_min: int | None
    unlimited_time: bool
    default_time_limit_min: int | None
    max_nodes_per_job: int | None


@dataclass(frozen=True)
class ClusterView:
    """One cluster with its nodes and partitions; `nodes_as_of`, `partitions_as_of`: null until they are known."""

    cluster: ClusterSummary
    nodes: tuple[NodeView, ...]
    nodes_as_of: datetime | None
    partitions: tuple[PartitionView, ...]
    partitions_as_of: datetime | None


@dataclass(frozen=True)
class ClusterList:
    """All clusters; the first one is the default."""

    items: tuple[ClusterSummary, ...]


def clusters_of(request: Request) -> Clusters:
    """Return this process's clusters."""
    clusters: Clusters = request.app.state.clusters
    return clusters


TheClusters = Annotated[Clusters, Depends(clusters_of)]


@router.get("/clusters")
async def list_clusters(clusters: TheClusters) -> ClusterList:
    """List the clusters, the default first."""
    return ClusterList(tuple(summary_of(cluster) for cluster in clusters))


@router.get("/clusters/{name}")
async def show_cluster(name: str, clusters: TheClusters) -> ClusterView:
    """Show one cluster: its nodes and partitions, how old the picture is, and whether Slurm answers."""
    return view_of(clusters.get(name))


def summary_of(cluster: Cluster) -> ClusterSummary:
    """Put a cluster on the wire in short."""
    snapshot = cluster.watch.snapshot
    return ClusterSummary(
        name=cluster.name,
        condition=_condition(cluster.watch.condition),
        as_of=snapshot.taken_at if snapshot else None,
        age_s=round(cluster.age_s(snapshot.taken_at), 1) if snapshot else None,
        jobs=_counts(snapshot) if snapshot else None,
    )


def view_of(cluster: Cluster) -> ClusterView:
    """Put a cluster on the wire in full."""
    snapshot = cluster.watch.snapshot
    return ClusterView(
        cluster=summary_of(cluster),
        nodes=tuple(_node(node) for node in snapshot.nodes) if snapshot else (),
        nodes_as_of=snapshot.nodes_at if snapshot else None,
        partitions=tuple(_partition(partition) for partition in snapshot.partitions) if snapshot else (),
        partitions_as_of=snapshot.partitions_at if snapshot else None,
    )


def _condition(condition: Condition) -> ConditionView:
    match condition:
        case Reachable(since):
            return ConditionView("reachable", since, None, None)
        case NotWatched(since):
            return ConditionView("unknown", since, None, None)
        case _:
            return ConditionView("unreachable", condition.since, condition.code, condition.text)


def _counts(snapshot: Snapshot) -> dict[str, int]:
    counts: Counter[str] = Counter()
    for records in snapshot.jobs.values():
        for record in records:
            counts[record.state] += max(1, len(record.array_tasks))
    return dict(sorted(counts.items()))


def _node(node: slurmrest.Node) -> NodeView:
    return NodeView(
        name=node.name,
        states=node.states,
        cpus=node.cpus,
        cpus_allocated=node.cpus_allocated,
        memory_mib=node.memory_mib,
        memory_allocated_mib=node.memory_allocated_mib,
        gres=node.gres,
        gres_used=node.gres_used,
        features=node.features,
        partitions=node.partitions,
        reason=node.reason,
    )


def _partition(partition: slurmrest.Partition) -> PartitionView:
    return PartitionView(
        name=partition.name,
        states=partition.states,
        nodes=partition.nodes,
        node_count=partition.node_count,
        cpus=partition.cpus,
        is_default=partition.is_default,
        time_limit_min=_finite(partition.time_limit_min),
        unlimited_time=partition.time_limit_min == math.inf,
        default_time_limit_min=_finite(partition.default_time_limit_min),
        max_nodes_per_job=_finite(partition.max_nodes_per_job),
    )


def _finite(value: float | None) -> int | None:
    return None if value is None or math.isinf(value) else int(value)
