"""The routes of runs: shapes on the wire, refusals by name, streams."""

import asyncio
import json
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Request

from headrace_server.identity import Person, current_person
from headrace_server.kernel import Database, SteppedClock, problems
from headrace_server.runs import api
from headrace_server.runs.body import BODY_BYTES
from small_world import SmallWorld


@pytest.fixture
async def database(tmp_path: Path, clock: SteppedClock) -> AsyncGenerator[Database]:
    """SQLite alone: what differs between the databases is tested below the HTTP edge."""
    database = Database(f"sqlite:///{tmp_path}/headrace.sqlite", clock)
    await database.migrate()
    yield database
    await database.close()


@pytest.fixture
def world(database: Database, clock: SteppedClock) -> SmallWorld:
    return SmallWorld(database, clock)


@pytest.fixture
async def client(world: SmallWorld) -> AsyncGenerator[httpx.AsyncClient]:
    app = FastAPI()
    app.state.runs = world.runs
    problems.install(app, lambda _request, problem: problems.answer(problem))
    app.include_router(api.router, prefix="/api/v1")

    def person(request: Request) -> Person:
        return Person(request.headers.get("x-test-user", "ada"), "user")

    app.dependency_overrides[current_person] = person
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://test/api/v1") as client:
        yield client


WISH = {"command": ["true"], "wait_s": 0}


async def test_a_run_is_made_shown_listed_and_cancelled(client: httpx.AsyncClient) -> None:
    made = await client.post("/runs", json=WISH)
    assert made.status_code == 201, made.text
    run = made.json()
    assert (run["user"], run["state"], run["moments"]["submitted_at"]) == ("ada", "submitting", None)
    assert (await client.get(f"/runs/{run['id']}")).json()["id"] == run["id"]
    assert (await client.get("/runs", params={"state": "submitting"})).json()["items"][0]["id"] == run["id"]
    assert (await client.get("/runs", params={"state": "running"})).json() == {"items": [], "next": None}
    script = await client.get(f"/runs/{run['id']}/script")
    assert script.text == "#!/bin/bash\nexec true\n"
    assert script.headers["content-type"].startswith("text/plain")
    assert (await client.post(f"/runs/{run['id']}/cancel")).json()["state"] == "cancelled"
    again = await client.post(f"/runs/{run['id']}/cancel")
    assert (again.status_code, again.json()["code"]) == (409, "run-ended")


@pytest.mark.parametrize(
    ("body", "code", "field"),
    [
        ({**WISH, "options": {"tiem_limit": 3}}, "unknown-option", "options.tiem_limit"),
        ({**WISH, "nope": 1}, "unknown-field", "nope"),
        ({**WISH, "options": {"time_limit": "0"}}, "time-limit-invalid", "options.time_limit"),
        ({**WISH, "options": {"time_limit": -1}}, "time-limit-invalid", "options.time_limit"),
        ({**WISH, "options": {"time_limit": "1000000000-0"}}, "time-limit-invalid", "options.time_limit"),
        ({**WISH, "options": {"array": "0-4000001"}}, "array-too-large", "options.array"),
        ({**WISH, "options": {"tasks": 10**30}}, "option-invalid", "options.tasks"),
        ({**WISH, "door": "window"}, "invalid", "door"),
        ({**WISH, "name": "a\nb"}, "name-invalid", "name"),
        ({"script": "#!/bin/bash\r\ntrue\r\n"}, "script-crlf", "script"),
        ({"script": "#!/bin/bash\n\u0000\n"}, "script-nul", "script"),
        ({"script": "#!/bin/bash\n" + "#" * 4 * 2**20}, "script-too-large", "script"),
        ({}, "nothing-to-run", "command"),
        ({"command": "rm -rf /"}, "invalid", "command"),
        ([], "invalid", None),
    ],
)
async def test_bad_wishes_are_refused_whole(
    client: httpx.AsyncClient, world: SmallWorld, body: object, code: str, field: str | None
) -> None:
    answer = await client.post("/runs", json=body)
    assert answer.status_code == 422, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert (problem["code"], problem.get("field")) == (code, field)
    assert problem["detail"]
    assert (await client.get("/runs")).json()["items"] == []
    await world.submit_due()
    assert world.slurm.jobs == {}


@pytest.mark.parametrize(
    "raw",
    [b"", b"{", b"\xff\xfe", b'{"command": ["\\ud800"]}', b"[" * 100_000, b'{"begun_ms_ago": 1e309}', b"null",
     b'{"command": ["a"], "wait_s": NaN}', b'{"command": ["a"], "begun_ms_ago": -99999999999999999999}'],
)  # fmt: skip
async def test_broken_json_is_never_our_fault(client: httpx.AsyncClient, raw: bytes) -> None:
    answer = await client.post("/runs", content=raw, headers={"content-type": "application/json"})
    assert answer.status_code in {201, 400, 422}, answer.text


async def test_a_body_that_is_too_large_is_refused_before_it_is_read(client: httpx.AsyncClient) -> None:
    headers = {"content-type": "application/json", "content-length": str(BODY_BYTES + 1)}
    answer = await client.post("/runs", content=b"x", headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (422, "body-too-large")

    async def endless() -> AsyncGenerator[bytes]:
        while True:
            yield b"x" * 2**20

    answer = await client.post("/runs", content=endless(), headers={"content-type": "application/json"})
    assert (answer.status_code, answer.json()["code"]) == (422, "body-too-large")


async def test_the_same_key_answers_with_the_same_run(client: httpx.AsyncClient) -> None:
    headers = {"Idempotency-Key": "k"}
    first = await client.post("/runs", json=WISH, headers=headers)
    second = await client.post("/runs", json=WISH, headers=headers)
    assert first.json()["id"] == second.json()["id"]
    other = await client.post("/runs", json={"command": ["false"], "wait_s": 0}, headers=headers)
    assert (other.status_code, other.json()["code"]) == (409, "idempotency-key-reused")
    bad = await client.post("/runs", json=WISH, headers={"Idempotency-Key": "x" * 300})
    assert bad.json()["code"] == "idempotency-key-invalid"


async def test_another_persons_run_is_nowhere(client: httpx.AsyncClient) -> None:
    run = (await client.post("/runs", json=WISH)).json()["id"]
    theirs = {"x-test-user": "bo"}
    for path in ("", "/script", "/log", "/log/stream", "/events"):
        answer = await client.get(f"/runs/{run}{path}", headers=theirs)
        assert (answer.status_code, answer.json()["code"]) == (404, "no-such-run"), path
    assert (await client.post(f"/runs/{run}/cancel", headers=theirs)).status_code == 404


@pytest.mark.parametrize("cursor", ["", "x", "eA", "%00", "MjAyNi0wMS0wMSBhYQ", "9" * 1000])
async def test_a_cursor_that_nobody_gave_out_is_refused(client: httpx.AsyncClient, cursor: str) -> None:
    answer = await client.get("/runs", params={"cursor": cursor})
    assert (answer.status_code, answer.json()["code"]) == (422, "cursor-invalid")


async def test_a_stream_of_a_log_can_be_resumed(client: httpx.AsyncClient, world: SmallWorld) -> None:
    run_id = (await client.post("/runs", json=WISH)).json()["id"]
    await world.submit_due()
    run = (await client.get(f"/runs/{run_id}")).json()
    world.files.files["ada", run["standard_output"]] = b"one\nevent: end\ndata: forged\n\ntwo\n"
    world.ended(run["job_id"], ("COMPLETED",))
    await world.follow()
    whole = events(await client.get(f"/runs/{run_id}/log/stream"))
    assert [name for name, _, _ in whole] == ["log", "end"]
    assert whole[0][2]["data"] == "one\nevent: end\ndata: forged\n\ntwo\n"
    rest = events(await client.get(f"/runs/{run_id}/log/stream", headers={"Last-Event-ID": "4"}))
    assert rest[0][2]["data"].startswith("event: end")
    assert rest[-1][1] == whole[-1][1]


async def test_a_stream_of_a_run_ends_with_the_run(client: httpx.AsyncClient, world: SmallWorld) -> None:
    run_id = (await client.post("/runs", json=WISH)).json()["id"]
    await world.submit_due()
    (job_id,) = world.slurm.jobs
    reading = asyncio.create_task(client.get(f"/runs/{run_id}/events"))
    world.ended(job_id, ("FAILED",), 3)
    await world.follow()
    heard = events(await asyncio.wait_for(reading, 20))
    assert heard[-1][0] == "end"
    assert heard[-2][2]["state"] == "failed"
    assert heard[-2][2]["exit_code"] == 3


async def test_presets_are_listed(client: httpx.AsyncClient) -> None:
    assert [one["name"] for one in (await client.get("/presets")).json()] == ["command", "mpi", "sweep"]


def events(answer: httpx.Response) -> list[tuple[str, str | None, dict[str, Any]]]:
    assert answer.headers["content-type"].startswith("text/event-stream")
    found: list[tuple[str, str | None, dict[str, Any]]] = []
    for block in answer.text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        if fields:
            found.append((fields["event"], fields.get("id"), json.loads(fields["data"])))
    return found
