"""What becomes of runs whose jobs go on, end, vanish and come back."""

from datetime import timedelta
from typing import Any

import pytest

import slurmrest
from headrace_server.clusters import WatchedJob
from headrace_server.kernel import Database, SteppedClock
from headrace_server.runs import NewRun, Options, Run, TaskCounts
from headrace_server.runs.follower import UNKNOWN_AFTER
from slurmrest import ExitCode, HistoryJob
from small_world import ADA, SmallWorld


@pytest.fixture
def world(database: Database, clock: SteppedClock) -> SmallWorld:
    return SmallWorld(database, clock)


async def begun(world: SmallWorld, array: str | None = None) -> Run:
    new = NewRun(command=("true",), options=Options(array=array), wait_s=0)
    run = await world.runs.submit(ADA, new)
    await world.submit_due()
    return await world.runs.get(ADA, run.id)


def job(run: Run) -> int:
    assert run.job_id is not None
    return run.job_id


async def test_a_run_goes_its_way_and_its_waits_are_named(world: SmallWorld) -> None:
    run = await begun(world)
    await world.follow()
    pending = await world.runs.get(ADA, run.id)
    assert pending.reason is not None
    assert (pending.state, pending.reason.text, pending.waits[2].why) == ("pending", "Priority", "Priority")
    world.clock.step(10)
    world.slurm.put(job(run), ("RUNNING",), nodes="c2", start_time=world.clock.now(), state_reason=None)
    await world.follow()
    running = await world.runs.get(ADA, run.id)
    assert (running.state, running.nodes, running.reason) == ("running", "c2", None)
    world.clock.step(30)
    world.slurm.put(job(run), ("COMPLETED",), end_time=world.clock.now(), exit_code=ExitCode(return_code=0))
    await world.follow()
    done = await world.runs.get(ADA, run.id)
    assert (done.state, done.exit_code, done.tasks) == ("completed", 0, TaskCounts(total=1, completed=1))
    assert [(wait.name, wait.ongoing) for wait in done.waits] == [
        ("deciding", False), ("submitting", False), ("queue", False), ("running", False),
    ]  # fmt: skip
    assert done.waits[2].seconds == 11
    assert done.waits[2].why == "Priority"
    assert done.waits[3].seconds == 31


@pytest.mark.parametrize(
    ("states", "code", "signal", "state", "reason"),
    [
        (("FAILED",), 3, None, "failed", "exit-code"),
        (("FAILED",), 0, 9, "failed", "killed-by-signal"),
        (("OUT_OF_MEMORY",), 0, 125, "failed", "out-of-memory"),
        (("TIMEOUT",), 0, 15, "timed_out", "time-limit-reached"),
        (("NODE_FAIL",), 0, None, "failed", "node-failed"),
        (("CANCELLED",), 0, 15, "cancelled", None),
        (("COMPLETED", "COMPLETING"), 0, None, "completed", None),
    ],
)
async def test_every_end_has_its_name(
    world: SmallWorld, states: tuple[str, ...], code: int, signal: int | None, state: str, reason: str | None
) -> None:
    run = await begun(world)
    world.ended(job(run), states, code, signal)
    await world.follow()
    done = await world.runs.get(ADA, run.id)
    assert (done.state, done.exit_code, done.signal) == (state, code, signal)
    assert (done.reason.code if done.reason else None) == reason


@pytest.mark.parametrize("states", [("FROBNICATED",), (), ("RUNNING", "NEW_FLAG")])
async def test_a_state_that_nobody_knows_ends_nothing(world: SmallWorld, states: tuple[str, ...]) -> None:
    run = await begun(world)
    world.slurm.put(job(run), states)
    await world.follow()
    assert not (await world.runs.get(ADA, run.id)).ended


async def test_a_requeued_job_is_pending_again(world: SmallWorld) -> None:
    run = await begun(world)
    world.slurm.put(job(run), ("RUNNING",), nodes="c1", start_time=world.clock.now())
    await world.follow()
    world.slurm.put(job(run), ("PENDING", "REQUEUED"), nodes=None, start_time=None, state_reason="BeginTime")
    await world.follow()
    again = await world.runs.get(ADA, run.id)
    assert (again.state, again.moments.started_at) == ("pending", None)


def kept(world: SmallWorld, run: Run, states: tuple[str, ...], **values: Any) -> HistoryJob:
    moment = world.clock.now()
    base: dict[str, Any] = {"submit_time": moment, "start_time": moment, "end_time": moment, "name": "x"}
    return HistoryJob(job_id=job(run), key=str(run.job_id), states=states, **{**base, **values})


async def look(world: SmallWorld) -> None:
    for _ in range(3):
        await world.follow()
        world.clock.step(3)


async def test_a_job_gone_from_slurmctld_is_found_in_accounting(world: SmallWorld) -> None:
    run = await begun(world)
    world.slurm.jobs.clear()
    world.slurm.kept[job(run)] = (kept(world, run, ("FAILED",), exit_code=ExitCode(return_code=7), nodes="c3"),)
    await look(world)
    done = await world.runs.get(ADA, run.id)
    assert (done.state, done.exit_code, done.nodes) == ("failed", 7, "c3")


async def test_a_job_that_nobody_knows_becomes_unknown_and_never_failed(world: SmallWorld) -> None:
    run = await begun(world)
    world.slurm.jobs.clear()
    await look(world)
    lost = await world.runs.get(ADA, run.id)
    assert lost.reason is not None
    assert (lost.state, lost.reason.code) == ("pending", "job-not-found-yet")
    world.clock.step(UNKNOWN_AFTER.total_seconds())
    await look(world)
    unknown = await world.runs.get(ADA, run.id)
    assert (unknown.state, unknown.moments.ended_at) == ("unknown", None)
    world.slurm.kept[job(run)] = (kept(world, run, ("COMPLETED",), exit_code=ExitCode(return_code=0)),)
    world.clock.step(120)
    await look(world)
    assert (await world.runs.get(ADA, run.id)).state == "completed"


async def test_while_accounting_is_away_nothing_is_concluded(world: SmallWorld) -> None:
    run = await begun(world)
    world.slurm.jobs.clear()
    world.slurm.before["history"] = [slurmrest.SlurmdbUnavailable("down") for _ in range(50)]
    for _ in range(10):
        world.clock.step(300)
        await look(world)
    assert (await world.runs.get(ADA, run.id)).state == "pending"


async def test_an_older_job_of_the_same_number_is_not_mistaken(world: SmallWorld) -> None:
    run = await begun(world)
    world.slurm.jobs.clear()
    long_ago = world.clock.now() - timedelta(days=400)
    other = kept(world, run, ("COMPLETED",), operation_key="headrace-somebody-1")
    world.slurm.kept[job(run)] = (kept(world, run, ("FAILED",), submit_time=long_ago), other)
    await look(world)
    assert (await world.runs.get(ADA, run.id)).state == "pending"


def put_task(world: SmallWorld, run: Run, task: int, states: tuple[str, ...], code: int | None = None) -> None:
    over = states[0] in slurmrest.FINISHED
    world.slurm.put(
        job(run) + 1000 + task,
        states,
        array_job_id=run.job_id,
        array_task_id=task,
        nodes="c1",
        start_time=world.clock.now(),
        end_time=world.clock.now() if over else None,
        exit_code=ExitCode(return_code=code) if over else None,
    )


async def test_an_array_is_counted_and_names_its_failures(world: SmallWorld) -> None:
    run = await begun(world, "0-5")
    world.slurm.jobs.clear()
    put_task(world, run, 0, ("COMPLETED",), 0)
    put_task(world, run, 1, ("FAILED",), 4)
    put_task(world, run, 2, ("RUNNING",))
    world.sweep(WatchedJob(job(run), job(run), (3, 4, 5), ("PENDING",)))
    await world.follow(sweep=False)
    half = await world.runs.get(ADA, run.id)
    assert (half.state, half.array) == ("running", True)
    assert half.tasks == TaskCounts(total=6, pending=3, running=1, completed=1, failed=1)
    assert [(one.task, one.exit_code) for one in half.failures] == [(1, 4)]
    # The first two leave slurmctld (MinJobAge) before the others end: what was seen of them stands.
    world.slurm.jobs.clear()
    for task in (2, 3, 4, 5):
        put_task(world, run, task, ("COMPLETED",), 0)
    await world.follow()
    done = await world.runs.get(ADA, run.id)
    assert (done.state, done.exit_code, done.tasks) == ("failed", 4, TaskCounts(total=6, completed=5, failed=1))


async def test_tasks_that_came_and_went_unseen_are_looked_up(world: SmallWorld) -> None:
    run = await begun(world, "0-1")
    world.slurm.jobs.clear()
    put_task(world, run, 1, ("COMPLETED",), 0)
    lost = kept(world, run, ("FAILED",), array_task_id=0, exit_code=ExitCode(return_code=9))
    seen = kept(world, run, ("COMPLETED",), array_task_id=1, exit_code=ExitCode(return_code=0))
    world.slurm.kept[job(run)] = (lost, seen)
    await look(world)
    done = await world.runs.get(ADA, run.id)
    assert (done.state, done.exit_code) == ("failed", 9)


async def test_an_array_cancelled_while_it_waits_is_cancelled(world: SmallWorld) -> None:
    run = await begun(world, "0-9")
    world.slurm.jobs.clear()
    world.sweep(WatchedJob(job(run), job(run), tuple(range(10)), ("CANCELLED",)))
    await world.follow(sweep=False)
    done = await world.runs.get(ADA, run.id)
    assert (done.state, done.tasks.cancelled, done.exit_code) == ("cancelled", 10, None)


async def test_only_changed_runs_are_written(world: SmallWorld) -> None:
    runs = [await begun(world) for _ in range(3)]
    await world.follow()
    before = [await world.runs.get(ADA, run.id) for run in runs]
    told: list[str] = []

    async def note(step: str) -> None:
        told.append(step)

    world.runs.steps = note
    world.slurm.put(job(runs[1]), ("RUNNING",), start_time=world.clock.now(), nodes="c1")
    async with world.wakeups.subscribe("runs:ada") as calls:
        await world.follow()
        assert await calls.names(0.1) == (runs[1].id,)
    after = [await world.runs.get(ADA, run.id) for run in runs]
    assert [a.state for a in after] == ["pending", "running", "pending"]
    assert before[0].moments == after[0].moments
