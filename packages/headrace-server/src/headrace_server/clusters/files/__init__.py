"""Files of a cluster, read and written as the user: the port. Drivers stand beside it."""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class FileChunk:
    """Part of a file, and the file's whole size in bytes at that moment."""

    data: bytes
    size: int


class Files(Protocol):
    """A cluster's files as one of its users sees them.

    `path` is absolute, or relative to the user's home. Nothing is checked about it here: the user's own rights on the
    cluster decide, as they would in a shell. All methods raise `UserNameInvalid`, `PathInvalid`, `FileMissing`,
    `FileDenied`, `FileRefused` or `FilesUnavailable`.
    """

    async def read(self, user: str, path: str, offset: int, limit: int) -> FileChunk:
        """Return at most `limit` bytes from `offset`; none at or after the end."""
        ...

    async def write(self, user: str, path: str, data: bytes, mode: int) -> None:
        """Put a whole file in place, or nothing: a temporary name is written, then renamed. Makes parent folders."""
        ...

    async def make_folder(self, user: str, path: str) -> None:
        """Make a folder and its parents (mode 0700 for what is new); fine if it is there already."""
        ...

    async def home(self, user: str) -> str:
        """Return the user's home folder, absolute."""
        ...

    async def exists(self, user: str, path: str) -> bool:
        """Tell whether there is something at `path` (links followed)."""
        ...

    async def close(self) -> None:
        """Let go of all connections."""
        ...
