from collections.abc import AsyncGenerator
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest
from fastapi import FastAPI, Request

from headrace_server import identity as room
from headrace_server import portal
from headrace_server.identity import CurrentPerson, Identity
from headrace_server.kernel import Database, SteppedClock, problems

BROWSER = {"sec-fetch-site": "same-origin", "accept": "text/html"}


@pytest.fixture
async def database(tmp_path: Path, clock: SteppedClock) -> AsyncGenerator[Database]:
    """SQLite alone: what differs between the databases is tested below the HTTP edge."""
    database = Database(f"sqlite:///{tmp_path}/headrace.sqlite", clock)
    await database.migrate()
    yield database
    await database.close()


@pytest.fixture
async def identity(database: Database, clock: SteppedClock) -> Identity:
    identity = Identity(database, clock)
    await identity.ensure_accounts({"alice": "user", "bob": "user"})
    return identity


@pytest.fixture
def app(identity: Identity) -> FastAPI:
    app = FastAPI()
    app.state.identity = identity
    app.state.settings = SimpleNamespace(base_url="http://headrace.example")
    problems.install(app, portal.error_page)
    portal.install(app)
    app.include_router(room.api_router, prefix="/api/v1")
    app.include_router(room.pages_router)

    @app.post("/api/v1/change")
    async def change(person: CurrentPerson) -> str:
        return person.name

    @app.get("/break")
    async def fail(_: Request) -> None:
        raise RuntimeError("secret detail")

    return app


@pytest.fixture
async def client(app: FastAPI) -> AsyncGenerator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://headrace.example") as client:
        yield client


async def log_in(client: httpx.AsyncClient, identity: Identity, user: str = "alice") -> httpx.Response:
    link = await identity.issue_login_link(user)
    answer = await client.post(f"/login/{link}", headers=BROWSER)
    assert answer.status_code == 303
    return answer


async def test_looking_at_a_link_does_not_use_it_up(client: httpx.AsyncClient, identity: Identity) -> None:
    link = await identity.issue_login_link("alice")
    for _ in range(3):
        page = await client.get(f"/login/{link}")
        assert page.status_code == 200
        assert "set-cookie" not in page.headers
        assert page.headers["referrer-policy"] == "strict-origin"
    answer = await client.post(f"/login/{link}", headers=BROWSER)
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    assert (await client.get("/api/v1/me")).json() == {"user": "alice", "role": "user"}
    again = await client.post(f"/login/{link}", headers=BROWSER)
    assert again.status_code == 409
    assert "login-link-used" in again.text


async def test_the_cookie_is_out_of_reach_of_scripts_and_other_sites(
    client: httpx.AsyncClient, identity: Identity, app: FastAPI
) -> None:
    cookie = (await log_in(client, identity)).headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    assert "Secure" not in cookie

    app.state.settings = SimpleNamespace(base_url="https://headrace.example")
    cookie = (await log_in(client, identity)).headers["set-cookie"]
    assert cookie.startswith("__Host-headrace=hr_")
    assert "Secure" in cookie
    assert "Path=/;" in cookie
    assert "Domain" not in cookie


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"sec-fetch-site": "none"},
        {"sec-fetch-site": "cross-site", "origin": "http://headrace.example"},
        {"origin": "null"},
        {"origin": ""},
        {"origin": "http://evil.example"},
        {"origin": "http://headrace.example.evil.example"},
        {"origin": "http://headrace.example:81"},
        {"origin": "http://["},
    ],
)
async def test_another_site_cannot_use_the_cookie(
    client: httpx.AsyncClient, identity: Identity, headers: dict[str, str]
) -> None:
    await log_in(client, identity)
    answer = await client.post("/api/v1/change", headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (403, "cross-site-request")
    answer = await client.post("/logout", headers=headers)
    assert answer.status_code == 403
    assert (await client.get("/api/v1/me")).status_code == 200


async def test_another_site_cannot_log_a_victim_in_as_somebody_else(
    client: httpx.AsyncClient, identity: Identity
) -> None:
    link = await identity.issue_login_link("bob")
    answer = await client.post(f"/login/{link}", headers={"sec-fetch-site": "cross-site"})
    assert answer.status_code == 403
    assert "set-cookie" not in answer.headers
    assert (await identity.redeem_login_link(link)).name == "bob"


@pytest.mark.parametrize("headers", [{"sec-fetch-site": "same-origin"}, {"origin": "http://headrace.example"}])
async def test_our_own_pages_can(client: httpx.AsyncClient, identity: Identity, headers: dict[str, str]) -> None:
    await log_in(client, identity)
    assert (await client.post("/api/v1/change", headers=headers)).json() == "alice"


async def test_the_command_line_turns_a_link_into_a_token(client: httpx.AsyncClient, identity: Identity) -> None:
    for form in ("http://headrace.example/login/{}", "{}", "  https://x/login/{}/?utm=1#top\n"):
        link = form.format(await identity.issue_login_link("alice"))
        answer = await client.post("/api/v1/login", json={"link": link, "label": "laptop"})
        assert answer.status_code == 200, answer.text
        bearer = {"authorization": f"Bearer {answer.json()['token']}"}
        assert answer.json()["user"] == "alice"
        # No Origin, no Sec-Fetch-Site: a program with a token needs neither.
        assert (await client.post("/api/v1/change", headers=bearer)).json() == "alice"
        assert (await client.post("/api/v1/logout", headers=bearer)).status_code == 204
        assert (await client.get("/api/v1/me", headers=bearer)).json()["code"] == "token-unknown"


@pytest.mark.parametrize("value", ["Bearer", "Bearer ", "Basic YWxpY2U6", "bearer hr_x", "Bearer hr_x y", "alice"])
async def test_a_bad_token_beside_a_good_cookie_is_an_error(
    client: httpx.AsyncClient, identity: Identity, value: str
) -> None:
    await log_in(client, identity)
    answer = await client.get("/api/v1/me", headers={"authorization": value})
    assert (answer.status_code, answer.json()["code"]) == (401, "token-unknown")


async def test_headers_that_claim_a_name_are_ignored(client: httpx.AsyncClient, identity: Identity) -> None:
    claims = {
        "x-remote-user": "bob",
        "remote-user": "bob",
        "x-forwarded-user": "bob",
        "x-slurm-user-name": "bob",
        "x-slurm-user-token": "x",
        "x-forwarded-for": "127.0.0.1",
    }
    assert (await client.get("/api/v1/me", headers=claims)).json()["code"] == "login-required"
    await log_in(client, identity)
    assert (await client.get("/api/v1/me", headers=claims)).json()["user"] == "alice"


async def test_logging_out_ends_the_session_not_just_the_cookie(client: httpx.AsyncClient, identity: Identity) -> None:
    await log_in(client, identity)
    (name, secret), *_ = client.cookies.items()
    answer = await client.post("/logout", headers=BROWSER)
    assert (answer.status_code, answer.headers["location"]) == (303, "/logged-out")
    assert not client.cookies
    client.cookies.set(name, secret)
    assert (await client.get("/api/v1/me")).json()["code"] == "token-unknown"


async def test_a_new_login_ends_the_session_it_replaces(client: httpx.AsyncClient, identity: Identity) -> None:
    await log_in(client, identity, "alice")
    (_, first), *_ = client.cookies.items()
    await log_in(client, identity, "bob")
    assert (await client.get("/api/v1/me")).json()["user"] == "bob"
    answer = await client.get("/api/v1/me", headers={"authorization": f"Bearer {first}"})
    assert answer.status_code == 401


@pytest.mark.parametrize("query", ["?next=//evil.example", "?next=https://evil.example", "?redirect=\\\\evil.example"])
async def test_login_and_logout_lead_nowhere_else(client: httpx.AsyncClient, identity: Identity, query: str) -> None:
    link = await identity.issue_login_link("alice")
    answer = await client.post(f"/login/{link}{query}", headers=BROWSER)
    assert answer.headers["location"] == "/"
    answer = await client.post(f"/logout{query}", headers=BROWSER)
    assert answer.headers["location"] == "/logged-out"


async def test_sessions_are_listed_and_ended_by_their_owner(client: httpx.AsyncClient, identity: Identity) -> None:
    await log_in(client, identity)
    page = await client.get("/account")
    listed = (await client.get("/api/v1/sessions")).json()
    assert len(listed) == 1
    assert f"/account/sessions/{listed[0]['id']}/end" in page.text
    answer = await client.post("/api/v1/sessions/nothing/end", headers=BROWSER)
    assert (answer.status_code, answer.json()["code"]) == (404, "no-such-session")
    await client.post(f"/account/sessions/{listed[0]['id']}/end", headers=BROWSER)
    assert (await client.get("/api/v1/me")).status_code == 401


@pytest.mark.parametrize("path", ["/login", "/login/hrl_x", "/account", "/nowhere", "/break", "/api/v1/me"])
async def test_every_answer_carries_the_security_headers(client: httpx.AsyncClient, path: str) -> None:
    headers = (await client.get(path, headers={"accept": "text/html"})).headers
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] in {"same-origin", "strict-origin"}
    assert headers["cache-control"] == "no-store"


async def test_errors_are_pages_for_browsers_and_problems_for_programs(client: httpx.AsyncClient) -> None:
    for path, status, code in [
        ("/account", 401, "login-required"),
        ("/x", 404, "no-such-path"),
        ("/break", 500, "broken"),
    ]:
        page = await client.get(path, headers={"accept": "text/html"})
        assert page.status_code == status
        assert page.headers["content-type"] == "text/html; charset=utf-8"
        assert f"<code>{code}</code>" in page.text
        assert "secret detail" not in page.text
        problem = await client.get(path)
        assert problem.headers["content-type"] == "application/problem+json"
        assert problem.json()["code"] == code


async def test_a_hostile_link_is_text_on_the_login_page(client: httpx.AsyncClient) -> None:
    page = await client.get("/login/%22%3E%3Cscript%3Ealert(1)%3C%2Fscript%3E")
    assert "<script>alert" not in page.text
