"""Several processes on one PostgreSQL: an API, and two workers of which one is killed."""

import json
import signal
import subprocess
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from real.postgres import PostgresServer
from real.server import BIN, RealServer
from slurmlab import Lab

WITHIN_S = 60


@contextmanager
def process(server: RealServer, role: str, port: int) -> Generator[subprocess.Popen[bytes]]:
    """One `headrace-server` process; both roles answer /readyz on a port of their own."""
    environment = {**server.environment, "HEADRACE_LISTEN": f"127.0.0.1:{port}"}
    with (server.state / f"{role}-{port}.log").open("ab") as log:
        started = subprocess.Popen([BIN / "headrace-server", role], env=environment, stdout=log, stderr=log)
    try:
        yield started
    finally:
        started.kill()
        started.wait(10)


def until(condition: Any, what: str) -> None:
    deadline = time.monotonic() + WITHIN_S
    while time.monotonic() < deadline:
        try:
            if condition():
                return
        except OSError:
            pass
        time.sleep(0.1)
    pytest.fail(f"not within {WITHIN_S} s: {what}")


@pytest.mark.lab
@pytest.mark.postgres
def test_a_killed_worker_is_replaced_and_its_runs_go_on(
    slurm_lab: Lab, postgres: PostgresServer, tmp_path: Path
) -> None:
    host, port = slurm_lab.ssh_address
    config = tmp_path / "headrace.toml"
    config.write_text(
        f'[[clusters]]\nname = "lab"\nslurmrestd_url = "{slurm_lab.slurmrestd_url}"\n'
        f'jwt_key_file = "{slurm_lab.jwt_key_path}"\nlogin_host = "{host}"\nlogin_port = {port}\n'
        f'ssh_ca_key_file = "{slurm_lab.ssh_ca_key_path}"\nssh_known_hosts_file = "{slurm_lab.ssh_known_hosts_path}"\n'
    )
    with postgres.database() as url:
        server = RealServer(slurm_lab.name, tmp_path, url)
        server.environment["HEADRACE_CONFIG"] = str(config)
        server.run("headrace-server", "account", "ada")
        base = int(server.address.rpartition(":")[2])
        with (
            process(server, "api", base),
            process(server, "worker", base + 1) as first,
        ):
            until(lambda: urlopen(f"{server.base_url}/readyz", timeout=2).status == 200, "the API is ready")
            server.run("headrace", "login", server.login_link("ada"))
            server.run("headrace", "run", "--name", "before", "--follow", "--", "true")
            running = json.loads(server.run("headrace", "run", "--json", "--name", "on", "--", "sleep", "6").stdout)
            first.send_signal(signal.SIGKILL)
            first.wait(10)
            with process(server, "worker", base + 2):
                until(
                    lambda: (
                        json.loads(server.run("headrace", "show", "--json", running["id"]).stdout)["state"]
                        == "completed"
                    ),
                    "the successor follows what its predecessor submitted",
                )
                jobs = slurm_lab.exec("controller", ["sacct", "-Xn", "-o", "jobname", "-u", "ada"]).stdout.split()
                assert jobs.count("on") == 1
