"""Lost answers, in a small world: a job table, accounting, and a wire that breaks where it is told to."""

import json
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from slurmrest import (
    AsyncClient,
    ConnectionLost,
    HS256Key,
    InvalidRequest,
    JobDescription,
    StaticToken,
    SubmissionUncertain,
    TimedOut,
)

JOB = JobDescription(script="#!/bin/sh\ntrue\n", name="sweep", working_directory="/home/ada", comment="mine")
KEY = "key-0123456789"
NOW = datetime.now(UTC)


@dataclass
class SmallSlurm:
    """Accepts submissions, and loses the answer (or the request) as often as told."""

    controller: dict[int, dict[str, object]] = field(default_factory=dict[int, dict[str, object]])
    accounting: list[dict[str, object]] = field(default_factory=list[dict[str, object]])
    lose_answers: int = 0
    lose_requests: int = 0
    submissions: int = 0
    dumps: int = 0
    details: int = 0
    has_accounting: bool = True
    accounting_answers: bool = True

    def __call__(self, request: httpx.Request) -> httpx.Response:
        family, _, rest = request.url.path[1:].partition("/")
        rest = rest.partition("/")[2]
        if family == "openapi":
            return httpx.Response(200, text='{"openapi": "3", "paths": {"\\/slurm\\/v0.0.45\\/jobs\\/": 1}}')
        if family == "slurmdb":
            return self._accounting()
        if request.method == "POST":
            return self._submit(json.loads(request.content)["job"])
        return self._read(rest)

    def _read(self, rest: str) -> httpx.Response:
        if rest == "jobs/state/":
            states = [{"job_id": str(number), "state": ["RUNNING"]} for number in self.controller]
            return httpx.Response(200, json={"jobs": states, "errors": []})
        if rest == "jobs/":
            self.dumps += 1
            return httpx.Response(200, json={"jobs": list(self.controller.values()), "errors": []})
        self.details += 1
        job = self.controller.get(int(rest.removeprefix("job/")))
        if job is None:
            return httpx.Response(404, json={"jobs": [], "errors": [{"error_number": 2017, "error": "Invalid job id"}]})
        return httpx.Response(200, json={"jobs": [job], "errors": []})

    def add(self, extra: str = "", *, age: timedelta = timedelta(), **fields: object) -> int:
        number = max(self.controller, default=0) + 1
        submitted = {"set": True, "infinite": False, "number": int((NOW - age).timestamp())}
        self.controller[number] = {"job_id": number, "name": "x", "extra": extra, "submit_time": submitted, **fields}
        return number

    def finish(self, number: int, *, keeps_extra: bool = True) -> None:
        job = self.controller.pop(number)
        seconds = int(NOW.timestamp())
        self.accounting.append(
            {
                "job_id": number,
                "name": job["name"],
                "extra": job["extra"] if keeps_extra else "",
                "state": {"current": ["COMPLETED"]},
                "time": {"submission": seconds, "start": seconds, "end": seconds},
            }
        )

    def _submit(self, job: dict[str, object]) -> httpx.Response:
        self.submissions += 1
        if self.lose_requests:
            self.lose_requests -= 1
            raise httpx.ReadTimeout("lost on the way in")
        number = self.add(str(job.get("extra", "")), comment=job.get("comment", ""))
        if self.lose_answers:
            self.lose_answers -= 1
            raise httpx.RemoteProtocolError("lost on the way out")
        return httpx.Response(200, json={"job_id": number, "errors": []})

    def _accounting(self) -> httpx.Response:
        if not self.has_accounting:
            return httpx.Response(404, text="Unable to find requested URL endpoint.")
        if not self.accounting_answers:
            return httpx.Response(502, json={"errors": [{"error_number": 7000, "error": "Unable to connect"}]})
        return httpx.Response(200, json={"jobs": self.accounting, "errors": []})


@pytest.fixture
def world() -> SmallSlurm:
    return SmallSlurm()


def client(world: SmallSlurm, *, lifespan_s: int = 120, key_in: str = "extra") -> AsyncClient:
    provider = HS256Key(b"k" * 32, user="ada", submission_lifespan_s=lifespan_s)
    return AsyncClient("http://slurm", provider, operation_key_in=key_in, transport=httpx.MockTransport(world))


async def test_a_lost_answer_is_found_and_nothing_is_sent_again(world: SmallSlurm) -> None:
    world.lose_answers = 1
    submitted = await client(world).submit(JOB, operation_key=KEY)
    assert (submitted.job_id, submitted.found, submitted.operation_key) == (1, True, KEY)
    assert world.submissions == 1


async def test_a_lost_answer_of_a_job_that_has_ended_is_found_in_accounting(world: SmallSlurm) -> None:
    number = world.add(f"operation-key:{KEY}")
    world.finish(number)
    found = await client(world).find_operation(KEY, since=NOW)
    assert found is not None
    assert (found.job_id, found.source, found.states) == (number, "slurmdb", ("COMPLETED",))


async def test_while_a_request_may_still_come_the_job_is_not_sent_again(world: SmallSlurm) -> None:
    world.lose_requests = 1
    before = time.time()
    with pytest.raises(SubmissionUncertain) as raised:
        await client(world, lifespan_s=120).submit(JOB, operation_key=KEY, settle_s=0.2)
    assert raised.value.operation_key == KEY
    assert raised.value.certain_after is not None
    assert raised.value.certain_after.timestamp() >= before + 120
    assert (world.submissions, world.controller) == (1, {})


async def test_when_the_request_can_no_longer_come_the_job_is_sent_again_once(world: SmallSlurm) -> None:
    world.lose_requests = 1
    submitted = await client(world, lifespan_s=-100).submit(JOB, operation_key=KEY)
    assert (submitted.job_id, submitted.found, world.submissions) == (1, False, 2)


async def test_after_two_losses_that_left_nothing_the_error_says_that_nothing_happened(world: SmallSlurm) -> None:
    world.lose_requests = 5
    with pytest.raises(TimedOut) as raised:
        await client(world, lifespan_s=-100).submit(JOB, operation_key=KEY)
    assert (raised.value.effect_unknown, world.submissions, world.controller) == (False, 2, {})


async def test_a_token_that_does_not_say_its_end_never_makes_it_certain(world: SmallSlurm) -> None:
    world.lose_requests = 1
    opaque = AsyncClient("http://slurm", StaticToken("opaque"), transport=httpx.MockTransport(world))
    with pytest.raises(SubmissionUncertain) as raised:
        await opaque.submit(JOB, operation_key=KEY, settle_s=0.2)
    assert raised.value.certain_after is None


async def test_without_a_key_a_lost_answer_is_only_said(world: SmallSlurm) -> None:
    world.lose_answers = 1
    with pytest.raises(ConnectionLost) as raised:
        await client(world).submit(JOB)
    assert (raised.value.effect_unknown, world.submissions) == (True, 1)


async def test_silent_accounting_is_not_a_no(world: SmallSlurm) -> None:
    world.lose_requests, world.accounting_answers = 1, False
    with pytest.raises(SubmissionUncertain):
        await client(world, lifespan_s=-100).submit(JOB, operation_key=KEY, settle_s=0.2)
    assert world.submissions == 1


async def test_a_cluster_without_accounting_is_believed(world: SmallSlurm) -> None:
    world.has_accounting = False
    assert await client(world).find_operation(KEY, since=NOW) is None


async def test_accounting_that_keeps_no_extra_cannot_say_no(world: SmallSlurm) -> None:
    world.finish(world.add(f"operation-key:{KEY}"), keeps_extra=False)
    with pytest.raises(SubmissionUncertain, match="AccountingStoreFlags"):
        await client(world).find_operation(KEY, since=NOW)


async def test_accounting_that_keeps_extra_can(world: SmallSlurm) -> None:
    world.finish(world.add(""))
    world.finish(world.add("operation-key:another-key"))
    assert await client(world).find_operation(KEY, since=NOW) is None


@pytest.fixture
def busy(world: SmallSlurm) -> SmallSlurm:
    for _ in range(300):
        world.add(age=timedelta(hours=1))
    return world


async def test_in_a_busy_cluster_the_newest_jobs_are_looked_at_first(busy: SmallSlurm) -> None:
    number = busy.add(f"operation-key:{KEY}")
    for _ in range(20):
        busy.add()
    found = await client(busy).find_operation(KEY, since=NOW)
    assert found is not None
    assert (found.job_id, busy.dumps) == (number, 0)


async def test_in_a_busy_cluster_a_no_does_not_cost_a_dump(busy: SmallSlurm) -> None:
    busy.accounting.append({"job_id": 1, "extra": "operation-key:another-key"})
    assert await client(busy).find_operation(KEY, since=NOW) is None
    assert (busy.dumps, busy.details) == (0, 8)


async def test_starting_tasks_of_an_old_array_do_not_end_the_walk(busy: SmallSlurm) -> None:
    number = busy.add(f"operation-key:{KEY}")
    array = {"set": True, "infinite": False, "number": 1}
    tasks = [busy.add(age=timedelta(hours=1), array_job_id=array) for _ in range(20)]

    def swept(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/state/"):
            ids = [f"{job}_{job}" if job in tasks else str(job) for job in busy.controller]
            return httpx.Response(200, json={"jobs": [{"job_id": job, "state": []} for job in ids], "errors": []})
        return busy(request)

    slurm = AsyncClient("http://slurm", StaticToken("t"), transport=httpx.MockTransport(swept))
    found = await slurm.find_operation(KEY, since=NOW)
    assert found is not None
    assert found.job_id == number


async def test_a_far_newer_crowd_falls_back_to_the_dump(busy: SmallSlurm) -> None:
    number = busy.add(f"operation-key:{KEY}")
    for _ in range(150):
        busy.add()
    found = await client(busy).find_operation(KEY, since=NOW)
    assert found is not None
    assert (found.job_id, busy.dumps) == (number, 1)


async def test_the_key_in_the_comment_is_found_and_the_comment_kept(world: SmallSlurm) -> None:
    slurm = client(world, key_in="comment")
    await slurm.submit(JOB, operation_key=KEY)
    (job,) = await slurm.job(1)
    assert (job.operation_key, job.comment) == (KEY, f"mine operation-key:{KEY}")
    assert await slurm.find_operation(KEY, since=NOW) is not None


@pytest.mark.parametrize(
    "key", ["", "short", "with space in it", "a" * 65, "-begins-badly", "comma,in,key", "ümlaut-key"]
)
async def test_what_is_no_key_is_refused(world: SmallSlurm, key: str) -> None:
    with pytest.raises(InvalidRequest) as raised:
        await client(world).submit(JOB, operation_key=key)
    assert (raised.value.code, world.submissions) == ("operation_key_invalid", 0)
