"""SFTP connections to one login host: one per user, used again while young, closed when idle, bounded in number."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime

import asyncssh
import structlog

from headrace_server.clusters.files.certificates import CertificateAuthority
from headrace_server.clusters.model import ClusterSettings, FilesUnavailable
from headrace_server.kernel import Clock, checked_user_name

CONNECT_TIMEOUT_S = 4.0
IDLE_S = 60.0
MOST = 64
# While the login host is down, one attempt in this time; all others are told at once.
RETRY_S = 2.0
log = structlog.get_logger()


@dataclass
class Connection:
    """One user's SFTP session."""

    ssh: asyncssh.SSHClientConnection
    sftp: asyncssh.SFTPClient
    ends_at: datetime
    in_use: int = 0
    idle_since_s: float = 0.0


@dataclass
class _Down:
    until_s: float
    text: str


@dataclass
class _Place:
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    waiting: int = 0
    connection: Connection | None = None


class Connections:
    """All connections of this process to one login host."""

    def __init__(self, settings: ClusterSettings, clock: Clock, *, most: int = MOST, idle_s: float = IDLE_S) -> None:
        self._settings = settings
        self._clock = clock
        self._most = most
        self._idle_s = idle_s
        self._places: dict[str, _Place] = {}
        self._down: _Down | None = None
        self._sweeper: asyncio.Task[None] | None = None

    @asynccontextmanager
    async def open(self, user: str) -> AsyncGenerator[asyncssh.SFTPClient]:
        """Lend `user`'s session. Raise `FilesUnavailable` if the login host does not let us in."""
        place = self._places.setdefault(checked_user_name(user), _Place())
        place.waiting += 1
        try:
            async with place.lock:
                connection = await self._fit(user, place)
                connection.in_use += 1
        finally:
            place.waiting -= 1
            self._tidy(user, place)
        try:
            yield connection.sftp
        finally:
            connection.in_use -= 1
            connection.idle_since_s = asyncio.get_running_loop().time()
            if place.connection is not connection and connection.in_use == 0:
                connection.ssh.close()

    def drop(self, user: str, sftp: asyncssh.SFTPClient) -> None:
        """Give up a session that hangs or broke; the next `open` makes a new one."""
        place = self._places.get(user)
        if place is not None and place.connection is not None and place.connection.sftp is sftp:
            place.connection.ssh.abort()
            place.connection = None
            self._tidy(user, place)

    async def close(self) -> None:
        """Close all sessions."""
        if self._sweeper is not None:
            self._sweeper.cancel()
            await asyncio.gather(self._sweeper, return_exceptions=True)
            self._sweeper = None
        for place in self._places.values():
            if place.connection is not None:
                place.connection.ssh.abort()
        self._places.clear()

    @property
    def count(self) -> int:
        """How many sessions are open."""
        return sum(place.connection is not None for place in self._places.values())

    async def _fit(self, user: str, place: _Place) -> Connection:
        """Return the user's session, a new one if there is none, it broke, or its certificate is about to end."""
        connection = place.connection
        if connection is not None:
            if not connection.ssh.is_closed() and self._clock.now() < connection.ends_at:
                return connection
            place.connection = None
            if connection.in_use == 0:
                connection.ssh.close()
        self._make_room()
        place.connection = await self._connect(user)
        if self._sweeper is None or self._sweeper.done():
            self._sweeper = asyncio.create_task(self._close_idle(), name=f"sftp {self._settings.name}")
        return place.connection

    async def _connect(self, user: str) -> Connection:
        settings = self._settings
        if settings.login_host is None or settings.ssh_ca_key_file is None or settings.ssh_known_hosts_file is None:
            raise FilesUnavailable(
                f"Files of cluster {settings.name} are not set up.",
                fix="Set login_host, ssh_ca_key_file and ssh_known_hosts_file of the cluster.",
            )
        loop = asyncio.get_running_loop()
        if self._down is not None and loop.time() < self._down.until_s:
            raise FilesUnavailable(self._down.text)
        # None would switch the check of the host's key off: a missing file must be an error, not a hole.
        if not settings.ssh_known_hosts_file.is_file():
            raise FilesUnavailable(f"The file {settings.ssh_known_hosts_file} with the login host's key is missing.")
        signed = CertificateAuthority(settings.ssh_ca_key_file).sign(user, self._clock.now())
        where = f"{settings.login_host}:{settings.login_port}"
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                ssh = await asyncssh.connect(
                    settings.login_host,
                    settings.login_port,
                    username=user,
                    client_keys=[(signed.key, signed.certificate)],
                    known_hosts=str(settings.ssh_known_hosts_file),
                    preferred_auth="publickey",
                    agent_path=None,
                    agent_forwarding=False,
                    config=None,
                    keepalive_interval=2,
                    keepalive_count_max=2,
                )
                sftp = await ssh.start_sftp_client(path_encoding=None)
        except asyncssh.PermissionDenied as error:
            raise FilesUnavailable(f"{where} does not let {user} in.") from error
        except asyncssh.HostKeyNotVerifiable as error:
            log.error("login host's key does not match", host=where)
            raise FilesUnavailable(f"{where} is not the host whose key is known.") from error
        except (OSError, asyncssh.Error) as error:
            reason = "it does not answer" if isinstance(error, TimeoutError) else str(error)
            self._down = _Down(loop.time() + RETRY_S, f"The login host {where} cannot be reached: {reason}.")
            raise FilesUnavailable(self._down.text) from error
        self._down = None
        # The session must not outlive what it was opened with.
        return Connection(ssh, sftp, signed.ends_at, idle_since_s=loop.time())

    def _make_room(self) -> None:
        if self.count < self._most:
            return
        idle = [
            (place.connection.idle_since_s, user)
            for user, place in self._places.items()
            if place.connection is not None and place.connection.in_use == 0 and not place.waiting
        ]
        if not idle:
            raise FilesUnavailable(f"All {self._most} connections to the login host are in use. Try again in a moment.")
        self._close(min(idle)[1])

    async def _close_idle(self) -> None:
        loop = asyncio.get_running_loop()
        while self.count:
            await asyncio.sleep(min(self._idle_s / 4, 5.0))
            for user, place in list(self._places.items()):
                connection = place.connection
                if connection is None or connection.in_use or place.waiting:
                    continue
                if connection.ssh.is_closed() or loop.time() - connection.idle_since_s >= self._idle_s:
                    self._close(user)

    def _close(self, user: str) -> None:
        place = self._places[user]
        if place.connection is not None:
            place.connection.ssh.close()
            place.connection = None
        self._tidy(user, place)

    def _tidy(self, user: str, place: _Place) -> None:
        if place.connection is None and not place.waiting and self._places.get(user) is place:
            del self._places[user]
