"""The command line against a real server on a real Slurm cluster."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from real.server import RealServer, real_server
from slurmlab import Lab, LabConfig

pytestmark = pytest.mark.lab
EXAMPLES = Path(__file__).parents[3] / "examples"


@pytest.fixture(scope="module", params=["26.05", "24.11"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealServer]:
    lab = Lab.up(LabConfig(name=f"cli-{request.param.replace('.', '')}", slurm=request.param, nodes=2))
    try:
        with real_server(lab.name, tmp_path_factory.mktemp("server")) as server:
            server.run("headrace", "login", server.login_link("ada"))
            yield server
    finally:
        lab.down()


def test_a_command_from_wanting_to_its_exit_code(server: RealServer) -> None:
    done = server.run("headrace", "run", "-f", "--", "sh", "-c", "echo here on $(hostname); exit 7", check=False)
    assert done.returncode == 7
    assert done.stdout in {"here on c1\n", "here on c2\n"}
    run = json.loads(server.run("headrace", "ls", "--json", "-n", "1").stdout)["items"][0]
    assert (run["state"], run["exit_code"], run["door"]) == ("failed", 7, "cli")
    assert run["moments"]["intent_at"] < run["moments"]["created_at"]


def test_a_line_is_shown_within_a_second_of_being_written(server: RealServer) -> None:
    program = "import time\nfor _ in range(5): time.sleep(1.3); print(time.time(), flush=True)"
    run_id = server.run("headrace", "run", "--", "python3", "-c", program).stdout.strip()
    late: list[float] = []
    argv = ["headrace", "logs", "-f", run_id]
    with subprocess.Popen(argv, env=server.environment, stdout=subprocess.PIPE, text=True) as follower:
        assert follower.stdout is not None
        late.extend(time.time() - float(line) for line in follower.stdout)
    assert len(late) == 5
    # The first may have been written before the follower had started.
    assert max(late[1:]) < 1.0


def test_following_survives_a_restart_of_the_server(server: RealServer) -> None:
    program = "import time\nfor n in range(40): print(n, flush=True); time.sleep(0.2)"
    run_id = server.run("headrace", "run", "--", "python3", "-c", program).stdout.strip()
    argv = ["headrace", "logs", "-f", run_id]
    with subprocess.Popen(argv, env=server.environment, stdout=subprocess.PIPE, text=True) as follower:
        assert follower.stdout is not None
        assert follower.stdout.readline() == "0\n"
        server.kill()
        server.start()
        rest = follower.stdout.read()
    assert rest == "".join(f"{n}\n" for n in range(1, 40))
    assert follower.returncode == 0


def test_interrupting_leaves_the_run_alone_and_cancelling_ends_it(server: RealServer) -> None:
    argv = ["headrace", "run", "-f", "--", "sh", "-c", "echo begun; sleep 300"]
    with subprocess.Popen(
        argv, env=server.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as follower:
        assert follower.stdout is not None
        assert follower.stdout.readline() == "begun\n"
        follower.send_signal(signal.SIGINT)
        _, remarks = follower.communicate(timeout=30)
    assert follower.returncode == 130
    run_id = remarks.split()[0]
    assert json.loads(server.run("headrace", "show", "--json", run_id).stdout)["state"] == "running"
    server.run("headrace", "cancel", run_id)
    assert server.run("headrace", "wait", run_id, check=False).returncode == 1
    assert json.loads(server.run("headrace", "show", "--json", run_id).stdout)["state"] == "cancelled"


@pytest.mark.parametrize(
    ("arguments", "script"),
    [
        (["-t", "0"], None),
        (["-t", "-1"], None),
        (["-t", "1000000000-0"], None),
        (["-a", "0-4000001"], None),
        (["-J", "two\nlines"], None),
        (["-p", "nowhere"], None),
        ([], "#!/bin/sh\n#SBATCH --nonsense\ntrue\n"),
        ([], "#!/bin/sh\n#SBATCH --array=0-4000001\ntrue\n"),
        ([], "#!/bin/sh\r\ntrue\r\n"),
        ([], "#!/bin/sh\necho \x00\n"),
        ([], "#!/bin/sh\n" + "#" * 4 * 1024 * 1024),
        ([], "echo no interpreter\n"),
        ([], ""),
    ],
)
def test_bad_input_is_refused_with_a_code(
    server: RealServer, tmp_path: Path, arguments: list[str], script: str | None
) -> None:
    before = slurm_jobs(server)
    operands = ["--", "true"]
    if script is not None:
        (tmp_path / "job.sh").write_bytes(script.encode())
        operands = [str(tmp_path / "job.sh")]
    done = server.run("headrace", "run", *arguments, *operands, check=False)
    assert done.returncode == 3, done
    assert "[" in done.stderr
    assert "Traceback" not in done.stderr
    assert slurm_jobs(server) == before


def test_strange_names_are_only_names(server: RealServer) -> None:
    name = 'it\'s "quoted" $(touch /tmp/owned) `id`; %j'
    run_id = server.run("headrace", "run", "-J", name, "--", "true").stdout.strip()
    server.run("headrace", "wait", run_id)
    assert json.loads(server.run("headrace", "show", "--json", run_id).stdout)["name"] == name


@pytest.mark.parametrize(
    ("example", "last"),
    [
        ("script", "ends in 7802759009\n"),
        ("mpi", "The strips agree with the serial answer.\n"),
        ("backtest", "Without dividends, interest and taxes.\n"),
    ],
)
def test_examples(server: RealServer, example: str, last: str) -> None:
    done = server.run(str(EXAMPLES / example / "run"), check=False, timeout_s=280)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith(last)
    if example == "mpi":
        assert "4 ranks on 2 hosts: c1, c2" in done.stdout


def slurm_jobs(server: RealServer) -> int:
    """How many jobs Slurm has ever taken, by the number that the next one would get."""
    lab = Lab.find(server.lab)
    shown = lab.exec("controller", ["scontrol", "show", "config"]).stdout
    return next(int(line.split("=")[1]) for line in shown.splitlines() if line.startswith("NEXT_JOB_ID"))
