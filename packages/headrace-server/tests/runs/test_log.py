"""Reading and following logs: whole letters, few reads, an end, and whose file it is."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace_server.clusters import FileDenied
from headrace_server.kernel import Database, SteppedClock
from headrace_server.runs import LogChunk, NewRun, Options, Run, Stream
from headrace_server.runs import log as log_module
from headrace_server.runs import tail as tail_module
from headrace_server.runs.log import complete
from headrace_server.runs.refusals import NoSuchLog, NoSuchRun
from headrace_server.runs.tail import CHUNK_BYTES
from small_world import ADA, BO, SmallWorld


@pytest.fixture
def world(database: Database, clock: SteppedClock, monkeypatch: pytest.MonkeyPatch) -> SmallWorld:
    monkeypatch.setattr(tail_module, "POLL_S", 0.01)
    monkeypatch.setattr(log_module, "SETTLE_S", 0.1)
    monkeypatch.setattr(log_module, "LOOK_AGAIN_S", 0.05)
    return SmallWorld(database, clock)


async def begun(world: SmallWorld, **options: str) -> Run:
    run = await world.runs.submit(ADA, NewRun(command=("a",), options=Options(**options), wait_s=0))  # type: ignore[arg-type]
    await world.submit_due()
    return await world.runs.get(ADA, run.id)


def write(world: SmallWorld, run: Run, data: bytes) -> None:
    key = ("ada", run.standard_output or "")
    world.files.files[key] = world.files.files.get(key, b"") + data


def follow(world: SmallWorld, run: Run, offset: int = 0) -> AsyncIterator[LogChunk]:
    return world.runs.follow_log(ADA, run.id, stream="out", task=None, offset=offset)


async def said(chunks: AsyncIterator[LogChunk], text: str) -> str:
    """Read on until `text` has been said."""
    heard = ""
    async with asyncio.timeout(10):
        async for chunk in chunks:
            heard += chunk.data
            if text in heard:
                return heard
    raise AssertionError(heard)


async def test_a_log_is_followed_from_before_it_exists_to_its_end(world: SmallWorld) -> None:
    run = await begun(world)
    chunks = follow(world, run)
    assert (await anext(chunks)).size is None
    write(world, run, b"one\n")
    assert await said(chunks, "one\n") == "one\n"
    write(world, run, "zw\u00f6lf <b>\x1b[31m".encode()[:3])
    write(world, run, "zw\u00f6lf <b>\x1b[31m".encode()[3:])
    assert (await said(chunks, "m")).startswith("zw\u00f6lf <b>\x1b[31m")
    world.ended(run.job_id or 0, ("COMPLETED",))
    await world.follow()
    write(world, run, b"last words\n")
    rest = [chunk async for chunk in chunks]
    assert "".join(chunk.data for chunk in rest) == "last words\n"
    assert rest[-1].ended
    assert rest[-1].next_offset == len(world.files.files["ada", run.standard_output or ""])


async def test_a_big_log_comes_whole_in_bounded_pieces(world: SmallWorld) -> None:
    run = await begun(world)
    data = "".join(f"line {number} \u20ac\n" for number in range(60_000)).encode()
    write(world, run, data)
    world.ended(run.job_id or 0, ("COMPLETED",))
    await world.follow()
    chunks = [chunk async for chunk in follow(world, run)]
    assert "".join(chunk.data for chunk in chunks).encode() == data
    assert max(len(chunk.data.encode()) for chunk in chunks) <= CHUNK_BYTES
    middle = chunks[len(chunks) // 2].next_offset
    again = [chunk async for chunk in follow(world, run, middle)]
    assert "".join(chunk.data for chunk in again).encode() == data[middle:]


async def test_many_followers_share_one_reader(world: SmallWorld) -> None:
    run = await begun(world)
    write(world, run, b"begin\n")
    followers = [follow(world, run) for _ in range(20)]
    await asyncio.gather(*(said(one, "begin") for one in followers))
    assert len(world.runs._tails) == 1
    before = world.files.reads
    write(world, run, b"more\n")
    assert set(await asyncio.gather(*(said(one, "more") for one in followers))) == {"more\n"}
    assert world.files.reads - before < 20
    await asyncio.gather(*(one.aclose() for one in followers))  # type: ignore[attr-defined]
    assert len(world.runs._tails) == 0


async def test_a_log_that_is_written_anew_begins_again(world: SmallWorld) -> None:
    run = await begun(world)
    write(world, run, b"first attempt\n")
    chunks = follow(world, run)
    await said(chunks, "first")
    world.files.files["ada", run.standard_output or ""] = b"again\n"
    assert (await said(chunks, "again")).endswith("again\n")


async def test_a_denied_log_says_so(world: SmallWorld) -> None:
    run = await begun(world)
    world.files.fault = FileDenied("not yours")
    with pytest.raises(FileDenied):
        await world.runs.read_log(ADA, run.id, stream="out", task=None, offset=0, limit=10)
    with pytest.raises(FileDenied):
        await said(follow(world, run), "never")


async def test_a_log_is_its_owners(world: SmallWorld) -> None:
    run = await begun(world)
    with pytest.raises(NoSuchRun):
        await world.runs.read_log(BO, run.id, stream="out", task=None, offset=0, limit=10)
    with pytest.raises(NoSuchRun):
        await anext(world.runs.follow_log(BO, run.id, stream="out", task=None))


async def test_reading_in_pieces_gives_the_whole(world: SmallWorld) -> None:
    run = await begun(world)
    data = "a\u00e4\u20ac\U0001f600" * 50
    write(world, run, data.encode())
    text, offset = "", 0
    while True:
        chunk = await world.runs.read_log(ADA, run.id, stream="out", task=None, offset=offset, limit=7)
        if not chunk.data:
            break
        text, offset = text + chunk.data, chunk.next_offset
    assert text == data
    assert not chunk.ended
    world.ended(run.job_id or 0, ("COMPLETED",))
    await world.follow()
    assert (await world.runs.read_log(ADA, run.id, stream="out", task=None, offset=offset, limit=7)).ended


async def test_logs_that_are_not_kept_are_named(world: SmallWorld) -> None:
    run = await begun(world)
    which: list[tuple[Stream, int | None]] = [("err", None), ("out", 3)]
    for stream, task in which:
        with pytest.raises(NoSuchLog):
            await world.runs.read_log(ADA, run.id, stream=stream, task=task, offset=0, limit=10)
    silent = await begun(world, standard_output="/dev/null")
    with pytest.raises(NoSuchLog):
        await world.runs.read_log(ADA, silent.id, stream="out", task=None, offset=0, limit=10)


async def test_a_task_of_an_array_has_its_own_log(world: SmallWorld) -> None:
    run = await begun(world, array="0-3")
    world.slurm.jobs.clear()
    world.slurm.put(777, ("RUNNING",), array_job_id=run.job_id, array_task_id=2, nodes="c1")
    await world.follow()
    world.files.files["ada", f"{run.working_directory}/out-{run.job_id}_2.log"] = b"task two\n"
    chunk = await world.runs.read_log(ADA, run.id, stream="out", task=2, offset=0, limit=100)
    assert chunk.data == "task two\n"
    assert (await world.runs.read_log(ADA, run.id, stream="out", task=3, offset=0, limit=100)).size is None


@given(st.text(), st.integers(0, 64))
def test_only_whole_letters_are_given_out(text: str, cut: int) -> None:
    data = text.encode()
    head = complete(data[:cut])
    assert text.startswith(head.decode())
    assert len(data[:cut]) - len(head) <= 3


@given(st.binary(max_size=40))
def test_any_bytes_get_through(data: bytes) -> None:
    assert len(data) - len(complete(data)) <= 3


async def test_a_log_named_after_its_node_is_found_once_there_is_one(world: SmallWorld) -> None:
    run = await begun(world, standard_output="%x-%5j-%N%%.txt")
    assert (await world.runs.read_log(ADA, run.id, stream="out", task=None, offset=0, limit=10)).size is None
    world.slurm.put(run.job_id or 0, ("RUNNING",), nodes="c[3-5],d1", start_time=world.clock.now())
    await world.follow()
    world.files.files["ada", f"{run.working_directory}/a-00{run.job_id}-c3%.txt"] = b"here\n"
    assert await said(follow(world, run), "here") == "here\n"
