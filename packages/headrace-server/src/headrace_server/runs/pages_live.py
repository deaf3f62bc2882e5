"""Pages that follow the cluster: server-sent events that carry the HTML of what changed, and nothing else."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Container, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass, replace

from fastapi.responses import StreamingResponse

from headrace_server.identity import Person
from headrace_server.kernel import HeadraceError, Subscription, Wakeups
from headrace_server.portal import Templates
from headrace_server.runs.model import Run, RunFilter
from headrace_server.runs.pages_timeline import timeline_of
from headrace_server.runs.runs import Runs
from headrace_server.runs.voice import ALL, topic_of_user

PAGE = 50
HEARTBEAT_S = 10.0
GATHER_S = 0.2
"""Changes that come within this time of one another go out together: a thousand changes cost five looks a second."""
REDRAW_S = 5.0
"""How often the bar of a run that is under way is drawn again."""


@dataclass(frozen=True)
class Reader:
    """Somebody's open page: who reads it, what it is made with, and what it says of the clusters (as HTML)."""

    runs: Runs
    wakeups: Wakeups
    templates: Templates
    person: Person
    still_logged_in: Callable[[], Awaitable[object]]
    """Raises when the session is over."""
    conditions: Callable[[], str]


def events_answer(events: AsyncGenerator[str]) -> StreamingResponse:
    """Send events until the browser goes, the session ends, or the events do."""
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(_until_logged_out(events), media_type="text/event-stream", headers=headers)


async def changed_rows(reader: Reader, which: RunFilter, state: str, cursor: str | None) -> AsyncGenerator[str]:
    """Yield the rows of one page of my runs: all of them at first, then those that changed, came or went.

    Each look reads one page of the list, however many runs there are and however many of them changed. `state` is the
    page's word for `which`.
    """
    topic = ALL if reader.person.role == "operator" else topic_of_user(reader.person.name)
    shown: Sequence[Run] | None = None
    told = ""
    async with reader.wakeups.subscribe(topic) as calls:
        while True:
            page = await reader.runs.list(reader.person, which, cursor, PAGE)
            html = _difference(reader, state, shown, page.items)
            shown, before, told = page.items, told, reader.conditions()
            html += told if told != before else ""
            yield event(html) if html else ": still here\n\n"
            if await calls.names(HEARTBEAT_S):
                await asyncio.sleep(GATHER_S)
            else:
                await reader.still_logged_in()


async def changed_run(reader: Reader, run_id: str) -> AsyncGenerator[str]:
    """Yield the moving parts of a run's page now, at each change, and every few seconds while time passes."""
    run = await reader.runs.get(reader.person, run_id)
    async with reader.wakeups.subscribe(topic_of_user(run.user)) as calls:
        while True:
            run = await reader.runs.get(reader.person, run_id)
            values = {"person": reader.person, "run": run, "timeline": timeline_of(run)}
            yield event(reader.templates.text("run_parts.html", **values) + reader.conditions())
            if run.ended:
                break
            await _called_or_due(calls, run_id)
            await reader.still_logged_in()
    yield "event: ended\ndata: ended\n\n"


async def _called_or_due(calls: Subscription, run_id: str) -> None:
    """Wait until this run is called (the person's other runs do not count) or the bar is to be drawn again."""
    try:
        async with asyncio.timeout(REDRAW_S):
            while run_id not in await calls.names():
                pass
    except TimeoutError:
        pass


def event(html: str) -> str:
    """Return an unnamed event that carries `html`. Its line ends become spaces, which no element in it minds."""
    return f"data: {' '.join(html.splitlines())}\n\n"


async def _until_logged_out(events: AsyncGenerator[str]) -> AsyncGenerator[str]:
    # An error cannot become a status any more: the stream ends, the browser asks again, and is told then.
    with suppress(HeadraceError):
        async with aclosing(events):
            async for one in events:
                yield one


def _difference(reader: Reader, state: str, shown: Sequence[Run] | None, runs: Sequence[Run]) -> str:
    """Return the HTML that turns a page showing `shown` into one showing `runs`; empty if nothing is to be done."""
    if shown is None or bool(shown) != bool(runs):
        return reader.templates.text("runs_all.html", person=reader.person, state=state, runs=runs)
    before = {run.id: still(run) for run in shown}
    now = {run.id for run in runs}
    gone = [run_id for run_id in before if run_id not in now]
    changed = [run for run in runs if run.id in before and before[run.id] != still(run)]
    if not gone and not changed and len(before) == len(runs):
        return ""
    parts = {"gone": gone, "changed": changed, "come": _come(before, runs)}
    return reader.templates.text("runs_some.html", person=reader.person, **parts)


def _come(before: Container[str], runs: Sequence[Run]) -> list[tuple[str | None, list[Run]]]:
    """Return the new runs in groups, each with the id of the run that it stands below (None: on top)."""
    groups: list[tuple[str | None, list[Run]]] = []
    above: str | None = None
    for run in runs:
        if run.id in before:
            above = run.id
        elif groups and groups[-1][0] == above:
            groups[-1][1].append(run)
        else:
            groups.append((above, [run]))
    return groups


def still(run: Run) -> Run:
    """Return the run without what merely passes: its age, and how long an ongoing wait is by now."""
    waits = tuple(replace(wait, seconds=0.0) if wait.ongoing else wait for wait in run.waits)
    return replace(run, as_of=None, waits=waits)
