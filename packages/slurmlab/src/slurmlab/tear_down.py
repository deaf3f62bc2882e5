"""Remove a lab, whole or half dead: its hosts, its network, its directory."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from slurmlab.engine import Engine
from slurmlab.errors import EngineError
from slurmlab.state import lab_directory


def tear_down(engine: Engine, name: str) -> bool:
    """Remove everything that belongs to the lab `name`; returns whether there was anything.

    Works from the engine's labels rather than from the lab's record, so a lab that died half-way goes as well.
    """
    label = f"label=slurmlab.lab={name}"
    containers = engine.call("ps", "--all", "--quiet", "--filter", label).split()
    if containers:
        # A paused host cannot be killed on cgroup v1; --force does not resume it first.
        paused = engine.call("ps", "--all", "--quiet", "--filter", label, "--filter", "status=paused").split()
        if paused:
            engine.attempt("unpause", *paused)
        options = ["--force", "--volumes"] + (["--time", "0"] if engine.kind == "podman" else [])
        engine.call("rm", *options, *containers)
    networks = engine.call("network", "ls", "--quiet", "--filter", label).split()
    if networks:
        engine.call("network", "rm", *networks)
    directory = lab_directory(name)
    existed = directory.is_dir()
    if existed:
        _remove_directory(engine, directory)
    return bool(containers or networks or existed)


def _remove_directory(engine: Engine, directory: Path) -> None:
    if os.geteuid() == 0:
        shutil.rmtree(directory)
        return
    argv = engine.in_user_namespace("rm", "-rf", "--", str(directory))
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise EngineError(f"Could not remove {directory}: {done.stderr.strip()}")
