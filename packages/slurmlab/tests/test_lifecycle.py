"""Making, finding and removing labs, whole and half dead, alone and side by side."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from slurmlab import Lab, LabConfig
from slurmlab.engine import find_engine
from slurmlab.errors import LabFailed, LabNotFound
from slurmlab.listing import Condition

pytestmark = pytest.mark.lab

SLURMLAB = [sys.executable, "-c", "from slurmlab.cli import main; main()"]


@pytest.fixture
def name(request: pytest.FixtureRequest) -> Iterator[str]:
    """A name for one lab of one test, which is removed whatever is left of it."""
    chosen = f"life-{os.getpid()}"
    yield chosen
    Lab.remove(chosen)


def slurmlab(*argv: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*SLURMLAB, *argv], capture_output=True, text=True, check=False)


def leftovers(name: str) -> str:
    engine = find_engine()
    label = f"label=slurmlab.lab={name}"
    return engine.call("ps", "--all", "--quiet", "--filter", label) + engine.call(
        "network", "ls", "--quiet", "--filter", label
    )


def test_a_lab_from_the_command_line_to_its_end(name: str) -> None:
    up = slurmlab("up", name, "--nodes", "1")
    assert up.returncode == 0, up.stderr
    assert "all nodes idle" in up.stderr
    again = slurmlab("up", name, "--nodes", "1")
    assert again.returncode == 0
    assert f"lab '{name}' is already running" in again.stderr
    assert name in slurmlab("ls").stdout
    status = slurmlab("status", name).stdout
    assert "slurmctld ready" in status
    done = slurmlab("exec", "--lab", name, "--user", "ada", "c1", "--", "sh", "-c", "id -un; pwd; exit 3")
    assert (done.stdout.split(), done.returncode) == (["ada", "/home/ada"], 3)
    assert len(slurmlab("token", "ada", "--lab", name, "--lifespan", "60").stdout.strip().split(".")) == 3
    assert "slurmctld version" in slurmlab("logs", name, "--service", "slurmctld", "-n", "200").stdout
    assert slurmlab("fault", "daemon", "stop", "slurmdbd", "--lab", name).returncode == 0
    assert "slurmdbd stopped" in " ".join(slurmlab("status", name).stdout.split())
    assert slurmlab("fault", "daemon", "start", "slurmdbd", "--lab", name).returncode == 0
    wrong = slurmlab("fault", "host", "kill", "c9", "--lab", name)
    assert (wrong.returncode, wrong.stderr.count("\n")) == (1, 1)
    assert slurmlab("down", name).returncode == 0
    assert leftovers(name) == ""
    assert "nothing to remove" in slurmlab("down", name).stdout
    with pytest.raises(LabNotFound):
        Lab.find(name)


def test_a_lab_that_died_half_way_is_listed_and_removed(name: str) -> None:
    lab = Lab.up(LabConfig(name=name, nodes=1))
    find_engine().call("rm", "--force", "--time", "0", f"slurmlab-{name}-controller")
    (lab.directory / "lab.json").write_text("{torn")
    summary = next(each for each in Lab.list_all() if each.name == name)
    assert (summary.condition, summary.hosts_up) == (Condition.HALF_DEAD, ("c1", "login"))
    assert Lab.remove(name)
    assert leftovers(name) == ""
    assert not lab.directory.exists()


def test_hosts_whose_state_is_lost_are_listed_and_removed(name: str) -> None:
    lab = Lab.up(LabConfig(name=name, nodes=1))
    shutil.rmtree(lab.directory)
    assert Condition.HALF_DEAD in [each.condition for each in Lab.list_all() if each.name == name]
    assert Lab.remove(name)
    assert leftovers(name) == ""


def test_up_makes_a_half_dead_lab_anew(name: str) -> None:
    first = Lab.up(LabConfig(name=name, nodes=1))
    find_engine().call("rm", "--force", "--time", "0", f"slurmlab-{name}-c1")
    said: list[str] = []
    second = Lab.up(LabConfig(name=name, nodes=1), said.append)
    assert f"lab '{name}' is half dead; making it anew" in said
    assert second.node_states() == {"c1": "idle"}
    assert second.jwt_key_path == first.jwt_key_path


def test_a_lab_that_fails_shows_the_end_of_the_culprit_s_log(name: str) -> None:
    config = LabConfig(name=name, nodes=1, slurm_conf={"JobSubmitPlugins": "nonesuch"})
    with pytest.raises(LabFailed) as failed:
        Lab.up(config)
    message = str(failed.value)
    assert "did not come up: slurmctld on controller: exit status 1" in message
    assert "cannot create job_submit context for job_submit/nonesuch" in message
    assert f"slurmlab down {name}" in message
    # Its logs stay until it is removed.
    assert "nonesuch" in slurmlab("logs", name).stdout


def test_a_port_that_is_taken_is_said_before_anything_starts(name: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(LabFailed, match=f"Port {port}"):
            Lab.up(LabConfig(name=name, nodes=1, slurmrestd_port=port))
    assert leftovers(name) == ""


def test_two_ups_of_one_name_make_one_lab(name: str) -> None:
    argv = [*SLURMLAB, "up", name, "--nodes", "1"]
    both = [subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    said = [process.communicate(timeout=120)[1] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert sum("is already running" in each for each in said) == 1
    assert sum("all nodes idle" in each for each in said) == 1


@pytest.mark.parametrize("version", ["26.05", "24.11"])
def test_the_pytest_plugin_gives_any_project_real_slurm(tmp_path: Path, version: str) -> None:
    (tmp_path / "test_it.py").write_text(
        "from slurmlab import LabConfig\n"
        "def test_shared(slurm_lab):\n"
        f"    assert slurm_lab.release.version == '{version}'\n"
        "    assert slurm_lab.exec('controller', ['srun', 'true'], user='ada').ok\n"
        "def test_own(slurm_lab_factory, tmp_path):\n"
        "    lab = slurm_lab_factory(LabConfig(name=f'own-{tmp_path.parent.name[-6:]}'.replace('_', '-'), nodes=1))\n"
        "    assert lab.node_states() == {'c1': 'idle'}\n"
    )
    argv = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "--slurm-version",
        version,
        "--slurm-nodes",
        "1",
    ]
    done = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "2 passed" in done.stdout, done.stdout + done.stderr
    assert not [each for each in Lab.list_all() if each.name.startswith("own-")]
