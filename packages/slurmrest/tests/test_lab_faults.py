"""Daemons killed and stalled in the middle of submissions: each operation key ends as one job, or certainly as none."""

import asyncio
import uuid
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from slurmlab import Lab, LabConfig
from slurmrest import (
    AsyncClient,
    ControllerUnavailable,
    HS256Key,
    JobDescription,
    SlurmdbUnavailable,
    SlurmError,
    SubmissionUncertain,
    TimedOut,
    Unreachable,
)

pytestmark = pytest.mark.lab

JOB = JobDescription(script="#!/bin/bash\ntrue\n", working_directory="/home/ada", memory_per_node_mib=1, hold=True)


def client(lab: Lab, *, timeout_s: float = 60, submission_lifespan_s: int = 120) -> AsyncClient:
    provider = HS256Key(lab.jwt_key_path, user="ada", submission_lifespan_s=submission_lifespan_s)
    return AsyncClient(lab.slurmrestd_url, provider, timeout_s=timeout_s)


def new_key() -> str:
    return f"fault-{uuid.uuid4().hex}"


async def keys_of(lab: Lab) -> Counter[str | None]:
    """How many jobs carry each key, once the daemons answer again."""
    async with client(lab) as slurm, asyncio.timeout(60):
        while True:
            try:
                return Counter(job.operation_key for job in (await slurm.jobs()).jobs)
            except SlurmError:
                await asyncio.sleep(0.2)


async def clean(lab: Lab) -> None:
    async with client(lab) as slurm:
        for job_id, states in (await slurm.job_states()).states.items():
            if "PENDING" in states:
                await slurm.cancel(job_id)


async def resume_later(lab: Lab, daemon: str, after_s: float) -> None:
    await asyncio.sleep(after_s)
    await asyncio.to_thread(lab.fault.resume_daemon, daemon)


@pytest.mark.parametrize("daemon", ["slurmctld", "slurmrestd"])
async def test_a_stalled_daemon_that_goes_on_leaves_one_job_which_is_found(slurm_lab: Lab, daemon: str) -> None:
    key = new_key()
    async with client(slurm_lab, timeout_s=1) as slurm:
        await slurm.job_states()
        slurm_lab.fault.pause_daemon(daemon)
        resumed = asyncio.create_task(resume_later(slurm_lab, daemon, 2.5))
        submitted = await slurm.submit(JOB, operation_key=key, settle_s=20)
        await resumed
    assert submitted.found
    assert (await keys_of(slurm_lab))[key] == 1
    await clean(slurm_lab)


@pytest.mark.parametrize("daemon", ["slurmctld", "slurmrestd"])
async def test_a_request_that_outlives_its_token_makes_no_job(slurm_lab: Lab, daemon: str) -> None:
    key = new_key()
    async with client(slurm_lab, timeout_s=1, submission_lifespan_s=1) as slurm:
        await slurm.job_states()
        slurm_lab.fault.pause_daemon(daemon)
        resumed = asyncio.create_task(resume_later(slurm_lab, daemon, 4))
        with pytest.raises(SubmissionUncertain) as raised:
            await slurm.submit(JOB, operation_key=key, settle_s=0.5)
        await resumed
    assert raised.value.certain_after is not None
    async with client(slurm_lab) as slurm:
        # What came after the stalled request is answered after it; then the job would be there.
        after = await slurm.submit(JOB, operation_key=new_key())
        assert after.operation_key is not None
        counts = await keys_of(slurm_lab)
        assert (counts[key], counts[after.operation_key]) == (0, 1)
        assert await slurm.find_operation(key, since=datetime.now(UTC) - timedelta(minutes=1)) is None
    await clean(slurm_lab)


async def test_slurmrestd_killed_again_and_again_under_a_stream_of_submissions(slurm_lab: Lab) -> None:
    keys = [new_key() for _ in range(60)]
    outcome: dict[str, bool | None] = {}

    async with client(slurm_lab) as slurm:

        async def submit(key: str) -> None:
            while key not in outcome:
                try:
                    outcome[key] = bool((await slurm.submit(JOB, operation_key=key, settle_s=10)).job_id)
                except SubmissionUncertain:
                    outcome[key] = None
                except (Unreachable, TimedOut):
                    await asyncio.sleep(0.05)  # nothing was sent, or certainly nothing came of it

        async def kill() -> None:
            for _ in range(3):
                await asyncio.sleep(0.15)
                await asyncio.to_thread(slurm_lab.fault.kill_daemon, "slurmrestd")
                await asyncio.to_thread(slurm_lab.fault.start_daemon, "slurmrestd")

        killing = asyncio.create_task(kill())
        for start in range(0, len(keys), 6):
            await asyncio.gather(*(submit(key) for key in keys[start : start + 6]))
        await killing
    counts = await keys_of(slurm_lab)
    assert {key: counts[key] for key in keys if outcome[key]} == {key: 1 for key in keys if outcome[key]}
    assert all(counts[key] <= 1 for key in keys)
    assert sum(bool(known) for known in outcome.values()) >= 30
    await clean(slurm_lab)


async def test_the_controller_is_away(slurm_lab: Lab) -> None:
    with slurm_lab.fault.daemon_stopped("slurmctld"):
        async with client(slurm_lab) as slurm:
            # Each waits ten seconds and more for the controller: together, not one after the other.
            pings, states, submitted, cancelled = await asyncio.gather(
                slurm.ping(),
                slurm.job_states(),
                slurm.submit(JOB, operation_key=new_key()),
                slurm.cancel(1),
                return_exceptions=True,
            )
    assert not isinstance(pings, BaseException)
    (ping,) = pings
    assert not ping.responding
    assert isinstance(states, ControllerUnavailable)
    assert isinstance(submitted, ControllerUnavailable)
    assert isinstance(cancelled, TimedOut)
    await keys_of(slurm_lab)


async def test_accounting_is_away(slurm_lab: Lab) -> None:
    key = new_key()
    with slurm_lab.fault.daemon_stopped("slurmdbd"):
        async with client(slurm_lab) as slurm:
            with pytest.raises(SlurmdbUnavailable):
                await slurm.history(users=["ada"])
            submitted = await slurm.submit(JOB, operation_key=key)
            found = await slurm.find_operation(key, since=datetime.now(UTC))
            assert found is not None
            assert (found.job_id, found.source) == (submitted.job_id, "slurmctld")
            with pytest.raises(SlurmdbUnavailable):
                await slurm.find_operation(new_key(), since=datetime.now(UTC))
    await clean(slurm_lab)


async def test_a_connection_kept_through_a_restart_of_slurmrestd_serves_on(slurm_lab: Lab) -> None:
    async with client(slurm_lab) as slurm:
        await slurm.job_states()
        slurm_lab.fault.kill_daemon("slurmrestd")
        slurm_lab.fault.start_daemon("slurmrestd")
        await slurm.job_states()


@pytest.mark.parametrize(
    ("slurm_version", "kept"), [("24.11", "job_extra"), ("26.05", "job_extra"), ("26.05", "job_script")]
)
async def test_a_job_that_ended_and_left_slurmctld(
    slurm_lab_factory: Callable[[LabConfig], Lab], slurm_version: str, kept: str
) -> None:
    config = LabConfig(
        name=f"forgets-{uuid.uuid4().hex[:8]}",
        slurm=slurm_version,
        nodes=1,
        min_job_age_s=2,
        slurm_conf={"AccountingStoreFlags": kept},
    )
    lab, key = slurm_lab_factory(config), new_key()
    async with client(lab) as slurm:
        submitted = await slurm.submit(msgspec.structs.replace(JOB, hold=False), operation_key=key)
        async with asyncio.timeout(100):
            while submitted.job_id in (await slurm.job_states()).states:  # noqa: ASYNC110 - slurmctld decides
                await asyncio.sleep(0.5)
        if kept == "job_extra":
            found = await slurm.find_operation(key, since=datetime.now(UTC) - timedelta(minutes=2))
            assert found is not None
            assert (found.job_id, found.source, found.states) == (submitted.job_id, "slurmdb", ("COMPLETED",))
            assert await slurm.find_operation(new_key(), since=datetime.now(UTC)) is None
        else:
            # Accounting shows a job that could be the one, without its key: that is not a no.
            with pytest.raises(SubmissionUncertain):
                await slurm.find_operation(key, since=datetime.now(UTC) - timedelta(minutes=2))
