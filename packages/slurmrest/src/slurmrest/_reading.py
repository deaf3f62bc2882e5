"""From slurmrestd's records to values."""

from __future__ import annotations

from collections.abc import Iterable

from . import _wire
from ._model import (
    ControllerPing,
    ExitCode,
    HistoryJob,
    HistoryStep,
    Job,
    JobKey,
    JobStates,
    Node,
    Partition,
    Tres,
)
from ._operation import key_in
from ._wire import integer, limit, moment, positive, text, words

NODE_BASE_STATES = frozenset({"IDLE", "ALLOCATED", "MIXED", "DOWN", "ERROR", "FUTURE", "UNKNOWN", "INVALID"})


def job(record: _wire.JobRecord) -> Job:
    """Read one job of slurmctld."""
    job_id = integer(record.job_id) or 0
    # {"set": true, "number": 0} means that the job is not part of an array.
    array_job_id = positive(record.array_job_id)
    array_task_id = integer(record.array_task_id) if array_job_id is not None else None
    array_tasks = text(record.array_task_string) if array_job_id is not None else None
    het_job_id = positive(record.het_job_id)
    het_job_offset = integer(record.het_job_offset) if het_job_id is not None else None
    return Job(
        job_id=job_id,
        key=job_key(job_id, array_job_id, array_task_id, array_tasks, het_job_id, het_job_offset),
        name=record.name or "",
        user_name=text(record.user_name),
        user_id=record.user_id,
        group_name=text(record.group_name),
        account=text(record.account),
        partition=text(record.partition),
        qos=text(record.qos),
        cluster=text(record.cluster),
        states=words(record.job_state),
        state_reason=None if record.state_reason in (None, "", "None") else record.state_reason,
        state_description=text(record.state_description),
        array_job_id=array_job_id,
        array_task_id=array_task_id,
        array_task_string=array_tasks,
        array_max_tasks=positive(record.array_max_tasks),
        het_job_id=het_job_id,
        het_job_offset=het_job_offset,
        submit_time=moment(record.submit_time),
        eligible_time=moment(record.eligible_time),
        start_time=moment(record.start_time),
        end_time=moment(record.end_time),
        suspend_time=moment(record.suspend_time),
        preempt_time=moment(record.preempt_time),
        deadline=moment(record.deadline),
        last_evaluated=moment(record.last_sched_evaluation),
        time_limit_min=limit(record.time_limit),
        nodes=text(record.nodes),
        scheduled_nodes=text(record.scheduled_nodes),
        required_nodes=text(record.required_nodes),
        batch_host=text(record.batch_host),
        node_count=integer(record.node_count),
        cpus=integer(record.cpus),
        tasks=integer(record.tasks),
        cpus_per_task=integer(record.cpus_per_task),
        memory_per_node_mib=integer(record.memory_per_node),
        memory_per_cpu_mib=integer(record.memory_per_cpu),
        tres_requested=text(record.tres_req_str),
        tres_allocated=text(record.tres_alloc_str),
        tres_per_node=text(record.tres_per_node),
        tres_per_job=text(record.tres_per_job),
        tres_per_task=text(record.tres_per_task),
        # One entry a node; 26.05 writes null for a node of a job without GRES.
        gres_detail=tuple(detail or "" for detail in record.gres_detail or ()),
        constraints=text(record.features),
        licenses=text(record.licenses),
        reservation=text(record.resv_name),
        dependency=text(record.dependency),
        priority=integer(record.priority),
        nice=record.nice,
        hold=record.hold,
        requeue=record.requeue,
        restart_count=record.restart_cnt,
        batch=record.batch_flag,
        exit_code=exit_code(record.exit_code),
        standard_output=text(record.stdout_expanded) or text(record.standard_output),
        standard_error=text(record.stderr_expanded) or text(record.standard_error),
        standard_input=text(record.stdin_expanded) or text(record.standard_input),
        working_directory=text(record.current_working_directory),
        command=text(record.command),
        submit_line=text(record.submit_line),
        comment=text(record.comment),
        admin_comment=text(record.admin_comment),
        extra=text(record.extra),
        operation_key=key_in(record.extra, record.comment),
        flags=words(record.flags),
    )


def job_key(
    job_id: int,
    array_job_id: int | None,
    array_task_id: int | None,
    array_tasks: str | None,
    het_job_id: int | None,
    het_job_offset: int | None,
) -> JobKey:
    """Write a job as Slurm's commands do."""
    if array_job_id is not None:
        if array_task_id is not None:
            return f"{array_job_id}_{array_task_id}"
        if array_tasks is not None:
            return f"{array_job_id}_[{array_tasks}]"
    if het_job_id is not None and het_job_offset is not None:
        return f"{het_job_id}+{het_job_offset}"
    return str(job_id)


def job_states(records: Iterable[_wire.StateRecord]) -> JobStates:
    """Read a sweep.

    slurmrestd writes the record's own id first, whatever follows: task 4 of array 100 that runs as job 105 is
    ``"105_4"``, not ``"100_4"``, and a record that stands for many tasks is repeated once for each.
    """
    states: dict[int, tuple[str, ...]] = {}
    tasks: dict[int, list[int]] = {}
    interned: dict[tuple[str, ...], tuple[str, ...]] = {}
    for record in records:
        number, _, task = str(record.job_id).partition("_")
        if task.isdecimal():
            tasks.setdefault(int(number), []).append(int(task))
        else:
            number = number.partition("+")[0]
        state = words(record.state)
        states[int(number)] = interned.setdefault(state, state)
    return JobStates(states=states, array_tasks={job_id: tuple(sorted(numbers)) for job_id, numbers in tasks.items()})


def ping(record: _wire.PingRecord) -> ControllerPing:
    """Read one controller; before v0.0.45 there is ``pinged`` and ``mode`` where later there is ``status``."""
    responding = record.responding if record.responding is not None else record.pinged == "UP"
    primary = record.primary if record.primary is not None else record.mode == "primary"
    return ControllerPing(
        hostname=record.hostname or "",
        responding=responding,
        primary=primary,
        latency_us=record.latency if responding else None,
        status=record.status or record.pinged,
    )


def node(record: _wire.NodeRecord) -> Node:
    """Read one node."""
    load = integer(record.cpu_load)
    states = words(record.state)
    return Node(
        name=record.name,
        hostname=text(record.hostname),
        address=text(record.address),
        states=tuple(sorted(states, key=lambda word: word not in NODE_BASE_STATES)),
        cpus=integer(record.cpus),
        cpus_allocated=integer(record.alloc_cpus),
        cpus_idle=integer(record.alloc_idle_cpus),
        cpu_load=None if load is None else load / 100,  # slurmrestd gives hundredths
        memory_mib=integer(record.real_memory),
        memory_allocated_mib=integer(record.alloc_memory),
        memory_free_mib=integer(record.free_mem),
        temporary_disk_mib=integer(record.temporary_disk),
        boards=record.boards,
        sockets=record.sockets,
        cores_per_socket=record.cores,
        threads_per_core=record.threads,
        gres=text(record.gres),
        gres_used=text(record.gres_used),
        tres=text(record.tres),
        tres_used=text(record.tres_used),
        features=words(record.features),
        active_features=words(record.active_features),
        partitions=words(record.partitions),
        reservation=text(record.reservation),
        reason=text(record.reason),
        reason_set_by=text(record.reason_set_by_user),
        reason_changed_at=moment(record.reason_changed_at),
        boot_time=moment(record.boot_time),
        slurmd_start_time=moment(record.slurmd_start_time),
        last_busy=moment(record.last_busy),
        version=text(record.version),
        operating_system=text(record.operating_system),
        architecture=text(record.architecture),
        topology=text(record.topology),
        weight=integer(record.weight),
        comment=text(record.comment),
        extra=text(record.extra),
    )


def partition(record: _wire.PartitionRecord, *, says_flags: bool) -> Partition:
    """Read one partition; ``says_flags``: whether this API version names the default partition."""
    nodes = record.nodes or _wire.PartitionNodes()
    accounts = record.accounts or _wire.PartitionNames()
    groups = record.groups or _wire.PartitionNames()
    qos = record.qos or _wire.PartitionNames()
    defaults = record.defaults or _wire.PartitionDefaults()
    maximums = record.maximums or _wire.PartitionMaximums()
    minimums = record.minimums or _wire.PartitionMinimums()
    priority = record.priority or _wire.PartitionPriority()
    return Partition(
        name=record.name,
        states=words(record.partition.state if record.partition else None),
        nodes=text(nodes.configured),
        node_count=integer(nodes.total),
        cpus=integer(record.cpus.total if record.cpus else None),
        is_default="DEFAULT" in words(record.flags) if says_flags else None,
        time_limit_min=limit(maximums.time),
        default_time_limit_min=limit(defaults.time),
        max_nodes_per_job=limit(maximums.nodes),
        min_nodes_per_job=integer(minimums.nodes),
        max_cpus_per_node=limit(maximums.cpus_per_node),
        max_memory_per_node_mib=positive(maximums.partition_memory_per_node),
        max_memory_per_cpu_mib=positive(maximums.partition_memory_per_cpu),
        default_memory_per_node_mib=positive(defaults.partition_memory_per_node),
        default_memory_per_cpu_mib=positive(defaults.partition_memory_per_cpu),
        allowed_accounts=words(accounts.allowed) or None,
        denied_accounts=words(accounts.deny),
        allowed_qos=words(qos.allowed) or None,
        denied_qos=words(qos.deny),
        allowed_groups=words(groups.allowed) or None,
        qos=text(qos.assigned),
        priority_tier=integer(priority.tier),
        priority_job_factor=integer(priority.job_factor),
        tres=text(record.tres.configured if record.tres else None),
    )


def history_job(record: _wire.HistoryRecord) -> HistoryJob:
    """Read one job of slurmdbd."""
    array = record.array or _wire.HistoryArray()
    het = record.het or _wire.HistoryHet()
    time = record.time or _wire.HistoryTime()
    state = record.state or _wire.HistoryState()
    tres = record.tres or _wire.HistoryTres()
    comment = record.comment or _wire.HistoryComment()
    array_job_id = positive(array.job_id)
    array_task_id = integer(array.task_id) if array_job_id is not None else None
    array_tasks = _tasks_of_bitmap(array.task) if array_job_id is not None else None
    het_job_id = positive(het.job_id)
    het_job_offset = integer(het.job_offset) if het_job_id is not None else None
    started = moment(time.start)
    return HistoryJob(
        job_id=record.job_id,
        key=job_key(record.job_id, array_job_id, array_task_id, array_tasks, het_job_id, het_job_offset),
        name=record.name or "",
        user_name=text(record.user),
        group_name=text(record.group),
        account=text(record.account),
        partition=text(record.partition),
        qos=text(record.qos),
        cluster=text(record.cluster),
        states=words(state.current),
        state_reason=None if state.reason in (None, "", "None") else state.reason,
        array_job_id=array_job_id,
        array_task_id=array_task_id,
        array_task_string=array_tasks,
        het_job_id=het_job_id,
        het_job_offset=het_job_offset,
        submit_time=moment(time.submission),
        eligible_time=moment(time.eligible),
        start_time=started,
        end_time=moment(time.end),
        elapsed_s=integer(time.elapsed) if started is not None else None,
        suspended_s=integer(time.suspended),
        time_limit_min=limit(time.limit),
        nodes=None if record.nodes in (None, "", "None assigned") else record.nodes,
        node_count=positive(record.allocation_nodes),
        cpus_requested=positive(record.required.CPUs if record.required else None),
        priority=integer(record.priority),
        exit_code=exit_code(record.exit_code),
        derived_exit_code=exit_code(record.derived_exit_code),
        tres_requested=resources(tres.requested),
        tres_allocated=resources(tres.allocated),
        constraints=text(record.constraints),
        licenses=text(record.licenses),
        reservation=_reservation_name(record.reservation),
        working_directory=text(record.working_directory),
        submit_line=text(record.submit_line),
        standard_output=text(record.stdout_expanded) or text(record.stdout),
        standard_error=text(record.stderr_expanded) or text(record.stderr),
        comment=text(comment.job),
        admin_comment=text(comment.administrator),
        extra=text(record.extra),
        operation_key=key_in(record.extra, comment.job),
        cancelled_by=text(record.kill_request_user),
        steps=tuple(history_step(step) for step in record.steps or ()),
    )


def history_step(record: _wire.StepRecord) -> HistoryStep:
    """Read one step of slurmdbd."""
    name = record.step or _wire.StepName()
    time = record.time or _wire.HistoryTime()
    tres = record.tres or _wire.StepTres()
    # Misnamed by Slurm: "requested" holds what was read in, "consumed" what was used.
    consumed = tres.consumed or _wire.StepUsage()
    started = moment(time.start)
    return HistoryStep(
        step_id=_step_id(name.id),
        name=text(name.name),
        states=words(record.state),
        start_time=started,
        end_time=moment(time.end),
        elapsed_s=integer(time.elapsed) if started is not None else None,
        exit_code=exit_code(record.exit_code),
        nodes=",".join((record.nodes and record.nodes.names) or ()) or None,
        tasks=positive(record.tasks.count if record.tasks else None),
        cpu_time_s=None if time.total is None else time.total.seconds + time.total.microseconds / 1e6,
        tres_used_max=resources(consumed.max),
        tres_used_total=resources(consumed.total),
        tres_allocated=resources(tres.allocated),
    )


def exit_code(record: _wire.Exit | None) -> ExitCode | None:
    """Read an exit code."""
    if record is None:
        return None
    signal = record.signal or _wire.SignalName()
    return ExitCode(
        status=words(record.status),
        return_code=integer(record.return_code),
        signal=positive(signal.id),
        signal_name=text(signal.name),
    )


def resources(records: list[_wire.TresRecord] | None) -> tuple[Tres, ...]:
    """Read a list of TRES; negative counts are Slurm's NO_VAL64 showing through."""
    found: list[Tres] = []
    for record in records or ():
        count = integer(record.count)
        found.append(
            Tres(type=record.type, name=text(record.name), count=count if count is not None and count >= 0 else None)
        )
    return tuple(found)


def _step_id(value: object) -> str:
    # v0.0.42 says "12.batch", later versions a struct {job_id, step_id}.
    if isinstance(value, dict):
        parts: dict[str, object] = {str(k): v for k, v in value.items()}  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
        return str(parts.get("step_id", ""))
    return "" if value is None else str(value).rpartition(".")[2]


def _reservation_name(value: object) -> str | None:
    if isinstance(value, dict):
        parts: dict[str, object] = {str(k): v for k, v in value.items()}  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
        name = parts.get("name")
        return str(name) if name else None
    return str(value) if value else None


def holds_task(job: Job, task: int) -> bool:
    """Whether a record is an array task or stands for it among others."""
    if job.array_task_id is not None:
        return job.array_task_id == task
    return task in array_tasks(job.array_task_string or "")


def array_tasks(text: str) -> set[int]:
    """Return the task numbers in ``"1,3,5-9:2%4"``."""
    numbers: set[int] = set()
    for part in text.partition("%")[0].split(","):
        bounds, _, step = part.partition(":")
        low, _, high = bounds.partition("-")
        if low.isdecimal():
            numbers.update(range(int(low), int(high or low) + 1, int(step or 1)))
    return numbers


def _tasks_of_bitmap(value: str | None) -> str | None:
    """Read the unstarted tasks of an array: slurmdbd writes them as a hexadecimal bitmap, ``0x3F%2`` for ``0-5%2``."""
    if not value or not value.startswith("0x"):
        return text(value)
    digits, percent, at_once = value.partition("%")
    try:
        bits = int(digits, 16)
    except ValueError:
        return value
    numbers = [number for number in range(bits.bit_length()) if bits >> number & 1]
    ranges: list[str] = []
    first = 0
    for index, number in enumerate(numbers):
        if index + 1 < len(numbers) and numbers[index + 1] == number + 1:
            continue
        ranges.append(f"{numbers[first]}-{number}" if numbers[first] != number else str(number))
        first = index + 1
    return ",".join(ranges) + (f"%{at_once}" if percent else "")
