"""Files brought along into a run's folder."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from .errors import UsageWrong

FILES_BYTES = 16 * 1024 * 1024
FILES_MOST = 500
"""The server's limits; looked at here too, before megabytes travel."""


class BroughtFile(msgspec.Struct, frozen=True):
    """A file as the API takes it. ``path`` is relative, inside the run's folder."""

    path: str
    content_base64: str
    mode: int


def bring(names: Sequence[str]) -> tuple[BroughtFile, ...]:
    """Read files and folders. Relative paths are kept; of an absolute path or one through ``..`` only its last part.

    Links to files are followed, links to folders are not. Raises UsageWrong for what is missing, unreadable, no file,
    or together too large.
    """
    brought: dict[str, BroughtFile] = {}
    total = 0
    for source, path in _files(names):
        total += _size(source)
        if total > FILES_BYTES or len(brought) >= FILES_MOST:
            raise UsageWrong(
                f"Too much to bring: at most {FILES_MOST} files and {FILES_BYTES // 1024**2} MiB together.",
                code="files-too-large",
                fix="Put large data on the cluster first (scp, rsync) and name its path there.",
            )
        try:
            content = source.read_bytes()
        except OSError as error:
            raise _unreadable(source, error) from error
        mode = 0o755 if source.stat().st_mode & 0o100 else 0o644
        brought[path] = BroughtFile(path, base64.b64encode(content).decode("ascii"), mode)
    return tuple(brought.values())


def _files(names: Sequence[str]) -> Iterator[tuple[Path, str]]:
    for name in names:
        source = Path(name)
        relative = Path(os.path.normpath(name))
        if relative.is_absolute() or ".." in relative.parts:
            relative = Path(relative.name if relative.name != ".." else source.resolve().name)
        if source.is_dir():
            for folder, folders, files in os.walk(source):
                folders.sort()
                for file in sorted(files):
                    found = Path(folder) / file
                    yield found, (relative / found.relative_to(source)).as_posix()
        elif source.is_file():
            yield source, relative.as_posix()
        else:
            why = "it is neither a file nor a folder" if source.exists() else "there is no such file"
            raise UsageWrong(f"Cannot bring {name!r}: {why}.", code="file-unreadable")


def _size(source: Path) -> int:
    try:
        if not source.is_file():
            raise UsageWrong(f"Cannot bring {str(source)!r}: it is not a plain file.", code="file-unreadable")
        return source.stat().st_size
    except OSError as error:
        raise _unreadable(source, error) from error


def _unreadable(source: Path, error: OSError) -> UsageWrong:
    return UsageWrong(f"Cannot bring {str(source)!r}: {error.strerror}.", code="file-unreadable")
