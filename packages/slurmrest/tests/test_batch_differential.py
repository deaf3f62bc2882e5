"""The same scripts through real sbatch and through `slurmrest.batch`: Slurm must end up with the same job."""

from __future__ import annotations

import json
import posixpath
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from slurmlab import Lab, LabConfig
from slurmrest import Client, JobDescription, StaticToken
from slurmrest.batch import DirectiveRefused, fold, read_directives

pytestmark = pytest.mark.lab

ACCEPTED = """
-J x
-Jx -n3
-n 3 -c 2
-N 2
-N1-2 -n 4
-N 2 -n 1
-N 1-2
--nodes=-4
-n 5 --ntasks-per-node=3
-N 2 --ntasks-per-node=2
-N 2 --ntasks-per-node=2 -c 2
-c 4
--mem=1G
--mem=500
--mem=1025K
--mem=0
--mem-per-cpu=100M
--mem-per-cpu=100M -c 4
--tmp=10M
-t 5
-t 1:30
-t 0:59
-t 1:00:00
-t 0-1
-t 0-1:30
-t 0-0:2:30
-t 10 --time-min=5
-t 0
--time=UNLIMITED
--array=0-3
--array=1,3,5-9:2
--array=0-7%2
-p short
-p short,compute
-A physics
-q high
-o out-%j.log
-o out-%j.log -e err-%j.log -i /dev/null
-o /tmp/x
--open-mode=append
--open-mode=truncate
-D /tmp
--comment=hello
--comment="a 'quoted' b"
--comment=a#b
--comment=a\\ b
--mail-type=END
--mail-type=ALL
--mail-type=TIME_LIMIT_90,FAIL --mail-user=somebody
--mail-type=NONE
--requeue
--no-requeue
--nice
--nice=50
--signal=USR1
--signal=B:USR1@120
--signal=SIGTERM@30
--signal=10@30
--exclusive
--exclusive=user
--oversubscribe
--exclude=c1
--exclude=c[1-2]
-w c1
-w c[1-2]
-L solver:2
-d singleton
-d singleton --kill-on-invalid-dep=yes
--kill-on-invalid-dep=no
--begin=now+1hour
--begin=2031-01-02T03:04:05
--begin=2031-01-02
--begin=uts1900000000
--deadline=2031-01-02T03:04
--threads-per-core=1
--ntasks-per-core=1
--ntasks-per-socket=2 -n 2
--sockets-per-node=1
--mincpus=2
--contiguous
--overcommit
-k
--no-kill=off
--spread-job
--use-min-nodes
--switches=1
--switches=1@5:00
--wait-all-nodes=1
--distribution=cyclic
-m block:cyclic
-m plane=2 -n 2
--gres=gpu:1 -p gpu
--gres=gpu:2 -p gpu --gres-flags=enforce-binding
--gres=none
-G 1
--gpus-per-node=2 -p gpu
--gpus-per-task=1 -n 2
-G 2 --mem-per-gpu=100M
-G 2 --cpus-per-gpu=2
--gpus-per-task=1 --gpu-bind=closest -n 1
--delay-boot=60
--extra=anything
--get-user-env
--parsable --quiet
--ignore-pbs
--reservation=
--constraint=
--cpus-per-t=2
--tasks-per=2
--tres-per-task=cpu:2 -n 2
--prefer=
--priority=10
--oom-kill-step=1
--wckey=
--export=NONE
--network=
"""
"""One set of directives a line."""

REFUSED = """
--nonsense
--job_name=x
-Z
--cpus=4
--hold=yes
-n
--nice 5
stray
-J "open
-n 0
-n -1
-n x
-c 1.5
-c 0
--time=tomorrow
--time=1h
--time=1:2:3:4
--mem=4X
--mem=-4G
--mem=G
--nodes=4-2
--nodes=2-
--nodes=x
--signal=NOPE
--signal=USR1@99999999
--mail-type=SOMETIMES
--open-mode=x
--begin=whenever
--begin=now+1min
--deadline=25:00
--mem=1G --mem-per-cpu=1G
--exclusive --oversubscribe
--exclusive=sometimes
--kill-on-invalid-dep=maybe
--no-kill=perhaps
--gres-flags=nonsense
--begin=now+2hours --deadline=now+1hour
--oom-kill-step=2
--time-min=x
--array=a-b
"""

VOLATILE = frozenset(
    {
        "job_id", "array_job_id", "submit_time", "eligible_time", "last_sched_evaluation", "priority", "command",
        "submit_line", "sluid", "step_id", "het_job_id", "accrue_time", "standard_output", "standard_error",
        "stdout_expanded", "stderr_expanded", "stdin_expanded", "allocating_node", "alloc_sid", "allocation_sid",
        "job_id_str", "priority_by_partition", "start_time", "end_time", "state_reason", "state_description",
    }
)  # fmt: skip


@pytest.fixture(scope="module", params=["26.05", "24.11"])
def lab(request: pytest.FixtureRequest) -> Iterator[Lab]:
    config = LabConfig(name=f"batch-{request.param.replace('.', '')}", slurm=request.param, nodes=2)
    running = Lab.up(config)
    yield running
    running.down()


def corpus(text: str) -> list[str]:
    return [line for line in text.strip().splitlines() if line]


def script_of(line: str) -> str:
    return f"#!/bin/bash\n#SBATCH {line}\ntrue\n"


def as_slurm_sees_it(lab: Lab, job_id: str) -> dict[str, Any]:
    shown = lab.exec("controller", ["scontrol", "show", "job", job_id, "--json"], user="ada")
    job: dict[str, Any] = json.loads(shown.stdout)["jobs"][0]
    lab.exec("controller", ["scancel", job_id], user="ada")
    stable = {name: value for name, value in job.items() if name not in VOLATILE}
    # Set for a moment while a job is new.
    stable["flags"] = [flag for flag in job["flags"] if flag != "DEPENDENT"]
    begin = job["eligible_time"]["number"]
    stable["begins_in_hours"] = round((begin - job["submit_time"]["number"]) / 3600, 1) if begin else None
    folder = job["current_working_directory"]
    for name in ("standard_input", "standard_output", "standard_error"):
        # sbatch makes paths absolute and names /dev/null; slurmd does the same with what it gets.
        path = job[name].replace(job_id, "%j") or ("/dev/null" if name == "standard_input" else "")
        stable[name] = posixpath.join(folder, path) if path else ""
    return stable


def by_sbatch(lab: Lab, line: str) -> tuple[str | None, str]:
    script = lab.home / "ada" / "directives.sh"
    script.write_text(script_of(line))
    done = lab.exec("controller", ["sbatch", "--parsable", "--hold", "directives.sh"], user="ada", cwd="/home/ada")
    return (done.stdout.strip() or None if done.exit_status == 0 else None), done.stderr


def by_us(lab: Lab, line: str) -> str:
    script = script_of(line)
    already = JobDescription(script=script, hold=True, environment={"PATH": "/usr/bin:/bin"})
    described = fold(read_directives(script), already, now=datetime.now(UTC))
    description = msgspec.structs.replace(
        described,
        name=described.name or "directives.sh",
        working_directory=described.working_directory or "/home/ada",
    )
    token = StaticToken(lab.token("ada", lifespan_s=600), user="ada")
    with Client(lab.slurmrestd_url, token, version=lab.release.data_parser) as slurm:
        return str(slurm.submit(description).job_id)


@pytest.mark.parametrize("line", corpus(ACCEPTED))
def test_slurm_ends_up_with_the_same_job(lab: Lab, line: str) -> None:
    job_id, stderr = by_sbatch(lab, line)
    assert job_id is not None, stderr
    assert as_slurm_sees_it(lab, by_us(lab, line)) == as_slurm_sees_it(lab, job_id)


@pytest.mark.parametrize("line", corpus(REFUSED))
def test_what_sbatch_refuses_is_refused(lab: Lab, line: str) -> None:
    job_id, _ = by_sbatch(lab, line)
    assert job_id is None
    with pytest.raises(DirectiveRefused):
        by_us(lab, line)
