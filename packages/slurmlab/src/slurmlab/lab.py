"""A lab, as a program sees it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from slurmlab.bring_up import bring_up, container_name
from slurmlab.config import RELEASES, LabConfig, SlurmRelease
from slurmlab.control import Finished, ServiceState, send_order
from slurmlab.engine import Engine, find_engine
from slurmlab.errors import HostUnreachable, LabNotFound
from slurmlab.faults import Faults
from slurmlab.listing import Condition, LabSummary, find_lab, list_labs
from slurmlab.state import LabRecord, known_names, load_record, locked
from slurmlab.tear_down import tear_down
from slurmlab.tokens import sign_token

Say = Callable[[str], None]


def _silent(_: str) -> None:
    """Say nothing."""


class Lab:
    """A real Slurm cluster on this machine: make one with ``Lab.up``, find a running one with ``Lab.find``."""

    def __init__(self, record: LabRecord, engine: Engine) -> None:
        self._record = record
        self._engine = engine

    # -- making, finding, removing

    @classmethod
    def up(cls, config: LabConfig, say: Say = _silent) -> Lab:
        """Bring up a lab, building its image first when it is missing; a lab that runs already is returned as it is.

        Returns when every node is idle. Raises LabFailed with the end of the culprit's log.
        """
        engine = find_engine()
        with locked(f"lab-{config.name}", say):
            there = find_lab(engine, config.name)
            record = load_record(config.name)
            if there and record and record.phase == "running" and there.condition is not Condition.HALF_DEAD:
                off = f", with {', '.join(there.hosts_down)} off" if there.hosts_down else ""
                say(f"lab '{config.name}' is already running (Slurm {record.slurm}){off}")
                if record.slurm != config.slurm or len(record.hosts) != len(config.hosts):
                    say(f"it stays as it is; to make it as asked now: slurmlab down {config.name}, then up again")
                return cls(record, engine)
            if there:
                say(f"lab '{config.name}' is {Condition.HALF_DEAD}; making it anew")
            return cls(bring_up(engine, config, say), engine)

    @classmethod
    def find(cls, name: str) -> Lab:
        """The lab of that name. Raises LabNotFound."""
        record = load_record(name)
        if record is None:
            there = ", ".join(known_names()) or "none"
            raise LabNotFound(f"There is no lab '{name}'. Labs here: {there}. Make it with: slurmlab up {name}")
        return cls(record, find_engine())

    @staticmethod
    def list_all() -> list[LabSummary]:
        """Every lab of this machine, half-dead ones too."""
        return list_labs(find_engine())

    @staticmethod
    def remove(name: str, say: Say = _silent) -> bool:
        """Remove the lab of that name, whole or half dead; returns whether there was anything to remove."""
        with locked(f"lab-{name}", say):
            return tear_down(find_engine(), name)

    def down(self) -> None:
        """Remove this lab and everything in it, the users' homes as well."""
        self.remove(self.name)

    # -- what it is

    @property
    def name(self) -> str:
        """The lab's name, which is Slurm's ClusterName too."""
        return self._record.name

    @property
    def release(self) -> SlurmRelease:
        """The Slurm release it runs."""
        return RELEASES[self._record.slurm]

    @property
    def hosts(self) -> tuple[str, ...]:
        """Every host: controller, login, then the compute hosts."""
        return tuple(self._record.hosts)

    @property
    def compute_hosts(self) -> tuple[str, ...]:
        """The compute hosts; their names are their node names."""
        return tuple(h for h in self._record.hosts if h not in {"controller", "login"})

    @property
    def users(self) -> tuple[str, ...]:
        """Names of the site's users."""
        return tuple(self._record.users)

    @property
    def slurmrestd_url(self) -> str:
        """Base URL of slurmrestd, on this machine's loopback."""
        return f"http://127.0.0.1:{self._record.slurmrestd_port}"

    @property
    def metrics_url(self) -> str | None:
        """Base URL of slurmctld's openmetrics endpoints; None on releases without them."""
        if not self.release.has_openmetrics:
            return None
        return f"http://127.0.0.1:{self._record.controller_port}/metrics"

    @property
    def ssh_address(self) -> tuple[str, int]:
        """Address and port of the login host's sshd, on this machine's loopback."""
        return "127.0.0.1", self._record.ssh_port

    @property
    def directory(self) -> Path:
        """Where the lab keeps its state on this machine."""
        return self._record.directory

    @property
    def home(self) -> Path:
        """The directory of this machine that every host mounts at /home."""
        return self.directory / "home"

    @property
    def jwt_key_path(self) -> Path:
        """The HS256 key (32 bytes) that slurmctld and slurmdbd trust."""
        return self.directory / "keys" / "jwt_hs256.key"

    @property
    def ssh_ca_key_path(self) -> Path:
        """The private key of the user CA that the login host trusts: a certificate's principal is the user's name."""
        return self.directory / "ssh" / "user_ca"

    @property
    def ssh_known_hosts_path(self) -> Path:
        """A known_hosts file with the login host's key at its loopback address and port."""
        return self.directory / "ssh" / "known_hosts"

    # -- using it

    def token(self, user: str, lifespan_s: float = 1800.0) -> str:
        """A Slurm token for `user`; a negative lifespan gives one that has expired."""
        return sign_token(self.jwt_key_path.read_bytes(), user, lifespan_s)

    def exec(
        self,
        host: str,
        argv: Sequence[str],
        user: str | None = None,
        *,
        stdin: str = "",
        timeout_s: float = 60.0,
        cwd: str | None = None,
    ) -> Finished:
        """Run a program on a host to its end, as root or as `user`, in that user's home, and catch its output.

        Raises HostUnreachable for a host that does not answer, and TimeoutError when the program took longer than
        `timeout_s` seconds (it is killed).
        """
        order: dict[str, Any] = {"op": "exec", "argv": list(argv), "timeout_s": timeout_s, "stdin": stdin}
        if user:
            order["user"] = user
        if cwd:
            order["cwd"] = cwd
        reply = self.order(host, order, timeout_s + 5)
        if reply["timed_out"]:
            raise TimeoutError(f"{argv[0]} on {host} did not end within {timeout_s:g} s and was killed.")
        return Finished(int(reply["exit_status"]), str(reply["stdout"]), str(reply["stderr"]))

    def attach_argv(self, host: str, argv: Sequence[str], user: str = "root", *, terminal: bool = False) -> list[str]:
        """The engine's command line that runs a program on a host with this process's own standard streams."""
        self._check_host(host)
        home = "/root" if user == "root" else f"/home/{user}"
        options = ["--interactive", "--user", user, "--workdir", home, "--env", f"HOME={home}", "--env", f"USER={user}"]
        if terminal:
            options += ["--tty", "--env", f"TERM={os.environ.get('TERM', 'xterm')}"]
        return [*self._engine.argv, "exec", *options, container_name(self.name, host), *argv]

    def services(self, host: str, *, timeout_s: float = 5.0) -> list[ServiceState]:
        """The daemons of a host and how they are. Raises HostUnreachable."""
        reply = self.order(host, {"op": "status"}, timeout_s)
        return [
            ServiceState(name, str(s["state"]), s["pid"], s["exit_status"]) for name, s in reply["services"].items()
        ]

    def node_states(self) -> dict[str, str]:
        """Slurm's word for each node, such as ``idle`` or ``down*``; empty when slurmctld does not answer."""
        try:
            done = self.exec("controller", ["sinfo", "--noheader", "--Node", "--format", "%N %T"], timeout_s=5)
        except (HostUnreachable, TimeoutError):
            return {}
        return dict(line.split(None, 1) for line in done.stdout.splitlines() if " " in line)

    def address(self, host: str) -> str:
        """A host's address on the lab's network."""
        self._check_host(host)
        return self._record.hosts[host]

    def logs(self, host: str) -> dict[str, Path]:
        """The log files of a host by name, such as ``slurmctld.log``; readable also when the host is dead."""
        self._check_host(host)
        return {p.name: p for p in sorted(self._record.log_directory(host).iterdir())}

    # -- what faults are made of

    @property
    def fault(self) -> Faults:
        """Faults on request, each with its undo."""
        return Faults(self)

    @property
    def gateway(self) -> str:
        """The lab network's address on this machine."""
        return self._record.gateway

    def order(self, host: str, order: dict[str, Any], timeout_s: float = 30.0) -> dict[str, Any]:
        """Send an order to the host's process 1 (see image/hostinit.py). Raises HostUnreachable and OrderFailed."""
        self._check_host(host)
        return send_order(self._record.control_socket(host), order, timeout_s)

    def engine_call(self, verb: str, host: str) -> None:
        """Have the engine kill, pause, unpause or start a host. Raises EngineError."""
        self._check_host(host)
        self._engine.call(verb, container_name(self.name, host))

    def privileged(self, host: str, argv: Sequence[str]) -> str:
        """Run a program on a host with every capability: for cables and disks. Raises EngineError."""
        self._check_host(host)
        return self._engine.call("exec", "--privileged", "--user", "root", container_name(self.name, host), *argv)

    def wait_ready(self, host: str, timeout_s: float) -> None:
        """Wait until every daemon of a host is ready. Raises HostUnreachable, naming those that are not."""
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                late = [s.name for s in self.services(host) if s.state not in {"ready", "done"}]
            except HostUnreachable:
                late = ["its process 1"]
            if not late:
                return
            if time.monotonic() > deadline:
                raise HostUnreachable(f"{host} is not ready after {timeout_s:g} s: {', '.join(late)}.")
            time.sleep(0.05)

    def _check_host(self, host: str) -> None:
        if host not in self._record.hosts:
            raise HostUnreachable(f"Lab '{self.name}' has no host '{host}'; it has: {', '.join(self.hosts)}.")
