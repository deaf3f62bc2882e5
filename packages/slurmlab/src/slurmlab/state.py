"""What is remembered of a lab on disk, and the locks that keep two commands from making the same lab at once.

A lab's directory (``STATE/NAME``) holds: ``lab.json`` (this module's record), ``slurm/`` (/etc/slurm of its hosts),
``hosts/HOST/{etc,log,control}``, ``keys/`` (JWT and munge), ``ssh/`` (user CA and the login host's key) and ``home/``.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from slurmlab.config import state_root
from slurmlab.errors import LabError


@dataclass(frozen=True, slots=True)
class LabRecord:
    """What a later command must know of a lab."""

    name: str
    slurm: str
    engine: str
    network: str
    gateway: str
    """This machine's address on the lab's network."""
    hosts: dict[str, str]
    """Host name to its address on the lab's network."""
    users: list[str]
    slurmrestd_port: int
    ssh_port: int
    controller_port: int
    phase: str
    """``starting`` until every node was idle once, then ``running``."""
    created_at_s: float

    @property
    def directory(self) -> Path:
        """The lab's directory."""
        return lab_directory(self.name)

    def control_socket(self, host: str) -> Path:
        """Where `host` takes orders."""
        return self.directory / "hosts" / host / "control" / f"{host}.sock"

    def log_directory(self, host: str) -> Path:
        """Where the logs of `host` can be read, also after it died."""
        return self.directory / "hosts" / host / "log"

    def save(self) -> None:
        """Write the record so that a reader sees the old one or the new one."""
        path = self.directory / "lab.json"
        draft = path.with_suffix(".new")
        draft.write_text(json.dumps(asdict(self), indent=1) + "\n")
        draft.replace(path)


def lab_directory(name: str) -> Path:
    """Where the lab `name` keeps its state."""
    return state_root() / name


def lock_is_held(name: str) -> bool:
    """Whether some slurmlab holds the lock `name` now."""
    path = state_root() / ".locks" / f"{name}.lock"
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def load_record(name: str) -> LabRecord | None:
    """The record of a lab; None where there is none or it cannot be read (half dead)."""
    try:
        return LabRecord(**json.loads((lab_directory(name) / "lab.json").read_text()))
    except (OSError, ValueError, TypeError):
        return None


def known_names() -> list[str]:
    """Names that have a directory here, whether or not the lab lives."""
    root = state_root()
    if not root.is_dir():
        return []
    return sorted(p.name for p in root.iterdir() if p.is_dir() and not p.name.startswith("."))


@contextmanager
def locked(name: str, say: Callable[[str], None], timeout_s: float = 1800.0) -> Generator[None]:
    """Hold the lock `name` against every other slurmlab process of this state directory."""
    directory = state_root() / ".locks"
    directory.mkdir(parents=True, exist_ok=True)
    fd = os.open(directory / f"{name}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        deadline = time.monotonic() + timeout_s
        told = False
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if not told:
                    say(f"waiting for another slurmlab that holds '{name}'")
                    told = True
                if time.monotonic() > deadline:
                    raise LabError(f"Another slurmlab has held '{name}' for {timeout_s:.0f} s; giving up.") from None
                time.sleep(0.1)
        yield
    finally:
        os.close(fd)
