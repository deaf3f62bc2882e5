import asyncio
import importlib
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, text

from headrace_server.kernel import Database, metadata
from headrace_server.kernel.database import DatabaseOnNetworkFileSystem, DatabaseUnavailable, refuse_network_file_system

MOUNTS = """22 1 8:1 / / rw - ext4 /dev/sda1 rw
40 22 0:35 / /home rw - nfs4 server:/home rw
41 40 8:2 / /home/local rw - ext4 /dev/sdb1 rw
42 22 0:36 / /net\\040work rw - fuse.sshfs host:/ rw"""


@pytest.mark.parametrize(
    "path", ["/home/alice/headrace.sqlite", "/home/headrace.sqlite", "/net work/x/headrace.sqlite"]
)
def test_sqlite_is_refused_on_a_network_file_system(path: str) -> None:
    with pytest.raises(DatabaseOnNetworkFileSystem, match=r"nfs4|fuse\.sshfs") as refusal:
        refuse_network_file_system(Path(path), MOUNTS)
    assert refusal.value.fix is not None
    assert "HEADRACE_DATABASE_URL" in refusal.value.fix


@pytest.mark.parametrize("path", ["/var/lib/headrace/headrace.sqlite", "/home/local/headrace.sqlite"])
def test_sqlite_is_allowed_on_a_local_disk(path: str) -> None:
    refuse_network_file_system(Path(path), MOUNTS)


async def test_the_migrations_make_what_the_rooms_declare(database: Database) -> None:
    importlib.import_module("headrace_server.app")  # every room, and so every table

    def differences(connection: Connection) -> list[object]:
        return list(compare_metadata(MigrationContext.configure(connection), metadata))

    async with database.read() as connection:
        assert await connection.run_sync(differences) == []


async def test_processes_that_start_together_migrate_once(database_url: str) -> None:
    several = [Database(database_url) for _ in range(4)]
    await asyncio.gather(*(one.migrate() for one in several))
    async with several[0].read() as connection:
        assert (await connection.execute(text("select count(*) from alembic_version"))).scalar_one() == 1
    for one in several:
        await one.close()


async def test_a_write_that_fails_leaves_nothing(database: Database) -> None:
    insert = text("insert into leases (name, token, expires_at) values ('a', 1, '2026-11-21 00:00:00')")
    with pytest.raises(ZeroDivisionError):
        async with database.write() as connection:
            await connection.execute(insert)
            _ = 1 / 0
    async with database.read() as connection:
        assert (await connection.execute(text("select count(*) from leases"))).scalar_one() == 0


async def test_a_database_that_is_away_is_named() -> None:
    database = Database("postgresql://nobody@127.0.0.1:1/none")
    with pytest.raises(DatabaseUnavailable):
        await database.ping()
    await database.close()
