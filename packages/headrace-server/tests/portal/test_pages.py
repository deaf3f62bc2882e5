"""Pages of runs over HTTP, without a cluster: lists, the form, one run."""

import re
from collections.abc import AsyncGenerator
from dataclasses import replace
from itertools import pairwise
from types import SimpleNamespace

import httpx
import pytest
from fastapi import FastAPI

from headrace_server import portal
from headrace_server.identity import Person, current_person
from headrace_server.kernel import Invalid, Refused, SystemClock, problems
from headrace_server.runs import Reason, RunState, TaskCounts, TaskFailure
from headrace_server.runs import pages as runs_pages
from headrace_server.runs.pages_timeline import BAR, timeline_of
from small.runs import ALICE, SmallRuns, a_run

LONG_AGO_MS = 10 * 24 * 3600 * 1000


@pytest.fixture
def world() -> SmallRuns:
    return SmallRuns()


@pytest.fixture
async def client(world: SmallRuns) -> AsyncGenerator[httpx.AsyncClient]:
    app = FastAPI()
    app.state.runs, app.state.wakeups, app.state.clusters = world, world.wakeups, []
    app.state.settings = SimpleNamespace(base_url="http://headrace.example")

    async def alice() -> Person:
        return ALICE

    app.dependency_overrides[current_person] = alice
    problems.install(app, portal.error_page)
    portal.install(app)
    app.include_router(runs_pages.router)
    headers = {"accept": "text/html"}
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://headrace.example", headers=headers) as client:
        yield client


def now_ms() -> int:
    return int(SystemClock().now().timestamp() * 1000)


async def test_a_newcomer_is_told_what_to_do(client: httpx.AsyncClient) -> None:
    page = (await client.get("/")).text
    assert "No runs yet" in page
    assert "headrace run -- hostname" in page
    assert 'href="/runs/new"' in page


async def test_the_list_is_paged_by_cursor_and_filtered_by_state(client: httpx.AsyncClient, world: SmallRuns) -> None:
    states: list[RunState] = ["running", "completed"]
    await world.put(*(a_run(number, states[number % 2]) for number in range(150)))
    seen: list[str] = []
    path: str | None = "/?state=completed"
    while path:
        page = (await client.get(path)).text
        seen += re.findall(r'<tr id="run-(\w+)"', page)
        older = re.search(r'rel="next" href="([^"]+)"', page)
        path = older.group(1).replace("&amp;", "&") if older else None
    assert len(seen) == len(set(seen)) == 75
    assert 'data-state="running"' not in (await client.get("/?state=completed")).text
    assert (await client.get("/?state=everything")).status_code == 422


async def test_what_is_typed_becomes_the_wish(client: httpx.AsyncClient, world: SmallRuns) -> None:
    typed = {
        "what": "command",
        "command": "python3 'my file.py' --x \"$( )\"",
        "name": " sweep ",
        "time_limit": "1:30:00",
        "nodes": "2-4",
        "tasks": "8",
        "memory": "4G",
        "array": "0-23",
        "script": "not this",
        "begun": str(now_ms() - 5_000),
        "unknown": "x",
    }
    answer = await client.post("/runs/new", data=typed)
    assert answer.status_code == 303, answer.text
    ((wish, _),) = world.wishes
    assert answer.headers["location"] == f"/runs/{next(iter(world.runs))}"
    assert (wish.door, wish.name, wish.script) == ("portal", "sweep", None)
    assert wish.command == ("python3", "my file.py", "--x", "$( )")
    assert (wish.options.time_limit, wish.options.nodes, wish.options.tasks) == ("1:30:00", "2-4", 8)
    assert (wish.options.memory, wish.options.array, wish.options.qos) == ("4G", "0-23", None)
    assert 5_000 <= wish.begun_ms_ago < 15_000


async def test_a_scripts_line_ends_are_its_own_again(client: httpx.AsyncClient, world: SmallRuns) -> None:
    await client.post(
        "/runs/new", data={"what": "script", "script": "#!/bin/bash\r\n  echo 1\r\n\r\n", "command": "no"}
    )
    ((wish, _),) = world.wishes
    assert wish.script == "#!/bin/bash\n  echo 1\n\n"
    assert wish.command == ()


@pytest.mark.parametrize(
    ("begun", "least", "most"),
    [
        ("", 0, 0),
        ("x", 0, 0),
        ("-5", 0, 0),
        ("9" * 400, 0, 0),
        ("٣", 0, 0),
        ("future", 0, 0),
        ("long ago", 24 * 3600 * 1000, 24 * 3600 * 1000),
    ],
)
async def test_when_the_intent_began_is_believed_within_a_day(
    client: httpx.AsyncClient, world: SmallRuns, begun: str, least: int, most: int
) -> None:
    moments = {"future": str(now_ms() + 60_000), "long ago": str(now_ms() - LONG_AGO_MS)}
    await client.post("/runs/new", data={"command": "true", "begun": moments.get(begun, begun)})
    assert least <= world.wishes[0][0].begun_ms_ago <= most


async def test_pressing_twice_is_one_wish_and_a_change_is_another(client: httpx.AsyncClient, world: SmallRuns) -> None:
    typed = {"command": "true", "key": "k", "begun": "1"}
    for change in ({}, {}, {"command": "false"}, {"key": "l"}):
        await client.post("/runs/new", data=typed | change)
    keys = [key for _, key in world.wishes]
    assert keys[0] == keys[1]
    assert len(set(keys)) == 3


@pytest.mark.parametrize(
    ("field", "value", "code"),
    [
        ("tasks", "many", "not-a-number"),
        ("tasks", "9" * 5000, "not-a-number"),
        ("cpus_per_task", "1.5", "not-a-number"),
        ("command", "echo 'open", "command-unbalanced"),
    ],
)
async def test_what_the_form_itself_refuses_is_said_at_the_field(
    client: httpx.AsyncClient, world: SmallRuns, field: str, value: str, code: str
) -> None:
    answer = await client.post("/runs/new", data={"command": "true", "name": "kept <b>", "begun": "77", field: value})
    assert answer.status_code == 422
    assert world.wishes == []
    assert re.search(rf'id="{field}-error".*?<code>{code}</code>', answer.text, re.DOTALL)
    assert 'value="kept &lt;b&gt;"' in answer.text
    assert 'name="begun" value="77"' in answer.text


async def test_what_slurm_refuses_is_said_where_it_belongs(client: httpx.AsyncClient, world: SmallRuns) -> None:
    world.refusal = Invalid("At most 30 minutes here.", field="options.time_limit", fix="Ask for 30.")
    page = (await client.post("/runs/new", data={"command": "true", "time_limit": "99"})).text
    assert re.search(r'id="time_limit-error".*?At most 30 minutes here\..*?Ask for 30\.', page, re.DOTALL)
    assert 'aria-describedby="time_limit-error time_limit-hint" aria-invalid="true"' in page

    world.refusal = Refused("Slurm says: <no>.", run="r1")
    page = (await client.post("/runs/new", data={"command": "keep me"})).text
    assert "Slurm says: &lt;no&gt;." in page
    assert 'href="/runs/r1"' in page
    assert 'value="keep me"' in page


async def test_a_body_without_an_end_is_not_read(client: httpx.AsyncClient, world: SmallRuns) -> None:
    async def endless() -> AsyncGenerator[bytes]:
        raise AssertionError("somebody read it")
        yield b""

    headers = {"content-type": "application/x-www-form-urlencoded"}
    answer = await client.post("/runs/new", content=endless(), headers=headers)
    assert (answer.status_code, "body-too-large" in answer.text) == (422, True)
    answer = await client.post("/runs/new", content=b"", headers=headers | {"content-length": "999999999"})
    assert (answer.status_code, "body-too-large" in answer.text) == (422, True)
    assert world.wishes == []


async def test_running_again_fills_the_form_with_the_script(client: httpx.AsyncClient, world: SmallRuns) -> None:
    await world.put(a_run(1, "failed", name="first try"))
    page = (await client.get("/runs/new?from=r000000001")).text
    assert "#!/bin/bash\necho &#39;&lt;/pre&gt;&lt;script&gt;" in page
    assert 'value="first try"' in page
    assert (await client.get("/runs/new?from=r999")).status_code == 404


@pytest.mark.parametrize("state", ["submitting", "pending", "running", "completed", "failed", "timed_out", "unknown"])
async def test_a_runs_page_shows_where_the_time_went(
    client: httpx.AsyncClient, world: SmallRuns, state: RunState
) -> None:
    await world.put(replace(a_run(1, state), reason=Reason("some-code", "Some reason.")))
    page = (await client.get("/runs/r000000001")).text
    assert ("since the intent" if state in {"submitting", "pending", "unknown"} else "from intent to running") in page
    assert re.search(r'<span class="what">Deciding</span><span class="num">4\.0 s</span>', page)
    assert ("Cancel this run?" in page) == (state not in {"completed", "failed", "timed_out"})
    if state not in {"running", "completed"}:
        assert "Some reason." in page
        assert "<code>some-code</code>" in page
    if state == "pending":
        assert "Priority: Jobs of higher priority go first." in page


async def test_a_refused_run_says_why_and_how_to_go_on(client: httpx.AsyncClient, world: SmallRuns) -> None:
    await world.put(replace(a_run(1, "refused"), reason=Reason("slurm-refused", "Slurm says: no <such> account")))
    page = (await client.get("/runs/r000000001")).text
    assert "Slurm refused this run" in page
    assert "no &lt;such&gt; account" in page
    assert 'href="/runs/new?from=r000000001"' in page
    assert "never ran" in page


async def test_logs_and_scripts_are_text(client: httpx.AsyncClient, world: SmallRuns) -> None:
    await world.put(a_run(1, "completed", name="<img src=x onerror=alert(1)>"))
    world.log = "</pre><script>alert(1)</script>\n\x1b[31m10%\r100%\n"
    page = (await client.get("/runs/r000000001")).text
    assert "&lt;/pre&gt;&lt;script&gt;alert(1)&lt;/script&gt;\n100%\n</pre>" in page
    assert "<img" not in page
    assert "<script>" not in page
    whole = await client.get("/runs/r000000001/log.txt")
    assert whole.text == world.log
    assert whole.headers["content-type"] == "text/plain; charset=utf-8"
    assert whole.headers["x-content-type-options"] == "nosniff"


async def test_a_long_log_is_shown_from_its_end(client: httpx.AsyncClient, world: SmallRuns) -> None:
    await world.put(a_run(1, "completed"))
    world.log = "first line\n" + "x" * 79 + "\n" + "y\n" * 200_000 + "last line\n"
    page = (await client.get("/runs/r000000001")).text
    assert "last line\n</pre>" in page
    assert "first line" not in page
    assert f'data-offset="{len(world.log)}"' in page
    assert (await client.get("/runs/r000000001/log.txt")).text == world.log


async def test_an_array_shows_the_log_of_its_first_task(client: httpx.AsyncClient, world: SmallRuns) -> None:
    counts = TaskCounts(total=5, running=5)
    await world.put(replace(a_run(1, "running"), array=True, array_tasks="5-9%2", tasks=counts))
    assert "stream?stream=out&amp;task=5" in (await client.get(f"/runs/{a_run(1, 'running').id}")).text


async def test_an_array_leads_to_the_log_of_what_failed(client: httpx.AsyncClient, world: SmallRuns) -> None:
    failure = TaskFailure(3, ("FAILED",), 4, None, "c2")
    counts = TaskCounts(total=24, completed=20, failed=1, running=3)
    await world.put(replace(a_run(1, "running"), array=True, array_tasks="0-23", tasks=counts, failures=(failure,)))
    page = (await client.get("/runs/r000000001")).text
    assert "20 completed" in page
    assert 'href="/runs/r000000001?task=3#log"' in page
    assert "stream=out&amp;task=3" in page


async def test_a_run_that_is_not_there_is_a_page_with_a_code(client: httpx.AsyncClient) -> None:
    answer = await client.get("/runs/r%3Cscript%3E")
    assert answer.status_code == 404
    assert "no-such-run" in answer.text
    assert "<script>" not in answer.text


def test_the_bar_is_full_and_its_parts_do_not_overlap() -> None:
    states: list[RunState] = ["submitting", "pending", "running", "completed", "refused", "cancelled"]
    for state in states:
        parts = timeline_of(a_run(1, state)).parts
        assert abs(sum(part.width for part in parts) - BAR) < 0.1
        for before, after in pairwise(parts):
            assert abs(before.x + before.width - after.x) < 0.1
        assert all(part.width > 0 for part in parts if part.seconds)
