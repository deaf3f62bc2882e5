"""Files over SSH to the login host, as the user, with a certificate valid for five minutes."""

from headrace_server.clusters.files import FileChunk
from headrace_server.clusters.model import ClusterSettings
from headrace_server.kernel import Clock


class SftpFiles:
    """The `Files` of a cluster through SFTP on its login host."""

    def __init__(self, settings: ClusterSettings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock

    async def read(self, user: str, path: str, offset: int, limit: int) -> FileChunk:
        """Return at most `limit` bytes from `offset`."""
        raise NotImplementedError

    async def write(self, user: str, path: str, data: bytes, mode: int) -> None:
        """Put a whole file in place, or nothing."""
        raise NotImplementedError

    async def make_folder(self, user: str, path: str) -> None:
        """Make a folder and its parents."""
        raise NotImplementedError

    async def home(self, user: str) -> str:
        """Return the user's home folder."""
        raise NotImplementedError

    async def exists(self, user: str, path: str) -> bool:
        """Tell whether there is something at `path`."""
        raise NotImplementedError

    async def close(self) -> None:
        """Let go of all connections."""
