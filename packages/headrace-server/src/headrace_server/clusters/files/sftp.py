"""Files over SSH to the login host, as the user.

Every call opens the file anew: on a network file system that is what makes a line visible that another host has just
written (close-to-open consistency), and it follows a log that was replaced.
"""

import asyncio
import posixpath
import secrets
import stat
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from typing import cast

import asyncssh
from asyncssh import constants

from headrace_server.clusters.files import FileChunk
from headrace_server.clusters.files.connections import Connections
from headrace_server.clusters.model import (
    ClusterSettings,
    FileDenied,
    FileMissing,
    FileRefused,
    FilesUnavailable,
    PathInvalid,
)
from headrace_server.kernel import Clock

READ_MOST = 4 * 1024 * 1024
PATH_MOST = 4096
CALL_TIMEOUT_S = 10.0
WRITE_TIMEOUT_S = 60.0
CLEAN_UP_TIMEOUT_S = 2.0

MISSING = frozenset({constants.FX_NO_SUCH_FILE, constants.FX_NO_SUCH_PATH, constants.FX_NOT_A_DIRECTORY})
DENIED = frozenset({constants.FX_PERMISSION_DENIED, constants.FX_WRITE_PROTECT, constants.FX_CANNOT_DELETE})
BROKEN = frozenset({constants.FX_NO_CONNECTION, constants.FX_CONNECTION_LOST, constants.FX_BAD_MESSAGE})


class SftpFiles:
    """The `Files` of a cluster through SFTP on its login host."""

    def __init__(self, settings: ClusterSettings, clock: Clock, connections: Connections | None = None) -> None:
        self._connections = Connections(settings, clock) if connections is None else connections

    async def read(self, user: str, path: str, offset: int, limit: int) -> FileChunk:
        """Return at most `limit` bytes (4 MiB at the most) from `offset`; none at or after the end."""
        if offset < 0 or limit < 0:
            raise ValueError("offset and limit cannot be negative")
        name = _checked(path)
        async with self._session(user, path, CALL_TIMEOUT_S) as sftp:
            # Opening a pipe would wait for its writer for ever.
            _check_regular((await sftp.stat(name)).permissions, path)
            async with sftp.open(name, "rb") as file:
                size = (await file.stat()).size or 0
                data = cast("bytes", await file.read(min(limit, READ_MOST), offset)) if limit else b""
                return FileChunk(data, max(size, offset + len(data)) if data else size)

    async def write(self, user: str, path: str, data: bytes, mode: int) -> None:
        """Put a whole file in place, or nothing: a temporary name is written, then renamed over `path`.

        Makes parent folders. A link at `path` is replaced, not followed.
        """
        name = _checked(path)
        folder, _, last = name.rpartition(b"/")
        temporary = posixpath.join(folder or (b"/" if name.startswith(b"/") else b""), _temporary(last))
        async with self._session(user, path, WRITE_TIMEOUT_S) as sftp:
            if folder:
                await _make_folders(sftp, folder)
            try:
                attributes = asyncssh.SFTPAttrs(permissions=mode & 0o7777)
                async with sftp.open(temporary, "xb", attributes) as file:
                    await file.write(data)
                    await file.setstat(attributes)  # as asked, whatever the user's umask took away
                    await file.fsync()
                await sftp.posix_rename(temporary, name)
            except (asyncssh.SFTPError, asyncio.CancelledError):
                with suppress(asyncssh.Error, OSError):
                    async with asyncio.timeout(CLEAN_UP_TIMEOUT_S):
                        await sftp.remove(temporary)
                raise

    async def make_folder(self, user: str, path: str) -> None:
        """Make a folder and its parents (mode 0700 for what is new); fine if it is there already."""
        name = _checked(path)
        async with self._session(user, path, CALL_TIMEOUT_S) as sftp:
            await _make_folders(sftp, name)

    async def home(self, user: str) -> str:
        """Return the user's home folder, absolute."""
        async with self._session(user, "~", CALL_TIMEOUT_S) as sftp:
            found = await sftp.realpath(b".")
            return _text(found)

    async def exists(self, user: str, path: str) -> bool:
        """Tell whether there is something at `path` (links followed)."""
        name = _checked(path)
        async with self._session(user, path, CALL_TIMEOUT_S) as sftp:
            try:
                await sftp.stat(name)
            except asyncssh.SFTPError as error:
                if error.code in MISSING:
                    return False
                raise
            return True

    async def close(self) -> None:
        """Let go of all connections."""
        await self._connections.close()

    @asynccontextmanager
    async def _session(self, user: str, path: str, timeout_s: float) -> AsyncGenerator[asyncssh.SFTPClient]:
        """Lend the user's session and turn what goes wrong on it into words of ours."""
        async with self._connections.open(user) as sftp:
            try:
                async with asyncio.timeout(timeout_s):
                    yield sftp
            except asyncssh.SFTPError as error:
                if error.code in BROKEN:
                    self._connections.drop(user, sftp)
                    raise FilesUnavailable(f"The connection to the login host broke: {error.reason}.") from error
                raise _translated(error, user, path) from error
            except (TimeoutError, OSError, asyncssh.Error) as error:
                self._connections.drop(user, sftp)
                reason = f"no answer within {timeout_s:g} s" if isinstance(error, TimeoutError) else str(error)
                raise FilesUnavailable(f"The login host did not serve {path!r}: {reason}.") from error


async def _make_folders(sftp: asyncssh.SFTPClient, name: bytes) -> None:
    """Make `name` and what is missing above it, from the deepest folder that is there."""
    missing: list[bytes] = []
    while name and not await _is_folder(sftp, name):
        missing.append(name)
        name = name.rstrip(b"/").rpartition(b"/")[0]
    for folder in reversed(missing):
        try:
            await sftp.mkdir(folder, asyncssh.SFTPAttrs(permissions=0o700))
        except asyncssh.SFTPError:
            # Another call may have made it meanwhile; SFTP has no word for "exists already" in version 3.
            if not await _is_folder(sftp, folder):
                raise


async def _is_folder(sftp: asyncssh.SFTPClient, name: bytes) -> bool:
    try:
        attributes = await sftp.stat(name)
    except asyncssh.SFTPError as error:
        if error.code in MISSING:
            return False
        raise
    return stat.S_ISDIR(attributes.permissions or 0)


def _checked(path: str) -> bytes:
    """Return the path's bytes. It is data for the cluster's own file system; only what no path can be is refused."""
    name = path.encode("utf-8", "surrogateescape")
    if not name or b"\0" in name or len(name) > PATH_MOST:
        raise PathInvalid(f"{path[:80]!r} is not a path.", field="path", asked=path[:80])
    return name


def _text(name: bytes | str) -> str:
    return name if isinstance(name, str) else name.decode("utf-8", "surrogateescape")


def _temporary(last: bytes) -> bytes:
    return b"." + last[:100] + b".headrace-" + secrets.token_hex(6).encode()


def _check_regular(permissions: int | None, path: str) -> None:
    if permissions is not None and not stat.S_ISREG(permissions):
        kind = "a folder" if stat.S_ISDIR(permissions) else "not a regular file"
        raise FileRefused(f"{path!r} is {kind}.", field="path", asked=path)


def _translated(error: asyncssh.SFTPError, user: str, path: str) -> FileMissing | FileDenied | FileRefused:
    if error.code in MISSING:
        return FileMissing(f"There is no {path!r} on the cluster.", field="path", asked=path)
    if error.code in DENIED:
        return FileDenied(f"{user} may not do that with {path!r} on the cluster.", field="path", asked=path)
    return FileRefused(f"The cluster's file system refused {path!r}: {error.reason}.", field="path", asked=path)
