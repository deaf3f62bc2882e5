"""The HTTP edge of errors: RFC 9457 problem documents. The only module that knows both errors and status codes."""

from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException

from headrace_server.kernel.errors import (
    Broken,
    Conflict,
    Forbidden,
    HeadraceError,
    Invalid,
    Missing,
    Refused,
    Unauthenticated,
    Unavailable,
)

MEDIA_TYPE = "application/problem+json"
STATUS: tuple[tuple[type[HeadraceError], HTTPStatus], ...] = (
    (Invalid, HTTPStatus.UNPROCESSABLE_ENTITY),
    (Refused, HTTPStatus.UNPROCESSABLE_ENTITY),
    (Unauthenticated, HTTPStatus.UNAUTHORIZED),
    (Forbidden, HTTPStatus.FORBIDDEN),
    (Missing, HTTPStatus.NOT_FOUND),
    (Conflict, HTTPStatus.CONFLICT),
    (Unavailable, HTTPStatus.SERVICE_UNAVAILABLE),
    (Broken, HTTPStatus.INTERNAL_SERVER_ERROR),
)
# What Starlette itself answers (unknown path, wrong method), under names of ours.
PLAIN_CODES = {400: "bad-request", 404: "no-such-path", 405: "method-not-allowed", 413: "body-too-large"}

log = structlog.get_logger()


@dataclass(frozen=True)
class Problem:
    """One RFC 9457 document. `code` is stable and listed in docs/errors.md; `fix` says what would help."""

    type: str
    title: str
    status: int
    code: str
    detail: str
    field: str | None = None
    asked: Any = None
    allowed: Any = None
    fix: str | None = None
    run: str | None = None


RESPONSES: dict[int | str, dict[str, Any]] = {
    "default": {"model": Problem, "description": "A problem (RFC 9457); docs/errors.md lists the codes."}
}


def status_of(error: HeadraceError) -> HTTPStatus:
    """Choose the status code for an error."""
    return next((status for kind, status in STATUS if isinstance(error, kind)), HTTPStatus.INTERNAL_SERVER_ERROR)


def problem_of(error: HeadraceError) -> Problem:
    """Turn an error into its document."""
    return Problem(
        type=f"urn:headrace:problem:{error.code}",
        title=error.title(),
        status=int(status_of(error)),
        code=error.code,
        detail=error.detail,
        field=error.field,
        asked=error.asked,
        allowed=error.allowed,
        fix=error.fix,
        run=error.run,
    )


def answer(problem: Problem) -> JSONResponse:
    """Put a problem on the wire, leaving out what it does not say."""
    body = {key: value for key, value in vars(problem).items() if value is not None}
    headers = {"WWW-Authenticate": "Bearer"} if problem.status == HTTPStatus.UNAUTHORIZED else None
    return JSONResponse(body, problem.status, headers, media_type=MEDIA_TYPE)


def install(app: FastAPI, page: Callable[[Request, Problem], Response] | None = None) -> None:
    """Make every error of `app` a problem document, or, where a browser asked for a page, what `page` makes of it."""

    def answer_to(request: Request, problem: Problem) -> Response:
        wants_page = "text/html" in request.headers.get("accept", "") and not request.url.path.startswith("/api/")
        return page(request, problem) if page and wants_page else answer(problem)

    described = app.openapi

    def describe() -> dict[str, Any]:
        """Name the media type of problems in the API's description; FastAPI would call it the route's own."""
        document = described()
        for operations in document["paths"].values():
            for operation in operations.values():
                content = operation["responses"].get("default", {}).get("content", {})
                for plain in [kind for kind in content if kind != MEDIA_TYPE]:
                    content[MEDIA_TYPE] = content.pop(plain)
        return document

    app.openapi = describe

    @app.exception_handler(HeadraceError)
    async def _domain(request: Request, error: HeadraceError) -> Response:
        return answer_to(request, problem_of(error))

    @app.exception_handler(RequestValidationError)
    async def _validation(request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"] if part != "body")
        detail = f"{where}: {first['msg']}" if where else str(first["msg"])
        return answer_to(request, problem_of(Invalid(detail, field=where or None)))

    @app.exception_handler(HTTPException)
    async def _plain(request: Request, error: HTTPException) -> Response:
        code = PLAIN_CODES.get(error.status_code, f"http-{error.status_code}")
        title = HTTPStatus(error.status_code).phrase
        problem = Problem(f"urn:headrace:problem:{code}", title, error.status_code, code, str(error.detail))
        return answer_to(request, problem)

    @app.exception_handler(Exception)
    async def _bug(request: Request, error: Exception) -> Response:
        # The one broad handler of the API process; the traceback goes to the log, never to the person.
        log.error("request failed", path=request.url.path, exc_info=error)
        problem = problem_of(Broken("Headrace failed to handle this request. The log has the details."))
        return answer_to(request, problem)
