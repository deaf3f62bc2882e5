"""The REST API of a real server, as one person."""

import json
import time
from typing import Any
from urllib.request import Request, urlopen

from real.server import RealServer


class Api:
    """Asks as `user`, who logs in by a link of their own."""

    def __init__(self, server: RealServer, user: str) -> None:
        self._base = f"{server.base_url}/api/v1"
        self._headers = {"Content-Type": "application/json"}
        link = {"link": server.login_link(user), "label": "test"}
        self._headers["Authorization"] = f"Bearer {self.ask('POST', '/login', link)['token']}"

    def ask(self, method: str, path: str, body: object = None) -> Any:
        """Ask, and return the answer's JSON; an error status raises urllib's HTTPError."""
        data = None if body is None else json.dumps(body).encode()
        request = Request(self._base + path, data=data, headers=self._headers, method=method)
        with urlopen(request, timeout=30) as answer:
            return json.load(answer)

    def submit(self, wish: dict[str, object]) -> str:
        """Start a run and return its id."""
        return str(self.ask("POST", "/runs", {"wait_s": 5, **wish})["id"])

    def wait_for(self, run_id: str, state: str, timeout_s: float = 60) -> float:
        """Wait until the run is in `state`; return the (monotonic) moment of the question that was answered so."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            asked_at = time.monotonic()
            if self.ask("GET", f"/runs/{run_id}")["state"] == state:
                return asked_at
            time.sleep(0.05)
        raise AssertionError(f"{run_id} did not become {state} within {timeout_s} s")
