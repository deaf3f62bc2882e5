"""Which labs are there, and in what condition: whole, degraded by a fault, being made, or half dead."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from slurmlab.engine import Engine
from slurmlab.state import known_names, load_record, lock_is_held


class Condition(StrEnum):
    """How a lab is."""

    RUNNING = "running"
    DEGRADED = "degraded"
    """It runs, with a host switched off or paused: somebody made a fault, or it will not be whole again by itself."""
    STARTING = "starting"
    """A `slurmlab up` is at work on it."""
    HALF_DEAD = "half dead"
    """It cannot be used; `up` makes it anew, `down` removes it."""


@dataclass(frozen=True, slots=True)
class LabSummary:
    """One line of `slurmlab ls`."""

    name: str
    slurm: str
    """The release; ``?`` where the lab's record is lost."""
    condition: Condition
    hosts_up: tuple[str, ...]
    hosts_down: tuple[str, ...]
    slurmrestd_url: str


def list_labs(engine: Engine) -> list[LabSummary]:
    """Every lab of this machine and state directory, half-dead ones too."""
    hosts: dict[str, dict[str, str]] = {}
    for lab, host, state in _containers(engine):
        hosts.setdefault(lab, {})[host] = state
    return [_summary(name, hosts.get(name, {})) for name in sorted({*known_names(), *hosts})]


def find_lab(engine: Engine, name: str) -> LabSummary | None:
    """One lab's summary; None where there is neither a record nor a host of it."""
    return next((lab for lab in list_labs(engine) if lab.name == name), None)


def _containers(engine: Engine) -> Iterator[tuple[str, str, str]]:
    """Lab, host and state (``running``, ``paused``, ``exited``, …) of every host that the engine knows."""
    args = ("ps", "--all", "--filter", "label=slurmlab.lab", "--format")
    if engine.kind == "docker":
        for line in engine.call(*args, '{{.Label "slurmlab.lab"}} {{.Label "slurmlab.host"}} {{.State}}').splitlines():
            lab, host, state = line.split()[:3]
            yield lab, host, state
        return
    # Podman 4's template gives "Up 3 minutes" for the state; its JSON gives the word.
    for container in json.loads(engine.call(*args, "json") or "[]"):
        labels = container["Labels"]
        yield labels["slurmlab.lab"], labels["slurmlab.host"], container["State"]


def _summary(name: str, states: dict[str, str]) -> LabSummary:
    record = load_record(name)
    up = tuple(sorted(host for host, state in states.items() if state == "running"))
    if record is None:
        condition = Condition.STARTING if lock_is_held(f"lab-{name}") else Condition.HALF_DEAD
        return LabSummary(name, "?", condition, up, tuple(sorted(set(states) - set(up))), "")
    down = tuple(host for host in record.hosts if host not in up)
    if record.phase != "running":
        condition = Condition.STARTING if lock_is_held(f"lab-{name}") else Condition.HALF_DEAD
    elif not down:
        condition = Condition.RUNNING
    elif set(record.hosts) <= set(states) and up:
        condition = Condition.DEGRADED
    else:
        condition = Condition.HALF_DEAD
    return LabSummary(name, record.slurm, condition, up, down, f"http://127.0.0.1:{record.slurmrestd_port}")
