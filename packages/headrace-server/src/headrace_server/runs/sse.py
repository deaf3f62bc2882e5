"""Server-sent events: runs and logs as they change."""

from collections.abc import AsyncIterator
from typing import Any

import msgspec
from fastapi.responses import StreamingResponse

from headrace_server.kernel import HeadraceError
from headrace_server.kernel.problems import problem_of
from headrace_server.runs.model import LogChunk, Run

HEADERS = {
    "Cache-Control": "no-store",
    # nginx would otherwise hold events back until its buffer is full.
    "X-Accel-Buffering": "no",
}


async def stream_of_log(chunks: AsyncIterator[LogChunk]) -> StreamingResponse:
    """Answer with a log. Event `log` carries a piece and, as its id, the offset to go on from; `end` closes it."""
    first = await anext(chunks)  # what can be refused at all is refused before the answer begins
    return _response(_log_events(first, chunks))


async def stream_of_runs(runs: AsyncIterator[Run | None]) -> StreamingResponse:
    """Answer with runs as they change: event `run`. It ends when the runs do: a single run with event `end`."""
    first = await anext(runs)
    return _response(_run_events(first, runs))


async def _log_events(first: LogChunk, chunks: AsyncIterator[LogChunk]) -> AsyncIterator[bytes]:
    yield _event_of_chunk(first)
    try:
        if not first.ended:
            async for chunk in chunks:
                yield _event_of_chunk(chunk)
    except HeadraceError as error:
        yield _event("error", problem_of(error))


async def _run_events(first: Run | None, runs: AsyncIterator[Run | None]) -> AsyncIterator[bytes]:
    yield _event_of_run(first)
    last = first
    try:
        async for run in runs:
            yield _event_of_run(run)
            last = run or last
        if last is not None:
            yield _event("end", {"state": last.state})
    except HeadraceError as error:
        yield _event("error", problem_of(error))


def _event_of_chunk(chunk: LogChunk) -> bytes:
    if chunk.ended:
        return _event("end", chunk, chunk.next_offset)
    if not chunk.data:
        return b": still here\n\n"
    return _event("log", chunk, chunk.next_offset)


def _event_of_run(run: Run | None) -> bytes:
    return b": still here\n\n" if run is None else _event("run", run)


def _event(name: str, value: Any, event_id: int | None = None) -> bytes:
    # JSON has no raw line breaks, so data is always one line, whatever the log holds.
    head = b"event: " + name.encode() + b"\n"
    if event_id is not None:
        head += b"id: %d\n" % event_id
    return head + b"data: " + msgspec.json.encode(value) + b"\n\n"


def _response(events: AsyncIterator[bytes]) -> StreamingResponse:
    return StreamingResponse(events, media_type="text/event-stream", headers=HEADERS)
