"""What is sent to a page that follows the cluster: what changed, and nothing else."""

import asyncio
import re
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import replace
from datetime import timedelta
from typing import cast, get_args

import pytest

from headrace_server.identity import LoginRequired, Person
from headrace_server.runs import Run, RunFilter, Runs, RunState, Wait
from headrace_server.runs import pages_live as live
from headrace_server.runs.pages import templates
from small.runs import ALICE, NOW, SmallRuns, a_run

EVERY_STATE: tuple[RunState, ...] = get_args(RunState)
OLGA = Person("olga", "operator")


async def yes() -> None:
    return None


def reader_of(
    world: SmallRuns,
    person: Person = ALICE,
    still_logged_in: Callable[[], Awaitable[None]] = yes,
    conditions: Callable[[], str] = str,
) -> live.Reader:
    return live.Reader(cast("Runs", world), world.wakeups, templates, person, still_logged_in, conditions)


def follow(world: SmallRuns, person: Person = ALICE, which: RunFilter | None = None) -> AsyncGenerator[str]:
    return live.changed_rows(reader_of(world, person), which or RunFilter(), "all", None)


async def html_of(events: AsyncGenerator[str]) -> str:
    async with asyncio.timeout(5):
        return (await anext(events)).removeprefix("data: ")


def rows_in(html: str) -> list[str]:
    return re.findall(r'<tr id="run-(\w+)"', html)


def targets_in(html: str) -> list[tuple[str, str]]:
    return re.findall(r'<hx-partial hx-target="(#[\w-]+)" hx-swap="(\w+)"', html)


async def test_of_four_thousand_runs_the_one_that_changed_arrives_within_two_seconds() -> None:
    world = SmallRuns([a_run(number) for number in range(4000)])
    async with aclosing(follow(world)) as events:
        assert len(rows_in(await html_of(events))) == live.PAGE
        changed_at = time.monotonic()
        await world.put(replace(a_run(7, "running")))
        html = await html_of(events)
        assert time.monotonic() - changed_at < 2
    assert targets_in(html) == [("#run-r000000007", "outerMorph")]
    assert rows_in(html) == ["r000000007"]
    assert ">Running<" in html


async def test_when_all_of_them_change_the_page_is_read_a_few_times_not_thousands() -> None:
    world = SmallRuns([a_run(number) for number in range(4000)])
    async with aclosing(follow(world)) as events:
        await html_of(events)
        await world.put(*(a_run(number, "completed") for number in range(4000)))
        seen: set[str] = set()
        while len(seen) < live.PAGE:
            seen |= set(rows_in(await html_of(events)))
        assert world.pages_read <= 4


async def test_a_change_beyond_the_page_sends_nothing() -> None:
    world = SmallRuns([a_run(number) for number in range(100)])
    async with aclosing(follow(world)) as events:
        await html_of(events)
        await world.put(a_run(99, "running"))
        assert (await html_of(events)).startswith(":")


async def test_new_runs_come_on_top_and_what_fell_off_the_page_goes() -> None:
    world = SmallRuns([a_run(number) for number in range(live.PAGE)])
    async with aclosing(follow(world)) as events:
        await html_of(events)
        await world.put(a_run(900), a_run(901))
        html = await html_of(events)
    assert targets_in(html) == [
        (f"#run-r0000000{live.PAGE - 2}", "delete"),
        (f"#run-r0000000{live.PAGE - 1}", "delete"),
        ("#runs-rows", "afterbegin"),
    ]
    assert rows_in(html) == ["r000000901", "r000000900"]


async def test_a_run_that_leaves_the_state_asked_for_leaves_the_page() -> None:
    world = SmallRuns([a_run(1), a_run(2), a_run(3)])
    async with aclosing(follow(world, which=RunFilter(frozenset({"pending"})))) as events:
        await html_of(events)
        await world.put(a_run(2, "running"))
        assert targets_in(await html_of(events)) == [("#run-r000000002", "delete")]
        await world.put(a_run(2))
        html = await html_of(events)
        assert targets_in(html) == [("#run-r000000001", "afterend")]
        assert rows_in(html) == ["r000000002"]


async def test_the_first_run_replaces_what_a_newcomer_is_told() -> None:
    world = SmallRuns()
    async with aclosing(follow(world)) as events:
        assert "No runs yet" in await html_of(events)
        await world.put(a_run(1))
        html = await html_of(events)
    assert targets_in(html) == [("#runs", "innerMorph")]
    assert rows_in(html) == ["r000000001"]


async def test_time_passing_is_no_change() -> None:
    run = a_run(1, "running")
    later = replace(
        run,
        as_of=NOW + timedelta(minutes=5),
        waits=(*run.waits[:-1], Wait("running", 300.0, ongoing=True)),
    )
    assert live.still(run) == live.still(later)
    assert live.still(run) != live.still(replace(later, nodes="c2"))


async def test_other_peoples_changes_are_not_heard_except_by_operators() -> None:
    world = SmallRuns([a_run(1), a_run(2, user="bob")])
    async with aclosing(follow(world)) as mine, aclosing(follow(world, OLGA)) as everybodys:
        assert rows_in(await html_of(mine)) == ["r000000001"]
        assert rows_in(await html_of(everybodys)) == ["r000000001", "r000000002"]
        reading = asyncio.ensure_future(html_of(mine))
        await world.put(a_run(2, "running", user="bob"))
        assert rows_in(await html_of(everybodys)) == ["r000000002"]
        assert not reading.done()
        await world.put(a_run(1, "running"))
        assert rows_in(await reading) == ["r000000001"]


async def test_the_stream_ends_with_the_session(monkeypatch: pytest.MonkeyPatch) -> None:
    async def no() -> None:
        raise LoginRequired("Nobody is logged in here.")

    monkeypatch.setattr(live, "HEARTBEAT_S", 0.01)
    world = SmallRuns([a_run(1)])
    events = live.changed_rows(reader_of(world, still_logged_in=no), RunFilter(), "all", None)
    async with asyncio.timeout(5):
        sent = [piece async for piece in live.events_answer(events).body_iterator]
    assert len(sent) == 1


async def test_a_cluster_that_stops_answering_is_told_to_open_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "HEARTBEAT_S", 0.01)
    said = ["<p>answers</p>"]
    world = SmallRuns([a_run(1)])
    reader = reader_of(world, conditions=lambda: said[-1])
    async with aclosing(live.changed_rows(reader, RunFilter(), "all", None)) as events:
        assert "<p>answers</p>" in await html_of(events)
        assert (await html_of(events)).startswith(":")
        said.append("<p>does not answer</p>")
        assert await html_of(events) == "<p>does not answer</p>\n\n"


async def test_a_runs_page_follows_its_run_until_it_ends() -> None:
    world = SmallRuns([a_run(1), a_run(2)])
    events = live.changed_run(reader_of(world), "r000000001")
    async with aclosing(events):
        assert ">Waiting<" in await html_of(events)
        await world.put(a_run(2, "running"))
        await world.put(a_run(1, "running"))
        html = await html_of(events)
        assert ">Running<" in html
        assert {target for target, _ in targets_in(html)} >= {"#run-title", "#run-time", "#run-facts", "#run-actions"}
        await world.put(a_run(1, "completed"))
        assert ">Completed<" in await html_of(events)
        assert await html_of(events) == "event: ended\ndata: ended\n\n"
        with pytest.raises(StopAsyncIteration):
            await anext(events)


async def test_a_name_cannot_break_out_of_an_event() -> None:
    name = "a\r\rdata: <hx-partial hx-target='body'>\u2028</tr><script>"
    world = SmallRuns([a_run(1, name=name)])
    async with aclosing(follow(world)) as events:
        sent = await anext(events)
    assert sent.count("\n") == 2
    assert "\r" not in sent
    assert "<script>" not in sent
    assert len(re.findall("<hx-partial", sent)) == 1


def test_every_state_has_a_word_and_a_shape() -> None:
    states: list[Run] = [a_run(1, state) for state in EVERY_STATE]
    html = templates.text("runs_all.html", person=ALICE, state="all", runs=states)
    shapes = re.findall(r'class="state" data-state="(\w+)">(<svg.*?</svg>)<span>([\w ]+)</span>', html)
    assert [state for state, _, _ in shapes] == list(EVERY_STATE)
    assert len({shape for _, shape, _ in shapes}) == len({word for _, _, word in shapes}) == len(EVERY_STATE)
