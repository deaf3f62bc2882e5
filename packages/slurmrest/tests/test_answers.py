"""What slurmrestd answers and what it means. Bodies are as the daemons of 24.11 and 26.05 were seen to send them."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime

import httpx
import pytest

from slurmrest import (
    AlreadyFinished,
    AsyncClient,
    AuthenticationFailed,
    Client,
    ConnectionLost,
    ControllerUnavailable,
    HS256Key,
    InvalidRequest,
    JobDescription,
    JobNotFound,
    PermissionDenied,
    ProtocolError,
    SlurmdbUnavailable,
    SlurmError,
    StaticToken,
    TimedOut,
    TokenCallback,
    TokenExpired,
    UnknownParameter,
    Unreachable,
    UnsupportedVersion,
    UserNotFound,
)

Handler = Callable[[httpx.Request], httpx.Response]
JOB = JobDescription(script="#!/bin/sh\ntrue\n", working_directory="/home/ada")
NO_SUCH_URL = {
    "26.05": "Unable to find requested URL endpoint. Please query the '/openapi/v3' endpoint or visit …",
    "24.11": "Unable find requested URL. Please view /openapi/v3 for API reference.",
}


def slurm(handler: Handler, *, version: str | None = "v0.0.45", **settings: object) -> AsyncClient:
    return AsyncClient(
        "http://slurm:6820",
        StaticToken("good"),
        version=version,
        transport=httpx.MockTransport(handler),
        **settings,  # pyright: ignore[reportArgumentType]
    )


def says(status: int, body: object) -> Handler:
    if isinstance(body, str):
        return lambda _: httpx.Response(status, text=body)
    return lambda _: httpx.Response(status, json=body)


def error(
    number: int, text: str = "text", *, source: str = "", description: str = "what happened"
) -> dict[str, object]:
    item = {"description": description, "error_number": number, "error": text, "source": source}
    return {"errors": [item], "warnings": []}


async def test_nothing_changed_is_not_nothing_there() -> None:
    now = datetime(2026, 11, 21, tzinfo=UTC)
    unset: dict[str, object] = {"set": True, "infinite": False, "number": 0}
    empty = {"jobs": (), "last_update": unset, "last_backfill": unset, "errors": (), "warnings": ()}
    jobs = await slurm(says(200, empty)).jobs(update_time=now)
    assert (jobs.unchanged, jobs.last_update) == (True, now)
    assert (await slurm(says(304, "")).nodes(update_time=now)).unchanged
    assert (await slurm(says(304, "")).partitions(update_time=now)).unchanged


async def test_an_empty_cluster_is_empty() -> None:
    empty = {"jobs": (), "last_update": {"set": True, "infinite": False, "number": 1795248000}, "errors": ()}
    jobs = await slurm(says(200, empty)).jobs()
    assert (jobs.unchanged, jobs.jobs) == (False, ())


async def test_the_three_states_of_numbers_and_words_nobody_knew() -> None:
    record = {
        "job_id": 7,
        "name": "x",
        "job_state": ["HIBERNATING", "COMPLETING"],
        "time_limit": {"set": False, "infinite": True, "number": 0},
        "priority": {"set": False, "infinite": False, "number": 0},
        "node_count": {"set": True, "infinite": False, "number": 2},
        "end_time": {"set": True, "infinite": False, "number": 0},
        "array_job_id": {"set": True, "infinite": False, "number": 0},
        "array_task_id": {"set": False, "infinite": False, "number": 0},
        "flags": "",
        "something_new": {"deep": [1]},
    }
    (job,) = await slurm(says(200, {"jobs": [record], "errors": []})).job(7)
    assert job.states == ("HIBERNATING", "COMPLETING")
    assert (job.time_limit_min, job.priority, job.node_count) == (float("inf"), None, 2)
    assert (job.end_time, job.array_job_id, job.array_task_id, job.flags) == (None, None, None, ())
    assert (job.key, job.finished) == ("7", False)


async def test_a_sweep_joins_with_a_dump_by_record() -> None:
    def state(job_id: str, *states: str) -> dict[str, object]:
        return {"job_id": job_id, "state": list(states)}

    answer = [
        state("105_1", "RUNNING"),
        state("100_2", "PENDING"),
        state("100_3", "PENDING"),
        state("200+1", "RUNNING"),
    ]
    swept = await slurm(says(200, {"jobs": [*answer, state("7", "COMPLETED")], "errors": []})).job_states()
    assert swept.states == {105: ("RUNNING",), 100: ("PENDING",), 200: ("RUNNING",), 7: ("COMPLETED",)}
    assert swept.array_tasks == {105: (1,), 100: (2, 3)}


async def test_an_array_is_always_answered_whole() -> None:
    def task(job_id: int, **fields: object) -> dict[str, object]:
        array = {"set": True, "infinite": False, "number": 100}
        return {"job_id": job_id, "name": "a", "array_job_id": array, **fields}

    body = {
        "jobs": [
            task(100, array_task_string="2-5%2", array_task_id={"set": False, "infinite": False, "number": 0}),
            task(105, array_task_id={"set": True, "infinite": False, "number": 1}),
        ],
        "errors": [],
        "warnings": [{"description": "Job array Ids are not currently supported for job searches."}],
    }
    client = slurm(says(200, body))
    assert [job.key for job in await client.job("100_1")] == ["100_1"]
    assert [job.key for job in await client.job("100_4")] == ["100_[2-5%2]"]
    with pytest.raises(JobNotFound):
        await client.job("100_9")


@pytest.mark.parametrize(
    ("status", "body", "kind", "code"),
    [
        (404, error(2017), JobNotFound, "job_not_found"),
        (511, error(1007), AuthenticationFailed, "authentication_failed"),
        (401, "Authentication failure", AuthenticationFailed, "authentication_failed"),
        (500, error(-1), ControllerUnavailable, "controller_unavailable"),
        (502, error(1800), ControllerUnavailable, "controller_unavailable"),
        (504, error(5004), ControllerUnavailable, "controller_unavailable"),
        (500, error(104), ControllerUnavailable, "controller_unavailable"),
        (200, error(0, "No error"), SlurmError, "slurm_error"),
        (200, error(4242), SlurmError, "slurm_error"),
        (500, "Unspecified error", ProtocolError, "protocol_error"),
        (200, "<html>hello</html>", ProtocolError, "protocol_error"),
        (200, "", ProtocolError, "protocol_error"),
        (200, '{"jobs": [', ProtocolError, "protocol_error"),
        (200, "[]", ProtocolError, "protocol_error"),
        (200, {"jobs": "many", "errors": []}, ProtocolError, "protocol_error"),
        (200, b"\xff\xfe".decode("latin-1"), ProtocolError, "protocol_error"),
    ],
)
async def test_the_envelope_decides_not_the_status(
    status: int, body: object, kind: type[SlurmError], code: str
) -> None:
    with pytest.raises(kind) as raised:
        await slurm(says(status, body)).jobs()
    assert raised.value.code == code
    assert str(raised.value).endswith(".")


async def test_slurms_own_number_and_text_are_kept() -> None:
    with pytest.raises(SlurmError) as raised:
        await slurm(says(500, error(4242, "Odd thing", description="while looking"))).jobs()
    assert (raised.value.errno, raised.value.slurm_text, raised.value.description) == (
        4242,
        "Odd thing",
        "while looking",
    )
    assert str(raised.value) == "Odd thing (while looking)."


async def test_an_ignored_parameter_is_an_error_in_the_program() -> None:
    warning = {"description": 'Ignoring unknown field "bogus" of type string in X', "source": "#/bogus/"}
    with pytest.raises(UnknownParameter, match="bogus"):
        await slurm(says(200, {"jobs": [], "errors": [], "warnings": [warning]})).jobs()


@pytest.mark.parametrize("said", NO_SUCH_URL.values(), ids=NO_SUCH_URL.keys())
async def test_the_highest_common_version_is_found_and_kept(said: str) -> None:
    asked: list[str] = []

    def old_daemon(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.path)
        if request.url.path == "/openapi/v3":
            return httpx.Response(
                200,
                text='{"openapi": "3.0", "paths": {"\\/slurm\\/v0.0.41\\/x": 1, "\\/slurm\\/v0.0.42\\/jobs\\/": 1}}',
            )
        if "v0.0.42" in request.url.path:
            return httpx.Response(200, json={"jobs": [], "errors": []})
        return httpx.Response(404, text=said)

    client = slurm(old_daemon, version=None)
    await client.jobs()
    await client.jobs()
    assert asked == ["/slurm/v0.0.45/jobs/", "/openapi/v3", "/slurm/v0.0.42/jobs/", "/slurm/v0.0.42/jobs/"]
    assert await client.api_version() == "v0.0.42"


async def test_many_requests_at_once_negotiate_once() -> None:
    documents = 0

    async def old_daemon(request: httpx.Request) -> httpx.Response:
        nonlocal documents
        await asyncio.sleep(0)
        if request.url.path == "/openapi/v3":
            documents += 1
            return httpx.Response(200, text='{"openapi": "3.0", "paths": {"\\/slurm\\/v0.0.42\\/jobs\\/": 1}}')
        if "v0.0.42" in request.url.path:
            return httpx.Response(200, json={"jobs": [], "errors": []})
        return httpx.Response(404, text=NO_SUCH_URL["24.11"])

    client = AsyncClient("http://slurm", StaticToken("t"), transport=httpx.MockTransport(old_daemon))
    await asyncio.gather(*(client.jobs() for _ in range(50)))
    assert documents == 1


async def test_a_daemon_that_was_upgraded_is_asked_again_even_for_a_submission() -> None:
    posts: list[str] = []

    def new_daemon(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/openapi/v3":
            return httpx.Response(200, text='{"openapi": "3", "paths": {"\\/slurm\\/v0.0.44\\/jobs\\/": 1}}')
        posts.append(request.url.path)
        if "v0.0.44" in request.url.path:
            return httpx.Response(200, json={"job_id": 9, "errors": []})
        return httpx.Response(404, text=NO_SUCH_URL["26.05"])

    client = slurm(new_daemon, version=None)
    assert (await client.submit(JOB)).job_id == 9
    assert posts == ["/slurm/v0.0.45/job/submit", "/slurm/v0.0.44/job/submit"]


async def test_no_version_in_common_is_said() -> None:
    def future(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/openapi/v3":
            return httpx.Response(200, text='{"openapi": "3", "paths": {"\\/slurm\\/v0.0.99\\/jobs\\/": 1}}')
        return httpx.Response(404, text=NO_SUCH_URL["26.05"])

    with pytest.raises(UnsupportedVersion):
        await slurm(future, version=None).jobs()


async def test_a_cluster_without_accounting_says_so() -> None:
    def without(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/openapi/v3":
            return httpx.Response(200, text='{"openapi": "3", "paths": {"\\/slurm\\/v0.0.45\\/jobs\\/": 1}}')
        return httpx.Response(404, text=NO_SUCH_URL["26.05"])

    with pytest.raises(SlurmdbUnavailable) as raised:
        await slurm(without).history()
    assert raised.value.code == "no_accounting"


async def test_a_refused_token_is_renewed_once() -> None:
    tokens = iter(["old", "new", "newer"])
    seen: list[str] = []

    def handler(request: httpx.Request) -> httpx.Response:
        seen.append(request.headers["X-SLURM-USER-TOKEN"])
        if seen[-1] == "old":
            return httpx.Response(511, json=error(1007))
        return httpx.Response(200, json={"job_id": 3, "errors": []})

    client = AsyncClient(
        "http://slurm", TokenCallback(lambda: next(tokens)), version="v0.0.45", transport=httpx.MockTransport(handler)
    )
    assert (await client.submit(JOB)).job_id == 3
    assert seen == ["old", "new"]


async def test_an_expired_token_is_told_from_a_wrong_one() -> None:
    expired = StaticToken(HS256Key(b"k", user="ada", lifespan_s=-100).token())
    client = AsyncClient(
        "http://slurm", expired, version="v0.0.45", transport=httpx.MockTransport(says(511, error(1007)))
    )
    with pytest.raises(TokenExpired):
        await client.jobs()


@pytest.mark.parametrize(
    "ping",
    [
        {"hostname": "c", "responding": False, "primary": True, "status": "Protocol authentication error"},
        {"hostname": "c", "pinged": "DOWN", "responding": False, "mode": "primary", "primary": True},
    ],
    ids=["v0.0.45", "v0.0.42"],
)
async def test_ping_does_not_pass_off_a_bad_token_as_a_controller_that_is_down(ping: dict[str, object]) -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/ping/"):
            return httpx.Response(200, json={"pings": [ping], "errors": []})
        return httpx.Response(511, json=error(1007))

    with pytest.raises(AuthenticationFailed):
        await slurm(handler).ping()


async def test_ping_reports_a_controller_that_is_down() -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/ping/"):
            down = {"hostname": "c", "pinged": "DOWN", "responding": False, "mode": "primary", "latency": 5}
            return httpx.Response(200, json={"pings": [down], "errors": []})
        return httpx.Response(502, json=error(1800))

    (ping,) = await slurm(handler).ping()
    assert (ping.responding, ping.primary, ping.latency_us, ping.status) == (False, True, None, "DOWN")


async def test_slurmdb_does_not_pass_off_a_bad_token_as_a_database_that_is_down() -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        if request.url.path.startswith("/slurmdb/"):
            return httpx.Response(502, json=error(7000, description="Failed to open slurmdbd connection"))
        return httpx.Response(511, json=error(1007))

    with pytest.raises(AuthenticationFailed):
        await slurm(handler).history(users=["ada"])


def cancelled(*failed: tuple[int, int], status: int = 200) -> dict[str, object]:
    items = [
        {"error": {"code": code, "message": "m"}, "step_id": str(job), "job_id": {"set": True, "number": job}}
        for job, code in failed
    ]
    return {"status": items, "errors": [], "warnings": []}


@pytest.mark.parametrize(("code", "kind"), [(2017, JobNotFound), (2002, PermissionDenied)])
async def test_what_was_not_cancelled_stands_in_status(code: int, kind: type[SlurmError]) -> None:
    with pytest.raises(kind) as raised:
        await slurm(says(200, cancelled((5, code)))).cancel(5)
    assert raised.value.errno == code


@pytest.mark.parametrize(("ended", "all_ended"), [((5, 6), True), ((6,), False)])
async def test_cancelling_the_rest_of_an_array_is_a_success(ended: tuple[int, ...], *, all_ended: bool) -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        if request.method == "DELETE":
            return httpx.Response(200, json=cancelled(*((job, 2021) for job in ended)))
        return httpx.Response(200, json={"jobs": [{"job_id": 5}, {"job_id": 6}], "errors": []})

    if all_ended:
        with pytest.raises(AlreadyFinished):
            await slurm(handler).cancel(5)
    else:
        await slurm(handler).cancel(5)


@pytest.mark.parametrize(("status", "number"), [(403, 1), (500, -1), (504, 5004)])
async def test_a_cancellation_without_a_controller_is_unknown_not_forbidden(status: int, number: int) -> None:
    with pytest.raises(TimedOut) as raised:
        await slurm(says(status, error(number, "Operation not permitted", source="slurm_kill_jobs()"))).cancel(5)
    assert (raised.value.code, raised.value.effect_unknown) == ("controller_lost", True)


async def test_a_job_submitted_without_a_part_of_it_is_withdrawn() -> None:
    deleted: list[str] = []

    def handler(request: httpx.Request) -> httpx.Response:
        if request.method == "DELETE":
            deleted.append(request.url.path)
            return httpx.Response(200, json=cancelled())
        return httpx.Response(500, json={"job_id": 26} | error(9207, 'Unknown flag "BLA"'))

    with pytest.raises(InvalidRequest) as raised:
        await slurm(handler).submit(JOB)
    assert raised.value.errno == 9207
    assert deleted == ["/slurm/v0.0.45/job/26"]


async def test_a_refusal_by_the_sites_own_rules() -> None:
    body = error(-1, "Unspecified error", source="slurm_submit_batch_job()", description="Batch job submission failed")
    with pytest.raises(InvalidRequest) as raised:
        await slurm(says(500, body)).submit(JOB)
    assert raised.value.code == "refused_by_site"


async def test_an_unknown_user_is_not_blamed_on_the_account() -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        if request.method == "POST":
            return httpx.Response(500, json=error(2045))
        assert request.url.path == "/slurmdb/v0.0.42/user/nosuch"
        return httpx.Response(200, json={"users": [], "errors": [], "warnings": [{"description": "found nothing"}]})

    client = AsyncClient(
        "http://slurm", StaticToken("t", user="nosuch"), version="v0.0.42", transport=httpx.MockTransport(handler)
    )
    with pytest.raises(UserNotFound) as raised:
        await client.submit(JOB)
    assert raised.value.errno == 2045


class Breaking:
    """A slurmrestd whose connections break: the first request raises, the later ones are answered."""

    def __init__(self, breaks: Exception, *, times: int = 1) -> None:
        self.breaks, self.times, self.requests = breaks, times, 0

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests += 1
        if self.requests <= self.times:
            raise self.breaks
        return httpx.Response(200, json={"jobs": [], "job_id": 1, "errors": []})


async def test_a_plain_get_on_a_torn_connection_is_sent_once_more() -> None:
    torn = Breaking(httpx.RemoteProtocolError("Server disconnected without sending a response."))
    await slurm(torn).jobs()
    assert torn.requests == 2
    twice = Breaking(httpx.ReadError("reset"), times=2)
    with pytest.raises(ConnectionLost) as raised:
        await slurm(twice).jobs()
    assert (twice.requests, raised.value.effect_unknown) == (2, False)


@pytest.mark.parametrize("call", ["submit", "cancel"])
async def test_what_changes_something_is_never_sent_twice_by_itself(call: str) -> None:
    torn = Breaking(httpx.RemoteProtocolError("Server disconnected without sending a response."))
    client = slurm(torn)
    with pytest.raises(ConnectionLost) as raised:
        await (client.submit(JOB) if call == "submit" else client.cancel(1))
    assert (torn.requests, raised.value.effect_unknown) == (1, True)


async def test_a_refused_connection_had_no_effect() -> None:
    with pytest.raises(Unreachable):
        await slurm(Breaking(httpx.ConnectError("refused"))).submit(JOB)


@pytest.mark.parametrize(("call", "unknown"), [("submit", True), ("jobs", False)])
async def test_a_time_out_says_whether_something_may_have_happened(call: str, *, unknown: bool) -> None:
    client = slurm(Breaking(httpx.ReadTimeout("slow")))
    with pytest.raises(TimedOut) as raised:
        await (client.submit(JOB) if call == "submit" else client.jobs())
    assert raised.value.effect_unknown is unknown


async def test_a_busy_pool_is_a_time_out_without_effect() -> None:
    with pytest.raises(TimedOut) as raised:
        await slurm(Breaking(httpx.PoolTimeout("busy"))).submit(JOB)
    assert (raised.value.code, raised.value.effect_unknown) == ("connections_busy", False)


async def test_views_share_the_connection_and_differ_in_who_asks() -> None:
    seen: list[tuple[str | None, str]] = []

    def handler(request: httpx.Request) -> httpx.Response:
        seen.append((request.headers.get("X-SLURM-USER-NAME"), request.headers["X-SLURM-USER-TOKEN"]))
        return httpx.Response(200, json={"jobs": [], "errors": []})

    async with slurm(handler) as client:
        async with client.acting_as(StaticToken("hers", user="ada")) as ada:
            await ada.jobs()
        await client.jobs()  # closing a view closes nothing
    assert seen == [("ada", "hers"), (None, "good")]


async def test_history_reads_what_slurmdbd_writes() -> None:
    record = {
        "job_id": 5,
        "name": "arr",
        "user": "ada",
        "array": {"job_id": 5, "task_id": {"set": False, "infinite": False, "number": 0}, "task": "0x3F%2"},
        "state": {"current": ["PENDING"], "reason": "None"},
        "time": {"submission": 1795248000, "start": 0, "end": 0, "elapsed": 0, "limit": {"set": True, "number": 60}},
        "tres": {"allocated": [{"type": "energy", "name": "", "id": 3, "count": -2}], "requested": []},
        "nodes": "None assigned",
        "reservation": {"id": 0, "name": ""},
        "comment": {"job": "mine", "administrator": "", "system": ""},
        "steps": [{"step": {"id": "5.batch", "name": "batch"}, "state": ["RUNNING"], "nodes": {"list": ["c1"]}}],
    }
    asked: list[str] = []

    def handler(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.query.decode())
        return httpx.Response(200, json={"jobs": [record], "errors": []})

    (job,) = await slurm(handler).history(users=["ada", "bo"], states=["PENDING"], skip_steps=False)
    assert (job.key, job.array_task_string) == ("5_[0-5%2]", "0-5%2")
    assert (job.start_time, job.end_time, job.elapsed_s, job.nodes, job.state_reason) == (None,) * 5
    assert (job.tres_allocated[0].count, job.comment, job.steps[0].step_id) == (None, "mine", "batch")
    # States are taken at the end of the period: without an end there is no period.
    assert asked[0].startswith("users=ada&users=bo&state=PENDING&end_time=")


def test_the_sync_client_is_the_same() -> None:
    with (
        Client(
            "http://slurm", StaticToken("t"), version="v0.0.45", transport=httpx.MockTransport(says(404, error(2017)))
        ) as client,
        pytest.raises(JobNotFound),
    ):
        client.job(1)


@pytest.mark.parametrize("url", ["slurm:6820", "ftp://slurm", ""])
def test_what_is_no_url_is_refused_at_once(url: str) -> None:
    with pytest.raises(InvalidRequest):
        Client(url, StaticToken("t"))


def test_a_version_nobody_speaks_is_refused_at_once() -> None:
    with pytest.raises(UnsupportedVersion):
        Client("http://slurm", StaticToken("t"), version="v0.0.1")
