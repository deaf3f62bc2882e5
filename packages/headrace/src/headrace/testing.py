"""A small Headrace for tests of programs that talk to one: a real HTTP server with a small world in memory.

It serves runs and their logs, keeps idempotency keys, and does wrong what it is told to: answers that are lost,
streams that are cut, errors. It is no specification; the server's own OpenAPI document is.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

MOMENT = "2026-11-21T09:00:00Z"
TOKEN = "hr_small"  # noqa: S105 - the small server's only one


@dataclass
class SmallWorld:
    """What there is, and what will go wrong."""

    runs: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    """Newest first, in the API's shape."""
    logs: dict[str, bytes] = field(default_factory=dict[str, bytes])
    keys: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])
    """Runs by idempotency key."""
    asked: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    """Bodies of all submissions, repeated ones too."""
    tokens_seen: list[str | None] = field(default_factory=list[str | None])
    lose_answers: int = 0
    """So many submissions are carried out without an answer."""
    cut_stream_after_bytes: int | None = None
    """Log streams break after so many bytes of log, in the middle of an event."""
    problems: list[tuple[int, dict[str, Any]]] = field(default_factory=list[tuple[int, dict[str, Any]]])
    """Answers to give instead, one a request: status and document."""
    outcome: dict[str, Any] = field(default_factory=lambda: {"state": "completed", "exit_code": 0})
    """How new runs stand."""
    log_of_new: bytes = b""

    def add(self, run_id: str, **changes: Any) -> dict[str, Any]:
        """Make a run."""
        run: dict[str, Any] = {
            "id": run_id, "user": "ada", "cluster": "small", "name": "hello", "door": "cli", "layer": "preset",
            "preset": "command", "state": "completed", "slurm_states": ["COMPLETED"], "reason": None, "job_id": 7,
            "array": False, "tasks": {"total": 1, "completed": 1}, "failures": [], "nodes": "c1", "exit_code": 0,
            "signal": None, "working_directory": "/home/ada/headrace/x", "standard_output": "out-7.log",
            "standard_error": None, "cancel_requested": False, "after": [], "as_of": MOMENT,
            "moments": {"intent_at": MOMENT, "created_at": MOMENT, "submitted_at": MOMENT},
            "waits": [{"name": "queue", "seconds": 1.5, "ongoing": False, "why": None}],
        } | changes  # fmt: skip
        self.runs.insert(0, run)
        return run


@contextmanager
def small_server(world: SmallWorld) -> Generator[str]:
    """Serve a world; give the address."""

    class Handler(_Handler):
        pass

    Handler.world = world
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    world: SmallWorld

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Say nothing."""

    def do_GET(self) -> None:
        if self._goes_wrong():
            return
        parts = urlsplit(self.path.removeprefix("/api/v1"))
        query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        match parts.path.split("/")[1:]:
            case ["me"]:
                self._answer(200, {"user": "ada", "role": "user"})
            case ["runs"]:
                self._page(query)
            case ["runs", run_id]:
                self._with_run(run_id, lambda run: self._answer(200, run))
            case ["runs", run_id, "events"]:
                self._with_run(run_id, self._run_events)
            case ["runs", run_id, "log"]:
                self._answer(200, self._chunk(run_id, int(query.get("offset", 0))))
            case ["runs", run_id, "log", "stream"]:
                self._log_events(run_id, int(query.get("offset", 0)))
            case _:
                self._answer(404, {"code": "no-such-path", "detail": "There is no such path."})

    def do_POST(self) -> None:
        if self._goes_wrong():
            return
        size = int(self.headers.get("Content-Length") or 0)
        body: dict[str, Any] = json.loads(self.rfile.read(size) or b"{}")
        match self.path.removeprefix("/api/v1").split("/")[1:]:
            case ["login"]:
                self._answer(200, {"token": TOKEN, "user": "ada", "expires_at": MOMENT})
            case ["logout"]:
                self._answer(204, None)
            case ["runs"]:
                self._submit(body)
            case ["runs", run_id, "cancel"]:
                self._with_run(run_id, lambda run: self._answer(200, run | {"state": "cancelled"}))
            case _:
                self._answer(404, {"code": "no-such-path", "detail": "There is no such path."})

    def _goes_wrong(self) -> bool:
        token = self.headers.get("Authorization")
        self.world.tokens_seen.append(token)
        if self.world.problems:
            self._answer(*self.world.problems.pop(0))
            return True
        if token != f"Bearer {TOKEN}" and not self.path.endswith("/login"):
            self._answer(401, {"code": "token-unknown", "detail": "This token is not known."})
            return True
        return False

    def _submit(self, body: dict[str, Any]) -> None:
        world = self.world
        world.asked.append(body)
        key = self.headers["Idempotency-Key"]
        if key not in world.keys:
            run_id = f"new{len(world.runs):07}"
            world.keys[key] = world.add(run_id, **({"name": body.get("name") or "run"} | world.outcome))
            world.logs[run_id] = world.log_of_new
        if world.lose_answers:
            world.lose_answers -= 1
            self.close_connection = True
            return
        self._answer(201, world.keys[key])

    def _page(self, query: dict[str, str]) -> None:
        begin, limit = int(query.get("cursor", 0)), int(query.get("limit", 50))
        items = self.world.runs[begin : begin + limit]
        following = begin + limit if begin + limit < len(self.world.runs) else None
        self._answer(200, {"items": items, "next": None if following is None else str(following)})

    def _with_run(self, run_id: str, use: Callable[[dict[str, Any]], None]) -> None:
        found = next((run for run in self.world.runs if run["id"] == run_id), None)
        if found is None:
            self._answer(404, {"code": "no-such-run", "detail": f"There is no run {run_id}."})
        else:
            use(found)

    def _chunk(self, run_id: str, offset: int) -> dict[str, Any]:
        log = self.world.logs.get(run_id, b"")
        rest = log[offset:].decode()
        return {"data": rest, "offset": offset, "next_offset": len(log), "size": len(log), "ended": True}

    def _run_events(self, run: dict[str, Any]) -> None:
        self._begin_stream()
        self._event("run", run)
        self._event("end", {"state": run["state"]})

    def _log_events(self, run_id: str, offset: int) -> None:
        self._begin_stream()
        log = self.world.logs.get(run_id, b"")
        cut = self.world.cut_stream_after_bytes
        stop = len(log) if cut is None else min(len(log), offset + cut)
        while offset < stop:
            piece = log[offset : offset + 16]
            piece = piece[: stop - offset]
            after = offset + len(piece)
            shown = {"data": piece.decode(), "offset": offset, "next_offset": after, "size": len(log), "ended": False}
            self._event("log", shown, after)
            offset = after
        if offset < len(log):
            self.wfile.write(b'event: log\nid: 999999\ndata: {"data": "half an ev')
            return
        ended = {"data": "", "offset": offset, "next_offset": offset, "size": len(log), "ended": True}
        self._event("end", ended, offset)

    def _begin_stream(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()

    def _event(self, name: str, value: object, event_id: int | None = None) -> None:
        head = f"event: {name}\n" + (f"id: {event_id}\n" if event_id is not None else "")
        self.wfile.write(f"{head}data: {json.dumps(value)}\n\n".encode())

    def _answer(self, status: int, value: object) -> None:
        content = b"" if value is None else json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json" if status < 400 else "application/problem+json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)
