"""The watch against a small slurmrestd, with faults that real daemons show only now and then."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

import httpx

import slurmrest
from headrace_server.clusters import Reachable, Snapshot, Unreachable, Watch, topic_of
from headrace_server.clusters.pace import Pace
from headrace_server.clusters.testing import SmallJob, SmallSlurm
from headrace_server.kernel import LocalWakeups, Subscription, SystemClock

QUICK = Pace(
    sweep_s=0.02,
    sweep_share=1.0,
    patience_s=0.2,
    sweep_timeout_s=1.0,
    backoff_most_s=0.05,
    details_wait_s=0.2,
    unexplained_s=0.05,
    nodes_s=0.02,
    partitions_s=0.05,
)


@dataclass
class Scene:
    slurm: SmallSlurm
    watch: Watch
    calls: Subscription

    async def until(self, true: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not true():  # noqa: ASYNC110  what is awaited is the world, which has no event
                await asyncio.sleep(0.005)

    async def settled(self) -> Snapshot:
        """Wait until everything is known and has been called."""
        await self.seen(detailed)
        while await self.calls.names(0.1):
            pass
        return await self.seen(detailed)

    async def seen(self, true: Callable[[Snapshot], bool]) -> Snapshot:
        await self.until(lambda: self.watch.snapshot is not None and true(self.watch.snapshot))
        assert self.watch.snapshot is not None
        return self.watch.snapshot

    async def sweeps(self, count: int) -> None:
        """Wait until `count` more sweeps have been published."""
        before = self.watch.snapshot.sequence if self.watch.snapshot else 0
        await self.seen(lambda snapshot: snapshot.sequence >= before + count)

    async def called(self, name: str) -> None:
        async with asyncio.timeout(10):
            while name not in await self.calls.names():
                pass


@asynccontextmanager
async def watching(slurm: SmallSlurm, pace: Pace = QUICK) -> AsyncGenerator[Scene]:
    wakeups = LocalWakeups()
    token = slurmrest.StaticToken("a.b.c")
    async with (
        slurmrest.AsyncClient("http://slurm.test", token, transport=slurm) as client,
        wakeups.subscribe(topic_of("lab")) as calls,
    ):
        watch = Watch("lab", client, SystemClock(), wakeups, pace)
        task = asyncio.create_task(watch.run())
        try:
            yield Scene(slurm, watch, calls)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


def queue(count: int, state: str = "PENDING") -> SmallSlurm:
    slurm = SmallSlurm()
    slurm.put(*(SmallJob(job_id, [state], reason="Priority") for job_id in range(1, count + 1)))
    return slurm


def detailed(snapshot: Snapshot) -> bool:
    return all(record.details is not None for records in snapshot.jobs.values() for record in records)


def code(watch: Watch) -> str | None:
    return watch.condition.code if isinstance(watch.condition, Unreachable) else None


async def test_the_first_snapshot_holds_jobs_nodes_and_partitions() -> None:
    async with watching(queue(3)) as scene:
        snapshot = await scene.seen(detailed)
        assert set(snapshot.jobs) == {1, 2, 3}
        assert [node.name for node in snapshot.nodes] == ["c1", "c2"]
        assert [partition.name for partition in snapshot.partitions] == ["compute"]
        assert isinstance(scene.watch.condition, Reachable)


async def test_a_change_is_published_with_its_details_before_subscribers_are_called() -> None:
    async with watching(queue(100)) as scene:
        await scene.settled()
        scene.slurm.put(SmallJob(7, ["RUNNING"], nodes="c2"))
        await scene.called("7")
        assert scene.watch.snapshot is not None
        [record] = scene.watch.snapshot.job(7)
        assert record.states == ("RUNNING",)
        assert record.details is not None
        assert record.details.nodes == "c2"
        assert scene.slurm.requests["dump"] == 1


async def test_only_what_changed_is_asked_for_and_one_dump_is_made_at_the_start() -> None:
    async with watching(queue(300), replace(QUICK, rotation_per_sweep=0)) as scene:
        await scene.seen(detailed)
        await scene.sweeps(5)
        assert scene.slurm.requests.get("job", 0) == 0
        for job_id in (3, 4, 5):
            scene.slurm.put(SmallJob(job_id, ["RUNNING"]))
        await scene.seen(lambda snapshot: all(snapshot.job(n)[0].state == "RUNNING" for n in (3, 4, 5)))
        await scene.sweeps(3)
        assert sorted(line for line in scene.slurm.asked if line.startswith("job ")) == ["job 3", "job 4", "job 5"]
        assert scene.slurm.requests["dump"] == 1


async def test_when_much_changes_at_once_a_dump_is_made_but_not_two_within_the_minute() -> None:
    async with watching(queue(400), replace(QUICK, dump_every_s=1.0, rotation_per_sweep=0)) as scene:
        await scene.seen(detailed)
        begun = asyncio.get_running_loop().time()
        for state in ("RUNNING", "COMPLETING", "COMPLETED"):
            scene.slurm.put(*(SmallJob(n, [state]) for n in range(1, 301)))
            snapshot = await scene.seen(lambda one, state=state: one.job(300)[0].state == state)
            # States are whole at once, whether or not the details have come.
            assert {snapshot.job(n)[0].state for n in range(1, 301)} == {state}
        await scene.seen(
            lambda one: all(
                r.details is not None and r.details.states == r.states for rs in one.jobs.values() for r in rs
            )
        )
        took_s = asyncio.get_running_loop().time() - begun
        assert scene.slurm.requests["dump"] <= 1 + int(took_s / 1.0) + 1
        assert scene.watch.counters.full_dumps == scene.slurm.requests["dump"]


async def test_details_of_many_changes_are_spread_over_sweeps() -> None:
    pace = replace(QUICK, details_per_sweep=4, dump_every_s=3600.0, dump_share=0.9, rotation_per_sweep=0)
    async with watching(queue(100), pace) as scene:
        await scene.seen(detailed)
        scene.slurm.put(*(SmallJob(n, ["RUNNING"], nodes="c1") for n in range(1, 41)))
        first = await scene.seen(lambda one: one.job(40)[0].state == "RUNNING")
        fresh = [r for rs in first.jobs.values() for r in rs if r.details and r.details.states == ("RUNNING",)]
        assert len(fresh) <= 4
        await scene.seen(lambda one: all(one.job(n)[0].details.nodes == "c1" for n in range(1, 41)))  # pyright: ignore[reportOptionalMemberAccess]
        assert scene.slurm.requests["dump"] == 1


async def test_sweeps_come_no_oftener_than_allowed_even_when_hurried() -> None:
    async with watching(queue(3), replace(QUICK, sweep_s=0.1)) as scene:
        await scene.seen(detailed)
        before, begun = scene.slurm.requests["states"], asyncio.get_running_loop().time()
        while scene.slurm.requests["states"] < before + 5:
            scene.watch.expect(1)
            await asyncio.sleep(0.005)
        assert asyncio.get_running_loop().time() - begun >= 0.39


async def test_where_sweeps_are_rare_an_expected_job_is_seen_without_waiting() -> None:
    async with watching(queue(3), replace(QUICK, sweep_share=0.0001)) as scene:
        await scene.seen(detailed)  # the next sweep would come seconds later
        scene.slurm.put(SmallJob(9, ["PENDING"]))
        scene.watch.expect(9)
        async with asyncio.timeout(2):
            await scene.called("9")


async def test_a_new_pending_job_gets_its_reason_soon_without_a_change_of_state() -> None:
    async with watching(queue(3)) as scene:
        await scene.seen(detailed)
        scene.slurm.put(SmallJob(9, ["PENDING"], reason="None"))
        await scene.seen(lambda one: bool(one.job(9)) and one.job(9)[0].details is not None)
        scene.slurm.put(SmallJob(9, ["PENDING"], reason="Resources"))
        snapshot = await scene.seen(
            lambda one: one.job(9)[0].details.state_reason == "Resources"  # pyright: ignore[reportOptionalMemberAccess]
        )
        assert snapshot.job(9)[0].states == ("PENDING",)


async def test_the_rotation_refreshes_reasons_of_jobs_that_wait() -> None:
    async with watching(queue(30), replace(QUICK, rotation_after_s=0.0)) as scene:
        await scene.settled()
        scene.slurm.put(SmallJob(30, ["PENDING"], reason="QOSMaxJobsPerUserLimit"))
        await scene.called("30")
        assert scene.watch.snapshot is not None
        details = scene.watch.snapshot.job(30)[0].details
        assert details is not None
        assert details.state_reason == "QOSMaxJobsPerUserLimit"


async def test_a_vanished_job_is_called_and_gone() -> None:
    async with watching(queue(30)) as scene:
        await scene.settled()
        del scene.slurm.jobs[5]
        await scene.called("5")
        assert scene.watch.snapshot is not None
        assert scene.watch.snapshot.job(5) == ()


async def test_array_tasks_are_called_by_the_arrays_id_only() -> None:
    slurm = queue(3)
    slurm.put(SmallJob(100, ["PENDING"], array_job_id=100, tasks=(0, 1, 2, 3)))
    async with watching(slurm) as scene:
        await scene.seen(detailed)
        await scene.calls.names(0.1)
        slurm.put(
            SmallJob(100, ["PENDING"], array_job_id=100, tasks=(1, 2, 3)),
            SmallJob(101, ["RUNNING"], array_job_id=100, tasks=(0,)),
        )
        assert "101" not in await scene.calls.names(5)
        snapshot = await scene.seen(lambda one: len(one.job(100)) == 2)
        assert [record.array_task for record in snapshot.job(100)] == [0, None]
        assert snapshot.job(100)[1].array_tasks == (1, 2, 3)


async def test_a_large_array_is_not_fetched_whole_at_every_change() -> None:
    slurm = SmallSlurm()
    slurm.put(SmallJob(1, ["RUNNING"], array_job_id=1, tasks=(0,)))
    slurm.put(*(SmallJob(n, ["RUNNING"], array_job_id=1, tasks=(n,)) for n in range(2, 301)))
    async with watching(slurm, replace(QUICK, rotation_after_s=0.0)) as scene:
        await scene.seen(lambda one: detailed(one) and list(one.jobs) == [1])
        await scene.sweeps(30)
        assert scene.slurm.asked.count("job 1") <= 1


# What must never empty a snapshot.


async def unshaken(scene: Scene, slurm: SmallSlurm) -> None:
    """The snapshot stands while Slurm is away, and goes on afterwards."""
    kept = await scene.seen(detailed)
    await scene.until(lambda: isinstance(scene.watch.condition, Unreachable))
    await asyncio.sleep(0.2)
    assert scene.watch.snapshot is not None
    assert scene.watch.snapshot.jobs.keys() == kept.jobs.keys()
    slurm.fault, slurm.controller_up = None, True
    slurm.put(SmallJob(2, ["RUNNING"]))
    await scene.seen(lambda one: one.job(2)[0].state == "RUNNING")
    assert isinstance(scene.watch.condition, Reachable)


async def test_a_refused_connection() -> None:
    async def refused(request: httpx.Request) -> httpx.Response | None:
        raise httpx.ConnectError("Connection refused", request=request)

    slurm = queue(30)
    async with watching(slurm) as scene:
        await scene.seen(detailed)
        slurm.fault = refused
        await scene.until(lambda: code(scene.watch) == "unreachable")
        await unshaken(scene, slurm)


async def test_slurmctld_away() -> None:
    slurm = queue(30)
    async with watching(slurm) as scene:
        await scene.seen(detailed)
        slurm.controller_up = False
        await scene.until(lambda: code(scene.watch) == "controller_unavailable")
        await unshaken(scene, slurm)


async def test_an_empty_list_with_a_warning_while_slurmctld_starts() -> None:
    async def empty(request: httpx.Request) -> httpx.Response | None:
        if request.url.path.endswith("/jobs/state/"):
            return httpx.Response(200, json={"jobs": [], "errors": [], "warnings": [{"description": "nothing found"}]})
        if request.url.path.endswith("/ping/"):
            return httpx.Response(200, json={"pings": [{"hostname": "c", "responding": False, "status": "down"}]})
        return None

    slurm = queue(30)
    async with watching(slurm) as scene:
        await scene.seen(detailed)
        slurm.fault = empty
        await scene.until(lambda: code(scene.watch) == "empty_unconfirmed")
        await unshaken(scene, slurm)


async def test_an_answer_without_a_list() -> None:
    async def bare(request: httpx.Request) -> httpx.Response | None:
        if request.url.path.endswith("/jobs/state/"):
            return httpx.Response(200, json={"jobs": None, "errors": [], "warnings": []})
        return None

    slurm = queue(30)
    async with watching(slurm) as scene:
        kept = await scene.seen(detailed)
        slurm.fault = bare
        await scene.until(lambda: isinstance(scene.watch.condition, Unreachable))
        assert scene.watch.snapshot is not None
        assert scene.watch.snapshot.jobs.keys() == kept.jobs.keys()


async def test_a_body_that_breaks_off() -> None:
    async def broken(request: httpx.Request) -> httpx.Response | None:
        if request.url.path.endswith("/jobs/state/"):
            return httpx.Response(200, content=b'{"jobs": [{"job_id": "1", "state": ["RUNNING"]}, {"job_id": ')
        return None

    slurm = queue(30)
    async with watching(slurm) as scene:
        await scene.seen(detailed)
        slurm.fault = broken
        await unshaken(scene, slurm)


async def test_a_refused_token() -> None:
    async def refused(request: httpx.Request) -> httpx.Response | None:
        return httpx.Response(511, json={"errors": [{"error_number": 1007, "error": "Protocol authentication error"}]})

    slurm = queue(30)
    async with watching(slurm) as scene:
        await scene.seen(detailed)
        slurm.fault = refused
        await scene.until(lambda: code(scene.watch) == "authentication_failed")
        await unshaken(scene, slurm)


async def test_an_answer_that_does_not_come_is_said_before_it_times_out() -> None:
    hanging = asyncio.Event()

    async def hang(request: httpx.Request) -> httpx.Response | None:
        await hanging.wait()
        return None

    slurm = queue(30)
    async with watching(slurm, replace(QUICK, sweep_timeout_s=60.0)) as scene:
        await scene.seen(detailed)
        slurm.fault = hang
        await scene.until(lambda: code(scene.watch) == "no_answer")
        hanging.set()
        await scene.until(lambda: isinstance(scene.watch.condition, Reachable))


async def test_a_queue_that_really_emptied_is_believed_at_the_second_sweep() -> None:
    slurm = queue(30)
    async with watching(slurm) as scene:
        await scene.seen(detailed)
        slurm.jobs.clear()
        await scene.seen(lambda one: not one.jobs)
        assert isinstance(scene.watch.condition, Reachable)
        assert slurm.requests["ping"] == 2


async def test_nodes_that_did_not_change_keep_their_list_and_grow_no_older() -> None:
    slurm = queue(3)
    slurm.nodes_changed_at = 1
    async with watching(slurm) as scene:
        first = await scene.seen(lambda one: one.nodes_at is not None)
        later = await scene.seen(
            lambda one: one.nodes_at is not None and one.nodes_at > (first.nodes_at or one.nodes_at)
        )
        assert [node.name for node in later.nodes] == ["c1", "c2"]
        slurm.nodes, slurm.nodes_changed_at = ["c1", "c2", "c3"], 1_796_000_000
        await scene.seen(lambda one: len(one.nodes) == 3)


async def test_stopped_and_run_again_it_goes_on_from_its_last_snapshot() -> None:
    slurm = queue(3)
    wakeups = LocalWakeups()
    async with slurmrest.AsyncClient("http://slurm.test", slurmrest.StaticToken("a.b.c"), transport=slurm) as client:
        watch = Watch("lab", client, SystemClock(), wakeups, QUICK)
        for state in ("RUNNING", "COMPLETED"):
            slurm.put(SmallJob(1, [state]))
            task = asyncio.create_task(watch.run())
            async with asyncio.timeout(5):
                while watch.snapshot is None or watch.snapshot.job(1)[0].state != state:  # noqa: ASYNC110
                    await asyncio.sleep(0.005)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        assert watch.counters.full_dumps == 1
