"""One Headrace server over HTTP.

The standard library's client is used because this program starts for every command: importing it takes a tenth of the
time of the larger ones, and no connection outlives the command.
"""

from __future__ import annotations

import http.client
import json
import os
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar
from urllib.parse import quote, urlencode, urlsplit

import msgspec

from .contexts import Context
from .errors import HeadraceError, NotLoggedIn, Refused, Unreachable, UsageWrong
from .wire import LogChunk, Problem, Run, RunPage

T = TypeVar("T")
CONNECT_TIMEOUT_S = 10.0
ANSWER_TIMEOUT_S = 60.0
STREAM_SILENCE_S = 45.0
"""A stream says something every few seconds; after this much silence the connection is taken for dead."""
PAUSES_S = (0.3, 1.0, 3.0)
"""Between the tries of one request."""
STREAM_PAUSE_AT_MOST_S = 5.0
ID_LENGTH = 10
KEY_IN_USE = "idempotency-key-in-use"
"""The server's word for: your first try is still being handled."""
_TRANSIENT = frozenset({502, 503, 504})


class Event(msgspec.Struct, frozen=True):
    """One server-sent event."""

    name: str
    data: bytes
    id: str | None = None


class Server:
    """A server, seen as the person whose token the context holds."""

    def __init__(self, context: Context) -> None:
        self.url = context.url
        self.on_lost: Callable[[Unreachable], None] = lambda _: None
        """Called when a followed stream is lost and will be tried again."""
        self._token = context.token
        parts = urlsplit(context.url)
        self._tls = parts.scheme == "https"
        self._host = parts.hostname or ""
        self._port = parts.port

    # Plain requests

    def get(self, path: str, query: Mapping[str, Any] | None = None) -> bytes:
        """Return the body of an answer."""
        return self._ask("GET", path, query)

    def post(self, path: str, body: object | None = None, *, key: str | None = None) -> bytes:
        """Send a body and return the answer's.

        Every POST carries an idempotency key. When the answer is lost the same request is sent again with the same
        key, so nothing is done twice.
        """
        content = None if body is None else msgspec.json.encode(body)
        return self._ask("POST", path, None, content, key or uuid.uuid4().hex)

    def run(self, run_id: str) -> tuple[Run, bytes]:
        """Return a run and the document it came in."""
        raw = self.get(f"/runs/{quote(run_id, safe='')}")
        return decode(raw, Run), raw

    def full_id(self, prefix: str) -> str:
        """Return the one run id that begins so. Raises UsageWrong when there is none, or more than one."""
        prefix = prefix.strip().lower()
        if len(prefix) >= ID_LENGTH or not prefix:
            return prefix
        found: list[str] = []
        cursor: str | None = None
        while True:
            query = {"limit": 500} if cursor is None else {"limit": 500, "cursor": cursor}
            page = decode(self.get("/runs", query), RunPage)
            found += [run.id for run in page.items if run.id.startswith(prefix)]
            cursor = page.next
            if cursor is None or len(found) > 1:
                break
        if not found:
            raise UsageWrong(
                f"No run of yours begins with {prefix!r}.", code="no-such-run", fix="List them: headrace ls"
            )
        if len(found) > 1:
            raise UsageWrong(
                f"Several runs begin with {prefix!r}: {', '.join(found[:5])}.",
                code="run-ambiguous",
                fix="Write more of it.",
            )
        return found[0]

    # Streams

    def run_events(self, run_id: str) -> Iterator[Run]:
        """Yield the run now and at each change, until it has ended. Connects again as long as it takes."""

        def connect() -> Iterator[Event]:
            return self._events(f"/runs/{run_id}/events", {})

        for event in self._persistently(connect):
            if event.name == "run":
                yield decode(event.data, Run)
            elif event.name == "end":
                return

    def log_events(self, run_id: str, stream: str, task: int | None, offset: int) -> Iterator[LogChunk]:
        """Yield the log's pieces as they are written, until it is complete. A cut connection goes on where it was."""
        at = offset

        def connect() -> Iterator[Event]:
            query: dict[str, Any] = {"stream": stream, "offset": at}
            if task is not None:
                query["task"] = task
            return self._events(f"/runs/{run_id}/log/stream", query)

        for event in self._persistently(connect):
            if event.name in {"log", "end"}:
                chunk = decode(event.data, LogChunk)
                at = chunk.next_offset
                yield chunk
                if event.name == "end":
                    return

    def _persistently(self, connect: Callable[[], Iterator[Event]]) -> Iterator[Event]:
        """Yield events over as many connections as it takes; waits longer between fruitless ones."""
        pause_s = 0.1
        while True:
            try:
                for event in connect():
                    if event.name == "error":
                        raise _problem(event.data, 503)
                    pause_s = 0.1
                    yield event
                    if event.name == "end":
                        return
            except Unreachable as error:
                self.on_lost(error)  # a restart of the server is not the end of a run
            time.sleep(pause_s)
            pause_s = min(pause_s * 2, STREAM_PAUSE_AT_MOST_S)

    def _events(self, path: str, query: Mapping[str, Any]) -> Iterator[Event]:
        connection = self._connection(STREAM_SILENCE_S)
        try:
            answer = self._send(connection, "GET", path, query, None, {"Accept": "text/event-stream"})
            if answer.status != 200:
                raise _problem(answer.read(), answer.status)
            yield from parse_events(answer)
        except (OSError, http.client.HTTPException) as error:
            raise self._unreachable(error) from error
        finally:
            connection.close()

    # One request

    def _ask(
        self,
        method: str,
        path: str,
        query: Mapping[str, Any] | None,
        content: bytes | None = None,
        key: str | None = None,
    ) -> bytes:
        headers = {"Accept": "application/json"}
        if content is not None:
            headers["Content-Type"] = "application/json"
        if key is not None:
            headers["Idempotency-Key"] = key
        reached = False
        for pause_s in (*PAUSES_S, None):
            try:
                return self._once(method, path, query, content, headers)
            except (Unreachable, Refused) as error:
                transient = isinstance(error, Unreachable) or error.code == KEY_IN_USE
                # A server that was never reached is most likely down, not restarting: say so at once.
                reached = reached or error.code != "unreachable"
                if pause_s is None or not transient or not reached:
                    raise
                time.sleep(pause_s)
        raise AssertionError  # the last turn returns or raises

    def _once(
        self, method: str, path: str, query: Mapping[str, Any] | None, content: bytes | None, headers: dict[str, str]
    ) -> bytes:
        connection = self._connection(ANSWER_TIMEOUT_S)
        try:
            answer = self._send(connection, method, path, query or {}, content, headers)
            body = answer.read()
        except (OSError, http.client.HTTPException) as error:
            raise self._unreachable(error) from error
        finally:
            connection.close()
        if answer.status >= 300:
            raise _problem(body, answer.status)
        return body

    def _connection(self, timeout_s: float) -> http.client.HTTPConnection:
        # The timeout is for connecting; `_send` sets the one for answers.
        if not self._tls:
            connection = http.client.HTTPConnection(self._host, self._port, timeout=CONNECT_TIMEOUT_S)
        else:
            import ssl  # noqa: PLC0415 - 20 ms that plain connections need not pay

            context = ssl.create_default_context(cafile=os.environ.get("HEADRACE_CA_FILE") or None)
            connection = http.client.HTTPSConnection(self._host, self._port, timeout=CONNECT_TIMEOUT_S, context=context)
        try:
            connection.connect()
        except OSError as error:
            raise Unreachable(
                f"No Headrace server answers at {self.url}: {_reason(error)}.",
                code="unreachable",
                fix="Is it up? Is HEADRACE_URL or the context right? See: headrace contexts",
            ) from error
        connection.sock.settimeout(timeout_s)
        return connection

    def _send(
        self,
        connection: http.client.HTTPConnection,
        method: str,
        path: str,
        query: Mapping[str, Any],
        content: bytes | None,
        headers: dict[str, str],
    ) -> http.client.HTTPResponse:
        target = f"/api/v1{path}" + (f"?{urlencode(query, doseq=True)}" if query else "")
        headers = {**headers, "User-Agent": "headrace-cli"}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        connection.request(method, target, content, headers)
        return connection.getresponse()

    def _unreachable(self, error: Exception) -> Unreachable:
        return Unreachable(
            f"The connection to {self.url} broke: {_reason(error)}.", code="connection-lost", fix="Try again."
        )


def parse_events(lines: Iterator[bytes] | http.client.HTTPResponse) -> Iterator[Event]:
    """Read server-sent events off a stream of lines. One that is cut short is dropped."""
    name, data, event_id = "message", bytearray(), None
    for raw in lines:
        line = raw.rstrip(b"\r\n")
        if not line:
            if data:
                yield Event(name, bytes(data), event_id)
            name, data = "message", bytearray()
            continue
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"event":
            name = value.decode(errors="replace")
        elif field == b"data":
            data += (b"\n" if data else b"") + value
        elif field == b"id":
            event_id = value.decode(errors="replace")


def decode(raw: bytes, kind: type[T]) -> T:
    """Decode an answer. Raises Refused for what is not Headrace's."""
    try:
        return msgspec.json.decode(raw, type=kind)
    except msgspec.MsgspecError as error:
        raise Unreachable(
            f"The answer is not what Headrace's API says: {error}",
            code="answer-invalid",
            fix="Is this a Headrace server, and is it newer or older than this program?",
        ) from error


def _problem(body: bytes, status: int) -> HeadraceError:
    try:
        problem = msgspec.json.decode(body, type=Problem)
    except msgspec.MsgspecError:
        problem = Problem(code=f"http-{status}", detail=f"The server answers with HTTP {status} and no explanation.")
    detail = problem.detail or problem.title or problem.code
    if status == 401:
        return NotLoggedIn(detail, code=problem.code, fix=problem.fix or "Log in with: headrace login LINK")
    if status in _TRANSIENT:
        return Unreachable(detail, code=problem.code, fix=problem.fix)
    if status >= 500:
        return Unreachable(detail, code=problem.code, fix=problem.fix or "The server's log has the details.")
    return Refused(detail, code=problem.code, fix=problem.fix, problem=body)


def _reason(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return str(error) or type(error).__name__


def pretty(raw: bytes) -> str:
    """Return a JSON document for people's eyes, its content unchanged."""
    return json.dumps(json.loads(raw), indent=2, ensure_ascii=False)
