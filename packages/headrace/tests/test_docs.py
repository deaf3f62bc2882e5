"""What docs/cli.md says is complete: every command, option, code and variable of the program is in it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import headrace
from headrace.cli import app

DOCS = (Path(__file__).parents[3] / "docs" / "cli.md").read_text()
SOURCE = "\n".join(file.read_text() for file in sorted(Path(headrace.__file__).parent.glob("*.py")))


def options_of_run() -> list[str]:
    command = app.commands["run"]
    longest = [max(parameter.opts, key=len) for parameter in command.params]
    return [option for option in longest if option.startswith("--")]


@pytest.mark.parametrize("command", sorted(app.commands))
def test_every_command_is_described(command: str) -> None:
    assert re.search(rf"`(headrace )?{command}\b", DOCS)


def test_every_option_of_run_is_described() -> None:
    aliases = {"--ntasks-per-node": "--tasks-per-node", "--cpus-per-task": "--cpus", "--ntasks": "--tasks"}
    elsewhere = {"--json", "--context"}
    missing = [option for option in options_of_run() if aliases.get(option, option) not in DOCS]
    assert set(missing) <= elsewhere


def test_every_code_is_described() -> None:
    codes = set(re.findall(r'code="([a-z-]+)"', SOURCE)) - {"unknown"}
    assert {code for code in codes if f"`{code}`" not in DOCS} == set()


def test_every_variable_is_described() -> None:
    variables = set(re.findall(r'"(HEADRACE_[A-Z_]+)"', SOURCE))
    assert {name for name in variables if f"`{name}`" not in DOCS} == set()
