"""slurmrestd's JSON, narrowly: only the fields that become values of `_model`, over all API versions.

What a version lacks keeps its default. Enumerations are plain strings, so that a word nobody knew yet passes.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any

import msgspec


class Number(msgspec.Struct, gc=False):
    """Slurm's three-state number: unset, infinite or a number."""

    set: bool = False
    infinite: bool = False
    number: float | int = 0


Maybe = Number | int | None


class ErrorItem(msgspec.Struct):
    """One entry of ``errors``."""

    description: str | None = None
    error_number: int | None = None
    error: str | None = None
    source: str | None = None


class WarningItem(msgspec.Struct):
    """One entry of ``warnings``."""

    description: str | None = None
    source: str | None = None


class Envelope(msgspec.Struct, kw_only=True):
    """What surrounds every answer."""

    errors: list[ErrorItem] | None = None
    warnings: list[WarningItem] | None = None

    @property
    def stands_despite_errors(self) -> bool:
        """Whether the answer is what was asked for even when it carries errors."""
        return False


class SignalName(msgspec.Struct, gc=False):
    """The signal inside an exit code."""

    id: Maybe = None
    name: str | None = None


class Exit(msgspec.Struct):
    """An exit code."""

    status: list[str] | str = ()  # type: ignore[assignment]
    return_code: Maybe = None
    signal: SignalName | None = None


class JobRecord(msgspec.Struct):
    """``job_info``."""

    job_id: Maybe = None
    name: str | None = None
    user_name: str | None = None
    user_id: int | None = None
    group_name: str | None = None
    account: str | None = None
    partition: str | None = None
    qos: str | None = None
    cluster: str | None = None
    job_state: list[str] | str = ()  # type: ignore[assignment]
    state_reason: str | None = None
    state_description: str | None = None
    array_job_id: Maybe = None
    array_task_id: Maybe = None
    array_task_string: str | None = None
    array_max_tasks: Maybe = None
    het_job_id: Maybe = None
    het_job_offset: Maybe = None
    submit_time: Maybe = None
    eligible_time: Maybe = None
    start_time: Maybe = None
    end_time: Maybe = None
    suspend_time: Maybe = None
    preempt_time: Maybe = None
    deadline: Maybe = None
    last_sched_evaluation: Maybe = None
    time_limit: Maybe = None
    nodes: str | None = None
    scheduled_nodes: str | None = None
    required_nodes: str | None = None
    batch_host: str | None = None
    node_count: Maybe = None
    cpus: Maybe = None
    tasks: Maybe = None
    cpus_per_task: Maybe = None
    memory_per_node: Maybe = None
    memory_per_cpu: Maybe = None
    tres_req_str: str | None = None
    tres_alloc_str: str | None = None
    tres_per_node: str | None = None
    tres_per_job: str | None = None
    tres_per_task: str | None = None
    gres_detail: list[str | None] | None = None
    features: str | None = None
    licenses: str | None = None
    resv_name: str | None = None
    dependency: str | None = None
    priority: Maybe = None
    nice: int | None = None
    hold: bool | None = None
    requeue: bool | None = None
    restart_cnt: int | None = None
    batch_flag: bool | None = None
    exit_code: Exit | None = None
    standard_output: str | None = None
    standard_error: str | None = None
    standard_input: str | None = None
    stdout_expanded: str | None = None
    stderr_expanded: str | None = None
    stdin_expanded: str | None = None
    current_working_directory: str | None = None
    command: str | None = None
    submit_line: str | None = None
    comment: str | None = None
    admin_comment: str | None = None
    extra: str | None = None
    flags: list[str] | str | None = None


class JobsAnswer(Envelope, kw_only=True):
    """GET /slurm/V/jobs/ and /slurm/V/job/ID."""

    jobs: list[JobRecord] | None = None
    last_update: Maybe = None
    last_backfill: Maybe = None


class StateRecord(msgspec.Struct, gc=False):
    """One entry of GET /slurm/V/jobs/state/."""

    job_id: str | int = ""
    state: list[str] | str = ()  # type: ignore[assignment]


class StatesAnswer(Envelope, kw_only=True):
    """GET /slurm/V/jobs/state/."""

    jobs: list[StateRecord] | None = None


class SubmitResult(msgspec.Struct):
    """``result`` of the submission in the oldest versions."""

    error_code: int | None = None
    error: str | None = None
    job_submit_user_msg: str | None = None


class SubmitAnswer(Envelope, kw_only=True):
    """POST /slurm/V/job/submit."""

    job_id: int | None = None
    step_id: str | None = None
    job_submit_user_msg: str | None = None
    result: SubmitResult | None = None


class CancelError(msgspec.Struct):
    """Why something was not done."""

    code: int | None = None
    message: str | None = None
    string: str | None = None


class CancelItem(msgspec.Struct):
    """A job, task or component that was not cancelled."""

    error: CancelError | None = None
    step_id: str | None = None
    job_id: Maybe = None


class CancelAnswer(Envelope, kw_only=True):
    """DELETE /slurm/V/job/ID."""

    status: list[CancelItem] | None = None


class UserRecord(msgspec.Struct):
    """``user`` in accounting."""

    name: str | None = None


class UsersAnswer(Envelope, kw_only=True):
    """GET /slurmdb/V/user/NAME."""

    users: list[UserRecord] | None = None


class PingRecord(msgspec.Struct):
    """One controller."""

    hostname: str | None = None
    pinged: str | None = None
    responding: bool | None = None
    status: str | None = None
    latency: int | None = None
    mode: str | None = None
    primary: bool | None = None


class PingAnswer(Envelope, kw_only=True):
    """GET /slurm/V/ping/."""

    pings: list[PingRecord] | None = None

    @property
    def stands_despite_errors(self) -> bool:
        """With a controller down the answer is a 500 with errors and pings: the pings are what was asked for."""
        return bool(self.pings)


class NodeRecord(msgspec.Struct):
    """``node``."""

    name: str = ""
    hostname: str | None = None
    address: str | None = None
    state: list[str] | str = ()  # type: ignore[assignment]
    cpus: Maybe = None
    alloc_cpus: Maybe = None
    alloc_idle_cpus: Maybe = None
    cpu_load: Maybe = None
    real_memory: Maybe = None
    alloc_memory: Maybe = None
    free_mem: Maybe = None
    temporary_disk: Maybe = None
    boards: int | None = None
    sockets: int | None = None
    cores: int | None = None
    threads: int | None = None
    gres: str | None = None
    gres_used: str | None = None
    tres: str | None = None
    tres_used: str | None = None
    features: list[str] | str | None = None
    active_features: list[str] | str | None = None
    partitions: list[str] | str | None = None
    reservation: str | None = None
    reason: str | None = None
    reason_set_by_user: str | None = None
    reason_changed_at: Maybe = None
    boot_time: Maybe = None
    slurmd_start_time: Maybe = None
    last_busy: Maybe = None
    version: str | None = None
    operating_system: str | None = None
    architecture: str | None = None
    topology: str | None = None
    weight: Maybe = None
    comment: str | None = None
    extra: str | None = None


class NodesAnswer(Envelope, kw_only=True):
    """GET /slurm/V/nodes/."""

    nodes: list[NodeRecord] | None = None
    last_update: Maybe = None


class PartitionNodes(msgspec.Struct):
    """Part of a partition."""

    configured: str | None = None
    total: Maybe = None


class PartitionNames(msgspec.Struct):
    """Part of a partition: who may use it."""

    allowed: str | None = None
    deny: str | None = None
    assigned: str | None = None


class PartitionCpus(msgspec.Struct):
    """Part of a partition."""

    total: Maybe = None


class PartitionDefaults(msgspec.Struct):
    """Part of a partition."""

    time: Maybe = None
    memory_per_cpu: Maybe = None
    partition_memory_per_cpu: Maybe = None
    partition_memory_per_node: Maybe = None


class PartitionMaximums(msgspec.Struct):
    """Part of a partition."""

    time: Maybe = None
    nodes: Maybe = None
    cpus_per_node: Maybe = None
    memory_per_cpu: Maybe = None
    partition_memory_per_cpu: Maybe = None
    partition_memory_per_node: Maybe = None


class PartitionMinimums(msgspec.Struct):
    """Part of a partition."""

    nodes: Maybe = None


class PartitionPriority(msgspec.Struct):
    """Part of a partition."""

    tier: Maybe = None
    job_factor: Maybe = None


class PartitionTres(msgspec.Struct):
    """Part of a partition."""

    configured: str | None = None


class PartitionState(msgspec.Struct):
    """Part of a partition."""

    state: list[str] | str = ()  # type: ignore[assignment]


class PartitionRecord(msgspec.Struct):
    """``partition_info``."""

    name: str = ""
    nodes: PartitionNodes | None = None
    accounts: PartitionNames | None = None
    groups: PartitionNames | None = None
    qos: PartitionNames | None = None
    cpus: PartitionCpus | None = None
    defaults: PartitionDefaults | None = None
    maximums: PartitionMaximums | None = None
    minimums: PartitionMinimums | None = None
    priority: PartitionPriority | None = None
    tres: PartitionTres | None = None
    partition: PartitionState | None = None
    flags: list[str] | str | None = None


class PartitionsAnswer(Envelope, kw_only=True):
    """GET /slurm/V/partitions/."""

    partitions: list[PartitionRecord] | None = None
    last_update: Maybe = None


class TresRecord(msgspec.Struct):
    """``tres``."""

    type: str = ""
    name: str | None = None
    count: Maybe = None


class HistoryArray(msgspec.Struct):
    """Part of an accounting job."""

    job_id: Maybe = None
    task_id: Maybe = None
    task: str | None = None


class HistoryHet(msgspec.Struct):
    """Part of an accounting job."""

    job_id: Maybe = None
    job_offset: Maybe = None


class HistoryComment(msgspec.Struct):
    """Part of an accounting job."""

    job: str | None = None
    administrator: str | None = None
    system: str | None = None


class HistoryState(msgspec.Struct):
    """Part of an accounting job."""

    current: list[str] | str = ()  # type: ignore[assignment]
    reason: str | None = None


class HistoryTotal(msgspec.Struct):
    """Seconds and microseconds of processor time."""

    seconds: int = 0
    microseconds: int = 0


class HistoryTime(msgspec.Struct):
    """Times of an accounting job or step; plain seconds, 0 means unset."""

    elapsed: Maybe = None
    eligible: Maybe = None
    start: Maybe = None
    end: Maybe = None
    submission: Maybe = None
    suspended: Maybe = None
    limit: Maybe = None
    total: HistoryTotal | None = None


class HistoryTres(msgspec.Struct):
    """Resources of an accounting job."""

    allocated: list[TresRecord] | None = None
    requested: list[TresRecord] | None = None


class HistoryRequired(msgspec.Struct):
    """Requirements of an accounting job."""

    CPUs: Maybe = None


class StepName(msgspec.Struct):
    """Identity of a step: a string or a struct, by version."""

    id: Any = None
    name: str | None = None


class StepNodes(msgspec.Struct):
    """Nodes of a step."""

    names: list[str] | None = msgspec.field(default=None, name="list")


class StepTasks(msgspec.Struct):
    """Tasks of a step."""

    count: Maybe = None


class StepUsage(msgspec.Struct):
    """Use of resources by a step."""

    max: list[TresRecord] | None = None
    total: list[TresRecord] | None = None


class StepTres(msgspec.Struct):
    """Resources of a step."""

    allocated: list[TresRecord] | None = None
    consumed: StepUsage | None = None
    requested: StepUsage | None = None


class StepRecord(msgspec.Struct):
    """``step`` in accounting."""

    step: StepName | None = None
    state: list[str] | str = ()  # type: ignore[assignment]
    time: HistoryTime | None = None
    exit_code: Exit | None = None
    nodes: StepNodes | None = None
    tasks: StepTasks | None = None
    tres: StepTres | None = None


class HistoryRecord(msgspec.Struct):
    """``job`` in accounting."""

    job_id: int = 0
    name: str | None = None
    user: str | None = None
    group: str | None = None
    account: str | None = None
    partition: str | None = None
    qos: str | None = None
    cluster: str | None = None
    state: HistoryState | None = None
    array: HistoryArray | None = None
    het: HistoryHet | None = None
    time: HistoryTime | None = None
    nodes: str | None = None
    allocation_nodes: Maybe = None
    required: HistoryRequired | None = None
    priority: Maybe = None
    exit_code: Exit | None = None
    derived_exit_code: Exit | None = None
    tres: HistoryTres | None = None
    constraints: str | None = None
    licenses: str | None = None
    working_directory: str | None = None
    submit_line: str | None = None
    stdout: str | None = None
    stderr: str | None = None
    stdout_expanded: str | None = None
    stderr_expanded: str | None = None
    comment: HistoryComment | None = None
    extra: str | None = None
    kill_request_user: str | None = None
    reservation: Any = None
    steps: list[StepRecord] | None = None


class HistoryAnswer(Envelope, kw_only=True):
    """GET /slurmdb/V/jobs/ and /slurmdb/V/job/ID."""

    jobs: list[HistoryRecord] | None = None


class _JobId(msgspec.Struct):
    job_id: int | None = None


def job_id_in(body: bytes) -> int | None:
    """Return the id of the job that an answer names, whatever else it says."""
    try:
        return msgspec.json.decode(body, type=_JobId).job_id or None
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def integer(value: Maybe) -> int | None:
    """Return a whole number, or None for unset and infinite (where infinity says no more than that)."""
    if value is None:
        return None
    if isinstance(value, Number):
        return int(value.number) if value.set and not value.infinite else None
    return value


def limit(value: Maybe) -> float | None:
    """Return a limit: a number, infinity, or None for unset."""
    if isinstance(value, Number):
        if value.infinite:
            return math.inf
        return value.number if value.set else None
    return value


def positive(value: Maybe) -> int | None:
    """Return a whole number above 0, or None: for ids and counts where Slurm says 0 for none."""
    number = integer(value)
    return number if number is not None and number > 0 else None


def moment(value: Maybe) -> datetime | None:
    """Return a moment in UTC, or None for unset (Slurm says 0)."""
    seconds = positive(value)
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


def text(value: str | None) -> str | None:
    """Return a text, or None for an empty one: Slurm does not tell them apart."""
    return value or None


def words(value: list[str] | str | tuple[str, ...] | None) -> tuple[str, ...]:
    """Return a list of words, however the version wrote it (a list, one word, words with commas, nothing)."""
    if not value:
        return ()
    if isinstance(value, str):
        return tuple(word for word in value.split(",") if word)
    return tuple(value)
