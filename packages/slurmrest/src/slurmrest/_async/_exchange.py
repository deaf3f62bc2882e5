"""One identity's exchange with slurmrestd: version, token, request, answer or error."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from functools import cache
from typing import TypeVar

import msgspec

from .. import _failure, _wire
from .._errors import AuthenticationFailed, ProtocolError, SlurmdbUnavailable, SlurmError, UnsupportedVersion
from .._query import Value, target
from .._tokens import HS256Key, TokenProvider, expiry
from .._versions import HIGHEST, VERSIONS, ApiVersion
from ._connection import Answer, Connection
from ._waiting import call

E = TypeVar("E", bound=_wire.Envelope)


class Exchange:
    """A connection seen as one user."""

    def __init__(self, connection: Connection, token: TokenProvider) -> None:
        self.connection = connection
        self.token = token

    async def get(
        self,
        kind: type[E],
        segments: Sequence[str | int],
        query: Iterable[tuple[str, Value]] = (),
        *,
        family: str = "slurm",
    ) -> E | None:
        """GET something; None says that nothing changed since the ``update_time`` in the query (a 304)."""
        answer, body = await self.call("GET", family, segments, query=query)
        if answer.status == 304:
            return None
        return self.read(kind, answer, body, family=family, mutating=False)

    async def change(
        self,
        kind: type[E],
        method: str,
        segments: Sequence[str | int],
        query: Iterable[tuple[str, Value]] = (),
        *,
        content: bytes | None = None,
        token: str | None = None,
    ) -> E:
        """Send what changes something, once; ``token`` in place of the provider's."""
        answer, secret = await self.call(method, "slurm", segments, query=query, content=content, token=token)
        return self.read(kind, answer, secret, family="slurm", mutating=True)

    async def call(
        self,
        method: str,
        family: str,
        segments: Sequence[str | int],
        *,
        query: Iterable[tuple[str, Value]] = (),
        content: bytes | None = None,
        token: str | None = None,
    ) -> tuple[Answer, str]:
        """Return the raw answer and the token that was used, after at most one renewal of version and token."""
        query = tuple(query)
        # The highest version first: where it is missing slurmrestd says so before doing anything, and then it is asked.
        version = self.connection.version or HIGHEST
        secret = token or await self.fetch_token()
        renewed = token is not None
        while True:
            answer = await self.connection.send(
                method,
                target(family, version.name, segments, query),
                headers=self.headers(secret),
                content=content,
                mutating=method != "GET",
            )
            if _failure.version_is_gone(answer.status, answer.body):
                version = await self._another_version(version, family)
                continue
            self.connection.version = version
            if renewed or not _failure.token_was_refused(answer.status, answer.body):
                return answer, secret
            # Refused means not done, so that even a change may be sent again, with a token that is not the same.
            renewed = True
            fresh = await self.fetch_token(fresh=True)
            if fresh == secret:
                return answer, secret
            secret = fresh

    def read(self, kind: type[E], answer: Answer, secret: str, *, family: str, mutating: bool) -> E:
        """Decode the wanted fields of an answer, or raise what it says."""
        misshapen: str | None = None
        decoded: E | None = None
        try:
            decoded = _decoder(kind).decode(answer.body)
        except msgspec.ValidationError as error:
            misshapen = str(error)
        except (msgspec.DecodeError, UnicodeDecodeError):
            pass
        if decoded is not None and decoded.stands_despite_errors:
            return decoded
        _failure.raise_for(
            decoded if decoded is not None else _failure.decode_envelope(answer.body),
            answer.status,
            answer.body,
            mutating=mutating,
            slurmdb=family == "slurmdb",
            token_expired=is_over(secret),
        )
        if decoded is None:
            raise ProtocolError(f"slurmrestd's answer has an unexpected shape: {misshapen}.", http_status=answer.status)
        return decoded

    async def check_token(self) -> None:
        """Raise `AuthenticationFailed` if Slurm refuses the token; where the answer hides that, this tells."""
        # A node list that cannot have changed since now is the smallest answer that slurmctld gives to a good token.
        query = [("update_time", datetime.now(UTC))]
        try:
            await self.get(_wire.Envelope, ("nodes", ""), query)
        except AuthenticationFailed:
            raise
        except SlurmError:
            return

    async def version(self) -> ApiVersion:
        """Return the version in use, asking slurmrestd if no answer has shown it yet."""
        async with self.connection.negotiating:
            if self.connection.version is None:
                self.connection.version = await self._negotiate()
            return self.connection.version

    async def fetch_token(self, *, fresh: bool = False) -> str:
        """Return the provider's token."""
        return await call(lambda: self.token.token(fresh=fresh), blocking=self.token.blocking)

    async def submission_token(self) -> str:
        """Return a token for one submission; one of its own where tokens are made here."""
        if isinstance(self.token, HS256Key):
            return self.token.submission_token()
        return await self.fetch_token()

    def headers(self, secret: str) -> dict[str, str]:
        """Return the request's headers."""
        headers = {"X-SLURM-USER-TOKEN": secret, "Accept": "application/json"}
        if self.token.user is not None:
            headers["X-SLURM-USER-NAME"] = self.token.user
        return headers

    async def _negotiate(self) -> ApiVersion:
        secret = await self.fetch_token()
        common, answer = await self.connection.openapi_versions(self.headers(secret))
        if common is None and answer.status == 401:
            secret = await self.fetch_token(fresh=True)
            common, answer = await self.connection.openapi_versions(self.headers(secret))
        if common is not None:
            return common
        if answer.status == 200 and b'"openapi"' in answer.body:
            ours = ", ".join(version.name for version in VERSIONS)
            raise UnsupportedVersion(f"slurmrestd speaks none of {ours}.")
        _failure.raise_for(
            _failure.decode_envelope(answer.body),
            answer.status,
            answer.body,
            mutating=False,
            slurmdb=False,
            token_expired=is_over(secret),
        )
        raise ProtocolError("The answer is not slurmrestd's.", http_status=answer.status)

    async def _another_version(self, missing: ApiVersion, family: str) -> ApiVersion:
        """After "no such path": slurmrestd speaks another version (or does by now), or does not serve this path."""
        connection = self.connection
        async with connection.negotiating:  # the document is 1.8 MB: one of many requests asks for it
            if connection.pinned is None and connection.version not in {None, missing}:
                return connection.version or missing
            there = await self._negotiate()
            if connection.pinned is None and there is not missing:
                connection.version = there
                return there
        if there is missing and family == "slurmdb":
            raise SlurmdbUnavailable("This slurmrestd serves no accounting.", code="no_accounting")
        raise UnsupportedVersion(f"slurmrestd does not serve this path in {missing.name}.")


def is_over(token: str) -> bool:
    """Whether the token says itself that its time is over. Slurm's answer does not tell expired from wrong."""
    ends = expiry(token)
    return ends is not None and ends <= time.time()


@cache
def _decoder(kind: type[E]) -> msgspec.json.Decoder[E]:
    return msgspec.json.Decoder(kind)
