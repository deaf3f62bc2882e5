"""The database: SQLite (WAL) by default, PostgreSQL by configuration, one code path.

Reads and writes are separate on purpose: a write transaction takes SQLite's write lock at its start, so two of them
never dead-lock half-way. No network call is made while a transaction is open.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, DateTime, MetaData, TypeDecorator, event, text
from sqlalchemy.engine import Dialect, make_url
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from headrace_server.kernel.clock import Clock, SystemClock
from headrace_server.kernel.errors import Broken, Unavailable

NETWORK_FILE_SYSTEMS = frozenset(
    "9p afs beegfs ceph cifs fuse.ceph fuse.glusterfs fuse.s3fs fuse.sshfs gfs2 glusterfs gpfs lustre ncpfs nfs nfs4"
    " fhgfs ocfs2 orangefs panfs pvfs2 smb2 smb3 smbfs wekafs".split()
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


class DatabaseOnNetworkFileSystem(Broken):
    """SQLite cannot live on a network file system."""

    code = "database-on-network-file-system"


class DatabaseUnavailable(Unavailable):
    """The database does not answer."""

    code = "database-unavailable"


class UtcDateTime(TypeDecorator[datetime]):
    """An aware UTC moment. SQLite keeps no zone, so it is taken off on the way in and put back on the way out."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Store UTC; a naive moment is a bug."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a moment without a time zone")
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Return an aware moment."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Database:
    """A handle on the database; one per process."""

    def __init__(self, url: str, clock: Clock | None = None) -> None:
        """Prepare (not yet open) the database at `url`: `sqlite:///path` or `postgresql://…`."""
        self.url = make_url(url)
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        driver = "sqlite+aiosqlite" if self.is_sqlite else "postgresql+psycopg"
        if self.is_sqlite:
            refuse_network_file_system(Path(self.url.database or ""))
        self._clock = clock or SystemClock()
        self._write_lock = asyncio.Lock()
        self._engine = _engine(self.url.set(drivername=driver), self.is_sqlite)

    @property
    def engine(self) -> AsyncEngine:
        """The SQLAlchemy engine, for what needs it itself (migrations, LISTEN)."""
        return self._engine

    @asynccontextmanager
    async def read(self) -> AsyncGenerator[AsyncConnection]:
        """Open a transaction that only reads."""
        async with _translated(), self._engine.connect() as connection:
            yield connection

    @asynccontextmanager
    async def write(self) -> AsyncGenerator[AsyncConnection]:
        """Open a transaction that writes; it commits at the end and rolls back on an error."""
        if not self.is_sqlite:
            async with _translated(), self._engine.begin() as connection:
                yield connection
            return
        async with self._write_lock, _translated(), self._engine.connect() as connection:
            await connection.execution_options(headrace_write=True)
            async with connection.begin():
                yield connection

    async def now(self, connection: AsyncConnection) -> datetime:
        """Return the time by which leases are judged: the server's on PostgreSQL, so replicas need not agree."""
        if self.is_sqlite:
            return self._clock.now()
        moment: datetime = (await connection.execute(text("select clock_timestamp()"))).scalar_one()
        return moment.astimezone(UTC)

    async def migrate(self) -> None:
        """Bring the schema to this version. Several processes may do it at once: one does, the others find it done."""
        if self.is_sqlite and self.url.database:
            Path(self.url.database).parent.mkdir(parents=True, exist_ok=True)
        async with _translated(), self._engine.connect() as connection:
            await connection.execution_options(headrace_write=True)
            async with connection.begin():
                if not self.is_sqlite:
                    await connection.execute(text("select pg_advisory_xact_lock(4851727368)"))
                await connection.run_sync(_upgrade)

    async def ping(self) -> None:
        """Raise `DatabaseUnavailable` unless the database answers."""
        async with self.read() as connection:
            await connection.execute(text("select 1"))

    async def close(self) -> None:
        """Close all connections."""
        await self._engine.dispose()


def refuse_network_file_system(path: Path, mounts: str | None = None) -> None:
    """Raise if `path` would lie on a network file system, where SQLite's locks and WAL do not hold.

    `mounts` is the text of /proc/self/mountinfo (given by tests).
    """
    if mounts is None:
        source = Path("/proc/self/mountinfo")
        if not source.exists():
            return
        mounts = source.read_text(encoding="utf-8", errors="surrogateescape")
    target = path.resolve()
    best, kind = Path("/"), ""
    for line in mounts.splitlines():
        left, _, right = line.partition(" - ")
        point = Path(left.split()[4].encode().decode("unicode_escape"))
        if (target == point or point in target.parents) and len(point.parts) >= len(best.parts):
            best, kind = point, right.split()[0]
    if kind in NETWORK_FILE_SYSTEMS:
        raise DatabaseOnNetworkFileSystem(
            f"{path} is on {best}, a {kind} file system. SQLite's locks do not hold there, and the database would be"
            " damaged sooner or later.",
            asked=str(path),
            fix="Set HEADRACE_STATE to a folder on a local disk, or HEADRACE_DATABASE_URL to a PostgreSQL server.",
        )


def _engine(url: Any, is_sqlite: bool) -> AsyncEngine:
    if not is_sqlite:
        return create_async_engine(url, pool_pre_ping=True, pool_size=10, connect_args={"connect_timeout": 5})
    engine = create_async_engine(url, connect_args={"timeout": 10})

    @event.listens_for(engine.sync_engine, "connect")
    def _pragmas(dbapi_connection: Any, _: object) -> None:
        # The driver must not open transactions on its own; the "begin" hook below does.
        dbapi_connection.isolation_level = None
        cursor = dbapi_connection.cursor()
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "busy_timeout=10000"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine.sync_engine, "begin")
    def _begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get("headrace_write", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


@asynccontextmanager
async def _translated() -> AsyncGenerator[None]:
    """Turn a driver's "cannot reach it" into a word of ours; leave programming errors alone."""
    try:
        yield
    except DBAPIError as error:
        if isinstance(error, OperationalError) or error.connection_invalidated:
            raise DatabaseUnavailable(f"The database does not answer: {error.orig}") from error
        raise


def _upgrade(connection: Connection) -> None:
    config = Config()
    config.set_main_option("script_location", "headrace_server.kernel:migrations")
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
