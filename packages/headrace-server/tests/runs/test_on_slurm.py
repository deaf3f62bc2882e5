"""Runs on real Slurm, through the room's own parts; one process, no HTTP."""

import asyncio
import time
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from headrace_server.clusters import Clusters, ClusterSettings
from headrace_server.identity import Person
from headrace_server.kernel import Database, HeadraceError, LocalWakeups, SystemClock
from headrace_server.runs import After, NewFile, NewRun, Options, Run, Runs
from headrace_server.worker import work
from slurmlab import Lab

pytestmark = [pytest.mark.lab, pytest.mark.timeout(180)]
ADA = Person("ada", "user")


def settings_of(lab: Lab, key: Path | None = None) -> ClusterSettings:
    host, port = lab.ssh_address
    return ClusterSettings(
        name=lab.name,
        slurmrestd_url=lab.slurmrestd_url,
        jwt_key_file=key or lab.jwt_key_path,
        login_host=host,
        login_port=port,
        ssh_ca_key_file=lab.ssh_ca_key_path,
        ssh_known_hosts_file=lab.ssh_known_hosts_path,
    )


async def served(settings: ClusterSettings, folder: Path) -> AsyncGenerator[Runs]:
    clock, wakeups = SystemClock(), LocalWakeups()
    database = Database(f"sqlite:///{folder}/headrace.sqlite", clock)
    await database.migrate()
    clusters = Clusters([settings], clock, wakeups)
    runs = Runs(database, clock, wakeups, clusters)
    worker = asyncio.create_task(work(database, wakeups, clusters, runs, "test"))
    yield runs
    worker.cancel()
    await asyncio.gather(worker, return_exceptions=True)
    await clusters.close()
    await database.close()


@pytest.fixture
async def runs(slurm_lab: Lab, tmp_path: Path) -> AsyncGenerator[Runs]:
    async for one in served(settings_of(slurm_lab), tmp_path):
        yield one


async def ended(runs: Runs, run: Run, within_s: float = 90) -> Run:
    async with asyncio.timeout(within_s):
        async for now in runs.watch(ADA, run.id):
            run = now or run
    return run


async def log_of(runs: Runs, run: Run, task: int | None = None) -> str:
    text = ""
    async for chunk in runs.follow_log(ADA, run.id, stream="out", task=task):
        text += chunk.data
    return text


async def test_a_line_of_the_log_is_there_within_a_second(runs: Runs) -> None:
    program = "for n in 1 2 3 4 5; do echo $n $(date +%s.%N); sleep 0.7; done; hostname"
    run = await runs.submit(ADA, NewRun(command=("bash", "-c", program)))
    late_s: list[float] = []
    text = ""
    async for chunk in runs.follow_log(ADA, run.id, stream="out", task=None):
        now = time.time()
        late_s += [now - float(line.split()[1]) for line in chunk.data.splitlines() if " " in line]
        text += chunk.data
    assert len(late_s) == 5
    # The first line may be written before the run is known to be running; the figure is for a running job.
    assert max(late_s[1:]) < 1.0, late_s
    done = await ended(runs, run)
    assert (done.state, done.exit_code) == ("completed", 0)
    assert text.splitlines()[-1] == done.nodes


async def test_files_name_and_environment_arrive_as_they_are(slurm_lab: Lab, runs: Runs) -> None:
    name = """it's "quoted" $(reboot) `id`; #"""
    file = NewFile("data/in put.txt", "Z3LDvMOfZQo=")
    new = NewRun(
        command=("bash", "-c", 'cat "data/in put.txt"; echo "$A"; pwd; id -un'),
        name=name,
        files=(file,),
        options=Options(environment={"A": "x,LD_PRELOAD=/evil.so $(id)"}, time_limit="0:30"),
    )
    run = await runs.submit(ADA, new)
    squeue = ["scontrol", "show", "job", str(run.job_id)]
    assert name in slurm_lab.exec("controller", squeue, user="ada").stdout
    lines = (await log_of(runs, run)).splitlines()
    assert lines == ["grüße", "x,LD_PRELOAD=/evil.so $(id)", f"/home/ada/headrace/{run.id}", "ada"]
    assert (slurm_lab.home / "ada/headrace" / run.id / "data/in put.txt").stat().st_uid != 0


REFUSED = [
    ("slurm-partition-refused", Options(partition="nope")),
    ("slurm-account-refused", Options(account="nope")),
    ("slurm-qos-refused", Options(qos="nope")),
    ("slurm-array-refused", Options(array="0-20000")),
    ("slurm-resources-refused", Options(gres="nope:1")),
    ("slurm-resources-refused", Options(licenses="nope:1")),
]


@pytest.mark.parametrize(("code", "options"), REFUSED)
async def test_slurms_refusals_have_names(runs: Runs, code: str, options: Options) -> None:
    with pytest.raises(HeadraceError) as refused:
        await runs.submit(ADA, NewRun(command=("true",), options=options))
    assert refused.value.code == code
    assert "Slurm says" in refused.value.detail
    kept = await runs.get(ADA, refused.value.run or "")
    assert (kept.state, kept.job_id) == ("refused", None)


async def test_an_unknown_user_is_refused_and_the_run_kept(runs: Runs) -> None:
    nobody = Person("nosuchuser", "user")
    try:
        run = await runs.submit(nobody, NewRun(command=("true",), wait_s=10))
    except HeadraceError as refused:
        run = await runs.get(nobody, refused.run or "")
    assert run.job_id is None
    assert run.reason is not None


async def test_an_array_and_what_comes_after_it(runs: Runs) -> None:
    sweep = NewRun(preset="sweep", command=("bash", "-c", "echo task $0; exit $(($0 % 2))", "{task}"),
                   options=Options(array="0-5%3"))  # fmt: skip
    array = await runs.submit(ADA, sweep)
    well = await runs.submit(ADA, NewRun(command=("echo", "well"), after=(After(array.id, "ok"),)))
    anyway = await runs.submit(ADA, NewRun(command=("echo", "any"), after=(After(array.id, "any"),)))
    done = await ended(runs, array)
    assert (done.state, done.exit_code) == ("failed", 1)
    assert (done.tasks.completed, done.tasks.failed) == (3, 3)
    assert [one.task for one in done.failures] == [1, 3, 5]
    assert await log_of(runs, done, task=4) == "task 4\n"
    assert (await ended(runs, anyway)).state == "completed"
    assert (await runs.get(ADA, well.id)).state in {"pending", "cancelled"}


async def test_a_running_job_is_cancelled(slurm_lab: Lab, runs: Runs) -> None:
    run = await runs.submit(ADA, NewRun(command=("sleep", "600")))
    async with asyncio.timeout(60):
        async for now in runs.watch(ADA, run.id):
            if now is not None and now.state == "running":
                break
    await runs.cancel(ADA, run.id)
    done = await ended(runs, run)
    assert done.state == "cancelled"
    squeue = ["squeue", "-h", "-j", str(run.job_id), "-t", "R"]
    assert slurm_lab.exec("controller", squeue, user="ada").stdout == ""


async def test_while_slurmrestd_is_away_runs_wait_and_can_be_cancelled(slurm_lab: Lab, runs: Runs) -> None:
    with slurm_lab.fault.daemon_stopped("slurmrestd"):
        first = await runs.submit(ADA, NewRun(command=("echo", "late")))
        assert first.reason is not None
        assert (first.state, first.reason.code) == ("submitting", "cluster-unreachable")
        second = await runs.submit(ADA, NewRun(command=("echo", "never")))
        assert (await runs.cancel(ADA, second.id)).state == "cancelled"
    assert (await ended(runs, first)).state == "completed"
    assert (await runs.get(ADA, second.id)).job_id is None


async def test_while_slurmctld_is_away_runs_wait_and_are_submitted_once(slurm_lab: Lab, runs: Runs) -> None:
    name = f"once-{time.time_ns()}"
    with slurm_lab.fault.daemon_stopped("slurmctld"):
        run = await runs.submit(ADA, NewRun(command=("echo", "once"), name=name), wait_s=30)
        assert (run.state, run.job_id) == ("submitting", None)
    assert (await ended(runs, run, 150)).state == "completed"
    squeue = ["squeue", "-ah", "-t", "all", "-o", "%i", "--name", name]
    assert len(slurm_lab.exec("controller", squeue, user="ada").stdout.split()) == 1


async def test_a_wrong_key_is_named_and_nothing_is_lost(slurm_lab: Lab, tmp_path: Path) -> None:
    key = tmp_path / "wrong.key"
    key.write_bytes(b"w" * 32)
    async for runs in served(settings_of(slurm_lab, key), tmp_path):
        run = await runs.submit(ADA, NewRun(command=("true",)))
        assert run.reason is not None
        assert (run.state, run.reason.code) == ("submitting", "cluster-refuses-token")
        assert (await runs.cancel(ADA, run.id)).state == "cancelled"
