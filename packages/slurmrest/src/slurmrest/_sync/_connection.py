# ruff: noqa: PLC0415 - httpx takes a quarter of a second to import; importing slurmrest must not
"""Connections to one slurmrestd: a small pool, time-outs, and errors that say what may have happened."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from .._errors import ConnectionLost, InvalidRequest, ProtocolError, TimedOut, Unreachable, UnsupportedVersion
from .._versions import BY_NAME, VERSIONS, ApiVersion, highest_common, spoken
from ._waiting import lock

if TYPE_CHECKING:
    import ssl

    import httpx

KEEP_ALIVE_S = 4.0
"""Idle connections are closed by us before slurmrestd or a proxy does it while we are sending."""


class Answer(NamedTuple):
    """What came back."""

    status: int
    body: bytes


class Connection:
    """The pool, and what is known about the daemon behind it. Shared by all views of a client."""

    def __init__(
        self,
        url: str,
        *,
        version: str | None,
        timeout_s: float,
        connect_timeout_s: float,
        max_connections: int,
        verify: ssl.SSLContext | bool,
        transport: httpx.BaseTransport | None,
    ) -> None:
        self._socket_path: str | None = None
        if url.startswith("unix:"):
            self._socket_path = url.removeprefix("unix:").removeprefix("//")
            url = "http://slurmrestd"
        if not url.startswith(("http://", "https://")):
            raise InvalidRequest(f"{url!r} is not an http, https or unix URL.", code="url_invalid")
        if version is not None and version not in BY_NAME:
            known = ", ".join(known.name for known in VERSIONS)
            raise UnsupportedVersion(f"This package does not speak {version}; it speaks {known}.")
        self.url = url.rstrip("/")
        self.pinned = BY_NAME[version] if version is not None else None
        self.version: ApiVersion | None = self.pinned
        self.negotiating = lock()
        self.accounting_keeps_keys = False
        """Set once accounting has shown a job's ``extra`` or ``comment``: then a missing key means something."""
        self._timeout_s = timeout_s
        self._connect_timeout_s = connect_timeout_s
        self._max_connections = max_connections
        self._verify = verify
        self._transport = transport
        self._http: httpx.Client | None = None

    def send(
        self,
        method: str,
        target: str,
        *,
        headers: dict[str, str],
        content: bytes | None = None,
        mutating: bool,
        timeout_s: float | None = None,
    ) -> Answer:
        """Send one request and read the whole answer.

        A plain GET is sent a second time when a kept connection turns out to be torn; a request that changes something
        never is.
        """
        import httpx

        http = self._open()
        timeout = httpx.Timeout(timeout_s or self._timeout_s, connect=self._connect_timeout_s)
        if content is not None:
            headers = {**headers, "Content-Type": "application/json"}
        for last in (True,) if mutating else (False, True):
            try:
                response = http.request(method, self.url + target, headers=headers, content=content, timeout=timeout)
            except (httpx.ConnectError, httpx.ConnectTimeout, httpx.UnsupportedProtocol) as error:
                raise Unreachable(f"slurmrestd at {self.url} cannot be reached: {_reason(error)}.") from error
            except httpx.PoolTimeout as error:
                raise TimedOut(
                    f"All {self._max_connections} connections to {self.url} were busy; nothing was sent.",
                    effect_unknown=False,
                    code="connections_busy",
                ) from error
            except httpx.TimeoutException as error:
                raise TimedOut(
                    f"slurmrestd at {self.url} did not answer within {timeout_s or self._timeout_s:g} s.",
                    effect_unknown=mutating,
                ) from error
            except (httpx.NetworkError, httpx.RemoteProtocolError) as error:
                if not last:
                    continue
                raise ConnectionLost(
                    f"The connection to slurmrestd at {self.url} broke: {_reason(error)}.", effect_unknown=mutating
                ) from error
            except (httpx.HTTPError, httpx.InvalidURL, httpx.DecodingError) as error:
                raise ProtocolError(f"The exchange with {self.url} failed: {_reason(error)}.") from error
            return Answer(response.status_code, response.content)
        raise AssertionError  # the last turn of the loop returns or raises

    def openapi_versions(self, headers: dict[str, str]) -> tuple[ApiVersion | None, Answer]:
        """Ask slurmrestd which API versions it speaks; this does not involve slurmctld."""
        answer = self.send("GET", "/openapi/v3", headers=headers, mutating=False)
        return highest_common(spoken(answer.body)), answer

    def close(self) -> None:
        """Close the pool."""
        if self._http is not None:
            self._http.close()
            self._http = None

    def _open(self) -> httpx.Client:
        import httpx

        if self._http is None:
            limits = httpx.Limits(
                max_connections=self._max_connections,
                max_keepalive_connections=self._max_connections,
                keepalive_expiry=KEEP_ALIVE_S,
            )
            # An SSL context costs tens of milliseconds to make; a plain connection needs none.
            verify = self._verify if self.url.startswith("https:") else False
            transport = self._transport or httpx.HTTPTransport(
                verify=verify, limits=limits, uds=self._socket_path, trust_env=False
            )
            # Proxy settings of the environment are for the web, not for a cluster's controller.
            self._http = httpx.Client(transport=transport, trust_env=False, follow_redirects=False)
        return self._http


def _reason(error: Exception) -> str:
    return str(error).rstrip(".") or type(error).__name__
