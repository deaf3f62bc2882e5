"""Which server, as whom: contexts, kept in a file that only its owner can read."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from .errors import NotLoggedIn, UsageWrong

DEFAULT = "default"


class Context(msgspec.Struct, frozen=True, kw_only=True):
    """A server and a token for it."""

    url: str
    user: str | None = None
    token: str | None = None
    expires_at: datetime | None = None


class Contexts(msgspec.Struct, frozen=True, kw_only=True):
    """All of them, by name, and the one used when none is named."""

    current: str = DEFAULT
    contexts: dict[str, Context] = {}


def choose(named: str | None, environment: Mapping[str, str]) -> tuple[str, Context]:
    """Return the context to use and its name.

    `--context` wins over HEADRACE_CONTEXT, and that over the current one. HEADRACE_URL and HEADRACE_TOKEN stand in for
    the parts of it; a stored token is never sent to another server than the one it is for.
    """
    stored = load(environment)
    name = named or environment.get("HEADRACE_CONTEXT") or stored.current
    context = stored.contexts.get(name)
    if context is None and (named or environment.get("HEADRACE_CONTEXT")):
        known = ", ".join(sorted(stored.contexts)) or "none"
        raise UsageWrong(f"There is no context {name!r}; known: {known}.", code="no-such-context")
    if url := environment.get("HEADRACE_URL"):
        url = checked_url(url)
        context = context if context is not None and context.url == url else Context(url=url)
    if context is None:
        raise NotLoggedIn("No server is known.", code="not-logged-in", fix="Log in with: headrace login LINK")
    if token := environment.get("HEADRACE_TOKEN"):
        context = msgspec.structs.replace(context, token=token, user=None)
    return name, context


def checked_url(url: str) -> str:
    """Return scheme, host and port of an address. Raises UsageWrong for what is none."""
    parts = urlsplit(url.strip())
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise UsageWrong(
            f"{url!r} is not the address of a server, such as https://hpc.example.org.", code="url-invalid"
        )
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def path(environment: Mapping[str, str]) -> Path:
    """Return the file's place: in HEADRACE_CONFIG_DIR, else after the XDG base directory specification."""
    if chosen := environment.get("HEADRACE_CONFIG_DIR"):
        return Path(chosen) / "contexts.json"
    base = environment.get("XDG_CONFIG_HOME") or ""
    folder = Path(base) if base.startswith("/") else Path("~/.config").expanduser()
    return folder / "headrace" / "contexts.json"


def load(environment: Mapping[str, str]) -> Contexts:
    """Read the file; nothing stored is no error."""
    file = path(environment)
    try:
        return msgspec.json.decode(file.read_bytes(), type=Contexts)
    except FileNotFoundError:
        return Contexts()
    except (msgspec.MsgspecError, OSError) as error:
        raise UsageWrong(
            f"{file} cannot be read: {error}", code="contexts-unreadable", fix="Remove the file and log in again."
        ) from error


def save(contexts: Contexts, environment: Mapping[str, str]) -> None:
    """Write the file, readable by its owner only, all at once."""
    file = path(environment)
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=file.parent, prefix=".contexts-")  # mode 0600
        try:
            with os.fdopen(handle, "wb") as stream:
                stream.write(msgspec.json.format(msgspec.json.encode(contexts)) + b"\n")
            Path(temporary).replace(file)
        finally:
            with contextlib.suppress(FileNotFoundError):
                Path(temporary).unlink()
    except OSError as error:
        raise UsageWrong(f"{file} cannot be written: {error}", code="contexts-unwritable") from error


def remember(name: str, context: Context, environment: Mapping[str, str]) -> None:
    """Store a context and make it the current one."""
    stored = load(environment)
    save(Contexts(current=name, contexts={**stored.contexts, name: context}), environment)


def forget(name: str, environment: Mapping[str, str]) -> None:
    """Remove a context; the current one becomes any other."""
    stored = load(environment)
    left = {other: context for other, context in stored.contexts.items() if other != name}
    current = stored.current if stored.current in left else next(iter(sorted(left)), DEFAULT)
    save(Contexts(current=current, contexts=left), environment)
