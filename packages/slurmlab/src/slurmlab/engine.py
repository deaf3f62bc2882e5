"""The container engine under a lab: Podman, or Docker where that is what the machine has."""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from slurmlab.errors import EngineError, PrerequisiteMissing


@dataclass(frozen=True, slots=True)
class Engine:
    """How to call the engine on this machine; `argv` holds the program and the global options that work here."""

    kind: str
    """``podman`` or ``docker``."""
    argv: tuple[str, ...]
    rootless: bool
    ulimits: tuple[str, ...]

    def call(self, *args: str, timeout_s: float = 120.0, stdin: bytes | None = None) -> str:
        """Run one engine command and return its output; raises EngineError with the engine's own words."""
        done = self.attempt(*args, timeout_s=timeout_s, stdin=stdin)
        if done.returncode != 0:
            said = done.stderr.decode(errors="replace").strip().splitlines()[-3:]
            raise EngineError(f"{self.kind} {args[0]} failed: {' '.join(said) or f'exit status {done.returncode}'}")
        return done.stdout.decode(errors="replace").strip()

    def attempt(
        self, *args: str, timeout_s: float = 120.0, stdin: bytes | None = None
    ) -> subprocess.CompletedProcess[bytes]:
        """Run one engine command and leave its exit status to the caller."""
        try:
            return subprocess.run(
                [*self.argv, *args],
                input=stdin,
                stdin=subprocess.DEVNULL if stdin is None else None,
                capture_output=True,
                timeout=timeout_s,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise EngineError(f"{self.kind} {args[0]} did not finish within {timeout_s:.0f} s.") from error

    def inspect(self, *args: str) -> list[dict[str, Any]]:
        """An engine's JSON answer as objects; empty when the thing does not exist."""
        done = self.attempt(*args)
        return json.loads(done.stdout or b"[]") if done.returncode == 0 else []

    def in_user_namespace(self, *argv: str) -> list[str]:
        """Argv that runs a program with the right to touch files of the hosts' users."""
        return [*self.argv, "unshare", *argv] if self.rootless and self.kind == "podman" else list(argv)


def require_network(engine: Engine) -> None:
    """Raise PrerequisiteMissing, with the engine's own words, where a network of the lab's own cannot be had.

    Without root a network needs /dev/net/tun and a place for its namespace, which sandboxes often withhold.
    """
    if engine.kind != "podman" or not engine.rootless:
        return
    done = engine.attempt("unshare", "--rootless-netns", "true")
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
        raise PrerequisiteMissing(
            f"This machine does not let an ordinary user make a network for containers: {' '.join(said)} "
            "Run slurmlab as root here."
        )


@cache
def find_engine() -> Engine:
    """The engine of this machine; $SLURMLAB_ENGINE may name podman or docker. Raises PrerequisiteMissing."""
    wanted = os.environ.get("SLURMLAB_ENGINE", "")
    for kind in [wanted] if wanted else ["podman", "docker"]:
        if (path := shutil.which(kind)) and (kind == "podman" or _docker_answers(path)):
            return _podman(path) if kind == "podman" else _docker(path)
    raise PrerequisiteMissing("No container engine: neither podman nor a running docker. Run: slurmlab doctor --fix")


def _ulimits() -> tuple[str, ...]:
    """Limits inside this process's own hard limits; an engine's defaults may be above them, which it then refuses."""
    files_hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    processes_hard = resource.getrlimit(resource.RLIMIT_NPROC)[1]
    files = 65536 if files_hard == resource.RLIM_INFINITY else min(files_hard, 65536)
    processes = 32768 if processes_hard == resource.RLIM_INFINITY else min(processes_hard, 32768)
    return ("--ulimit", f"nofile={files}:{files}", "--ulimit", f"nproc={processes}:{processes}")


def _podman(path: str) -> Engine:
    options: list[str] = []
    rootless = os.geteuid() != 0
    # crun refuses hosts whose cgroups are hybrid (v1 with v2 beside it); runc takes both.
    hybrid = not Path("/sys/fs/cgroup/cgroup.controllers").exists()
    if hybrid and shutil.which("runc"):
        options += ["--runtime", "runc"]
    # The systemd cgroup manager needs a running systemd.
    if not Path("/run/systemd/system").is_dir() or rootless:
        options += ["--cgroup-manager", "cgroupfs"]
    return Engine("podman", (path, *options), rootless, _ulimits())


def _docker(path: str) -> Engine:
    return Engine("docker", (path,), rootless=False, ulimits=_ulimits())


def _docker_answers(path: str) -> bool:
    try:
        return subprocess.run([path, "version"], capture_output=True, timeout=10, check=False).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False
