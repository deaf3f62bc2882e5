"""What can go wrong for the person at the terminal, and the exit code of each.

    HeadraceError
    ├── UsageWrong        2  the command line asks for something that is not there
    ├── Refused           3  the server, or Slurm behind it, says no: code, detail and fix are its own
    ├── Unreachable       4  no server, or one that cannot serve now
    └── NotLoggedIn       5  no token, or one that the server does not take

0: it worked. 1: a run did not end well. With ``--follow``, the job's own exit code. 130: interrupted.
"""

from __future__ import annotations

RUN_FAILED = 1
INTERRUPTED = 130


class HeadraceError(Exception):
    """Base of all. ``code`` is stable; ``fix`` says what would help, where something would."""

    exit_code = 70

    def __init__(self, detail: str, *, code: str, fix: str | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.code = code
        self.fix = fix


class UsageWrong(HeadraceError):
    """What was typed cannot be meant."""

    exit_code = 2


class Refused(HeadraceError):
    """The server refuses. ``problem`` is its RFC 9457 document as it came."""

    exit_code = 3

    def __init__(self, detail: str, *, code: str, fix: str | None = None, problem: bytes = b"") -> None:
        super().__init__(detail, code=code, fix=fix)
        self.problem = problem


class Unreachable(HeadraceError):
    """There is no answer, or none that helps, at this time."""

    exit_code = 4


class NotLoggedIn(HeadraceError):
    """The server does not know who is asking."""

    exit_code = 5
