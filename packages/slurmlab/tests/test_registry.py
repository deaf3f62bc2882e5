"""Where the base image comes from is the engine's own setting."""

from pathlib import Path

import pytest

from slurmlab import registry
from slurmlab.engine import Engine

PODMAN = Engine("podman", ("podman",), rootless=False, ulimits=())


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(registry, "SHORT_NAMES", (tmp_path,))
    return tmp_path / "shortnames.conf"


def test_podmans_short_name_is_used_where_its_registry_is_found(settings: Path) -> None:
    settings.write_text('[aliases]\n"debian" = "localhost/mirror/debian"\n')
    assert registry.debian_image(PODMAN, "forky") == "localhost/mirror/debian:forky-slim"


def test_without_a_registry_there_is_no_image(settings: Path) -> None:
    assert registry.debian_image(PODMAN, "forky") is None
    settings.write_text('[aliases]\n"debian" = "registry.invalid/debian"\n')
    assert registry.debian_image(PODMAN, "forky") is None
    settings.write_text("not toml")
    assert registry.debian_image(PODMAN, "forky") is None
