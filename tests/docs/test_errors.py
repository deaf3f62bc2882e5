"""docs/errors.md and the code say the same: every code, each with its meaning, and none that is gone."""

import importlib
import pkgutil
import re
from pathlib import Path

import headrace_server
from headrace_server.kernel.errors import every_error
from headrace_server.kernel.problems import PLAIN_CODES
from headrace_server.runs.model import REASONS

PAGE = (Path(__file__).parents[2] / "docs/errors.md").read_text()
ERRORS, _, WHY = PAGE.partition("## Why a run is in its state")
ROW = re.compile(r"^\| `([a-z0-9-]+)` \| ([^|]+) \| ([^|]+) \|$", re.MULTILINE)


def titles() -> dict[str, set[str]]:
    for module in pkgutil.walk_packages(headrace_server.__path__, "headrace_server."):
        if ".migrations" not in module.name and not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    found: dict[str, set[str]] = {}
    for error in every_error():
        if error.__module__.startswith("headrace_server"):
            found.setdefault(error.code, set()).add(error.title())
    return found


def test_every_error_is_documented_under_its_title() -> None:
    documented = {code: meaning for code, meaning, _ in ROW.findall(ERRORS)}
    for code, said in titles().items():
        assert code in documented, f"{code} is missing in docs/errors.md"
        assert documented[code] in said, f"{code}: {documented[code]!r} is not one of {said}"


def test_every_documented_error_exists() -> None:
    assert {code for code, _, _ in ROW.findall(ERRORS)} == {*titles(), *PLAIN_CODES.values()}


def test_no_error_is_documented_twice() -> None:
    codes = [code for code, _, _ in ROW.findall(ERRORS)]
    assert len(codes) == len(set(codes))


def test_every_reason_is_documented() -> None:
    assert {code for code, _, _ in ROW.findall(WHY)} == REASONS
