"""From sbatch's options to fields of a job description, one reader an option."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TypeVar

import msgspec

from ._batch_lines import DirectiveRefused
from ._batch_options import Directive
from ._batch_values import (
    parse_count,
    parse_duration_s,
    parse_mail_types,
    parse_memory_mib,
    parse_moment,
    parse_node_count,
    parse_signal,
    parse_time_limit,
)
from ._model import JobDescription

_T = TypeVar("_T")
_MEMORY = ("mem", "mem-per-cpu", "mem-per-gpu")
_MEMORY_FIELDS = ("memory_per_node_mib", "memory_per_cpu_mib")

_COMPANIONS = {
    "nodes": "minimum_nodes",
    "signal": "kill_warning_flags",
    "exclusive": "shared",
    "gpus": "tres_per_job",
}
"""Fields, and what else the script's version of them set: it goes when the field is decided elsewhere."""


class Asked:
    """What the directives ask for, while they are being read."""

    def __init__(self, now: datetime, environment: Mapping[str, str]) -> None:
        self.now = now
        self.submission_environment = environment
        self.seen: dict[str, Directive] = {}
        self.fields: dict[str, object] = {}  # of JobDescription
        self.slurm: dict[str, object] = {}  # of Slurm's own description
        self.flags: dict[str, None] = {}  # Slurm's job flags, in order
        self.environment: dict[str, str] | None = None
        self.user_environment = False
        self.nodes: tuple[int, int, bool] | None = None
        self.tasks: int | None = None


Reader = Callable[[Asked, Directive], None]


def read_directive(asked: Asked, directive: Directive) -> None:
    """Note what one directive asks for. Raises `DirectiveRefused` for a value that has no meaning."""
    READERS[directive.option](asked, directive)
    asked.seen[directive.option] = directive


def merged(asked: Asked, description: JobDescription) -> JobDescription:
    """Return the description with everything asked for that it does not say itself."""
    _refuse_contradictions(asked)
    _settle_nodes_and_tasks(asked)
    _settle_gpus(asked)
    _settle_cpus(asked, description.cpus_per_task)
    if asked.flags:
        asked.slurm["flags"] = list(asked.flags)
    defaults = JobDescription(script="")
    already = {name for name in JobDescription.__struct_fields__ if _says(description, defaults, name)}
    says_memory = bool(already.intersection(_MEMORY_FIELDS)) or "memory_per_tres" in description.slurm_fields
    if says_memory:
        asked.fields = {name: value for name, value in asked.fields.items() if name not in _MEMORY_FIELDS}
        asked.slurm.pop("memory_per_tres", None)
    changes = {name: value for name, value in asked.fields.items() if name not in already}
    for field, companion in _COMPANIONS.items():
        if field in already:
            asked.slurm.pop(companion, None)
    if changes.get("hold", description.hold):
        asked.slurm.pop("priority", None)  # both are one field of Slurm's, and holding wins
    changes["slurm_fields"] = {**asked.slurm, **description.slurm_fields}
    if asked.environment is not None:
        changes["environment"] = asked.environment
    changes["login_environment"] = asked.user_environment or description.login_environment
    return msgspec.structs.replace(description, **changes)


def _says(description: JobDescription, defaults: JobDescription, name: str) -> bool:
    return getattr(description, name) != getattr(defaults, name)


def _refused(directive: Directive, why: str, code: str | None = None) -> DirectiveRefused:
    return DirectiveRefused(why, option=directive.written, line=directive.line, code=code)


def _value(directive: Directive) -> str:
    return directive.value or ""


def _checked(directive: Directive, read: Callable[[str], _T]) -> _T:
    try:
        return read(_value(directive))
    except ValueError as error:
        raise _refused(directive, str(error)) from None


# What most options are: a text, a number, a switch, under one name.


def _text(field: str) -> Reader:
    return lambda asked, directive: asked.fields.update({field: _value(directive)})


def _count(field: str, minimum: int = 1) -> Reader:
    return lambda asked, directive: asked.fields.update(
        {field: _checked(directive, lambda text: parse_count(text, minimum=minimum))}
    )


def _memory(field: str) -> Reader:
    return lambda asked, directive: asked.fields.update({field: _checked(directive, parse_memory_mib)})


def _moment(field: str) -> Reader:
    return lambda asked, directive: asked.fields.update(
        {field: _checked(directive, lambda text: parse_moment(text, asked.now))}
    )


def _minutes(field: str) -> Reader:
    return lambda asked, directive: asked.fields.update({field: _checked(directive, parse_time_limit)})


def _switch(field: str, value: object = True) -> Reader:
    return lambda asked, _: asked.fields.update({field: value})


def _slurm_text(field: str, prefix: str = "") -> Reader:
    return lambda asked, directive: asked.slurm.update({field: prefix + _value(directive)})


def _slurm_count(field: str, minimum: int = 1) -> Reader:
    return lambda asked, directive: asked.slurm.update(
        {field: _checked(directive, lambda text: parse_count(text, minimum=minimum))}
    )


def _slurm_switch(field: str, value: object = True) -> Reader:
    return lambda asked, _: asked.slurm.update({field: value})


def _flag(flag: str) -> Reader:
    return lambda asked, _: asked.flags.update({flag: None})


def _nothing(asked: Asked, directive: Directive) -> None:
    """For options that concern only what sbatch prints or reads."""


# Options with a syntax of their own.


def _array(asked: Asked, directive: Directive) -> None:
    text = _value(directive)
    piece = r"[0-9]+(-[0-9]+(:[0-9]+)?)?"
    if not re.fullmatch(rf"{piece}(,{piece})*(%[0-9]+)?", text):
        raise _refused(directive, f"{text!r} is not a list of task numbers such as 0-23%4 or 1,3,5-9:2.")
    asked.fields["array"] = text


def _nodes(asked: Asked, directive: Directive) -> None:
    asked.nodes = _checked(directive, parse_node_count)
    asked.fields["nodes"] = _value(directive).strip()


def _tasks(asked: Asked, directive: Directive) -> None:
    # Zero tasks is for jobs that only hold burst buffers: sbatch refuses it for others, and so do we.
    asked.tasks = _checked(directive, parse_count)
    asked.fields["tasks"] = asked.tasks


def _gres(asked: Asked, directive: Directive) -> None:
    text = _value(directive)
    if text.lower() in {"help", "list"}:
        raise _refused(directive, "it asks sbatch for help; it has no meaning for a job.", "directive_unsupported")
    if text.lower() == "none":
        asked.fields.pop("gres", None)
    else:
        asked.fields["gres"] = ",".join(part.removeprefix("gres/") for part in text.split(","))


def _gpus(asked: Asked, directive: Directive) -> None:
    if "," in _value(directive):
        asked.fields.pop("gpus", None)
        asked.slurm["tres_per_job"] = _per_gpu_list(_value(directive))
    else:
        asked.slurm.pop("tres_per_job", None)
        asked.fields["gpus"] = _value(directive)


def _memory_per_gpu(asked: Asked, directive: Directive) -> None:
    asked.slurm["memory_per_tres"] = f"gres/gpu:{_checked(directive, parse_memory_mib)}"


def _cpus_per_gpu(asked: Asked, directive: Directive) -> None:
    asked.slurm["cpus_per_tres"] = f"gres/gpu:{_checked(directive, parse_count)}"


def _exclusive(asked: Asked, directive: Directive) -> None:
    word = _value(directive).lower()
    if directive.value is None or word in {"exclusive", "allocation"}:
        asked.fields["exclusive"] = True
        asked.slurm.pop("shared", None)
    elif word in {"oversubscribe", "user", "mcs", "topo"}:
        asked.fields.pop("exclusive", None)
        asked.slurm["shared"] = [word]
    else:
        raise _refused(directive, f"{directive.value!r} is none of user, mcs, topo.")


def _oversubscribe(asked: Asked, directive: Directive) -> None:
    asked.slurm["shared"] = ["oversubscribe"]


def _signal(asked: Asked, directive: Directive) -> None:
    name, seconds, flags = _checked(directive, parse_signal)
    asked.fields["signal"] = f"{name}@{seconds}"
    asked.slurm.pop("kill_warning_flags", None)
    if flags:
        asked.slurm["kill_warning_flags"] = list(flags)


def _mail_type(asked: Asked, directive: Directive) -> None:
    asked.fields["mail_on"] = _checked(directive, parse_mail_types)


def _nice(asked: Asked, directive: Directive) -> None:
    text = "100" if directive.value is None else directive.value
    if not re.fullmatch(r"[+-]?[0-9]{1,10}", text) or abs(int(text)) > 2147483645:
        raise _refused(directive, f"{text!r} is not a whole number from -2147483645 to 2147483645.")
    asked.fields["nice"] = int(text)


def _open_mode(asked: Asked, directive: Directive) -> None:
    modes = {"a": "append", "t": "truncate"}
    mode = modes.get(_value(directive)[:1].lower())
    if mode is None:
        raise _refused(directive, "write append or truncate.")
    asked.fields["open_mode"] = mode


def _requeue(asked: Asked, directive: Directive) -> None:
    if directive.value:
        raise _refused(directive, "only plain --requeue is supported yet.", "directive_unsupported")
    asked.fields["requeue"] = True


def _kill_on_invalid_dependency(asked: Asked, directive: Directive) -> None:
    flags = {"yes": "KILL_INVALID_DEPENDENCY", "no": "NO_KILL_INVALID_DEPENDENCY"}
    flag = flags.get(_value(directive).lower())
    if flag is None:
        raise _refused(directive, "write yes or no.")
    asked.flags[flag] = None


def _no_kill(asked: Asked, directive: Directive) -> None:
    word = (directive.value or "set").lower()
    if word not in {"set", "off", "no"}:
        raise _refused(directive, "write no value, or off.")
    asked.slurm["kill_on_node_fail"] = word != "set"


def _gres_flags(asked: Asked, directive: Directive) -> None:
    flags = {"disable-binding": "GRES_BINDING_DISABLED", "enforce-binding": "GRES_BINDING_ENFORCED"}
    for word in _value(directive).lower().split(","):
        if word not in flags:
            raise _refused(directive, f"{word!r} is none of {', '.join(flags)}.", "directive_unsupported")
        asked.flags[flags[word]] = None


def _switches(asked: Asked, directive: Directive) -> None:
    count, _, longest = _value(directive).partition("@")
    asked.slurm["required_switches"] = _checked(directive, lambda _: parse_count(count))
    if longest:
        asked.slurm["wait_for_switch"] = _seconds(directive, longest)


def _delay_boot(asked: Asked, directive: Directive) -> None:
    asked.slurm["delay_boot"] = _seconds(directive, _value(directive))


def _seconds(directive: Directive, text: str) -> int:
    seconds = _checked(directive, lambda _: parse_duration_s(text))
    if math.isinf(seconds):
        raise _refused(directive, "it needs a time that ends.")
    return int(seconds)


def _priority(asked: Asked, directive: Directive) -> None:
    if _value(directive).upper() == "TOP":
        raise _refused(directive, "only a number is supported.", "directive_unsupported")
    asked.slurm["priority"] = _checked(directive, lambda text: parse_count(text, minimum=0))


def _zero_or_one(field: str, stands_for: int) -> Reader:
    def read(asked: Asked, directive: Directive) -> None:
        text = str(stands_for) if directive.value is None else directive.value
        if text not in {"0", "1"}:
            raise _refused(directive, "write 0 or 1.")
        asked.slurm[field] = int(text)

    return read


def _host_list(field: str) -> Reader:
    def read(asked: Asked, directive: Directive) -> None:
        text = _value(directive)
        if "/" in text:
            raise _refused(directive, "a file with node names is read where sbatch runs; write the names.")
        asked.fields[field] = _split_hosts(text)

    return read


def _split_hosts(text: str) -> tuple[str, ...]:
    """Cut a hostlist at the commas outside its brackets: ``a[1-2,5],b`` has two parts."""
    return tuple(part for part in re.split(r",(?![^\[]*\])", text) if part)


def _get_user_environment(asked: Asked, directive: Directive) -> None:
    asked.user_environment = True


def _export(asked: Asked, directive: Directive) -> None:
    text = _value(directive)
    whole = asked.submission_environment
    asked.user_environment = text.upper() not in {"ALL", "NIL"}
    if text.upper() == "ALL":
        asked.environment = dict(whole)
        return
    chosen = {name: value for name, value in whole.items() if name.startswith(("SLURM_", "SPANK_"))}
    if text.upper() not in {"NIL", "NONE"}:
        for part in re.findall(r"""(?:[^,"']|"[^"]*"|'[^']*')+""", text):
            name, equals, value = part.partition("=")
            if equals:
                chosen[name] = re.sub(r"""["']""", "", value)
            elif name.upper() == "ALL":
                chosen = {**whole, **chosen}
            elif name in whole:
                chosen[name] = whole[name]
    chosen["SLURM_EXPORT_ENV"] = text
    asked.environment = chosen


READERS: dict[str, Reader] = {
    "account": _text("account"),
    "acctg-freq": _slurm_text("account_gather_frequency"),
    "array": _array,
    "batch": _slurm_text("batch_features"),
    "bb": _slurm_text("burst_buffer"),
    "begin": _moment("begin"),
    "chdir": _text("working_directory"),
    "comment": _text("comment"),
    "constraint": _text("constraints"),
    "container": _slurm_text("container"),
    "container-id": _slurm_text("container_id"),
    "contiguous": _slurm_switch("contiguous"),
    "core-spec": _slurm_count("core_specification", minimum=0),
    "cpu-freq": _slurm_text("cpu_frequency"),
    "cpus-per-gpu": _cpus_per_gpu,
    "cpus-per-task": _count("cpus_per_task"),
    "deadline": _moment("deadline"),
    "delay-boot": _delay_boot,
    "dependency": _text("dependency"),
    "distribution": _slurm_text("distribution"),
    "error": _text("standard_error"),
    "exclude": _host_list("excluded_nodes"),
    "exclusive": _exclusive,
    "export": _export,
    "extra": _text("extra"),
    "get-user-env": _get_user_environment,
    "gpu-bind": _slurm_text("tres_bind", "gres/gpu:"),
    "gpu-freq": _slurm_text("tres_freq", "gpu:"),
    "gpus": _gpus,
    "gpus-per-node": _nothing,  # joined with --gres when all is read
    "gpus-per-socket": lambda asked, directive: asked.slurm.update(
        {"tres_per_socket": _per_gpu_list(_value(directive))}
    ),
    "gpus-per-task": _nothing,  # joined with --tres-per-task when all is read
    "gres": _gres,
    "gres-flags": _gres_flags,
    "hold": _switch("hold"),
    "ignore-pbs": _nothing,
    "input": _text("standard_input"),
    "job-name": _text("name"),
    "kill-on-invalid-dep": _kill_on_invalid_dependency,
    "licenses": _text("licenses"),
    "mail-type": _mail_type,
    "mail-user": _text("mail_user"),
    "mcs-label": _slurm_text("mcs_label"),
    "mem": _memory("memory_per_node_mib"),
    "mem-per-cpu": _memory("memory_per_cpu_mib"),
    "mem-per-gpu": _memory_per_gpu,
    "mincpus": _slurm_count("minimum_cpus_per_node"),
    "network": _slurm_text("network"),
    "nice": _nice,
    "no-kill": _no_kill,
    "no-requeue": _switch("requeue", value=False),
    "nodelist": _host_list("required_nodes"),
    "nodes": _nodes,
    "ntasks": _tasks,
    "ntasks-per-core": _slurm_count("tasks_per_core"),
    "ntasks-per-gpu": _slurm_count("ntasks_per_tres"),
    "ntasks-per-node": _count("tasks_per_node"),
    "ntasks-per-socket": _slurm_count("tasks_per_socket"),
    "ntasks-per-tres": _slurm_count("ntasks_per_tres"),
    "oom-kill-step": _zero_or_one("oom_kill_step", 1),
    "open-mode": _open_mode,
    "output": _text("standard_output"),
    "overcommit": _slurm_switch("overcommit"),
    "oversubscribe": _oversubscribe,
    "parsable": _nothing,
    "partition": _text("partition"),
    "prefer": _slurm_text("prefer"),
    "priority": _priority,
    "qos": _text("qos"),
    "quiet": _nothing,
    "reboot": _slurm_switch("reboot"),
    "requeue": _requeue,
    "reservation": _text("reservation"),
    "signal": _signal,
    "sockets-per-node": _slurm_count("sockets_per_node"),
    "spread-job": _flag("SPREAD_JOB"),
    "stepmgr": _flag("STEPMGR_ENABLED"),
    "switches": _switches,
    "thread-spec": _slurm_count("thread_specification"),
    "threads-per-core": _slurm_count("threads_per_core"),
    "time": _minutes("time_limit_min"),
    "time-min": _minutes("time_min_min"),
    "tmp": _memory("temporary_disk_per_node_mib"),
    "tres-bind": _slurm_text("tres_bind"),
    "tres-per-task": _slurm_text("tres_per_task"),
    "use-min-nodes": _flag("PREFER_MINIMUM_NODE_COUNT"),
    "verbose": _nothing,
    "wait-all-nodes": _zero_or_one("wait_all_nodes", 1),
    "wckey": _text("wckey"),
}
"""By full option name; every option that is not refused outright has one."""


# What only shows when all directives are read.


def _refuse_contradictions(asked: Asked) -> None:
    memory = [directive for option, directive in asked.seen.items() if option in _MEMORY]
    if len(memory) > 1:
        raise _refused(memory[-1], "only one of --mem, --mem-per-cpu and --mem-per-gpu can be given.")
    if "exclusive" in asked.seen and "oversubscribe" in asked.seen:
        raise _refused(asked.seen["oversubscribe"], "--exclusive and --oversubscribe contradict each other.")
    begin, deadline = asked.fields.get("begin"), asked.fields.get("deadline")
    if isinstance(begin, datetime) and isinstance(deadline, datetime) and deadline < begin:
        raise _refused(asked.seen["deadline"], "it is before --begin.")
    if "core-spec" in asked.seen and "thread-spec" in asked.seen:
        raise _refused(asked.seen["thread-spec"], "--core-spec and --thread-spec contradict each other.")


def _settle_nodes_and_tasks(asked: Asked) -> None:
    """Do to the counts what sbatch does before it sends them: never more nodes than tasks."""
    if asked.nodes is None:
        per_node = asked.fields.get("tasks_per_node")
        if asked.tasks is not None and isinstance(per_node, int):
            asked.slurm["minimum_nodes"] = -(-asked.tasks // per_node)
        return
    least, greatest, sizes = asked.nodes
    if sizes:
        return
    if asked.tasks is not None:
        least = min(least, asked.tasks)
        greatest = min(greatest, asked.tasks)
    asked.fields["nodes"] = str(least) if least == greatest else f"{least}-{greatest}"


def _settle_gpus(asked: Asked) -> None:
    if per_node := asked.seen.get("gpus-per-node"):
        gres = asked.fields.get("gres")
        of_gpu = ",".join(f"gpu:{part}" for part in _value(per_node).split(","))
        asked.fields["gres"] = f"{of_gpu},{gres}" if gres else of_gpu
    if per_task := asked.seen.get("gpus-per-task"):
        others = asked.slurm.get("tres_per_task")
        asked.slurm["tres_per_task"] = ",".join(filter(None, (_text_of(others), _gpus_per_task(per_task))))
        bound = asked.slurm.get("tres_bind")
        if not (isinstance(bound, str) and "gpu" in bound):
            asked.slurm["tres_bind"] = f"gres/gpu:per_task:{_gpu_sum(per_task)}"


def _settle_cpus(asked: Asked, already: int | None) -> None:
    """Make the CPUs of a task known to srun inside the script, which goes by SLURM_TRES_PER_TASK."""
    per_task = _text_of(asked.slurm.get("tres_per_task"))
    named = re.search(r"(?:^|,)cpu[:=]([0-9]+)", per_task)
    if named and already is None:
        asked.fields.setdefault("cpus_per_task", int(named[1]))
    cpus = already or asked.fields.get("cpus_per_task")
    if not isinstance(cpus, int):
        return
    asked.flags["EXACT_CPU_COUNT_REQUESTED"] = None
    per_node = asked.fields.get("tasks_per_node")
    if asked.tasks is None and asked.nodes and asked.nodes[0] == asked.nodes[1] and isinstance(per_node, int):
        asked.fields["tasks"] = asked.nodes[0] * per_node  # sbatch counts them here, and only here
    if not named:
        asked.slurm["tres_per_task"] = f"cpu={cpus}" + (f",{per_task}" if per_task else "")


def _text_of(value: object) -> str:
    return value if isinstance(value, str) else ""


def _per_gpu_list(text: str) -> str:
    return ",".join(f"gres/gpu:{part}" for part in text.split(","))


def _gpus_per_task(directive: Directive) -> str:
    parts = (part.rpartition(":") for part in _value(directive).split(","))
    return ",".join(f"gres/gpu:{kind}={count}" if kind else f"gres/gpu={count}" for kind, _, count in parts)


def _gpu_sum(directive: Directive) -> int:
    counts = [part.rpartition(":")[2] for part in _value(directive).split(",")]
    return sum(int(count) if count.isdigit() else 1 for count in counts)
