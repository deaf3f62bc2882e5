"""From a wish to a job description: preset, then options, then the script's own #SBATCH lines. Pure."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from pathlib import PurePosixPath
from typing import Any

import msgspec

from headrace_server.runs.amounts import array_of, memory_mib, minutes_of
from headrace_server.runs.model import Layer, NewRun, Options
from headrace_server.runs.preflight import NAME_LENGTH
from headrace_server.runs.presets import DEFAULT, compile_preset
from headrace_server.runs.refusals import DirectiveInvalid, OptionInvalid
from slurmrest import InvalidRequest, JobDescription
from slurmrest.batch import DirectiveRefused, fold, read_directives

INFINITE = "infinite"


@dataclass(frozen=True)
class Composed:
    """What will be submitted. The description's working directory is None when the run gets a folder of its own."""

    layer: Layer
    preset: str | None
    description: JobDescription
    array_tasks: str | None
    total: int
    own_folder: bool

    @property
    def name(self) -> str:
        """The run's name."""
        return self.description.name or "run"


def compose(new: NewRun, now: datetime, brings_files: bool = False) -> Composed:
    """Compile a wish that passed preflight. Options given explicitly win over the script's lines.

    Raises DirectiveInvalid (with the line), TimeLimitInvalid, MemoryInvalid, ArrayInvalid, NoSuchPreset and the like.
    """
    if new.script is not None:
        layer, preset, script, options = "script", None, new.script, new.options
    else:
        compiled = compile_preset(new)
        preset, script, options = new.preset or DEFAULT, compiled.script, compiled.options
        layer = "preset" if _given(new.options) <= compiled.asks else "tuned"
    description = _folded(script, _description(script, new, options), now)
    array = None if description.array is None else array_of(description.array)
    description = msgspec.structs.replace(description, name=_name(description.name, new), **_logs(description, new))
    return Composed(
        layer=layer,
        preset=preset,
        description=description,
        array_tasks=description.array,
        total=1 if array is None else array.total,
        own_folder=brings_files or description.working_directory is None,
    )


def stored(description: JobDescription) -> dict[str, Any]:
    """Return the description without its script, as JSON that any database can hold."""
    plain: dict[str, Any] = msgspec.to_builtins(msgspec.structs.replace(description, script=""))
    return {
        key: INFINITE if value == math.inf else value
        for key, value in plain.items()
        if value not in (None, "", {}, []) and value != ()
    }


def restored(plain: Mapping[str, Any], script: str) -> JobDescription:
    """Return a stored description with its script."""
    values = {key: math.inf if value == INFINITE and key.endswith("_min") else value for key, value in plain.items()}
    return msgspec.convert({**values, "script": script}, JobDescription)


def _given(options: Options) -> set[str]:
    untouched = Options()
    return {one.name for one in fields(Options) if getattr(options, one.name) != getattr(untouched, one.name)}


def _description(script: str, new: NewRun, o: Options) -> JobDescription:
    if o.array is not None:
        array_of(o.array)
    return JobDescription(
        script=script,
        name=new.name,
        working_directory=o.working_directory,
        environment=dict(o.environment),
        account=o.account,
        partition=o.partition,
        qos=o.qos,
        reservation=o.reservation,
        time_limit_min=None if o.time_limit is None else minutes_of(o.time_limit),
        nodes=o.nodes,
        tasks=o.tasks,
        tasks_per_node=o.tasks_per_node,
        cpus_per_task=o.cpus_per_task,
        memory_per_node_mib=None if o.memory is None else memory_mib(o.memory),
        memory_per_cpu_mib=None if o.memory_per_cpu is None else memory_mib(o.memory_per_cpu, "options.memory_per_cpu"),
        gres=o.gres,
        gpus=o.gpus,
        array=None if o.array is None else o.array.strip(),
        dependency=o.dependency,
        constraints=o.constraint,
        required_nodes=() if o.nodelist is None else (o.nodelist,),
        excluded_nodes=() if o.exclude is None else (o.exclude,),
        licenses=o.licenses,
        exclusive=o.exclusive,
        standard_output=o.standard_output,
        standard_error=o.standard_error,
        standard_input=o.standard_input,
        arguments=o.arguments,
        comment=o.comment,
        begin=o.begin,
        hold=o.hold,
        requeue=o.requeue,
        nice=o.nice,
        mail_user=o.mail_user,
        mail_on=o.mail_on,
        signal=o.signal,
    )


def _folded(script: str, description: JobDescription, now: datetime) -> JobDescription:
    try:
        return fold(read_directives(script), description, now=now)
    except DirectiveRefused as error:
        where = f"line {error.line}" if error.line else "the script"
        raise DirectiveInvalid(
            f"{where}: {error.option}: {error.why}", field="script", asked=error.option, allowed="what sbatch knows"
        ) from error
    except InvalidRequest as error:
        raise OptionInvalid(str(error), field="options") from error


def _name(name: str | None, new: NewRun) -> str:
    if name is None:
        name = PurePosixPath(new.command[0]).name if new.command else ""
    shown = "".join(letter for letter in name if letter.isprintable()).strip()
    return shown[:NAME_LENGTH] or "run"


def _logs(description: JobDescription, new: NewRun) -> dict[str, str]:
    if description.standard_output is not None:
        return {}
    stem = "%A_%a" if description.array is not None else "%j"
    # In a folder of the person's own, the file is named as sbatch would name it.
    mine = description.working_directory is None
    return {"standard_output": f"out-{stem}.log" if mine else f"slurm-{stem}.out"}
