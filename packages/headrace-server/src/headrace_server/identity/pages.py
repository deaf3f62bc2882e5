"""Pages: log in by a link, log out, where I am logged in."""

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Form, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from headrace_server.identity.api import secret_of_link
from headrace_server.identity.caller import (
    CurrentPerson,
    clear_session_cookie,
    cookie_name,
    identity_of,
    refuse_cross_site,
    session_secret,
    set_session_cookie,
)
from headrace_server.identity.model import BROWSER_TTL
from headrace_server.portal import Templates

router = APIRouter(include_in_schema=False)
templates = Templates("headrace_server.identity")


@router.get("/login")
async def login(request: Request) -> HTMLResponse:
    """Ask for a login link."""
    return templates.page(request, "login.html", person=None)


@router.post("/login")
async def log_in_by_paste(request: Request, link: Annotated[str, Form(max_length=2000)]) -> Response:
    """Log in with a link that was pasted."""
    return await _log_in(request, secret_of_link(link))


@router.get("/login/{secret}")
async def login_link(request: Request, secret: str) -> HTMLResponse:
    """Show one button. Looking at a link does not use it up: mail scanners and chat previews look at links."""
    page = templates.page(request, "login_link.html", person=None, secret=secret)
    # Not no-referrer: that makes the form's Origin header `null`, and by Origin we tell our own form from another
    # site's. strict-origin names the server and never the path, which is the secret.
    page.headers["Referrer-Policy"] = "strict-origin"
    return page


@router.post("/login/{secret}")
async def log_in(request: Request, secret: str) -> Response:
    """Use the link up and go to my runs. There is no "next" to go to, hence none to forge."""
    return await _log_in(request, secret)


@router.post("/logout")
async def log_out(request: Request, _: CurrentPerson) -> Response:
    """End this browser's session."""
    await identity_of(request).end_session(session_secret(request) or "")
    response = RedirectResponse("/logged-out", HTTPStatus.SEE_OTHER)
    clear_session_cookie(request, response)
    return response


@router.get("/logged-out")
async def logged_out(request: Request) -> HTMLResponse:
    """Say that the session is over."""
    return templates.page(request, "logged_out.html", person=None)


@router.get("/account")
async def account(request: Request, person: CurrentPerson) -> HTMLResponse:
    """Show where this person is logged in."""
    sessions = await identity_of(request).sessions(person)
    return templates.page(request, "account.html", person=person, sessions=sessions)


@router.post("/account/sessions/{session_id}/end")
async def end_session(request: Request, person: CurrentPerson, session_id: str) -> Response:
    """End one of this person's sessions."""
    await identity_of(request).end_session_by_id(person, session_id)
    return RedirectResponse("/account", HTTPStatus.SEE_OTHER)


async def _log_in(request: Request, secret: str) -> Response:
    refuse_cross_site(request)
    identity = identity_of(request)
    person = await identity.redeem_login_link(secret)
    before = request.cookies.get(cookie_name(request))
    if before:
        await identity.end_session(before)
    session = await identity.open_session(person, "browser", _browser(request), BROWSER_TTL)
    response = RedirectResponse("/", HTTPStatus.SEE_OTHER)
    set_session_cookie(request, response, session)
    return response


def _browser(request: Request) -> str:
    """Name the browser as far as a person would recognise it."""
    agent = request.headers.get("user-agent", "")
    browsers = (("Firefox/", "Firefox"), ("Edg/", "Edge"), ("Chrome/", "Chrome"), ("Safari/", "Safari"))
    systems = (
        ("Android", "Android"),
        ("iPhone", "iPhone"),
        ("Windows", "Windows"),
        ("Mac OS", "macOS"),
        ("Linux", "Linux"),
    )
    browser = next((name for mark, name in browsers if mark in agent), "Browser")
    system = next((name for mark, name in systems if mark in agent), None)
    return f"{browser} on {system}" if system else browser
