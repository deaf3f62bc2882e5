from __future__ import annotations

from pathlib import Path

import pytest

from slurmlab import LabConfig
from slurmlab.errors import ConfigError
from slurmlab.site import Role, User, accounting_script, associations_file, default_site


def test_the_default_is_a_small_site() -> None:
    config = LabConfig()
    assert config.hosts == ("controller", "login", "c1", "c2")
    assert config.gpu_hosts == ("c2",)
    assert len(config.site.users) == 6
    assert {u.role for u in config.site.users} == set(Role)


@pytest.mark.parametrize("name", ["", "Lab", "1lab", "a b", "a/../b", "x" * 31, "lab\n"])
def test_a_name_that_could_be_anything_else_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="cannot be a lab's name"):
        LabConfig(name=name)


@pytest.mark.parametrize(
    ("field", "value"), [("nodes", 0), ("nodes", 65), ("cpus", 0), ("gpu_nodes", 3), ("max_array_size", 4_000_002)]
)
def test_a_number_out_of_range_names_its_field(field: str, value: int) -> None:
    with pytest.raises(ConfigError, match=field):
        LabConfig().with_changes(**{field: value})


def test_a_file_describes_a_lab(tmp_path: Path) -> None:
    file = tmp_path / "lab.toml"
    file.write_text(
        """
        name = "sandpit"
        slurm = "24.11"
        nodes = 4
        slurmrestd_port = 26820
        jwks_file = "keys.json"

        [slurm_conf]
        SlurmdTimeout = 20

        [site]
        accounts = [{name = "geology", description = "Rocks", fair_share = 3}]
        users = [{name = "rosa", accounts = ["geology"], role = "pi"}]
        licences = {drill = 2}
        """
    )
    config = LabConfig.from_file(file)
    assert (config.name, config.slurm, config.nodes, config.slurmrestd_port) == ("sandpit", "24.11", 4, 26820)
    assert config.jwks_file == tmp_path / "keys.json"
    assert config.slurm_conf == {"SlurmdTimeout": "20"}
    assert config.site.users == (User("rosa", ("geology",), Role.PI),)
    assert config.site.licences == {"drill": 2}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("node = 3", "unknown key node"),
        ('nodes = "3"', "nodes must be int"),
        ("nodes = true", "nodes must be int"),
        ('slurm = "1.0"', "no Slurm '1.0'"),
        ("nodes = ", "lab.toml"),
        ('[slurm_conf]\n"Bad Key" = "x"', "is not one line"),
        ('[site]\nusers = [{name = "rosa", accounts = ["none"]}]', "which the site does not have"),
        ("[site]\npeople = 3", "unknown key people"),
        ('[site]\nusers = [{name = "rosa"}]', "accounts"),
    ],
)
def test_a_file_with_a_mistake_says_which(tmp_path: Path, text: str, says: str) -> None:
    file = tmp_path / "lab.toml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=says):
        LabConfig.from_file(file)


def test_a_missing_file_is_a_plain_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nowhere"):
        LabConfig.from_file(tmp_path / "nowhere.toml")


@pytest.mark.parametrize("name", ["ada'; drop", "Ada", "a b", "$(id)", ""])
def test_a_user_whose_name_could_be_a_command_is_refused(name: str) -> None:
    with pytest.raises(ConfigError):
        User(name, ("physics",))


def test_everybody_is_in_the_accounting_files() -> None:
    site = default_site()
    tree = associations_file(site, "lab")
    assert tree.count("User - 'dara'") == 2
    assert "User - 'olga':DefaultAccount='physics':AdminLevel='Operator'" in tree
    assert "add coordinator account=physics,quant names=petra" in accounting_script(site, "lab")
