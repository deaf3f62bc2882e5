"""Where Debian's own image can be had: the engine's settings know the registry, this package names none."""

from __future__ import annotations

import socket
import threading
import tomllib
from pathlib import Path
from urllib.parse import urlsplit

from slurmlab.engine import Engine

SHORT_NAMES = (Path("/etc/containers/registries.conf.d"), Path("/usr/share/containers/registries.conf.d"))
RESOLVES_WITHIN_S = 3.0


def debian_image(engine: Engine, suite: str) -> str | None:
    """The name of Debian's slim image of `suite`, where the registry that this engine is set up for can be reached.

    An engine's own retries would take most of a minute to find out, so the registry's name is looked up first.
    """
    if engine.kind == "docker":
        server = engine.attempt("info", "--format", "{{.IndexServerAddress}}", timeout_s=10).stdout.decode().strip()
        host, repository = urlsplit(server).hostname or "", "debian"
    else:
        repository = _short_name("debian") or ""
        host = repository.partition("/")[0]
    return f"{repository}:{suite}-slim" if host and _resolves(host) else None


def _short_name(name: str) -> str | None:
    """Podman's full name for a short one, out of its configuration."""
    for folder in SHORT_NAMES:
        for file in sorted(folder.glob("*.conf")):
            try:
                aliases = tomllib.loads(file.read_text()).get("aliases", {})
            except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError):
                continue
            if isinstance(full := aliases.get(name), str):
                return full
    return None


def _resolves(host: str) -> bool:
    found = threading.Event()

    def look_up() -> None:
        try:
            socket.getaddrinfo(host, 443)
        except OSError:
            return
        found.set()

    # The resolver has no time-out of its own that can be set here.
    thread = threading.Thread(target=look_up, daemon=True)
    thread.start()
    thread.join(RESOLVES_WITHIN_S)
    return found.is_set()
