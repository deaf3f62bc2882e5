"""Common kinds of run. A preset turns a command into a script and fills options that the person left open. Pure.

To add one: write its `_script`, add a `Preset` to PRESETS, and a case to the tests that compile every preset.
"""

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace

from headrace_server.runs.model import NewRun, Options, Preset
from headrace_server.runs.refusals import ArrayMissing, NoSuchPreset

DEFAULT = "command"
TASK = "{task}"
"""In a sweep's command: the index of the array task."""


@dataclass(frozen=True)
class Compiled:
    """What a preset makes of a wish: the script, the options with its own filled in, and what it asks about."""

    script: str
    options: Options
    asks: frozenset[str]


@dataclass(frozen=True)
class _Recipe:
    preset: Preset
    script: Callable[[Sequence[str]], str]


def compile_preset(new: NewRun) -> Compiled:
    """Compile a wish for a command. Raises NoSuchPreset, ArrayMissing."""
    name = new.preset or DEFAULT
    recipe = PRESETS.get(name)
    if recipe is None:
        raise NoSuchPreset(
            f"There is no preset {name[:40]!r}.", field="preset", asked=name[:40], allowed=sorted(PRESETS)
        )
    if name == "sweep" and new.options.array is None:
        raise ArrayMissing(
            "A sweep runs its command once for each task of an array, and no array was given.",
            field="options.array",
            allowed="for example 0-23",
        )
    given = {one.name for one in fields(Options) if getattr(new.options, one.name) is not None}
    open_defaults = {key: value for key, value in recipe.preset.defaults.items() if key not in given}
    return Compiled(recipe.script(new.command), replace(new.options, **open_defaults), frozenset(recipe.preset.asks))


def every_preset() -> tuple[Preset, ...]:
    """Return the presets, the default first."""
    return tuple(recipe.preset for recipe in PRESETS.values())


def _command(argv: Sequence[str]) -> str:
    return f"#!/bin/bash\nexec {shlex.join(argv)}\n"


def _mpi(argv: Sequence[str]) -> str:
    return f"#!/bin/bash\nexec mpirun {shlex.join(argv)}\n"


def _sweep(argv: Sequence[str]) -> str:
    words = [('"$SLURM_ARRAY_TASK_ID"'.join(map(_quoted, word.split(TASK)))) or "''" for word in argv]
    return f"#!/bin/bash\nexec {' '.join(words)}\n"


def _quoted(piece: str) -> str:
    return shlex.quote(piece) if piece else ""


_COMMON = ("partition", "account", "time_limit", "cpus_per_task", "memory", "gres")
PRESETS: dict[str, _Recipe] = {
    recipe.preset.name: recipe
    for recipe in (
        _Recipe(Preset("command", "Command", "One command on one node.", {"nodes": 1}, _COMMON), _command),
        _Recipe(
            Preset(
                "mpi",
                "MPI program",
                "One program on several nodes, started by mpirun.",
                {"nodes": 2, "tasks_per_node": 1},
                ("nodes", "tasks", "tasks_per_node", *_COMMON),
            ),
            _mpi,
        ),
        _Recipe(
            Preset(
                "sweep",
                "Parameter sweep",
                f"One command for each task of an array; {TASK} stands for the task's number.",
                {"nodes": 1},
                ("array", *_COMMON),
            ),
            _sweep,
        ),
    )
}
