"""From a `JobDescription` to the body of a submission, refusing what cannot be a job before anything is sent."""

from __future__ import annotations

import math
import re
import socket

from ._errors import InvalidArray, InvalidRequest, InvalidResources, InvalidScript, InvalidTimeLimit
from ._model import JobDescription
from ._operation import marked

MAX_SCRIPT_BYTES = 4 * 1024 * 1024
"""slurmctld's default limit (SchedulerParameters=max_script_size)."""
MAX_MINUTES = 0xFFFFFFFD
"""Minutes are 32 bits with two values reserved; Slurm wraps or misreads what is larger."""
MAX_COUNT = 0xFFFFFFFD
MAX_MEMORY_MIB = 1 << 62
"""Slurm marks memory by CPU with the highest bit."""
MAX_ARRAY_TASK = 4_000_000
"""Slurm's own ceiling for MaxArraySize is 4,000,001."""
DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

MAIL_EVENTS = frozenset(
    {
        "BEGIN", "END", "FAIL", "REQUEUE", "TIME=100%", "TIME=90%", "TIME=80%", "TIME=50%", "STAGE_OUT", "ARRAY_TASKS",
        "INVALID_DEPENDENCY",
    }
)  # fmt: skip

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
# Exported bash functions are named BASH_FUNC_module%% or, in old shells, BASH_FUNC_module().
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*|BASH_FUNC_[^=\s\x00]+")
_ARRAY = re.compile(r"(\d+(-\d+(:\d+)?)?)(,\d+(-\d+(:\d+)?)?)*(%\d+)?")
_NODES = re.compile(r"\d+[kmKM]?(-\d+[kmKM]?)?(:\d+)?(,\d+(-\d+)?(:\d+)?)*")
_SIGNAL = re.compile(r"(?:([A-Z]):)?([A-Za-z0-9]+)(?:@(\d+))?")

_LINES = (
    "name", "account", "partition", "qos", "reservation", "working_directory", "dependency", "constraints", "licenses",
    "gres", "array", "standard_output", "standard_error", "standard_input", "mail_user", "wckey", "comment", "extra",
    "signal", "open_mode",
)  # fmt: skip


def body(
    description: JobDescription, *, operation_key: str | None, operation_key_in: str, user: str | None
) -> dict[str, object]:
    """Return the JSON of POST /job/submit."""
    check(description)
    return {"script": description.script, "job": _job(description, operation_key, operation_key_in, user)}


def check(description: JobDescription) -> None:
    """Refuse what slurmctld would accept wrongly, misread, or answer without saying what is wrong."""
    check_script(description.script)
    _check_texts(description)
    _check_environment(description)
    check_minutes("time_limit_min", description.time_limit_min)
    check_minutes("time_min_min", description.time_min_min)
    _check_array(description.array)
    _check_resources(description)
    if unknown := set(description.mail_on) - MAIL_EVENTS:
        # slurmrestd would report the word and submit the job without it.
        raise InvalidRequest(f"mail_on holds {sorted(unknown)}, which Slurm does not know.", code="mail_on_invalid")
    if description.signal is not None and not _SIGNAL.fullmatch(description.signal):
        raise InvalidRequest("signal is written like USR2@30.", code="signal_invalid")
    if description.open_mode not in {None, "append", "truncate"}:
        raise InvalidRequest("open_mode is append or truncate.", code="open_mode_invalid")


def check_script(script: str) -> None:
    """Refuse a script that cannot run as it is written."""
    if not script.strip():
        raise InvalidScript("The script is empty.", code="script_empty")
    try:
        size = len(script.encode("utf-8"))
    except UnicodeEncodeError as error:
        raise InvalidScript("The script is not valid text.", code="script_not_text") from error
    if size >= MAX_SCRIPT_BYTES:
        raise InvalidScript("The script is larger than 4 MiB.", code="script_too_large")
    if "\0" in script:
        raise InvalidScript("The script contains a NUL byte.", code="script_nul")
    if "\r\n" in script or "\r" in script.split("\n", 1)[0]:
        raise InvalidScript("The script has DOS line ends (CRLF); save it with Unix line ends.", code="script_crlf")
    if script.startswith("\ufeff"):
        raise InvalidScript(
            "The script begins with a byte order mark; save it as UTF-8 without one.", code="script_bom"
        )
    if not script.startswith("#!") or not script[2:].split("\n", 1)[0].strip():
        raise InvalidScript(
            "The script's first line must name its interpreter, as in #!/bin/bash.", code="script_no_interpreter"
        )


def check_minutes(field: str, minutes: float | None) -> None:
    """Refuse a time limit that is none. Slurm reads 0 as no limit and wraps what does not fit 32 bits."""
    if minutes is None or minutes == math.inf:
        return
    if math.isnan(minutes) or minutes < 1:
        raise InvalidTimeLimit(f"{field} must be at least 1 minute.", code="time_limit_too_small")
    if minutes > MAX_MINUTES:
        raise InvalidTimeLimit(f"{field} is larger than Slurm can express.", code="time_limit_too_large")


def _check_texts(description: JobDescription) -> None:
    for field in _LINES:
        value = getattr(description, field)
        if value is not None and _CONTROL.search(value):
            raise InvalidRequest(f"{field} contains a line break or control character.", code="control_character")
    if not (description.working_directory or "").startswith("/"):
        raise InvalidRequest("working_directory must be an absolute path.", code="working_directory_invalid")
    if description.name is not None and not description.name.strip():
        raise InvalidRequest("name is empty.", code="name_empty")


def _check_environment(description: JobDescription) -> None:
    for key, value in description.environment.items():
        if not _NAME.fullmatch(key):
            raise InvalidRequest(f"{key!r} cannot be the name of an environment variable.", code="environment_invalid")
        if "\0" in value:
            raise InvalidRequest(f"The environment variable {key} contains a NUL byte.", code="environment_invalid")


def _check_resources(description: JobDescription) -> None:
    if isinstance(description.nodes, str) and not _NODES.fullmatch(description.nodes):
        raise InvalidResources("nodes is neither a count nor a range such as 2-4.", code="nodes_invalid")
    for field in ("nodes", "tasks", "tasks_per_node", "cpus_per_task", "gpus"):
        value = getattr(description, field)
        if isinstance(value, int) and not 0 < value < MAX_COUNT:
            raise InvalidResources(f"{field} must be at least 1.", code="count_invalid")
    for field in ("memory_per_node_mib", "memory_per_cpu_mib", "temporary_disk_per_node_mib"):
        value = getattr(description, field)
        if value is not None and not 0 <= value < MAX_MEMORY_MIB:
            raise InvalidResources(f"{field} must not be negative.", code="count_invalid")
    if description.memory_per_node_mib is not None and description.memory_per_cpu_mib is not None:
        raise InvalidResources("Memory is asked for by node or by CPU, not both.", code="memory_twice")


def _check_array(array: str | None) -> None:
    if array is None:
        return
    if not _ARRAY.fullmatch(array):
        raise InvalidArray("array is written like 0-23%4 or 1,3,5-9:2.", code="array_malformed")
    tasks, _, at_once = array.partition("%")
    if at_once and int(at_once) == 0:
        raise InvalidArray("An array needs at least one task at a time.", code="array_malformed")
    for part in tasks.split(","):
        bounds, _, step = part.partition(":")
        low, _, high = bounds.partition("-")
        if int(high or low) > MAX_ARRAY_TASK:
            raise InvalidArray(f"Task number {high or low} is larger than any cluster allows.", code="array_too_large")
        if int(high or low) < int(low) or (step and int(step) == 0):
            raise InvalidArray(f"{part} is not a range of task numbers.", code="array_malformed")


def _job(
    description: JobDescription, operation_key: str | None, operation_key_in: str, user: str | None
) -> dict[str, object]:
    d = description
    job: dict[str, object] = {
        "name": d.name or "sbatch",  # what sbatch calls a script from standard input
        "current_working_directory": d.working_directory,
        "environment": _environment(d, user),
    }
    plain: dict[str, object] = {
        "account": d.account,
        "partition": d.partition,
        "qos": d.qos,
        "reservation": d.reservation,
        "nodes": None if d.nodes is None else str(d.nodes),
        "tasks": d.tasks,
        "tasks_per_node": d.tasks_per_node,
        "cpus_per_task": d.cpus_per_task,
        "temporary_disk_per_node": d.temporary_disk_per_node_mib,
        "tres_per_node": None if d.gres is None else gres_as_tres(d.gres),
        "tres_per_job": None if d.gpus is None else f"gres/gpu:{d.gpus}",
        "array": d.array,
        "dependency": d.dependency,
        "constraints": d.constraints,
        "required_nodes": list(d.required_nodes) or None,
        "excluded_nodes": list(d.excluded_nodes) or None,
        "licenses": d.licenses,
        "standard_output": d.standard_output,
        "standard_error": d.standard_error,
        "standard_input": d.standard_input,
        "open_mode": None if d.open_mode is None else [d.open_mode.upper()],
        # Slurm replaces the first by the path of the script.
        "argv": ["script", *d.arguments] if d.arguments else None,
        "comment": d.comment,
        "extra": d.extra,
        "hold": d.hold,
        "requeue": d.requeue,
        "nice": d.nice,
        "mail_user": d.mail_user,
        "mail_type": list(d.mail_on) or None,
        "wckey": d.wckey,
        "deadline": None if d.deadline is None else int(d.deadline.timestamp()),
        "shared": ["none"] if d.exclusive else None,
        "time_limit": _minutes(d.time_limit_min),
        "time_minimum": _minutes(d.time_min_min),
        "memory_per_node": _number(d.memory_per_node_mib),
        "memory_per_cpu": _number(d.memory_per_cpu_mib),
        "begin_time": None if d.begin is None else _number(int(d.begin.timestamp())),
    }
    job.update((key, value) for key, value in plain.items() if value is not None)
    if d.signal is not None:
        job.update(_warning_signal(d.signal))
    if operation_key is not None:
        _put_key(job, d, operation_key, operation_key_in)
    job.update(d.slurm_fields)
    return job


def _put_key(job: dict[str, object], d: JobDescription, operation_key: str, operation_key_in: str) -> None:
    if operation_key_in == "comment":
        job["comment"] = marked(d.comment, operation_key)
        return
    if d.extra is not None or "extra" in d.slurm_fields:
        raise InvalidRequest(
            "The operation key travels in Slurm's extra field, which this description uses for something else.",
            code="extra_in_use",
        )
    job["extra"] = marked(None, operation_key)


def _environment(d: JobDescription, user: str | None) -> list[str]:
    # slurmctld refuses an empty environment. sbatch would copy the submitting shell's; a REST client has none that
    # means anything on the cluster, so the job gets the least that programs expect and what sbatch itself adds.
    environment = {
        "PATH": DEFAULT_PATH,
        **({"USER": user, "LOGNAME": user} if user else {}),
        "SLURM_SUBMIT_DIR": d.working_directory or "/",
        "SLURM_SUBMIT_HOST": socket.gethostname(),
        "SLURM_JOB_NAME": d.name or "sbatch",
        "SLURM_PRIO_PROCESS": "0",
        "SLURM_UMASK": "0022",
        **({"SLURM_GET_USER_ENV": "1"} if d.login_environment else {}),
        **d.environment,
    }
    return [f"{key}={value}" for key, value in environment.items()]


def _minutes(minutes: float | None) -> dict[str, object] | None:
    if minutes is None:
        return None
    if minutes == math.inf:
        return {"set": False, "infinite": True, "number": 0}
    return _number(math.ceil(minutes))


def _number(number: int | None) -> dict[str, object] | None:
    return None if number is None else {"set": True, "infinite": False, "number": number}


def _warning_signal(text: str) -> dict[str, object]:
    found = _SIGNAL.fullmatch(text)
    if found is None:
        raise InvalidRequest("signal is written like USR2@30.", code="signal_invalid")
    flags = {"B": ["BATCH_JOB"], "R": ["ARRAY_TASK"]}.get(found[1] or "", [])
    fields: dict[str, object] = {
        "kill_warning_signal": found[2],
        "kill_warning_delay": _number(int(found[3] or 60)),
    }
    return {**fields, "kill_warning_flags": flags} if flags else fields


def gres_as_tres(gres: str) -> str:
    """Write ``gpu:1,shard:2`` as Slurm's REST API wants it: ``gres/gpu:1,gres/shard:2``."""
    parts = [part.strip() for part in gres.split(",")]
    if not all(parts):
        raise InvalidResources("gres is written like gpu:1 or gpu:a100:2,shard:1.", code="gres_invalid")
    return ",".join(part if part.startswith("gres/") else f"gres/{part.removeprefix('gres:')}" for part in parts)
