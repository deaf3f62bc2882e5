# ruff: noqa: PLC0415 - importing slurmrest must stay cheap; each provider imports what it alone needs
"""Where tokens come from.

A provider gives a token for one Slurm user. It is asked before every request and keeps the token itself as long as it
is good; after a refusal it is asked once more with ``fresh=True``.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

from ._errors import TokenUnavailable


@runtime_checkable
class TokenProvider(Protocol):
    """Gives tokens for one Slurm user."""

    user: str | None
    """Sent as X-SLURM-USER-NAME; None sends only the token, whose own user counts."""
    blocking: bool
    """True when `token` may wait (a command, a network call): the async client then calls it in a thread."""

    def token(self, *, fresh: bool = False) -> str:
        """Return a token; ``fresh`` says that the last one was refused."""
        ...


class StaticToken:
    """A token that somebody else keeps fresh, such as the output of ``scontrol token``."""

    blocking = False

    def __init__(self, token: str, *, user: str | None = None) -> None:
        self.user = user
        self._token = _clean(token, "The given token")

    def token(self, *, fresh: bool = False) -> str:
        """Return the token, the same one always."""
        del fresh
        return self._token


class EnvironmentToken:
    """The variable SLURM_JWT, read at every request (and never written: it breaks Slurm's own commands)."""

    blocking = False

    def __init__(self, variable: str = "SLURM_JWT", *, user: str | None = None) -> None:
        self.user = user
        self._variable = variable

    def token(self, *, fresh: bool = False) -> str:
        """Return the variable's present value."""
        del fresh
        import os

        value = os.environ.get(self._variable)
        if not value:
            raise TokenUnavailable(f"The environment variable {self._variable} is not set.")
        return _clean(value, f"The environment variable {self._variable}")


class TokenFile:
    """A file that something else renews; read again whenever it changed."""

    blocking = False

    def __init__(self, path: str | Path, *, user: str | None = None) -> None:
        self.user = user
        self._path = Path(path)

    def token(self, *, fresh: bool = False) -> str:
        """Return the file's present content."""
        del fresh
        try:
            text = self._path.read_text(encoding="ascii")
        except (OSError, UnicodeDecodeError) as error:
            raise TokenUnavailable(f"The token file {self._path} cannot be read: {error}.") from error
        return _clean(text, f"The token file {self._path}")


class TokenCallback:
    """A function that returns a token. It is called again when the token is about to expire or was refused."""

    blocking = True

    def __init__(self, function: Callable[[], str], *, user: str | None = None, margin_s: float = 60) -> None:
        self.user = user
        self._function = function
        self._margin_s = margin_s
        self._kept: str | None = None
        self._good_until = 0.0

    def token(self, *, fresh: bool = False) -> str:
        """Return the kept token, or a new one."""
        now = time.time()
        if fresh or self._kept is None or now >= self._good_until:
            token = _clean(self._function(), "The token callback's answer")
            end = expiry(token)
            # A token that does not say when it ends is asked for every time: it may be renewed behind our back.
            self._good_until = 0.0 if end is None else end - min(self._margin_s, max(0.0, (end - now) / 2))
            self._kept = token
        return self._kept


class TokenCommand(TokenCallback):
    """A command (argv, no shell) that prints a token, or ``SLURM_JWT=token`` as ``scontrol token`` does."""

    def __init__(
        self, argv: Sequence[str], *, user: str | None = None, margin_s: float = 60, timeout_s: float = 20
    ) -> None:
        self._argv = tuple(argv)
        self._timeout_s = timeout_s
        super().__init__(self._run, user=user, margin_s=margin_s)

    def _run(self) -> str:
        import subprocess

        try:
            done = subprocess.run(
                self._argv,
                check=True,
                capture_output=True,
                text=True,
                timeout=self._timeout_s,
                stdin=subprocess.DEVNULL,
            )
        except (OSError, subprocess.SubprocessError) as error:
            raise TokenUnavailable(f"The token command {self._argv[0]} failed: {error}.") from error
        return done.stdout.strip().removeprefix("SLURM_JWT=")


class HS256Key:
    """Tokens made here from the cluster's ``jwt_hs256.key``, for any user, without any Slurm program."""

    blocking = False

    def __init__(
        self, key: str | Path | bytes, *, user: str, lifespan_s: int = 900, submission_lifespan_s: int = 120
    ) -> None:
        if not user or not user.isprintable():
            raise ValueError("HS256Key needs the name of a user.")
        self.user: str | None = user
        self.lifespan_s = lifespan_s
        self.submission_lifespan_s = submission_lifespan_s
        self._key = key
        self._kept: str | None = None
        self._good_until = 0.0

    def token(self, *, fresh: bool = False) -> str:
        """Return the kept token; a new one when half of its life is over."""
        now = time.time()
        if fresh or self._kept is None or now >= self._good_until:
            self._kept = self._sign(self.lifespan_s)
            self._good_until = now + self.lifespan_s / 2
        return self._kept

    def submission_token(self) -> str:
        """Return a token of its own for one submission.

        Its near end is a fence: once it is over no stalled daemon can still accept the submission, and the lookup of
        the operation key is final.
        """
        return self._sign(self.submission_lifespan_s)

    def _sign(self, lifespan_s: int) -> str:
        import hmac

        import msgspec

        now = int(time.time())
        # iat a little back: a slurmctld whose clock is behind must not see a token from the future.
        claims = {"exp": now + lifespan_s, "iat": now - 5, "sun": self.user}
        signed = _base64(b'{"alg":"HS256","typ":"JWT"}') + b"." + _base64(msgspec.json.encode(claims))
        return (signed + b"." + _base64(hmac.digest(self._secret(), signed, "sha256"))).decode("ascii")

    def _secret(self) -> bytes:
        if isinstance(self._key, bytes):
            return self._key
        try:
            return Path(self._key).read_bytes()
        except OSError as error:
            raise TokenUnavailable(f"The key file {self._key} cannot be read: {error}.") from error


def expiry(token: str) -> float | None:
    """Return when a JWT ends (seconds since the epoch) without verifying it; None if it does not say."""
    import base64

    import msgspec

    class Claims(msgspec.Struct):
        exp: float | None = None

    parts = token.split(".")
    if len(parts) != 3:
        return None
    try:
        raw = base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4))
        return msgspec.json.decode(raw, type=Claims).exp
    except (ValueError, msgspec.DecodeError):
        return None


def _base64(raw: bytes) -> bytes:
    import base64

    return base64.urlsafe_b64encode(raw).rstrip(b"=")


def _clean(token: str, what: str) -> str:
    # The token becomes an HTTP header: a newline in it would be a second header.
    token = token.strip()
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise TokenUnavailable(f"{what} is not a token: expected one line of printable ASCII.")
    return token
