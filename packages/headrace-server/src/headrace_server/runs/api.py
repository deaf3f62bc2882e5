"""Routes of runs, under `/api/v1`: skins over `Runs`."""

from typing import Annotated

from fastapi import APIRouter, Depends, Header, Query, Request
from fastapi.responses import PlainTextResponse, StreamingResponse

from headrace_server.identity import CurrentPerson
from headrace_server.runs.body import BoundedRoute
from headrace_server.runs.model import LogChunk, NewRun, Page, Preset, Run, RunFilter, RunState, Stream
from headrace_server.runs.runs import Runs
from headrace_server.runs.sse import stream_of_log, stream_of_runs
from headrace_server.runs.tail import CHUNK_BYTES

router = APIRouter(tags=["runs"], route_class=BoundedRoute)


def runs_of(request: Request) -> Runs:
    """Return this process's `Runs`."""
    runs: Runs = request.app.state.runs
    return runs


TheRuns = Annotated[Runs, Depends(runs_of)]
Task = Annotated[int | None, Query(ge=0, description="Index of the array task.")]
Offset = Annotated[int, Query(ge=0, description="Byte to begin at; a log that was written anew begins at 0 again.")]


@router.post("/runs", status_code=201)
async def submit_run(
    runs: TheRuns,
    person: CurrentPerson,
    new: NewRun,
    idempotency_key: Annotated[str | None, Header(description="The same key and body give the same run.")] = None,
) -> Run:
    """Run this. Answers with Slurm's answer, or after `wait_s` with the run as it stands."""
    return await runs.submit(person, new, idempotency_key=idempotency_key)


@router.get("/runs")
async def list_runs(
    runs: TheRuns,
    person: CurrentPerson,
    state: Annotated[list[RunState] | None, Query(description="Only these states.")] = None,
    user: Annotated[str | None, Query(description="Whose runs; for operators.")] = None,
    cursor: Annotated[str | None, Query(description="`next` of the page before.")] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
) -> Page[Run]:
    """List runs, newest first."""
    return await runs.list(person, RunFilter(frozenset(state or ()), user), cursor, limit)


@router.get("/runs/events", response_class=StreamingResponse)
async def follow_runs(runs: TheRuns, person: CurrentPerson) -> StreamingResponse:
    """Follow the caller's runs: event `run` for each change, with the whole run as its data."""
    return await stream_of_runs(runs.watch(person))


@router.get("/runs/{run_id}")
async def show_run(runs: TheRuns, person: CurrentPerson, run_id: str) -> Run:
    """Show one run."""
    return await runs.get(person, run_id)


@router.get("/runs/{run_id}/events", response_class=StreamingResponse)
async def follow_run(runs: TheRuns, person: CurrentPerson, run_id: str) -> StreamingResponse:
    """Follow one run: event `run` now and for each change, `end` when it has ended."""
    return await stream_of_runs(runs.watch(person, run_id))


@router.post("/runs/{run_id}/cancel")
async def cancel_run(runs: TheRuns, person: CurrentPerson, run_id: str) -> Run:
    """Ask for the run's end."""
    return await runs.cancel(person, run_id)


@router.get("/runs/{run_id}/script", response_class=PlainTextResponse)
async def show_script(runs: TheRuns, person: CurrentPerson, run_id: str) -> str:
    """Show the batch script exactly as Slurm got it."""
    return await runs.script(person, run_id)


@router.get("/runs/{run_id}/log")
async def read_log(
    runs: TheRuns,
    person: CurrentPerson,
    run_id: str,
    stream: Stream = "out",
    task: Task = None,
    offset: Offset = 0,
    limit: Annotated[int, Query(ge=1, le=CHUNK_BYTES)] = CHUNK_BYTES,
) -> LogChunk:
    """Read a piece of the log. `size` is null while there is no file; `ended` when nothing follows."""
    return await runs.read_log(person, run_id, stream=stream, task=task, offset=offset, limit=limit)


@router.get("/runs/{run_id}/log/stream", response_class=StreamingResponse)
async def follow_log(
    runs: TheRuns,
    person: CurrentPerson,
    run_id: str,
    stream: Stream = "out",
    task: Task = None,
    offset: Offset = 0,
    last_event_id: Annotated[int | None, Header(description="Sent by browsers that reconnect.")] = None,
) -> StreamingResponse:
    """Follow the log: event `log` for each piece (its id is the offset to go on from), `end` when it is complete."""
    begin = offset if last_event_id is None or last_event_id < 0 else last_event_id
    return await stream_of_log(runs.follow_log(person, run_id, stream=stream, task=task, offset=begin))


@router.get("/presets")
async def list_presets(runs: TheRuns, _: CurrentPerson) -> list[Preset]:
    """List the presets, the default first."""
    return list(runs.presets())
