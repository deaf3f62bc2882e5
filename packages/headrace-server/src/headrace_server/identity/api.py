"""Routes: log in, who am I, log out, my sessions."""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Request
from pydantic import Field

from headrace_server.identity.caller import CurrentPerson, identity_of, session_secret
from headrace_server.identity.model import TOKEN_TTL, Role, SessionKind

router = APIRouter(tags=["identity"])


@dataclass(frozen=True)
class Login:
    """A login link (its whole address or its secret alone), and a name for the place that logs in."""

    link: Annotated[str, Field(max_length=2000)]
    label: Annotated[str, Field(max_length=100)] = ""


@dataclass(frozen=True)
class LoggedIn:
    """A token for `Authorization: Bearer`. It is shown this once."""

    token: str
    user: str
    expires_at: datetime


@dataclass(frozen=True)
class Me:
    """Who is asking."""

    user: str
    role: Role


@dataclass(frozen=True)
class OpenSession:
    """One place where the caller is logged in."""

    id: str
    kind: SessionKind
    label: str
    created_at: datetime
    expires_at: datetime


@router.post("/login")
async def log_in(request: Request, body: Login) -> LoggedIn:
    """Turn a one-use login link into a token."""
    identity = identity_of(request)
    person = await identity.redeem_login_link(secret_of_link(body.link))
    token = await identity.open_session(person, "token", body.label, TOKEN_TTL)
    return LoggedIn(token, person.name, await identity.expires_at(token))


@router.get("/me")
async def me(person: CurrentPerson) -> Me:
    """Say who is asking."""
    return Me(person.name, person.role)


@router.post("/logout", status_code=204)
async def log_out(request: Request, _: CurrentPerson) -> None:
    """End the session that asks."""
    await identity_of(request).end_session(session_secret(request) or "")


@router.get("/sessions")
async def sessions(request: Request, person: CurrentPerson) -> list[OpenSession]:
    """List where the caller is logged in, newest first."""
    found = await identity_of(request).sessions(person)
    return [OpenSession(one.id, one.kind, one.label, one.created_at, one.expires_at) for one in found]


@router.post("/sessions/{session_id}/end", status_code=204)
async def end_session(request: Request, person: CurrentPerson, session_id: str) -> None:
    """End one of the caller's sessions."""
    await identity_of(request).end_session_by_id(person, session_id)


def secret_of_link(link: str) -> str:
    """Return the secret in a login link, whether it came as the whole address or alone."""
    return link.strip().partition("?")[0].partition("#")[0].rstrip("/").rpartition("/")[2]
