"""What a lab is asked to be: the one description behind the command line, the TOML file and the Python API."""

from __future__ import annotations

import os
import re
import tomllib
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from slurmlab.errors import ConfigError
from slurmlab.site import Account, Qos, Role, Site, User, default_site

NAME = re.compile(r"[a-z][a-z0-9-]{0,29}")


@dataclass(frozen=True, slots=True)
class SlurmRelease:
    """A Slurm version that Debian packages, and what it can do that another cannot."""

    version: str
    suite: str
    data_parser: str
    """The newest data parser of its slurmrestd, such as ``v0.0.45``."""
    has_openmetrics: bool


RELEASES = {
    "26.05": SlurmRelease("26.05", "forky", "v0.0.45", has_openmetrics=True),
    "24.11": SlurmRelease("24.11", "trixie", "v0.0.42", has_openmetrics=False),
}
DEFAULT_RELEASE = "26.05"


@dataclass(frozen=True, slots=True)
class LabConfig:
    """Everything that decides what a lab looks like. Every field has a default that works."""

    name: str = "lab"
    slurm: str = DEFAULT_RELEASE
    """Slurm release: a key of ``RELEASES``."""
    nodes: int = 2
    """Compute hosts, c1 to cN; 1 to 64."""
    cpus: int = 16
    """CPUs that each compute host claims to have; a lab may claim more than the machine has."""
    memory_mib: int = 65536
    """Memory that each compute host claims to have."""
    gpu_nodes: int = 1
    """How many compute hosts, counted from the last, carry GPUs (counted GRES; there is no device behind them)."""
    gpus: int = 4
    """GPUs on each of those."""
    slurmrestd_port: int | None = None
    """Port on 127.0.0.1; a free one when None."""
    ssh_port: int | None = None
    """Port on 127.0.0.1 for the login host's sshd; a free one when None."""
    controller_port: int | None = None
    """Port on 127.0.0.1 for slurmctld (it serves /metrics where openmetrics is); a free one when None."""
    min_job_age_s: int = 300
    """How long slurmctld remembers an ended job."""
    max_job_count: int = 20_000
    max_array_size: int = 10_001
    jwks_file: Path | None = None
    """Public keys (JWKS) whose RS256 tokens slurmctld and slurmdbd accept beside the lab's own HS256 key."""
    slurm_conf: dict[str, str] = field(default_factory=dict[str, str])
    """Lines of slurm.conf to add or replace, key by key."""
    up_timeout_s: float = 60.0
    """How long `up` waits for every node to be idle before it gives up and says why."""
    site: Site = field(default_factory=default_site)

    def __post_init__(self) -> None:
        if not NAME.fullmatch(self.name):
            raise ConfigError(
                f"'{self.name}' cannot be a lab's name: use a-z, 0-9 and -, start with a letter, at most 30 characters."
            )
        if self.slurm not in RELEASES:
            raise ConfigError(f"There is no Slurm '{self.slurm}' here; choose one of: {', '.join(RELEASES)}.")
        _within("nodes", self.nodes, 1, 64)
        _within("cpus", self.cpus, 1, 4096)
        _within("memory_mib", self.memory_mib, 256, 64 * 1024 * 1024)
        _within("gpu_nodes", self.gpu_nodes, 0, self.nodes)
        _within("gpus", self.gpus, 1, 64)
        _within("min_job_age_s", self.min_job_age_s, 2, 10**6)
        _within("max_job_count", self.max_job_count, 100, 10**6)
        _within("max_array_size", self.max_array_size, 2, 4_000_001)
        for key, value in self.slurm_conf.items():
            if not re.fullmatch(r"[A-Za-z]+", key) or "\n" in value or "\r" in value:
                raise ConfigError(f"slurm_conf: '{key}' is not one line of slurm.conf.")

    @property
    def release(self) -> SlurmRelease:
        """The Slurm release this lab runs."""
        return RELEASES[self.slurm]

    @property
    def compute_hosts(self) -> tuple[str, ...]:
        """Names of the compute hosts, which are their Slurm node names too."""
        return tuple(f"c{i}" for i in range(1, self.nodes + 1))

    @property
    def gpu_hosts(self) -> tuple[str, ...]:
        """The compute hosts that carry GPUs."""
        return self.compute_hosts[self.nodes - self.gpu_nodes :]

    @property
    def hosts(self) -> tuple[str, ...]:
        """Every host: controller, login, then the compute hosts."""
        return ("controller", "login", *self.compute_hosts)

    @classmethod
    def from_file(cls, path: Path) -> LabConfig:
        """Read a TOML file whose keys are this class's fields; ``[site]`` may replace the users and accounts.

        Raises ConfigError, naming the key, for anything it does not understand.
        """
        try:
            raw = tomllib.loads(path.read_text())
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise ConfigError(f"{path}: {error}") from error
        try:
            return _config_from(raw, base=path.parent)
        except (TypeError, ValueError, KeyError) as error:
            raise ConfigError(f"{path}: {error}") from error

    def with_changes(self, **changes: Any) -> LabConfig:
        """The same lab with some fields changed; None leaves a field as it is."""
        return replace(self, **{key: value for key, value in changes.items() if value is not None})


def state_root() -> Path:
    """Where labs keep their state: $SLURMLAB_STATE, else /var/lib/slurmlab as root, else the user's data directory."""
    if chosen := os.environ.get("SLURMLAB_STATE"):
        return Path(chosen)
    if os.geteuid() == 0:
        return Path("/var/lib/slurmlab")
    data = os.environ.get("XDG_DATA_HOME") or str(Path.home() / ".local" / "share")
    return Path(data) / "slurmlab"


def _within(name: str, value: int, least: int, most: int) -> None:
    if not least <= value <= most:
        raise ConfigError(f"{name} must be between {least} and {most}, not {value}.")


def _config_from(raw: dict[str, Any], base: Path) -> LabConfig:
    known = {f.name for f in fields(LabConfig)}
    if unknown := sorted(set(raw) - known):
        raise ConfigError(f"unknown key {', '.join(unknown)}; known keys: {', '.join(sorted(known))}.")
    values = dict(raw)
    for f in fields(LabConfig):
        if f.name in values and not _type_fits(str(f.type), values[f.name]):
            raise ConfigError(f"{f.name} must be {f.type}, not {values[f.name]!r}.")
    if "jwks_file" in values:
        values["jwks_file"] = base / values["jwks_file"]
    if "slurm_conf" in values:
        values["slurm_conf"] = {key: str(value) for key, value in values["slurm_conf"].items()}
    if "site" in values:
        values["site"] = _site_from(values["site"])
    return LabConfig(**values)


def _type_fits(declared: str, value: object) -> bool:
    if declared.startswith("int"):
        return isinstance(value, int) and not isinstance(value, bool)
    if declared == "float":
        return isinstance(value, int | float) and not isinstance(value, bool)
    if declared.startswith(("str", "Path")):
        return isinstance(value, str)
    return isinstance(value, dict)


def _site_from(raw: dict[str, Any]) -> Site:
    site = default_site()
    if unknown := sorted(set(raw) - {"users", "accounts", "qos", "licences"}):
        raise ConfigError(f"[site]: unknown key {', '.join(unknown)}; known keys: users, accounts, qos, licences.")
    if "accounts" in raw:
        site = replace(site, accounts=tuple(Account(**a) for a in raw["accounts"]), users=())
    if "users" in raw:
        users = (
            User(u["name"], tuple(u["accounts"]), Role(u.get("role", "user")), u.get("full_name", ""))
            for u in raw["users"]
        )
        site = replace(site, users=tuple(users))
    if "qos" in raw:
        site = replace(site, qos=tuple(Qos(**q) for q in raw["qos"]))
    if "licences" in raw:
        site = replace(site, licences={str(k): int(v) for k, v in raw["licences"].items()})
    return site
