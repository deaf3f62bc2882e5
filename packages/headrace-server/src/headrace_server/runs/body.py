"""Request bodies of this room: bounded in size, and refused by the name of what is wrong with them."""

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.types import Message, Receive

from headrace_server.runs.preflight import FILES_BYTES, SCRIPT_BYTES
from headrace_server.runs.refusals import BodyTooLarge, UnknownField, UnknownOption

BODY_BYTES = FILES_BYTES * 4 // 3 + 2 * SCRIPT_BYTES
"""Files in base64, the script with its JSON escapes, and the rest."""
_UNKNOWN = frozenset({"extra_forbidden", "unexpected_keyword_argument"})


class BoundedRoute(APIRoute):
    """A route that reads at most BODY_BYTES, and names the field or option that it does not know."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Wrap FastAPI's handler."""
        handle = super().get_route_handler()

        async def bounded(request: Request) -> Response:
            declared = request.headers.get("content-length", "0")
            if declared.isdecimal() and int(declared) > BODY_BYTES:
                raise _too_large()
            body = _Bounded(request.receive)
            try:
                return await handle(Request(request.scope, body.receive))
            except RequestValidationError as error:
                refuse_unknown(error)
                raise
            except HTTPException as error:
                # FastAPI calls whatever goes wrong while it reads a body "bad request".
                if body.got > BODY_BYTES:
                    raise _too_large() from error
                raise

        return bounded


def refuse_unknown(error: RequestValidationError) -> None:
    """Raise UnknownOption or UnknownField if that is what is wrong."""
    for one in error.errors():
        if one["type"] not in _UNKNOWN:
            continue
        path = [str(part) for part in one["loc"] if part != "body"]
        name, where = path[-1][:80], ".".join(path)[:200]
        if path[0] == "options":
            raise UnknownOption(f"There is no option {name!r}.", field=where, asked=name) from error
        raise UnknownField(f"There is no field {where!r}.", field=where, asked=name) from error


class _Bounded:
    """Counts what is received, and stops at BODY_BYTES."""

    def __init__(self, receive: Receive) -> None:
        self.got = 0
        self._receive = receive

    async def receive(self) -> Message:
        message = await self._receive()
        self.got += len(message.get("body", b""))
        if self.got > BODY_BYTES:
            raise _too_large()
        return message


def _too_large() -> BodyTooLarge:
    return BodyTooLarge(
        f"The request is larger than {BODY_BYTES} bytes.",
        allowed=BODY_BYTES,
        fix="Put large data on the cluster first, and name its path.",
    )
