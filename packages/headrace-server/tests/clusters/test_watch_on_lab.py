"""The watch on real Slurm, both versions."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractContextManager

import pytest

import slurmrest
from headrace_server.clusters import Cluster, ClusterSettings, Reachable, Snapshot, Unreachable, topic_of
from headrace_server.kernel import LocalWakeups, SystemClock
from slurmlab import Lab

pytestmark = pytest.mark.lab


class Scene:
    """A watched real cluster, and every snapshot that a subscriber found."""

    def __init__(self, cluster: Cluster, wakeups: LocalWakeups) -> None:
        self.cluster = cluster
        self.watch = cluster.watch
        self.ada = cluster.slurm("ada")
        self.wakeups = wakeups
        self.snapshots: list[Snapshot] = []

    async def until(self, true: Callable[[], bool], timeout_s: float = 60) -> None:
        async with asyncio.timeout(timeout_s):
            while not true():  # noqa: ASYNC110
                await asyncio.sleep(0.05)

    async def seen(self, true: Callable[[Snapshot], bool]) -> Snapshot:
        await self.until(lambda: self.watch.snapshot is not None and true(self.watch.snapshot))
        assert self.watch.snapshot is not None
        return self.watch.snapshot

    async def submit(self, script: str = "sleep 600", **more: object) -> int:
        description = slurmrest.JobDescription(
            name="watched",
            script=f"#!/bin/sh\n{script}\n",
            working_directory="/tmp",
            **more,  # pyright: ignore[reportArgumentType]
        )
        submitted = await self.ada.submit(description)
        self.watch.expect(submitted.job_id)
        return submitted.job_id

    async def record_all(self) -> None:
        while True:
            snapshot = self.watch.snapshot
            if snapshot is not None and (not self.snapshots or self.snapshots[-1] is not snapshot):
                self.snapshots.append(snapshot)
            await asyncio.sleep(0.01)


@pytest.fixture
async def scene(settings: ClusterSettings) -> AsyncGenerator[Scene]:
    wakeups = LocalWakeups()
    cluster = Cluster(settings, SystemClock(), wakeups)
    scene = Scene(cluster, wakeups)
    tasks = [asyncio.create_task(cluster.watch.run()), asyncio.create_task(scene.record_all())]
    yield scene
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await cluster.close()


async def test_a_job_is_followed_from_pending_to_completed(scene: Scene) -> None:
    async with scene.wakeups.subscribe(topic_of(scene.cluster.name)) as calls:
        job_id = await scene.submit("sleep 2")
        states: list[str] = []
        async with asyncio.timeout(60):
            while "COMPLETED" not in states:
                if str(job_id) in await calls.names():
                    assert scene.watch.snapshot is not None
                    states += [record.state for record in scene.watch.snapshot.job(job_id)]
        snapshot = await scene.seen(lambda one: all(r.details and r.details.end_time for r in one.job(job_id)))
        [record] = snapshot.job(job_id)
        assert record.finished
        assert record.details is not None
        assert record.details.user_name == "ada"
        assert record.details.nodes in ("c1", "c2")
        assert record.details.exit_code is not None
        assert record.details.exit_code.return_code == 0


async def test_tasks_of_an_array_end_up_under_its_id(scene: Scene) -> None:
    job_id = await scene.submit("sleep 600", array="0-5%2")
    snapshot = await scene.seen(lambda one: [r.state for r in one.job(job_id)] == ["RUNNING", "RUNNING", "PENDING"])
    first, second, rest = snapshot.job(job_id)
    assert (first.array_task, second.array_task, rest.array_task) == (0, 1, None)
    assert rest.array_tasks == (2, 3, 4, 5)
    assert {first.array_job_id, second.array_job_id, rest.array_job_id} == {job_id}
    assert first.details is not None
    assert first.details.nodes
    await scene.ada.cancel(f"{job_id}_1")
    await scene.seen(lambda one: any(r.array_task == 1 and r.state == "CANCELLED" for r in one.job(job_id)))
    await scene.ada.cancel(job_id)
    await scene.seen(lambda one: all(r.state == "CANCELLED" for r in one.job(job_id)))


async def test_components_of_a_het_job_end_up_under_the_leader(scene: Scene, slurm_lab: Lab) -> None:
    argv = ["sbatch", "--parsable", "-D", "/tmp", "-n1", ":", "-n2", "--wrap", "sleep 600"]
    leader = int((await asyncio.to_thread(slurm_lab.exec, "controller", argv, "ada")).stdout)
    snapshot = await scene.seen(lambda one: len(one.job(leader)) == 2)
    assert [record.job_id for record in snapshot.job(leader)] == [leader, leader + 1]
    assert leader + 1 not in snapshot.jobs
    await scene.ada.cancel(leader)
    await scene.seen(lambda one: all(r.state == "CANCELLED" for r in one.job(leader)))


async def test_a_job_that_waits_gets_its_reason(scene: Scene) -> None:
    job_id = await scene.submit(hold=True)
    snapshot = await scene.seen(lambda one: any(r.details and r.details.state_reason for r in one.job(job_id)))
    [record] = snapshot.job(job_id)
    assert record.details is not None
    assert record.details.state_reason == "JobHeldUser"
    await scene.ada.cancel(job_id)


async def test_nodes_and_partitions_are_those_of_the_cluster(scene: Scene, slurm_lab: Lab) -> None:
    snapshot = await scene.seen(lambda one: bool(one.nodes and one.partitions))
    assert {node.name for node in snapshot.nodes} == set(slurm_lab.compute_hosts)
    assert {partition.name for partition in snapshot.partitions} == {"short", "compute", "gpu"}
    aged = snapshot.nodes_at
    later = await scene.seen(lambda one: one.nodes_at is not None and aged is not None and one.nodes_at > aged)
    assert {node.name for node in later.nodes} == set(slurm_lab.compute_hosts)


FAULTS: dict[str, Callable[[Lab], AbstractContextManager[None]]] = {
    "slurmctld stopped": lambda lab: lab.fault.daemon_stopped("slurmctld"),
    "slurmctld killed": lambda lab: lab.fault.daemon_killed("slurmctld"),
    "slurmctld paused": lambda lab: lab.fault.daemon_paused("slurmctld"),
    "slurmrestd killed": lambda lab: lab.fault.daemon_killed("slurmrestd"),
    "controller cut off": lambda lab: lab.fault.network_cut("controller"),
}


async def saved(slurm_lab: Lab, job_id: int) -> None:
    """Wait until slurmctld has written the job down as it is: killed before that, it forgets the job.

    It writes some seconds after a change, so a change is made that does not matter here.
    """

    def run(*argv: str) -> str:
        return slurm_lab.exec("controller", argv).stdout

    if not await asyncio.to_thread(run, "find", "/var/spool/slurmctld/assoc_usage"):
        # Killed before it has ever written this one, 26.05's slurmctld does not start again.
        with slurm_lab.fault.daemon_stopped("slurmctld"):
            pass
    marker = f"/tmp/saved-{job_id}"
    await asyncio.to_thread(run, "touch", marker)
    await asyncio.to_thread(run, "scontrol", "update", f"job={job_id}", "comment=x")
    async with asyncio.timeout(30):
        while not await asyncio.to_thread(run, "find", "/var/spool/slurmctld/job_state", "-newer", marker):  # noqa: ASYNC110
            await asyncio.sleep(0.2)


@pytest.mark.parametrize("fault", FAULTS)
async def test_while_slurm_is_away_the_snapshot_stands(scene: Scene, slurm_lab: Lab, fault: str) -> None:
    job_id = await scene.submit("sleep 600")
    await scene.seen(lambda one: any(r.state == "RUNNING" for r in one.job(job_id)))
    await saved(slurm_lab, job_id)
    kept = await scene.seen(lambda one: any(r.state == "RUNNING" and r.details for r in one.job(job_id)))
    scene.snapshots.clear()

    broken = FAULTS[fault](slurm_lab)
    await asyncio.to_thread(broken.__enter__)
    try:
        await scene.until(lambda: isinstance(scene.watch.condition, Unreachable))
        assert scene.watch.snapshot is not None
        assert scene.watch.snapshot.job(job_id)
    finally:
        await asyncio.to_thread(broken.__exit__, None, None, None)

    await scene.until(lambda: isinstance(scene.watch.condition, Reachable))
    await scene.ada.cancel(job_id)
    scene.watch.expect(job_id)
    await scene.seen(lambda one: any(r.state == "CANCELLED" for r in one.job(job_id)))
    # At no moment was anything lost or made up.
    for snapshot in scene.snapshots:
        assert kept.jobs.keys() <= snapshot.jobs.keys()
        assert {record.state for record in snapshot.job(job_id)} <= {"RUNNING", "CANCELLED"}


async def test_what_slurmctld_forgot_is_gone_and_its_id_may_be_anothers(scene: Scene, slurm_lab: Lab) -> None:
    """Killed in time, slurmctld knows nothing of jobs it has just accepted, and gives their ids out again."""
    kept = await scene.submit(hold=True)
    await saved(slurm_lab, kept)
    lost = await scene.submit(hold=True)
    await scene.seen(lambda one: bool(one.job(lost)))
    with slurm_lab.fault.daemon_killed("slurmctld"):
        await scene.until(lambda: isinstance(scene.watch.condition, Unreachable))
    await scene.until(lambda: isinstance(scene.watch.condition, Reachable))
    # slurmctld itself says what became of it.
    squeue = ["squeue", "-h", "-t", "all", "-o", "%A"]
    listed = (await asyncio.to_thread(slurm_lab.exec, "controller", squeue)).stdout.split()
    known = {kept, lost} & set(map(int, listed))
    snapshot = await scene.seen(lambda one: {kept, lost} & one.jobs.keys() == known)
    assert kept in snapshot.jobs
    for job_id in known:
        await scene.ada.cancel(job_id)
