"""Pages: my runs, a new run, one run."""

from collections.abc import AsyncGenerator
from dataclasses import dataclass, replace
from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request
from fastapi.responses import RedirectResponse, Response, StreamingResponse

from headrace_server.clusters import Clusters, NotWatched, Unreachable
from headrace_server.identity import CurrentPerson, Person, current_person
from headrace_server.kernel import HeadraceError, SystemClock, Unauthenticated, Wakeups
from headrace_server.kernel.problems import status_of
from headrace_server.portal import Templates
from headrace_server.runs.amounts import array_of
from headrace_server.runs.model import LogChunk, Run, RunFilter, RunState, Stream
from headrace_server.runs.pages_form import Typed, by_field, idempotency_key, opened, read_form, wish
from headrace_server.runs.pages_live import PAGE, Reader, changed_rows, changed_run, events_answer
from headrace_server.runs.pages_timeline import run_time, timeline_of, wait_reason, waited
from headrace_server.runs.runs import Runs

LOG_TAIL_BYTES = 64 * 1024
LOG_PIECE_BYTES = 256 * 1024
ShownState = Literal["all", "active", "completed", "failed", "cancelled"]
SHOWN: dict[ShownState, tuple[str, frozenset[RunState]]] = {
    "all": ("All", frozenset()),
    "active": ("Active", frozenset({"submitting", "pending", "running", "unknown"})),
    "completed": ("Completed", frozenset({"completed"})),
    "failed": ("Failed", frozenset({"failed", "timed_out", "refused"})),
    "cancelled": ("Cancelled", frozenset({"cancelled"})),
}

router = APIRouter(include_in_schema=False)
templates = Templates("headrace_server.runs")
templates.functions(waited=waited, run_time=run_time, wait_reason=wait_reason)
clock = SystemClock()


@dataclass(frozen=True)
class ClusterCondition:
    """How a cluster is, for the pages. `ok` None: nobody in this process watches it."""

    name: str
    ok: bool | None
    since: datetime
    seen_at: datetime | None
    code: str = ""
    text: str = ""


@dataclass(frozen=True)
class Room:
    """A partition, as far as it helps to choose one. Counts of nodes are None where they are not known."""

    name: str
    is_default: bool
    idle: int | None
    total: int | None
    time_limit_s: float | None


@router.get("/")
async def my_runs(
    request: Request, person: CurrentPerson, state: ShownState = "all", cursor: str | None = None
) -> Response:
    """List my runs, newest first."""
    page = await _runs(request).list(person, RunFilter(SHOWN[state][1]), cursor, PAGE)
    return templates.page(
        request,
        "my_runs.html",
        person=person,
        runs=page.items,
        next_cursor=page.next,
        cursor=cursor,
        state=state,
        shown=SHOWN,
        conditions=_conditions(request),
    )


@router.get("/live")
async def my_runs_live(
    request: Request, person: CurrentPerson, state: ShownState = "all", cursor: str | None = None
) -> StreamingResponse:
    """Send the rows of that list as they change."""
    which = RunFilter(SHOWN[state][1])
    return events_answer(changed_rows(_reader(request, person), which, state, cursor))


@router.get("/runs")
async def all_runs() -> RedirectResponse:
    """Lead to the list, which is the first page."""
    return RedirectResponse("/", HTTPStatus.SEE_OTHER)


@router.get("/runs/new")
async def new_run(
    request: Request, person: CurrentPerson, again: Annotated[str | None, Query(alias="from")] = None
) -> Response:
    """Show the form for a new run, filled with the script of an earlier one if asked for."""
    typed = opened(clock.now())
    if again is not None:
        earlier = await _runs(request).get(person, again)
        script = await _runs(request).script(person, again)
        typed = replace(typed, what="script", script=script, name=earlier.name, cluster=earlier.cluster)
    return _form(request, person, typed)


@router.post("/runs/new")
async def start_run(request: Request, person: CurrentPerson) -> Response:
    """Start a run; if it is refused, show the form with everything that was typed, and why."""
    typed = await read_form(request)
    try:
        run = await _runs(request).submit(person, wish(typed, clock.now()), idempotency_key=idempotency_key(typed))
    except Unauthenticated:
        raise
    except HeadraceError as error:
        return _form(request, person, typed, error)
    return RedirectResponse(f"/runs/{run.id}", HTTPStatus.SEE_OTHER)


def _task_shown(run: Run, asked: int | None) -> int | None:
    """Return the array task whose log is shown: the one asked for, else the first that failed, else the first."""
    if run.array_tasks is None or asked is not None:
        return asked if run.array else None
    return run.failures[0].task if run.failures else array_of(run.array_tasks).ranges[0][0]


@router.get("/runs/{run_id}")
async def one_run(
    request: Request, person: CurrentPerson, run_id: str, stream: Stream = "out", task: int | None = None
) -> Response:
    """Show one run."""
    run = await _runs(request).get(person, run_id)
    task = _task_shown(run, task)
    chunk, log_error = await _log_tail(request, person, run, stream, task)
    return templates.page(
        request,
        "run.html",
        person=person,
        run=run,
        timeline=timeline_of(run),
        script=await _runs(request).script(person, run_id),
        chunk=chunk,
        log_error=log_error,
        stream=stream,
        task=task,
        conditions=_conditions(request, run.cluster),
    )


@router.get("/runs/{run_id}/live")
async def one_run_live(request: Request, person: CurrentPerson, run_id: str) -> StreamingResponse:
    """Send the moving parts of that page as they change."""
    run = await _runs(request).get(person, run_id)
    return events_answer(changed_run(_reader(request, person, run.cluster), run_id))


@router.post("/runs/{run_id}/cancel")
async def cancel_run(request: Request, person: CurrentPerson, run_id: str) -> Response:
    """Ask for the run's end and go back to its page."""
    await _runs(request).cancel(person, run_id)
    return RedirectResponse(f"/runs/{run_id}", HTTPStatus.SEE_OTHER)


@router.get("/runs/{run_id}/log.txt")
async def whole_log(
    request: Request, person: CurrentPerson, run_id: str, stream: Stream = "out", task: int | None = None
) -> StreamingResponse:
    """Send the whole log as plain text."""
    runs = _runs(request)
    first = await runs.read_log(person, run_id, stream=stream, task=task, offset=0, limit=LOG_PIECE_BYTES)

    async def pieces() -> AsyncGenerator[str]:
        chunk = first
        while chunk.data:
            yield chunk.data
            chunk = await runs.read_log(
                person, run_id, stream=stream, task=task, offset=chunk.next_offset, limit=LOG_PIECE_BYTES
            )

    return StreamingResponse(pieces(), media_type="text/plain; charset=utf-8")


def _form(request: Request, person: Person, typed: Typed, error: HeadraceError | None = None) -> Response:
    clusters = _clusters(request)
    errors = by_field(error) if error else {}
    chosen = next((one for one in clusters if one.name == typed.cluster), next(iter(clusters), None))
    return templates.page(
        request,
        "new_run.html",
        person=person,
        status=status_of(error) if error else HTTPStatus.OK,
        typed=typed,
        errors=errors,
        clusters=[one.name for one in clusters],
        presets=_runs(request).presets(),
        rooms=_rooms(clusters, chosen.name) if chosen else (),
        conditions=_conditions(request),
    )


def _rooms(clusters: Clusters, name: str) -> tuple[Room, ...]:
    snapshot = clusters.get(name).watch.snapshot
    if snapshot is None:
        return ()
    known = snapshot.nodes_at is not None
    rooms: list[Room] = []
    for partition in snapshot.partitions:
        nodes = [node for node in snapshot.nodes if partition.name in node.partitions]
        idle = sum(1 for node in nodes if node.states[:1] == ("IDLE",) and len(node.states) == 1)
        limit = partition.time_limit_min
        rooms.append(
            Room(
                partition.name,
                bool(partition.is_default),
                idle if known else None,
                len(nodes) if known else partition.node_count,
                limit * 60 if limit is not None and limit != float("inf") else None,
            )
        )
    return tuple(rooms)


async def _log_tail(
    request: Request, person: Person, run: Run, stream: Stream, task: int | None
) -> tuple[LogChunk | None, HeadraceError | None]:
    """Return the log's end, for a page that works without scripts; the script goes on from there."""
    runs = _runs(request)
    try:
        chunk = await runs.read_log(person, run.id, stream=stream, task=task, offset=0, limit=LOG_TAIL_BYTES)
        if chunk.size is not None and chunk.size > chunk.next_offset:
            offset = max(0, chunk.size - LOG_TAIL_BYTES)
            chunk = await runs.read_log(person, run.id, stream=stream, task=task, offset=offset, limit=LOG_TAIL_BYTES)
    except Unauthenticated:
        raise
    except HeadraceError as error:
        return None, error
    return chunk, None


def _conditions(request: Request, name: str | None = None) -> list[ClusterCondition]:
    """Return how the clusters are, or just the one of this name."""
    found: list[ClusterCondition] = []
    for cluster in _clusters(request):
        if name not in {None, cluster.name}:
            continue
        condition, snapshot = cluster.watch.condition, cluster.watch.snapshot
        seen_at = snapshot.taken_at if snapshot else None
        if isinstance(condition, Unreachable):
            one = ClusterCondition(cluster.name, False, condition.since, seen_at, condition.code, condition.text)
        else:
            ok = None if isinstance(condition, NotWatched) else True
            one = ClusterCondition(cluster.name, ok, condition.since, seen_at)
        found.append(one)
    return found


def _reader(request: Request, person: Person, cluster: str | None = None) -> Reader:
    async def still_logged_in() -> Person:
        return await current_person(request)

    def conditions() -> str:
        return templates.text("conditions_parts.html", conditions=_conditions(request, cluster))

    wakeups: Wakeups = request.app.state.wakeups
    return Reader(_runs(request), wakeups, templates, person, still_logged_in, conditions)


def _runs(request: Request) -> Runs:
    runs: Runs = request.app.state.runs
    return runs


def _clusters(request: Request) -> Clusters:
    clusters: Clusters = request.app.state.clusters
    return clusters
