"""Follow a run to its end: its waiting on standard error, its log on standard output, its exit code as ours."""

from __future__ import annotations

import sys
from collections.abc import Generator
from contextlib import contextmanager

from .errors import INTERRUPTED, RUN_FAILED, Refused, Unreachable
from .paper import colourful, outcome_line, remark, safe, span, waited
from .server import Server
from .wire import Run


def follow(server: Server, run_id: str) -> int:
    """Follow a run and return the exit code for it. Interrupted, it says how to come back."""
    try:
        with watched(server):
            run = _until_it_starts(server, run_id)
            if not run.array and run.state != "refused":
                write_log(server, run_id, "out", None, 0)
            run, _ = server.run(run_id)
            if not run.ended:
                run = _until_it_ends(server, run_id)
    except KeyboardInterrupt:
        remark(f"\nDetached; the run goes on. Come back: headrace logs -f {run_id}   Cancel: headrace cancel {run_id}")
        return INTERRUPTED
    remark(outcome_line(run))
    return exit_code(run)


def write_log(server: Server, run_id: str, stream: str, task: int | None, offset: int) -> None:
    """Write a log as it grows, until it is complete."""
    for chunk in server.log_events(run_id, stream, task, offset):
        sys.stdout.write(chunk.data)
        sys.stdout.flush()


def wait(server: Server, run_ids: list[str]) -> tuple[Run, ...]:
    """Return the runs when all of them have ended."""
    with watched(server):
        return tuple(_until_it_ends(server, run_id, quiet=True) for run_id in run_ids)


def exit_code(run: Run) -> int:
    """Return the exit code that stands for a run: the job's own where it has one, as a shell would give it."""
    if run.state == "completed":
        return 0
    if run.state == "refused":
        return Refused.exit_code
    if run.signal:
        return 128 + run.signal
    return run.exit_code or RUN_FAILED


@contextmanager
def watched(server: Server) -> Generator[None]:
    """Say once when the server is lost, and that it is tried again."""
    told: list[str] = []

    def on_lost(error: Unreachable) -> None:
        if not told:
            told.append(error.code)
            remark(f"{error.detail} Trying again; the run is not affected.")

    server.on_lost = on_lost
    yield


def _until_it_starts(server: Server, run_id: str) -> Run:
    with _status() as update:
        for run in server.run_events(run_id):
            update(run)
            if run.state == "running" and not run.array:
                return run
            if run.ended:
                return run
    return server.run(run_id)[0]


def _until_it_ends(server: Server, run_id: str, *, quiet: bool = False) -> Run:
    with _status(quiet=quiet) as update:
        for run in server.run_events(run_id):
            update(run)
            if run.ended:
                return run
    return server.run(run_id)[0]


class _Status:
    """One line on the terminal that says what is being waited for; in a pipe, nothing."""

    def __init__(self, *, shown: bool) -> None:
        self._shown = shown
        self._drawn = False

    def __call__(self, run: Run) -> None:
        if not self._shown:
            return
        tasks = run.tasks
        if run.array:
            what = (
                f"{tasks.completed + tasks.failed + tasks.cancelled}/{tasks.total} tasks done, {tasks.running} running"
            )
        else:
            queue = waited(run, "queue")
            why = next((wait.why for wait in run.waits if wait.ongoing and wait.why), None)
            what = run.state + (f" {span(queue)}" if queue is not None else "") + (f", {safe(why)}" if why else "")
        sys.stderr.write(f"\r\x1b[K\x1b[2m{what}\x1b[0m")
        sys.stderr.flush()
        self._drawn = True

    def clear(self) -> None:
        if self._drawn:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()


@contextmanager
def _status(*, quiet: bool = False) -> Generator[_Status]:
    status = _Status(shown=not quiet and colourful(sys.stderr))
    try:
        yield status
    finally:
        status.clear()
