"""From a request to the person who sent it: bearer token, else session cookie.

Headers that merely claim a name (X-Remote-User, X-SLURM-USER-NAME and the like) are never read.
"""

from typing import Annotated

from fastapi import Depends, Request
from starlette.responses import Response

from headrace_server.identity.identity import Identity
from headrace_server.identity.model import BROWSER_TTL, CrossSiteRequest, LoginRequired, Person, TokenUnknown

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


async def current_person(request: Request) -> Person:
    """Return who is asking. Raises an `Unauthenticated`, `AccountDisabled`, or `CrossSiteRequest` (cookies only).

    A bearer token decides alone: one that does not work is an error even beside a good cookie.
    """
    identity = identity_of(request)
    authorization = request.headers.get("authorization")
    if authorization is not None:
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            raise TokenUnknown("The Authorization header must be: Bearer TOKEN.", fix="Get a token: headrace login.")
        return await identity.who(token.strip())
    secret = request.cookies.get(cookie_name(request))
    if not secret:
        raise LoginRequired(
            "Nobody is logged in here.", fix="Open your login link, or run `headrace login` in a terminal."
        )
    refuse_cross_site(request)
    return await identity.who(secret)


CurrentPerson = Annotated[Person, Depends(current_person)]


def identity_of(request: Request) -> Identity:
    """Return this process's `Identity`."""
    identity: Identity = request.app.state.identity
    return identity


def session_secret(request: Request) -> str | None:
    """Return the secret that the request carries, if any: of its bearer token, else of its cookie."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else request.cookies.get(cookie_name(request))


def refuse_cross_site(request: Request) -> None:
    """Raise `CrossSiteRequest` if a page of another origin may have made the browser send this unsafe request.

    Browsers say so in Sec-Fetch-Site (over https and on localhost), older and plain-http ones in Origin. A request with
    neither is refused: programs use bearer tokens.
    """
    if request.method in SAFE_METHODS:
        return
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        same = site == "same-origin"
    else:
        # Only host and port are compared: behind a proxy that ends TLS, our own scheme is not the browser's.
        origin = request.headers.get("origin", "").lower()
        same = origin.partition("://")[2] == request.headers.get("host", "-").lower()
    if not same:
        raise CrossSiteRequest(
            "This change was asked for by a page of another site, or by a browser that does not say which.",
            fix="Do it from Headrace's own pages. Programs send a token: Authorization: Bearer TOKEN.",
        )


def cookie_name(request: Request) -> str:
    """Return the name of the session cookie.

    Over https the `__Host-` prefix makes browsers refuse one set by a neighbour domain. Over plain http the port is in
    the name, because cookies do not tell ports apart and two servers on one machine would log each other out.
    """
    return "__Host-headrace" if _is_https(request) else f"headrace-{request.url.port or 80}"


def set_session_cookie(request: Request, response: Response, secret: str) -> None:
    """Give the browser its session."""
    response.set_cookie(
        cookie_name(request),
        secret,
        max_age=int(BROWSER_TTL.total_seconds()),
        path="/",
        secure=_is_https(request),
        httponly=True,
        samesite="lax",
    )


def clear_session_cookie(request: Request, response: Response) -> None:
    """Take the browser's session away."""
    response.delete_cookie(cookie_name(request), path="/", secure=_is_https(request), httponly=True, samesite="lax")


def _is_https(request: Request) -> bool:
    """Whether the browser speaks https: to us, or to the proxy before us (then the settings' public_url says so)."""
    base_url: str = request.app.state.settings.base_url
    return request.url.scheme == "https" or base_url.startswith("https://")
