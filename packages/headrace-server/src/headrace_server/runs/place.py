"""The run's folder on the cluster, and the files brought along, made as the user."""

from dataclasses import dataclass

from headrace_server.clusters import Cluster
from headrace_server.kernel import Database
from headrace_server.runs import store
from headrace_server.runs.steps import Steps
from headrace_server.runs.tables import Record

PARENT = "headrace"


@dataclass(frozen=True)
class Place:
    """Where a run lives on the cluster."""

    home: str
    folder: str


async def place_of(cluster: Cluster, record: Record) -> Place:
    """Return the user's home and the run's own folder in it."""
    home = (await cluster.files.home(record.user_name)).rstrip("/")
    return Place(home, f"{home}/{PARENT}/{record.id}")


async def fill(place: Place, cluster: Cluster, database: Database, record: Record, steps: Steps) -> None:
    """Make the folder and put the files there. Doing it twice does no harm."""
    user = record.user_name
    await cluster.files.make_folder(user, place.folder)
    await steps("folder-made")
    async with database.read() as connection:
        names = await store.file_names(connection, record.id)
    for name in names:
        async with database.read() as connection:  # one at a time: together they may be 16 MiB
            file = await store.file(connection, record.id, name)
        await cluster.files.write(user, f"{place.folder}/{file.path}", file.content, file.mode)
    await steps("files-placed")
