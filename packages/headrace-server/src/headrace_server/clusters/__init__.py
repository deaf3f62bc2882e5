"""Where can it run?

Owns the registered clusters, the watch on each with its snapshots, and the files of a cluster as its users see them.
May import the kernel.
"""

from headrace_server.clusters.api import router as api_router
from headrace_server.clusters.files import FileChunk, Files
from headrace_server.clusters.files.sftp import SftpFiles
from headrace_server.clusters.model import (
    ClusterSettings,
    Condition,
    FileDenied,
    FileMissing,
    FileRefused,
    FilesUnavailable,
    NoSuchCluster,
    NotWatched,
    PathInvalid,
    Reachable,
    Snapshot,
    Unreachable,
    WatchCounters,
    WatchedJob,
)
from headrace_server.clusters.registry import SUBMISSION_LIFESPAN_S, Cluster, Clusters
from headrace_server.clusters.watch import Watch, topic_of

__all__ = [
    "SUBMISSION_LIFESPAN_S",
    "Cluster",
    "ClusterSettings",
    "Clusters",
    "Condition",
    "FileChunk",
    "FileDenied",
    "FileMissing",
    "FileRefused",
    "Files",
    "FilesUnavailable",
    "NoSuchCluster",
    "NotWatched",
    "PathInvalid",
    "Reachable",
    "SftpFiles",
    "Snapshot",
    "Unreachable",
    "Watch",
    "WatchCounters",
    "WatchedJob",
    "api_router",
    "topic_of",
]
