"""A real Headrace: the server's own process, started on a lab, that a test can kill and start again."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

BIN = Path(sys.executable).parent
READY_WITHIN_S = 60


class RealServer:
    """`headrace-server up` on a running lab, with a state folder (and perhaps a database) of its own."""

    def __init__(self, lab: str, state: Path, database_url: str | None = None) -> None:
        self.lab = lab
        self.state = state
        self.address = f"127.0.0.1:{free_port()}"
        self.base_url = f"http://{self.address}"
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("HEADRACE_", "SLURM"))},
            "PATH": f"{BIN}:{os.environ['PATH']}",
            "HEADRACE_STATE": str(state),
            "HEADRACE_LISTEN": self.address,
            # What a user keeps in ~/.config: the tests' own.
            "XDG_CONFIG_HOME": str(state / "config"),
        }
        if database_url is not None:
            self.environment["HEADRACE_DATABASE_URL"] = database_url
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> Path:
        """What the server printed."""
        return self.state / "test-server.log"

    def start(self, **environment: str) -> None:
        """Start the process and wait until it is ready. More `environment` is for this start only."""
        self.state.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [BIN / "headrace-server", "up", "--lab", self.lab],
                env={**self.environment, **environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + READY_WITHIN_S
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                break
            with suppress(URLError, OSError), urlopen(f"{self.base_url}/readyz", timeout=2) as answer:
                if answer.status == 200:
                    return
            time.sleep(0.05)
        raise RuntimeError(f"the server did not become ready:\n{self.log.read_text(errors='replace')[-4000:]}")

    def kill(self) -> None:
        """Kill -9, and wait until it is dead."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """Ask it to end, and wait."""
        self._end(signal.SIGTERM)

    def wait(self, timeout_s: float) -> int:
        """Wait until the process ends by itself; return its exit status."""
        assert self._process is not None
        return self._process.wait(timeout_s)

    def login_link(self, user: str) -> str:
        """A one-time login link."""
        return self.run("headrace-server", "login-link", user).stdout.strip()

    def run(
        self, *argv: str, check: bool = True, timeout_s: float = 120, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a program of this checkout against this server (`headrace`, `headrace-server`)."""
        return subprocess.run(
            argv,
            env={**self.environment, **environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=check,
            timeout=timeout_s,
        )

    def _end(self, with_signal: signal.Signals) -> None:
        if self._process is not None:
            with suppress(ProcessLookupError):
                self._process.send_signal(with_signal)
            self._process.wait(30)
            self._process = None


@contextmanager
def real_server(lab: str, state: Path, database_url: str | None = None) -> Generator[RealServer]:
    """A started server; it is stopped at the end."""
    server = RealServer(lab, state, database_url)
    server.start()
    try:
        yield server
    finally:
        server.kill()


def free_port() -> int:
    """A port of the loopback that nobody uses at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
