import dataclasses
import re
from pathlib import Path

import msgspec
import pytest

from headrace_server.clusters import ClusterSettings
from headrace_server.settings import Settings, SettingsInvalid, read_settings, settings_of

DOCS = Path(__file__).parents[3] / "docs/settings.md"


def test_every_setting_is_documented() -> None:
    documented = set(re.findall(r"`([a-z_]+)`", "\n".join(x for x in DOCS.read_text().splitlines() if x[:1] == "|")))
    fields = {field.name for field in msgspec.structs.fields(Settings)}
    fields |= {field.name for field in dataclasses.fields(ClusterSettings)}
    assert fields <= documented


def test_the_documented_example_is_valid(tmp_path: Path) -> None:
    file = tmp_path / "headrace.toml"
    file.write_text(DOCS.read_text().split("```toml\n")[1].split("```")[0])
    settings = read_settings(file, {})
    assert settings.clusters[0].name == "alpine"
    assert settings.base_url == "https://headrace.example.org"
    assert "headrace.example.org" in settings.allowed_hosts


def test_the_environment_wins(tmp_path: Path) -> None:
    file = tmp_path / "headrace.toml"
    file.write_text('listen = "127.0.0.1:1"\nstate = "/a"')
    settings = read_settings(None, {"HEADRACE_CONFIG": str(file), "HEADRACE_LISTEN": "127.0.0.1:2"})
    assert settings.address == ("127.0.0.1", 2)
    assert settings.database == "sqlite:////a/headrace.sqlite"


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"lissten": "127.0.0.1:1"}, "lissten"),
        ({"listen": "8470"}, "ADDRESS:PORT"),
        ({"listen": "127.0.0.1:99999"}, "ADDRESS:PORT"),
        ({"clusters": [{"name": "a"}]}, "slurmrestd_url"),
        ({"clusters": [{"name": "a", "slurmrestd_url": "u", "jwt_key_file": "k"}] * 2}, "same name"),
    ],
)
def test_bad_settings_are_named(values: dict[str, object], says: str) -> None:
    with pytest.raises(SettingsInvalid, match=says):
        settings_of(values)


def test_a_missing_or_broken_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsInvalid, match=r"nowhere\.toml: No such file"):
        read_settings(tmp_path / "nowhere.toml", {})
    broken = tmp_path / "broken.toml"
    broken.write_text("= 1")
    with pytest.raises(SettingsInvalid, match=r"broken\.toml"):
        read_settings(broken, {})
