"""What the cluster answers, as values: frozen, version-neutral, with units in the names.

Conventions. ``None`` means unset or unknown, ``math.inf`` means infinite (Slurm's UNLIMITED). Datetimes are aware, in
UTC. States are tuples of Slurm's own words with the base state first (``("RUNNING", "COMPLETING")``); a word nobody
knew yet is passed through. Memory is in MiB, time limits in minutes.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

import msgspec

JobKey = str
"""A job as Slurm's commands write it: ``"123"``, an array task ``"123_4"``, unstarted tasks ``"123_[5-9]"``, a
component of a heterogeneous job ``"123+1"``. A label for people; programs join on the number `Job.job_id`."""

FINISHED = frozenset(
    {
        "COMPLETED", "CANCELLED", "FAILED", "TIMEOUT", "NODE_FAIL", "PREEMPTED", "BOOT_FAIL", "DEADLINE",
        "OUT_OF_MEMORY", "REVOKED", "LAUNCH_FAILED", "EXPEDITING_FAILED",
    }
)  # fmt: skip
"""Base states from which a job does not return (a requeue makes a new attempt under the same id)."""


class ExitCode(msgspec.Struct, frozen=True, kw_only=True):
    """How a job or step ended. ``status`` holds Slurm's words, such as ``SUCCESS``, ``ERROR``, ``SIGNALED``."""

    status: tuple[str, ...] = ()
    return_code: int | None = None
    signal: int | None = None
    signal_name: str | None = None


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """A job as slurmctld knows it, from the moment of submission until MinJobAge after its end."""

    job_id: int
    key: JobKey
    name: str
    user_name: str | None = None
    user_id: int | None = None
    group_name: str | None = None
    account: str | None = None
    partition: str | None = None
    """As asked or given; several partitions of a pending job are separated by commas."""
    qos: str | None = None
    cluster: str | None = None
    states: tuple[str, ...] = ()
    state_reason: str | None = None
    """Slurm's reason word (``Priority``, ``Dependency``); None where Slurm says ``None``."""
    state_description: str | None = None
    array_job_id: int | None = None
    array_task_id: int | None = None
    array_task_string: str | None = None
    array_max_tasks: int | None = None
    het_job_id: int | None = None
    het_job_offset: int | None = None
    submit_time: datetime | None = None
    eligible_time: datetime | None = None
    start_time: datetime | None = None
    """When it started; for a pending job the scheduler's estimate, where there is one."""
    end_time: datetime | None = None
    """When it ended; for a running job the end that its time limit allows."""
    suspend_time: datetime | None = None
    preempt_time: datetime | None = None
    deadline: datetime | None = None
    last_evaluated: datetime | None = None
    time_limit_min: float | None = None
    nodes: str | None = None
    """Allocated nodes as a hostlist."""
    scheduled_nodes: str | None = None
    required_nodes: str | None = None
    batch_host: str | None = None
    node_count: int | None = None
    cpus: int | None = None
    tasks: int | None = None
    cpus_per_task: int | None = None
    memory_per_node_mib: int | None = None
    memory_per_cpu_mib: int | None = None
    tres_requested: str | None = None
    tres_allocated: str | None = None
    tres_per_node: str | None = None
    tres_per_job: str | None = None
    tres_per_task: str | None = None
    gres_detail: tuple[str, ...] = ()
    constraints: str | None = None
    licenses: str | None = None
    reservation: str | None = None
    dependency: str | None = None
    priority: int | None = None
    nice: int | None = None
    hold: bool | None = None
    requeue: bool | None = None
    restart_count: int | None = None
    batch: bool | None = None
    exit_code: ExitCode | None = None
    standard_output: str | None = None
    """The path with ``%j`` and the like filled in where the daemon does that (v0.0.43 and later)."""
    standard_error: str | None = None
    standard_input: str | None = None
    working_directory: str | None = None
    command: str | None = None
    submit_line: str | None = None
    comment: str | None = None
    admin_comment: str | None = None
    extra: str | None = None
    operation_key: str | None = None
    """The key that `submit` put into the job, if it did."""
    flags: tuple[str, ...] = ()

    @property
    def state(self) -> str:
        """The base state, or ``"UNKNOWN"``."""
        return self.states[0] if self.states else "UNKNOWN"

    @property
    def finished(self) -> bool:
        """Whether the base state is final and nothing of the job is still being cleaned up."""
        return self.state in FINISHED and "COMPLETING" not in self.states


class JobList(msgspec.Struct, frozen=True, kw_only=True):
    """A dump of the job table.

    ``unchanged`` is True when ``update_time`` was given and slurmctld says that nothing changed since: then ``jobs`` is
    empty and must not replace anything.
    """

    jobs: tuple[Job, ...] = ()
    last_update: datetime | None = None
    last_backfill: datetime | None = None
    unchanged: bool = False


class JobStates(msgspec.Struct, frozen=True, kw_only=True):
    """One sweep of ``/jobs/state/``: the states of every record in the job table, a hundredth of the cost of `jobs`.

    The keys are `Job.job_id`, so a sweep and a dump join record by record. The tasks of an array that have not started
    share one record (its id is the array's); each task gets a record and an id of its own when it starts.
    """

    states: dict[int, tuple[str, ...]]
    array_tasks: dict[int, tuple[int, ...]]
    """The task numbers in each record that belongs to an array, in rising order."""


class Submitted(msgspec.Struct, frozen=True, kw_only=True):
    """A submission that slurmctld accepted."""

    job_id: int
    operation_key: str | None = None
    user_message: str | None = None
    """What the site's job_submit plugin wanted the user to read."""
    warnings: tuple[str, ...] = ()
    found: bool = False
    """True when the answer to the submission was lost and the job was found by its operation key."""


class FoundOperation(msgspec.Struct, frozen=True, kw_only=True):
    """A job that carries an operation key. ``source`` is ``"slurmctld"`` or ``"slurmdb"``."""

    job_id: int
    operation_key: str
    states: tuple[str, ...]
    submit_time: datetime | None
    source: str


class ControllerPing(msgspec.Struct, frozen=True, kw_only=True):
    """One slurmctld as slurmrestd sees it."""

    hostname: str
    responding: bool
    primary: bool
    latency_us: int | None = None
    status: str | None = None


class Node(msgspec.Struct, frozen=True, kw_only=True):
    """A compute node."""

    name: str
    hostname: str | None = None
    address: str | None = None
    states: tuple[str, ...] = ()
    """Base state first: ``("IDLE", "DRAIN")``."""
    cpus: int | None = None
    cpus_allocated: int | None = None
    cpus_idle: int | None = None
    cpu_load: float | None = None
    memory_mib: int | None = None
    memory_allocated_mib: int | None = None
    memory_free_mib: int | None = None
    """What the operating system reports as free, not what Slurm has left to give."""
    temporary_disk_mib: int | None = None
    boards: int | None = None
    sockets: int | None = None
    cores_per_socket: int | None = None
    threads_per_core: int | None = None
    gres: str | None = None
    gres_used: str | None = None
    tres: str | None = None
    tres_used: str | None = None
    features: tuple[str, ...] = ()
    active_features: tuple[str, ...] = ()
    partitions: tuple[str, ...] = ()
    reservation: str | None = None
    reason: str | None = None
    reason_set_by: str | None = None
    reason_changed_at: datetime | None = None
    boot_time: datetime | None = None
    slurmd_start_time: datetime | None = None
    last_busy: datetime | None = None
    version: str | None = None
    operating_system: str | None = None
    architecture: str | None = None
    topology: str | None = None
    weight: int | None = None
    comment: str | None = None
    extra: str | None = None

    @property
    def state(self) -> str:
        """The base state, or ``"UNKNOWN"``."""
        return self.states[0] if self.states else "UNKNOWN"


class NodeList(msgspec.Struct, frozen=True, kw_only=True):
    """All nodes. ``unchanged`` as in `JobList`."""

    nodes: tuple[Node, ...] = ()
    last_update: datetime | None = None
    unchanged: bool = False


class Partition(msgspec.Struct, frozen=True, kw_only=True):
    """A partition and its limits. None in an ``allowed_`` list means everybody."""

    name: str
    states: tuple[str, ...] = ()
    nodes: str | None = None
    """Configured nodes as a hostlist."""
    node_count: int | None = None
    cpus: int | None = None
    is_default: bool | None = None
    """None where the daemon does not say (before v0.0.45)."""
    time_limit_min: float | None = None
    default_time_limit_min: float | None = None
    max_nodes_per_job: float | None = None
    min_nodes_per_job: int | None = None
    max_cpus_per_node: float | None = None
    max_memory_per_node_mib: int | None = None
    max_memory_per_cpu_mib: int | None = None
    default_memory_per_node_mib: int | None = None
    default_memory_per_cpu_mib: int | None = None
    allowed_accounts: tuple[str, ...] | None = None
    denied_accounts: tuple[str, ...] = ()
    allowed_qos: tuple[str, ...] | None = None
    denied_qos: tuple[str, ...] = ()
    allowed_groups: tuple[str, ...] | None = None
    qos: str | None = None
    """The QOS whose limits the partition carries."""
    priority_tier: int | None = None
    priority_job_factor: int | None = None
    tres: str | None = None


class PartitionList(msgspec.Struct, frozen=True, kw_only=True):
    """All partitions. ``unchanged`` as in `JobList`."""

    partitions: tuple[Partition, ...] = ()
    last_update: datetime | None = None
    unchanged: bool = False


class Tres(msgspec.Struct, frozen=True, kw_only=True):
    """A count of one trackable resource: type ``gres``, name ``gpu``, count 2. None: no value."""

    type: str
    name: str | None = None
    count: int | None = None


class HistoryStep(msgspec.Struct, frozen=True, kw_only=True):
    """One step of a job in accounting."""

    step_id: str
    name: str | None = None
    states: tuple[str, ...] = ()
    start_time: datetime | None = None
    end_time: datetime | None = None
    elapsed_s: int | None = None
    exit_code: ExitCode | None = None
    nodes: str | None = None
    tasks: int | None = None
    cpu_time_s: float | None = None
    """User and system time together."""
    tres_used_max: tuple[Tres, ...] = ()
    tres_used_total: tuple[Tres, ...] = ()
    tres_allocated: tuple[Tres, ...] = ()


class HistoryJob(msgspec.Struct, frozen=True, kw_only=True):
    """A job as accounting (slurmdbd) keeps it."""

    job_id: int
    key: JobKey
    name: str
    user_name: str | None = None
    group_name: str | None = None
    account: str | None = None
    partition: str | None = None
    qos: str | None = None
    cluster: str | None = None
    states: tuple[str, ...] = ()
    state_reason: str | None = None
    array_job_id: int | None = None
    array_task_id: int | None = None
    array_task_string: str | None = None
    het_job_id: int | None = None
    het_job_offset: int | None = None
    submit_time: datetime | None = None
    eligible_time: datetime | None = None
    start_time: datetime | None = None
    end_time: datetime | None = None
    elapsed_s: int | None = None
    suspended_s: int | None = None
    time_limit_min: float | None = None
    nodes: str | None = None
    node_count: int | None = None
    cpus_requested: int | None = None
    priority: int | None = None
    exit_code: ExitCode | None = None
    derived_exit_code: ExitCode | None = None
    tres_requested: tuple[Tres, ...] = ()
    tres_allocated: tuple[Tres, ...] = ()
    constraints: str | None = None
    licenses: str | None = None
    reservation: str | None = None
    working_directory: str | None = None
    submit_line: str | None = None
    standard_output: str | None = None
    standard_error: str | None = None
    comment: str | None = None
    """Kept by accounting only with ``AccountingStoreFlags=job_comment``."""
    admin_comment: str | None = None
    extra: str | None = None
    """Kept by accounting only with ``AccountingStoreFlags=job_extra``."""
    operation_key: str | None = None
    cancelled_by: str | None = None
    steps: tuple[HistoryStep, ...] = ()

    @property
    def state(self) -> str:
        """The base state, or ``"UNKNOWN"``."""
        return self.states[0] if self.states else "UNKNOWN"

    @property
    def finished(self) -> bool:
        """Whether the base state is final."""
        return self.state in FINISHED


class JobDescription(msgspec.Struct, frozen=True, kw_only=True):
    """A batch job to submit. What is None is left to Slurm's defaults.

    Values are never options: each travels in its own JSON field, whatever characters it holds.
    """

    script: str
    """The batch script; its first line names the interpreter (``#!/bin/bash``). At most 4 MiB."""
    name: str | None = None
    working_directory: str | None = None
    """Absolute path on the cluster. Required by Slurm."""
    environment: Mapping[str, str] = {}
    """Environment of the batch script, besides what sbatch itself would set."""
    login_environment: bool = False
    """Start from the user's login environment on the compute host, as ``sbatch --export=NONE`` does.

    slurmd makes it by running ``su``, which takes seconds and needs rights that slurmd in a container may lack.
    """
    account: str | None = None
    partition: str | None = None
    qos: str | None = None
    reservation: str | None = None
    time_limit_min: float | None = None
    """Minutes, at least 1; ``math.inf`` for UNLIMITED."""
    time_min_min: float | None = None
    nodes: str | int | None = None
    """A count or range: ``2``, ``"2-4"``."""
    tasks: int | None = None
    tasks_per_node: int | None = None
    cpus_per_task: int | None = None
    memory_per_node_mib: int | None = None
    """0 asks for all memory of the nodes."""
    memory_per_cpu_mib: int | None = None
    temporary_disk_per_node_mib: int | None = None
    gres: str | None = None
    """Per node, as ``sbatch --gres``: ``"gpu:1"``, ``"gpu:a100:2,shard:1"``."""
    gpus: str | int | None = None
    """For the whole job, as ``sbatch --gpus``: ``4``, ``"a100:4"``."""
    array: str | None = None
    """``"0-23%4"``, ``"1,3,5-9:2"``."""
    dependency: str | None = None
    constraints: str | None = None
    required_nodes: tuple[str, ...] = ()
    excluded_nodes: tuple[str, ...] = ()
    licenses: str | None = None
    exclusive: bool | None = None
    standard_output: str | None = None
    standard_error: str | None = None
    standard_input: str | None = None
    open_mode: str | None = None
    """``"append"`` or ``"truncate"``."""
    arguments: tuple[str, ...] = ()
    """Arguments of the script."""
    comment: str | None = None
    begin: datetime | None = None
    deadline: datetime | None = None
    hold: bool | None = None
    requeue: bool | None = None
    nice: int | None = None
    signal: str | None = None
    """Warning before the end, as ``sbatch --signal`` without flags: ``"USR2@30"``."""
    mail_user: str | None = None
    mail_on: tuple[str, ...] = ()
    """Slurm's words: ``"BEGIN"``, ``"END"``, ``"FAIL"``."""
    wckey: str | None = None
    extra: str | None = None
    """Slurm's own free field (``sbatch --extra``). Cannot be used together with an operation key."""
    slurm_fields: Mapping[str, object] = {}
    """Further fields of Slurm's job description, by Slurm's own names, passed through as they are."""
