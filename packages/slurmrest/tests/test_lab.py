"""Against real daemons, on each Slurm release, in each API version that it speaks."""

import asyncio
import math
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from slurmlab import Lab
from slurmrest import (
    AlreadyFinished,
    AsyncClient,
    AuthenticationFailed,
    Client,
    HS256Key,
    InvalidAccount,
    InvalidArray,
    InvalidDependency,
    InvalidPartition,
    InvalidQos,
    InvalidRequest,
    InvalidResources,
    Job,
    JobDescription,
    JobNotFound,
    PermissionDenied,
    SlurmError,
    StaticToken,
    TokenExpired,
    UnknownParameter,
    Unreachable,
    UnsupportedVersion,
    UserNotFound,
)
from slurmrest._versions import VERSIONS

pytestmark = pytest.mark.lab

SHORT = "#!/bin/bash\nhostname\n"
LONG = "#!/bin/bash\nexec sleep 300\n"
SPOKEN = {"24.11": ["v0.0.42"], "26.05": ["v0.0.42", "v0.0.43", "v0.0.44", "v0.0.45"]}


def describe(script: str = SHORT, **fields: object) -> JobDescription:
    defaults: dict[str, object] = {"working_directory": "/home/ada", "memory_per_node_mib": 10, "tasks": 1}
    return JobDescription(script=script, **(defaults | fields))  # pyright: ignore[reportArgumentType]


def key(lab: Lab, user: str = "ada", lifespan_s: int = 900) -> HS256Key:
    return HS256Key(lab.jwt_key_path, user=user, lifespan_s=lifespan_s)


@pytest.fixture
async def slurm(slurm_lab: Lab) -> AsyncIterator[AsyncClient]:
    async with AsyncClient(slurm_lab.slurmrestd_url, key(slurm_lab)) as client:
        yield client
        for job_id, states in (await client.job_states()).states.items():
            if not {"PENDING", "RUNNING"}.isdisjoint(states):
                await client.cancel(job_id)


async def until(condition: Callable[[], Awaitable[bool]], timeout_s: float = 30) -> None:
    async with asyncio.timeout(timeout_s):
        while not await condition():  # noqa: ASYNC110 - the condition lives in another process
            await asyncio.sleep(0.1)


async def ended(slurm: AsyncClient, job_id: int) -> Job:
    async def over() -> bool:
        return (await slurm.job(job_id))[0].finished

    await until(over)
    return (await slurm.job(job_id))[0]


async def test_the_highest_common_version_is_used(slurm_lab: Lab, slurm: AsyncClient) -> None:
    assert await slurm.api_version() == SPOKEN[slurm_lab.release.version][-1]


async def test_every_version_gives_the_same_values(slurm_lab: Lab, slurm: AsyncClient) -> None:
    submitted = await slurm.submit(
        describe(LONG, name="held", hold=True, comment="mine"), operation_key="version-test-1"
    )
    seen: list[tuple[object, ...]] = []
    for version in VERSIONS:
        async with AsyncClient(slurm_lab.slurmrestd_url, key(slurm_lab), version=version.name) as pinned:
            if version.name not in SPOKEN[slurm_lab.release.version]:
                with pytest.raises(UnsupportedVersion):
                    await pinned.jobs()
                continue
            (job,) = await pinned.job(submitted.job_id)
            (ping,) = await pinned.ping()
            nodes = [(node.name, node.states, node.cpus, node.memory_mib) for node in (await pinned.nodes()).nodes]
            partitions = [(p.name, p.time_limit_min, p.nodes) for p in (await pinned.partitions()).partitions]
            states = (await pinned.job_states()).states[submitted.job_id]
            steps = await pinned.history(job_id=submitted.job_id, skip_steps=False)
            said = (
                job.name,
                job.comment,
                job.operation_key,
                job.states,
                job.state_reason,
                job.hold,
                job.time_limit_min,
            )
            also = (job.submit_time, ping.hostname, ping.responding, ping.primary)
            seen.append((*said, *also, nodes, partitions, states, len(steps)))
    assert seen.count(seen[0]) == len(seen) == len(SPOKEN[slurm_lab.release.version])
    assert seen[0][:7] == ("held", "mine", "version-test-1", ("PENDING",), "JobHeldUser", True, 60)


async def test_a_job_runs_as_described_and_is_found_everywhere(slurm_lab: Lab, slurm: AsyncClient) -> None:
    script = '#!/bin/bash\nprintf "%s|" "$PWD" "$SLURM_SUBMIT_DIR" "$WEIRD" "$@"\nid -un >&2\nexit 3\n'
    name, weird = "quotes ' \" and $(id) `id`; --wrap=x", "a,b=c\nSLURM_CONF=/evil 'q'"
    before = datetime.now(UTC)
    submitted = await slurm.submit(
        describe(
            script,
            name=name,
            comment="with, comma",
            environment={"WEIRD": weird},
            arguments=("one", "two three"),
            standard_output="/home/ada/out-%j",
            standard_error="/home/ada/err-%j",
            time_limit_min=5,
        ),
        operation_key="runs-as-described-1",
    )
    job = await ended(slurm, submitted.job_id)
    assert (job.name, job.user_name, job.states, job.comment) == (name, "ada", ("FAILED",), "with, comma")
    assert job.exit_code is not None
    assert (job.exit_code.return_code, job.time_limit_min, job.operation_key) == (3, 5, "runs-as-described-1")
    assert job.submit_time is not None
    assert before - timedelta(seconds=2) <= job.submit_time <= datetime.now(UTC) + timedelta(seconds=2)
    output = (Path(slurm_lab.home) / "ada" / f"out-{job.job_id}").read_text()
    assert output == f"/home/ada|/home/ada|{weird}|one|two three|"
    assert (Path(slurm_lab.home) / "ada" / f"err-{job.job_id}").read_text() == "ada\n"

    async def in_accounting() -> bool:
        found = await slurm.history(job_id=job.job_id)
        return bool(found) and found[0].finished

    await until(in_accounting)
    (past,) = await slurm.history(job_id=job.job_id, skip_steps=False)
    # slurmdbd keeps a double quote as a backtick; everything else as it is.
    assert past.name == name.replace('"', "`")
    assert (past.user_name, past.states, past.operation_key) == ("ada", ("FAILED",), job.operation_key)
    assert past.comment == "with, comma"
    assert past.exit_code is not None
    assert past.exit_code.return_code == 3
    assert [step.step_id for step in past.steps] == ["batch"]


async def test_arrays_from_sweep_to_accounting(slurm: AsyncClient) -> None:
    submitted = await slurm.submit(describe(LONG, name="array", array="0-5%2"))
    base = submitted.job_id

    async def two_run() -> bool:
        return sum(job.state == "RUNNING" for job in await slurm.job(base)) == 2

    await until(two_run)
    records = {job.key: job for job in await slurm.job(base)}
    assert set(records) == {f"{base}_0", f"{base}_1", f"{base}_[2-5%2]"}
    assert [job.key for job in await slurm.job(f"{base}_1")] == [f"{base}_1"]
    assert [job.key for job in await slurm.job(f"{base}_4")] == [f"{base}_[2-5%2]"]
    swept = await slurm.job_states()
    assert {record.job_id for record in records.values()} <= set(swept.states)
    assert swept.array_tasks[base] == (2, 3, 4, 5)
    assert swept.array_tasks[records[f"{base}_1"].job_id] == (1,)
    await slurm.cancel(f"{base}_1")
    await slurm.cancel(f"{base}_5")
    await slurm.cancel(base)  # a part of it has ended: the rest is cancelled all the same

    async def all_over() -> bool:
        return all(job.finished for job in await slurm.job(base))

    await until(all_over)
    with pytest.raises(AlreadyFinished):
        await slurm.cancel(base)


async def test_an_update_time_never_empties_anything(slurm: AsyncClient) -> None:
    await slurm.submit(describe(LONG, hold=True))
    soon = datetime.now(UTC) + timedelta(seconds=30)
    answers = (
        await slurm.jobs(update_time=soon),
        await slurm.nodes(update_time=soon),
        await slurm.partitions(update_time=soon),
    )
    assert [answer.unchanged for answer in answers] == [True, True, True]
    long_ago = datetime(2020, 1, 1, tzinfo=UTC)
    jobs = await slurm.jobs(update_time=long_ago)
    assert not jobs.unchanged
    assert jobs.jobs


async def test_signals_reach_the_job_and_unknown_ones_are_not_sent(slurm_lab: Lab, slurm: AsyncClient) -> None:
    script = "#!/bin/bash\ntrap 'echo got it; exit 7' USR1\necho ready\nwhile :; do sleep 0.1; done\n"
    submitted = await slurm.submit(describe(script, standard_output="/home/ada/signal-%j"))
    output = Path(slurm_lab.home) / "ada" / f"signal-{submitted.job_id}"

    async def ready() -> bool:
        return output.exists() and "ready" in output.read_text()

    await until(ready)
    with pytest.raises(InvalidRequest):
        await slurm.cancel(submitted.job_id, signal="BLA")
    assert (await slurm.job(submitted.job_id))[0].state == "RUNNING"
    # A signal goes to the job's steps, as with scancel; the batch script itself hears it with the job's cancellation.
    await slurm.cancel(submitted.job_id)
    assert (await ended(slurm, submitted.job_id)).state == "CANCELLED"


REFUSALS: list[tuple[dict[str, object], type[SlurmError], str]] = [
    ({"partition": "nope"}, InvalidPartition, "partition_invalid"),
    ({"account": "nope"}, InvalidAccount, "account_invalid"),
    ({"qos": "nope"}, InvalidQos, "qos_invalid"),
    ({"dependency": "afterok:99999999"}, InvalidDependency, "dependency_invalid"),
    ({"dependency": "foo"}, InvalidDependency, "dependency_invalid"),
    ({"gres": "nope:1"}, InvalidResources, "resources_invalid"),
    ({"constraints": "nope"}, InvalidResources, "resources_invalid"),
    ({"licenses": "nope:1"}, InvalidResources, "resources_invalid"),
    ({"memory_per_node_mib": 10**9}, InvalidResources, "resources_invalid"),
    ({"array": "0-20000"}, InvalidArray, "array_invalid"),
    ({"reservation": "nope"}, InvalidRequest, "invalid_request"),
    ({"nice": -5}, InvalidRequest, "invalid_request"),
    ({"partition": "gpu"}, InvalidRequest, "refused_by_site"),
    ({"slurm_fields": {"admin_comment": "x"}}, PermissionDenied, "permission_denied"),
]  # fmt: skip


@pytest.mark.parametrize(("fields", "kind", "code"), REFUSALS, ids=lambda value: str(value)[:40])
async def test_slurms_refusals_are_words(
    slurm: AsyncClient, fields: dict[str, object], kind: type[SlurmError], code: str
) -> None:
    before = (await slurm.job_states()).states
    with pytest.raises(kind) as raised:
        await slurm.submit(describe(SHORT, **fields))
    assert raised.value.code == code
    assert raised.value.errno is not None
    # Some refusals leave a record behind, which has failed: never one that waits or runs.
    left = {job: states for job, states in (await slurm.job_states()).states.items() if job not in before}
    assert all(states == ("FAILED",) for states in left.values())


@pytest.mark.parametrize(
    ("fields", "kind"),
    [({"bogus": 1}, UnknownParameter), ({"mail_type": ["SOMETIMES"]}, InvalidRequest)],
    ids=["field", "flag"],
)
async def test_what_slurmrestd_left_out_of_a_job_withdraws_it(
    slurm: AsyncClient, fields: dict[str, object], kind: type[SlurmError]
) -> None:
    name = f"withdrawn-{next(iter(fields))}"
    with pytest.raises(kind):
        await slurm.submit(describe(LONG, name=name, slurm_fields=fields))
    (job,) = [job for job in (await slurm.jobs()).jobs if job.name == name]
    assert (await ended(slurm, job.job_id)).state == "CANCELLED"


async def test_who_may_not(slurm_lab: Lab, slurm: AsyncClient) -> None:
    submitted = await slurm.submit(describe(LONG, hold=True))
    with pytest.raises(PermissionDenied):
        await slurm.acting_as(key(slurm_lab, "bo")).cancel(submitted.job_id)
    assert (await slurm.job(submitted.job_id))[0].state == "PENDING"
    with pytest.raises(UserNotFound):
        await slurm.acting_as(key(slurm_lab, "nosuch")).submit(describe())


async def test_jobs_that_are_not_there(slurm: AsyncClient) -> None:
    with pytest.raises(JobNotFound):
        await slurm.job(60_000_000)
    with pytest.raises(JobNotFound):
        await slurm.cancel(60_000_000)
    assert await slurm.history(job_id=60_000_000) == ()


CALLS: dict[str, Callable[[AsyncClient], Awaitable[object]]] = {
    "ping": lambda slurm: slurm.ping(),
    "states": lambda slurm: slurm.job_states(),
    "jobs": lambda slurm: slurm.jobs(),
    "nodes": lambda slurm: slurm.nodes(),
    "submit": lambda slurm: slurm.submit(describe(), operation_key="token-test-1"),
    "cancel": lambda slurm: slurm.cancel(1),
    "history": lambda slurm: slurm.history(users=["ada"]),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())
async def test_tokens_that_are_no_good(slurm_lab: Lab, call: Callable[[AsyncClient], Awaitable[object]]) -> None:
    wrong_key = HS256Key(b"x" * 32, user="ada")
    expired = StaticToken(slurm_lab.token("ada", lifespan_s=-60))
    another = StaticToken(slurm_lab.token("ada", lifespan_s=60), user="bo")
    async with AsyncClient(slurm_lab.slurmrestd_url, wrong_key) as slurm:
        for provider, kind in (
            (wrong_key, AuthenticationFailed), (expired, TokenExpired), (another, AuthenticationFailed),
            (StaticToken("garbage"), AuthenticationFailed),
        ):  # fmt: skip
            with pytest.raises(kind):
                await call(slurm.acting_as(provider))


async def test_nobody_is_listening() -> None:
    async with AsyncClient("http://127.0.0.1:9", StaticToken("t")) as slurm:
        with pytest.raises(Unreachable):
            await slurm.submit(describe(), operation_key="nobody-listens-1")


async def test_partitions_and_nodes_with_their_limits(slurm_lab: Lab, slurm: AsyncClient) -> None:
    partitions = {partition.name: partition for partition in (await slurm.partitions()).partitions}
    assert (partitions["short"].time_limit_min, partitions["short"].default_time_limit_min) == (30, 5)
    assert partitions["compute"].max_nodes_per_job == math.inf
    assert partitions["compute"].is_default in (True, None)
    assert partitions["compute"].is_default is (True if await slurm.api_version() == "v0.0.45" else None)
    nodes = {node.name: node for node in (await slurm.nodes()).nodes}
    assert set(nodes) == set(slurm_lab.compute_hosts)
    assert all((node.cpus, node.memory_mib) == (16, 65536) for node in nodes.values())


async def test_at_most_eight_connections_are_opened(slurm_lab: Lab) -> None:
    opened = 0

    class Counting(httpx.AsyncHTTPTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            nonlocal opened
            response = await super().handle_async_request(request)
            connections = getattr(self._pool, "connections", [])
            opened = max(opened, len(connections))
            return response

    transport = Counting(limits=httpx.Limits(max_connections=8, max_keepalive_connections=8))
    async with AsyncClient(slurm_lab.slurmrestd_url, key(slurm_lab), transport=transport) as slurm:
        await slurm.job_states()
        await asyncio.gather(*(slurm.job_states() for _ in range(100)))
    assert 1 <= opened <= 8


def test_the_sync_client_against_real_slurm(slurm_lab: Lab) -> None:
    with Client(slurm_lab.slurmrestd_url, key(slurm_lab)) as slurm:
        submitted = slurm.submit(describe(LONG, hold=True, name="sync"), operation_key="sync-client-1")
        (job,) = slurm.job(submitted.job_id)
        assert (job.name, job.state) == ("sync", "PENDING")
        found = slurm.find_operation("sync-client-1", since=datetime.now(UTC))
        assert found is not None
        assert found.job_id == submitted.job_id
        slurm.cancel(submitted.job_id)
        assert slurm.job(submitted.job_id)[0].state == "CANCELLED"
