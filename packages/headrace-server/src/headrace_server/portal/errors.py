"""Error pages: the same problem that a program gets, in words and with a way on."""

from http import HTTPStatus

from fastapi import Request
from fastapi.responses import Response

from headrace_server.kernel.problems import Problem
from headrace_server.portal.security import add_security_headers
from headrace_server.portal.shell import Templates

templates = Templates("headrace_server.portal")


def error_page(request: Request, problem: Problem) -> Response:
    """Return the page for `problem`. Somebody who is not logged in is told how to."""
    page = templates.page(
        request,
        "error.html",
        person=None,
        status=HTTPStatus(problem.status),
        problem=problem,
        log_in=problem.status == HTTPStatus.UNAUTHORIZED,
    )
    # The page for a bug is made outside of all middleware.
    add_security_headers(page.headers)
    return page
