"""Read and follow a run's log, as the person whose run it is."""

import asyncio
from collections.abc import AsyncIterator

from headrace_server.clusters import FileMissing
from headrace_server.runs import store
from headrace_server.runs.hear import again
from headrace_server.runs.logpath import LogNotYet, log_path
from headrace_server.runs.model import ENDED, LogChunk, Stream
from headrace_server.runs.refusals import OptionInvalid
from headrace_server.runs.submit import Parts
from headrace_server.runs.tables import Record
from headrace_server.runs.tail import CHUNK_BYTES, Tail, Tails

HEARTBEAT_S = 10.0
LOOK_AGAIN_S = 1.0
SETTLE_S = 1.5
"""How long a log must stay as it is after the run's end to count as whole: NFS shows the last lines a moment late."""
MOST_OFFSET = 2**62


async def read_log(
    parts: Parts, record: Record, stream: Stream, task: int | None, offset: int, limit: int = CHUNK_BYTES
) -> LogChunk:
    """Return a piece of the log. Raises NoSuchLog, FileDenied, FilesUnavailable."""
    _check(offset)
    path = await _path(parts, record, stream, task)
    over = record.state in ENDED
    if path is None:
        return LogChunk("", offset, offset, None, over)
    files = parts.clusters.get(record.cluster).files
    try:
        read = await files.read(record.user_name, path, offset, min(max(limit, 4), CHUNK_BYTES))
    except FileMissing:
        return LogChunk("", offset, offset, None, over)
    if read.size < offset:
        offset = 0  # written anew since
        read = await files.read(record.user_name, path, 0, min(max(limit, 4), CHUNK_BYTES))
    whole = over and offset + len(read.data) >= read.size
    data = read.data if whole else complete(read.data)
    return LogChunk(text_of(data), offset, offset + len(data), read.size, whole)


async def follow_log(
    parts: Parts, tails: Tails, record: Record, stream: Stream, task: int | None, offset: int
) -> AsyncIterator[LogChunk]:
    """Yield the log as it grows, until the run has ended and the log is drained; an empty piece is a heartbeat."""
    _check(offset)
    path = await _path(parts, record, stream, task)
    while path is None:
        yield LogChunk("", offset, offset, None, record.state in ENDED)
        if record.state in ENDED:
            return
        record = await _changed(parts, record)
        path = await _path(parts, record, stream, task)
    files = parts.clusters.get(record.cluster).files
    yield LogChunk("", offset, offset, None, ended=False)  # "I listen now"
    async with tails.follow(record.cluster, files, record.user_name, path) as tail:
        async for chunk in _drain(parts, tail, record.id, offset):
            yield chunk


async def _drain(parts: Parts, tail: Tail, run_id: str, offset: int) -> AsyncIterator[LogChunk]:
    clock = asyncio.get_running_loop().time
    said_at, news_at, over, checked_at = clock(), clock(), False, 0.0
    while True:
        data = await tail.read(offset)
        if tail.size is not None and tail.size < offset:
            offset, data = 0, await tail.read(0)
        whole = complete(data)
        if not whole and over and data:
            whole = data  # no more bytes will come to complete the letter
        if whole:
            yield LogChunk(text_of(whole), offset, offset + len(whole), tail.size, ended=False)
            offset += len(whole)
            said_at = news_at = clock()
            continue
        if not over and clock() - checked_at >= LOOK_AGAIN_S:
            over, checked_at = (await again(parts.database, run_id)).state in ENDED, clock()
            if over:
                news_at = clock()
        if over and clock() - news_at >= SETTLE_S:
            yield LogChunk("", offset, offset, tail.size, ended=True)
            return
        if clock() - said_at >= HEARTBEAT_S:
            said_at = clock()
            yield LogChunk("", offset, offset, tail.size, ended=False)
        await tail.news(LOOK_AGAIN_S)


async def _path(parts: Parts, record: Record, stream: Stream, task: int | None) -> str | None:
    """Return the log's path, None while it cannot be known."""
    found = None
    if task is not None and record.array_tasks is not None:
        async with parts.database.read() as connection:
            found = (await store.tasks(connection, record.id)).get(task)
    path = log_path(record, stream, found, task)
    return None if isinstance(path, LogNotYet) else path


async def _changed(parts: Parts, record: Record) -> Record:
    """Wait a little for the run to get further."""
    async with parts.wakeups.subscribe(f"runs:{record.user_name}") as calls:
        await calls.names(LOOK_AGAIN_S)
    return await again(parts.database, record.id)


def complete(data: bytes) -> bytes:
    """Leave off the beginning of a UTF-8 letter at the end of a piece: its rest comes with the next one."""
    for back in range(1, min(4, len(data)) + 1):
        byte = data[-back]
        if byte & 0b1100_0000 == 0b1000_0000:
            continue
        needs = 4 if byte >= 0xF0 else 3 if byte >= 0xE0 else 2 if byte >= 0xC0 else 1
        return data[:-back] if needs > back else data
    return data


def text_of(data: bytes) -> str:
    """Return the text; what is not UTF-8 becomes U+FFFD. Colours and HTML are data, made harmless where shown."""
    return data.decode("utf-8", errors="replace")


def _check(offset: int) -> None:
    if not 0 <= offset <= MOST_OFFSET:
        raise OptionInvalid("The offset is not a position in a file.", field="offset", asked=offset)
