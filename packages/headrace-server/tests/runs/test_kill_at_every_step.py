"""kill -9 of the server at any step of a submission, then a restart: submitted once, known, followed."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from headrace_server.app import join
from headrace_server.runs.steps import SUBMISSION_STEPS
from headrace_server.settings import settings_of
from slurmlab import Lab

pytestmark = [pytest.mark.lab, pytest.mark.timeout(240)]
LAUNCHER = Path(__file__).with_name("crashing_server.py")
ENDED = {"completed", "failed", "cancelled", "timed_out", "refused"}


class Server:
    """The real server in a process of its own, with a state folder that outlives it."""

    def __init__(self, lab: Lab, state: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.listen = f"127.0.0.1:{probe.getsockname()[1]}"
        host, port = lab.ssh_address
        cluster = {
            "name": lab.name,
            "slurmrestd_url": lab.slurmrestd_url,
            "jwt_key_file": str(lab.jwt_key_path),
            "login_host": host,
            "login_port": port,
            "ssh_ca_key_file": str(lab.ssh_ca_key_path),
            "ssh_known_hosts_file": str(lab.ssh_known_hosts_path),
        }
        self.settings: dict[str, Any] = {"state": str(state), "listen": self.listen, "clusters": [cluster]}
        self.file, self.log = state / "settings.json", state / "server.log"
        self.file.write_text(json.dumps(self.settings))
        self.process: subprocess.Popen[bytes] | None = None

    async def token(self, user: str) -> str:
        house = join(settings_of(self.settings))
        await house.database.migrate()
        await house.identity.ensure_accounts({user: "user"})
        person = await house.identity.redeem_login_link(await house.identity.issue_login_link(user))
        token = await house.identity.open_session(person, "token", "test", timedelta(hours=1))
        await house.close()
        return token

    def start(self, crash_at: str | None = None) -> None:
        environment = {**os.environ, **({"HEADRACE_CRASH_AT": crash_at} if crash_at else {})}
        with self.log.open("ab") as log:
            argv = [sys.executable, str(LAUNCHER), str(self.file)]
            self.process = subprocess.Popen(argv, env=environment, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            assert self.process.poll() is None, self.log.read_text()
            try:
                if httpx.get(f"http://{self.listen}/readyz", timeout=2).status_code == 200:
                    return
            except httpx.TransportError:
                time.sleep(0.05)
        raise AssertionError(self.log.read_text())

    def died(self) -> None:
        assert self.process is not None
        assert self.process.wait(30) == -signal.SIGKILL

    def kill(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait(30)


@pytest.fixture
def server(slurm_lab: Lab, tmp_path: Path) -> Iterator[Server]:
    server = Server(slurm_lab, tmp_path)
    yield server
    server.kill()


def jobs_named(lab: Lab, name: str) -> list[str]:
    """All jobs of that name that Slurm ever had, by its own accounting and by slurmctld."""
    kept = lab.exec("controller", ["sacct", "-aXn", "-S", "now-1hour", "-o", "JobID", "--name", name]).stdout.split()
    live = lab.exec("controller", ["squeue", "-ah", "-t", "all", "-o", "%i", "--name", name]).stdout.split()
    return sorted({*kept, *live})


@pytest.mark.parametrize("step", SUBMISSION_STEPS)
async def test_a_run_survives_kill_9(slurm_lab: Lab, server: Server, step: str) -> None:
    token = await server.token("ada")
    server.start(crash_at=step)
    name = f"kill-{step}-{time.time_ns()}"
    wish = {
        "name": name,
        "command": ["bash", "-c", "cat greeting; echo $SLURM_JOB_ID"],
        "files": [{"path": "greeting", "content_base64": "aGVsbG8K"}],
        "wait_s": 5,
    }
    headers = {"Authorization": f"Bearer {token}", "Idempotency-Key": name}
    base = f"http://{server.listen}/api/v1"
    async with httpx.AsyncClient(base_url=base, headers=headers, timeout=30) as client:
        with suppress(httpx.TransportError):  # answered where the crash comes after the answer
            await client.post("/runs", json=wish)
        server.died()
        server.start()
        # The client cannot know what became of its request, so it says the same again.
        again = await client.post("/runs", json={**wish, "wait_s": 0})
        assert again.status_code == 201, again.text
        run_id = again.json()["id"]
        deadline = time.monotonic() + 120
        run: dict[str, Any] = again.json()
        while run["state"] not in ENDED and time.monotonic() < deadline:
            await asyncio.sleep(0.2)
            run = (await client.get(f"/runs/{run_id}")).json()
        assert run["state"] == "completed", run
        assert run["exit_code"] == 0
        assert jobs_named(slurm_lab, name) == [str(run["job_id"])]
        listed = (await client.get("/runs")).json()["items"]
        assert [one["id"] for one in listed] == [run_id]
        log = (await client.get(f"/runs/{run_id}/log")).json()
        assert log["data"] == f"hello\n{run['job_id']}\n"
