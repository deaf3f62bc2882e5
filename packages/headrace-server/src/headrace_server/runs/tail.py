"""One reader for each log file that is being followed, however many follow it.

The tail polls the file's end and keeps the newest part. Who is further behind reads the file on their own, in bounded
pieces, until they have caught up. Nothing is queued for anybody: who reads slowly finds what is there when they ask.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from headrace_server.clusters import FileMissing, Files
from headrace_server.kernel import HeadraceError

CHUNK_BYTES = 64 * 1024
KEPT_BYTES = 256 * 1024
POLL_NEWS_S = 0.05
POLL_S = 0.3
POLL_MOST_S = 2.0
IDLE_POLLS = 100
"""After so many polls without news (half a minute) the tail polls less often; the first news brings it back."""


class Tail:
    """The growing end of one file. `size` is None while there is no file."""

    def __init__(self, files: Files, user: str, path: str) -> None:
        self.size: int | None = None
        self.error: HeadraceError | None = None
        self._files, self._user, self._path = files, user, path
        self._kept = bytearray()
        self._begin = 0
        self._news = asyncio.Event()

    async def read(self, offset: int) -> bytes:
        """Return at most a chunk from `offset`, from memory if it is there; none at the end. Raises as reading does."""
        if self.error is not None:
            raise self.error
        if self.size is None or offset >= self.size:
            return b""
        if self._begin <= offset < self._begin + len(self._kept):
            start = offset - self._begin
            return bytes(self._kept[start : start + CHUNK_BYTES])
        return (await self._files.read(self._user, self._path, offset, CHUNK_BYTES)).data

    async def news(self, timeout_s: float) -> None:
        """Wait until the file changed, or for `timeout_s`."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._news.wait()
        except TimeoutError:
            return

    async def look(self) -> bool:
        """Read what is new; tell whether anything is."""
        end = self._begin + len(self._kept)
        try:
            chunk = await self._files.read(self._user, self._path, end, CHUNK_BYTES)
            if chunk.size < end:  # written anew: a requeued job truncates its log
                self._kept.clear()
                self._begin = end = 0
                chunk = await self._files.read(self._user, self._path, 0, CHUNK_BYTES)
            elif chunk.size - end > KEPT_BYTES:  # far behind: begin again near the end
                self._kept.clear()
                self._begin = end = chunk.size - CHUNK_BYTES
                chunk = await self._files.read(self._user, self._path, end, CHUNK_BYTES)
        except FileMissing:
            return self._note(None, b"")
        return self._note(chunk.size, chunk.data)

    def fail(self, error: HeadraceError) -> None:
        """Let everybody who follows know why there is nothing more."""
        self.error = error
        self._wake()

    def _note(self, size: int | None, data: bytes) -> bool:
        self._kept += data
        surplus = len(self._kept) - KEPT_BYTES
        if surplus > 0:
            del self._kept[:surplus]
            self._begin += surplus
        # What lies beyond the part just read is announced when it has been read.
        known = None if size is None else self._begin + len(self._kept)
        changed, self.size = known != self.size, known
        if changed:
            self._wake()
        return changed

    def _wake(self) -> None:
        self._news.set()
        self._news = asyncio.Event()


class Tails:
    """All tails of this process, by file and user: nobody reads through another's rights."""

    def __init__(self) -> None:
        self._tails: dict[tuple[str, str, str], tuple[Tail, asyncio.Task[None], int]] = {}

    @asynccontextmanager
    async def follow(self, cluster: str, files: Files, user: str, path: str) -> AsyncGenerator[Tail]:
        """Share the tail of a file; it stops when the last one lets go."""
        key = (cluster, user, path)
        tail, task, followers = self._tails.get(key) or (None, None, 0)
        if tail is None or task is None or task.done():
            tail = Tail(files, user, path)
            task = asyncio.create_task(_poll(tail), name=f"tail {path}")
            followers = 0
        self._tails[key] = (tail, task, followers + 1)
        try:
            yield tail
        finally:
            mine = self._tails.get(key)
            if mine is not None and mine[0] is tail:
                if mine[2] <= 1:
                    del self._tails[key]
                    task.cancel()
                else:
                    self._tails[key] = (tail, task, mine[2] - 1)

    def __len__(self) -> int:
        """How many files are being followed."""
        return len(self._tails)


async def _poll(tail: Tail) -> None:
    quiet = 0
    while True:
        try:
            quiet = 0 if await tail.look() else quiet + 1
        except HeadraceError as error:
            tail.fail(error)
            return
        # A flood of output is read in bounded gulps; what a follower misses it reads from the file.
        await asyncio.sleep(POLL_NEWS_S if quiet == 0 else POLL_S if quiet < IDLE_POLLS else POLL_MOST_S)
