"""Settings: read once, from one TOML file and from the environment, which wins. Nothing else reads the environment.

Every field is documented in docs/settings.md; a test compares.
"""

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec

from headrace_server.clusters import ClusterSettings
from headrace_server.kernel import Broken

PREFIX = "HEADRACE_"


class SettingsInvalid(Broken):
    """The settings cannot be used."""

    code = "settings-invalid"


def default_state() -> Path:
    """Return where a server keeps its state: /var/lib/headrace for root, the XDG state folder for others."""
    if os.geteuid() == 0:
        return Path("/var/lib/headrace")
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local/state") / "headrace"


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """All settings of a server process.

    state: folder for the embedded database, the server's log and its lock.
    database_url: `sqlite:///PATH` or `postgresql://USER@HOST/NAME`; by default SQLite in `state`.
    listen: address and port of the HTTP server.
    public_url: the address that people use, if a proxy stands before the server; links are made from it.
    clusters: the Slurm clusters that this Headrace serves; the first is the default.
    """

    state: Path = msgspec.field(default_factory=default_state)
    database_url: str = ""
    listen: str = "127.0.0.1:8470"
    public_url: str = ""
    clusters: tuple[ClusterSettings, ...] = ()

    @property
    def database(self) -> str:
        """The database's URL, the default filled in."""
        return self.database_url or f"sqlite:///{self.state / 'headrace.sqlite'}"

    @property
    def address(self) -> tuple[str, int]:
        """Host and port to listen on."""
        host, _, port = self.listen.rpartition(":")
        if not host or not port.isdecimal() or not 0 < int(port) < 65536:
            raise SettingsInvalid(f"listen is {self.listen!r}; it must be ADDRESS:PORT.", field="listen")
        return host.strip("[]"), int(port)

    @property
    def base_url(self) -> str:
        """The address that people use, without a slash at its end."""
        return (self.public_url or f"http://{self.listen}").rstrip("/")

    @property
    def allowed_hosts(self) -> list[str]:
        """The Host headers that are answered; any other is refused (DNS rebinding)."""
        public = urlsplit(self.base_url).hostname or ""
        return sorted({public, self.address[0], "localhost", "127.0.0.1", "::1"} - {"0.0.0.0", "::", ""})  # noqa: S104


def read_settings(file: Path | None = None, environment: Mapping[str, str] = os.environ) -> Settings:
    """Read `file` (default: HEADRACE_CONFIG), then HEADRACE_STATE, _DATABASE_URL, _LISTEN and _PUBLIC_URL over it.

    Raises SettingsInvalid, which names the file and the field.
    """
    values: dict[str, Any] = {}
    source = file or (Path(environment[PREFIX + "CONFIG"]) if PREFIX + "CONFIG" in environment else None)
    if source is not None:
        try:
            values = tomllib.loads(source.read_text(encoding="utf-8"))
        except OSError as error:
            raise SettingsInvalid(f"{source}: {error.strerror}") from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise SettingsInvalid(f"{source}: {error}") from error
    for name in ("state", "database_url", "listen", "public_url"):
        if value := environment.get(PREFIX + name.upper()):
            values[name] = value
    return settings_of(values, str(source or "environment"))


def settings_of(values: Mapping[str, Any], source: str = "settings") -> Settings:
    """Check plain values and return them as settings."""

    def hook(kind: type, value: Any) -> Any:
        return Path(value).expanduser() if kind is Path and isinstance(value, str) else value

    try:
        settings = msgspec.convert(values, Settings, dec_hook=hook)
    except msgspec.ValidationError as error:
        raise SettingsInvalid(f"{source}: {error}") from error
    names = [cluster.name for cluster in settings.clusters]
    if len(set(names)) != len(names):
        raise SettingsInvalid(f"{source}: two clusters have the same name.", field="clusters")
    _ = settings.address
    return settings
