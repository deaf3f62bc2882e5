"""From the wish to the job, on a small cluster: what is stored, what is sent, and how often."""

import asyncio
import base64
from collections.abc import Coroutine
from datetime import timedelta
from typing import Any

import pytest

import slurmrest
from headrace_server.clusters import FileDenied, FilesUnavailable
from headrace_server.kernel import Database, LeaseLost, Leases, SteppedClock
from headrace_server.runs import After, NewFile, NewRun, Options, Run, RunFilter
from headrace_server.runs.refusals import (
    AfterInvalid,
    AfterNever,
    IdempotencyKeyReused,
    NoSuchRun,
    RunEnded,
    SlurmRefusedPartition,
)
from headrace_server.runs.submission import SUBMISSION_LIFESPAN
from small_world import ADA, BO, OLGA, SmallWorld

NEW = NewRun(command=("true",), begun_ms_ago=1500, wait_s=0)


@pytest.fixture
def world(database: Database, clock: SteppedClock) -> SmallWorld:
    return SmallWorld(database, clock)


async def submitted(world: SmallWorld, new: NewRun = NEW) -> Run:
    run = await world.runs.submit(ADA, new)
    await world.submit_due()
    return await world.runs.get(ADA, run.id)


async def started(world: SmallWorld, use_case: Coroutine[Any, Any, Run]) -> "asyncio.Task[Run]":
    """Begin a use case that waits for the submitter, and return when it has written its wish down."""
    async with world.wakeups.subscribe("submit:small") as calls:
        task = asyncio.create_task(use_case)
        assert await calls.names(10)
    return task


async def test_the_intent_is_stored_before_anything_is_sent(world: SmallWorld) -> None:
    run = await world.runs.submit(ADA, NEW)
    assert run.state == "submitting"
    assert run.moments.created_at - run.moments.intent_at == timedelta(seconds=1.5)
    assert world.slurm.jobs == {}
    assert [wait.name for wait in run.waits] == ["deciding", "submitting"]
    assert run.waits[1].ongoing


async def test_a_run_gets_a_folder_its_files_and_one_job(world: SmallWorld) -> None:
    file = NewFile("bin/tool", base64.b64encode(b"data").decode(), 0o755)
    run = await submitted(world, NewRun(command=("bin/tool",), files=(file,), wait_s=0))
    folder = f"/home/ada/headrace/{run.id}"
    assert (run.state, run.working_directory) == ("pending", folder)
    assert world.files.files == {("ada", f"{folder}/bin/tool"): b"data"}
    assert world.files.modes["ada", f"{folder}/bin/tool"] == 0o755
    (job_id,) = world.slurm.jobs
    description = world.slurm.descriptions[job_id]
    assert run.job_id == job_id
    assert description.working_directory == folder
    assert description.environment["HEADRACE_RUN"] == run.id
    assert description.environment["HOME"] == "/home/ada"
    assert run.standard_output == f"{folder}/out-{job_id}.log"
    await world.submit_due()
    assert len(world.slurm.jobs) == 1


async def test_the_answer_waits_for_slurms(world: SmallWorld) -> None:
    waiting = await started(world, world.runs.submit(ADA, NEW, wait_s=30))
    await world.submit_due()
    assert (await waiting).state == "pending"


async def test_a_refusal_names_the_run_and_keeps_slurms_words(world: SmallWorld) -> None:
    error = slurmrest.InvalidPartition("no", errno=2000, slurm_text="Invalid partition name specified")
    world.slurm.before["submit"] = [error]
    waiting = await started(world, world.runs.submit(ADA, NEW, wait_s=30))
    await world.submit_due()
    with pytest.raises(SlurmRefusedPartition) as refused:
        await waiting
    assert refused.value.run is not None
    run = await world.runs.get(ADA, refused.value.run)
    assert run.reason is not None
    assert (run.state, run.reason.code, run.reason.number) == ("refused", "slurm-partition-refused", 2000)
    assert "Invalid partition name" in run.reason.text
    assert run.moments.ended_at is not None


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (slurmrest.Unreachable("refused"), "cluster-unreachable"),
        (slurmrest.TokenExpired("late"), "cluster-refuses-token"),
        (slurmrest.AuthenticationFailed("wrong"), "cluster-refuses-token"),
        (slurmrest.ControllerUnavailable("down", errno=1800), "cluster-unreachable"),
    ],
)
async def test_what_was_certainly_not_sent_is_sent_later(
    world: SmallWorld, error: slurmrest.SlurmError, code: str
) -> None:
    world.slurm.before["submit"] = [error]
    run = await submitted(world)
    assert run.reason is not None
    assert (run.state, run.reason.code) == ("submitting", code)
    assert await world.submit_due() > 0  # not due yet
    assert world.slurm.jobs == {}
    world.clock.step(2)
    await world.submit_due()
    assert (await world.runs.get(ADA, run.id)).state == "pending"
    assert len(world.slurm.jobs) == 1


@pytest.mark.parametrize(
    "error",
    [
        slurmrest.TimedOut("late"),
        slurmrest.ConnectionLost("cut"),
        slurmrest.ControllerUnavailable("busy"),
        slurmrest.ProtocolError("half an answer"),
    ],
)
async def test_a_lost_answer_never_makes_a_second_job(world: SmallWorld, error: slurmrest.SlurmError) -> None:
    world.slurm.after["submit"] = [error]
    run = await submitted(world)
    assert run.state == "submitting"
    for _ in range(5):
        world.clock.step(60)
        await world.submit_due()
    run = await world.runs.get(ADA, run.id)
    assert (run.state, [run.job_id]) == ("pending", list(world.slurm.jobs))


async def test_a_doubtful_submission_is_sent_again_only_when_it_can_no_longer_arrive(world: SmallWorld) -> None:
    world.slurm.before["submit"] = [slurmrest.TimedOut("lost on the way")]
    run = await submitted(world)
    spent = timedelta()
    while spent < SUBMISSION_LIFESPAN:
        assert world.slurm.jobs == {}
        world.clock.step(5)
        spent += timedelta(seconds=5)
        await world.submit_due()
    reason = (await world.runs.get(ADA, run.id)).reason
    assert reason is not None
    assert reason.code == "submission-uncertain"
    world.clock.step(40)
    for _ in range(3):
        await world.submit_due()
    assert len(world.slurm.jobs) == 1
    assert (await world.runs.get(ADA, run.id)).state == "pending"


async def test_a_server_that_died_after_sending_finds_its_job(world: SmallWorld) -> None:
    class Died(BaseException):
        pass

    async def die(step: str) -> None:
        if step == "submission-sent":
            raise Died

    world.runs.steps = die
    run = await world.runs.submit(ADA, NEW)
    with pytest.raises(BaseExceptionGroup):
        await world.submit_due()
    (job_id,) = world.slurm.jobs
    restarted = SmallWorld(world.database, world.clock)
    restarted.slurm, restarted.files = world.slurm, world.files
    restarted._lease = await world.lease()
    await restarted.submit_due()
    found = await restarted.runs.get(ADA, run.id)
    assert (found.state, found.job_id) == ("pending", job_id)
    assert len(world.slurm.jobs) == 1


async def test_who_lost_the_lease_sends_nothing(world: SmallWorld) -> None:
    await Leases(world.database, "test").release(await world.lease())
    await world.runs.submit(ADA, NEW)
    assert await Leases(world.database, "other").acquire("cluster:small") is not None
    with pytest.raises(BaseExceptionGroup) as raised:
        await world.submit_due()
    assert raised.group_contains(LeaseLost)
    assert world.slurm.jobs == {}


async def test_cancelled_before_submission_is_never_submitted(world: SmallWorld) -> None:
    world.files.fault = FilesUnavailable("the login host is away")
    run = await submitted(world)
    assert run.reason is not None
    assert (run.state, run.reason.code) == ("submitting", "files-unavailable")
    cancelled = await world.runs.cancel(ADA, run.id)
    assert cancelled.state == "cancelled"
    world.files.fault = None
    world.clock.step(60)
    await world.submit_due()
    assert world.slurm.jobs == {}
    with pytest.raises(RunEnded):
        await world.runs.cancel(ADA, run.id)


async def test_a_wish_to_cancel_reaches_slurm_after_it_was_away(world: SmallWorld) -> None:
    run = await submitted(world)
    world.slurm.before["cancel"] = [slurmrest.Unreachable("away")]
    cancelling = await started(world, world.runs.cancel(ADA, run.id))
    await world.submit_due()
    assert world.slurm.jobs[run.job_id or 0].states == ("PENDING",)
    world.clock.step(5)
    await world.submit_due()
    assert (await cancelling).cancel_requested
    assert world.slurm.jobs[run.job_id or 0].states == ("CANCELLED",)


async def test_a_doubtful_submission_that_was_cancelled_is_cancelled_once_found(world: SmallWorld) -> None:
    world.slurm.after["submit"] = [slurmrest.TimedOut("late")]
    run = await submitted(world)
    world.clock.step(5)
    cancelling = await started(world, world.runs.cancel(ADA, run.id))
    await world.submit_due()
    await world.submit_due()
    await cancelling
    (job,) = world.slurm.jobs.values()
    assert job.states == ("CANCELLED",)


async def test_a_denied_folder_refuses_the_run(world: SmallWorld) -> None:
    world.files.fault = FileDenied("/home/ada is not yours")
    run = await submitted(world)
    assert run.reason is not None
    assert (run.state, run.reason.code) == ("refused", "folder-refused")
    assert world.slurm.jobs == {}


async def test_the_same_key_gives_the_same_run(world: SmallWorld) -> None:
    first = await world.runs.submit(ADA, NEW, idempotency_key="k1")
    later = NewRun(command=("true",), begun_ms_ago=99, wait_s=0.1)
    assert (await world.runs.submit(ADA, later, idempotency_key="k1")).id == first.id
    assert (await world.runs.submit(BO, NEW, idempotency_key="k1")).id != first.id
    with pytest.raises(IdempotencyKeyReused) as refused:
        await world.runs.submit(ADA, NewRun(command=("false",), wait_s=0), idempotency_key="k1")
    assert refused.value.run == first.id
    assert len((await world.runs.list(ADA)).items) == 1


async def test_the_same_key_at_the_same_moment_makes_one_run(world: SmallWorld) -> None:
    runs = await asyncio.gather(*(world.runs.submit(ADA, NEW, idempotency_key="k") for _ in range(8)))
    assert len({run.id for run in runs}) == 1
    assert len((await world.runs.list(ADA)).items) == 1


async def test_a_run_after_another_waits_for_its_job_id(world: SmallWorld) -> None:
    world.slurm.before["submit"] = [slurmrest.Unreachable("away")]
    first = await world.runs.submit(ADA, NEW)
    second = await world.runs.submit(ADA, NewRun(command=("b",), after=(After(first.id, "ok"),), wait_s=0))
    await world.submit_due()
    waiting = await world.runs.get(ADA, second.id)
    assert waiting.reason is not None
    assert waiting.reason.code == "waiting-for-run"
    world.clock.step(3)
    await world.submit_due()
    first, second = await world.runs.get(ADA, first.id), await world.runs.get(ADA, second.id)
    assert second.job_id is not None
    assert world.slurm.descriptions[second.job_id].dependency == f"afterok:{first.job_id}"
    assert second.after == (After(first.id, "ok"),)


async def test_a_run_after_a_refused_one_is_refused(world: SmallWorld) -> None:
    world.slurm.before["submit"] = [slurmrest.InvalidQos("no", errno=2066)]
    first = await submitted(world)
    second = await submitted(world, NewRun(command=("b",), after=(After(first.id, "any"),), wait_s=0))
    assert second.reason is not None
    assert (second.state, second.reason.code) == ("refused", AfterNever.code)


async def test_only_ones_own_runs_can_be_waited_for(world: SmallWorld) -> None:
    theirs = await world.runs.submit(BO, NEW)
    with pytest.raises(AfterInvalid):
        await world.runs.submit(ADA, NewRun(command=("b",), after=(After(theirs.id),), wait_s=0))
    assert (await world.runs.list(ADA)).items == ()


async def test_others_do_not_see_a_run_and_operators_do(world: SmallWorld) -> None:
    run = await world.runs.submit(ADA, NEW)
    for attempt in (world.runs.get, world.runs.script, world.runs.cancel):
        with pytest.raises(NoSuchRun):
            await attempt(BO, run.id)
    assert (await world.runs.get(OLGA, run.id)).id == run.id
    assert (await world.runs.list(BO)).items == ()
    assert [one.id for one in (await world.runs.list(OLGA)).items] == [run.id]


async def test_pages_hold_every_run_once(world: SmallWorld) -> None:
    made: set[str] = set()
    for _ in range(7):
        made.add((await world.runs.submit(ADA, NEW)).id)
        world.clock.step(0.5)
    seen: list[str] = []
    cursor: str | None = None
    while True:
        page = await world.runs.list(ADA, RunFilter(frozenset({"submitting"})), cursor, 3)
        seen += [run.id for run in page.items]
        cursor = page.next
        if cursor is None:
            break
    assert len(seen) == 7
    assert set(seen) == made


async def test_the_script_is_kept_as_it_was_sent(world: SmallWorld) -> None:
    script = "#!/bin/bash\n#SBATCH -J 'odd \"name\"'\necho '$(id)' \u00fc\n"
    run = await submitted(world, NewRun(script=script, wait_s=0, options=Options(partition="short")))
    assert await world.runs.script(ADA, run.id) == script
    assert world.slurm.descriptions[run.job_id or 0].script == script
