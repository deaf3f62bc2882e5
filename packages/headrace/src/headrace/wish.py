"""From a command line to the body of ``POST /api/v1/runs``."""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from .bring import BroughtFile
from .errors import UsageWrong

SCRIPT_READ_BYTES = 8 * 1024 * 1024
"""More than any Slurm takes; the server says what is too much."""
CONDITIONS = ("ok", "any", "notok")
_IMPORTED_S = time.monotonic()


class After(msgspec.Struct, frozen=True):
    """A run to wait for."""

    run: str
    condition: str = "ok"


class Wish(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is to be run. The names are the API's."""

    door: str = "api"
    begun_ms_ago: int = 0
    cluster: str | None = None
    name: str | None = None
    preset: str | None = None
    command: tuple[str, ...] = ()
    script: str | None = None
    options: Mapping[str, object] = {}
    files: tuple[BroughtFile, ...] = ()
    after: tuple[After, ...] = ()


def begun_ms_ago() -> int:
    """Return how long ago this process began: the moment a person pressed Enter, on Linux to the hundredth."""
    try:
        fields = Path("/proc/self/stat").read_text("ascii", errors="replace").rpartition(")")[2].split()
        started_s = int(fields[19]) / os.sysconf("SC_CLK_TCK")
        return max(0, round((time.clock_gettime(time.CLOCK_BOOTTIME) - started_s) * 1000))
    except (OSError, ValueError, IndexError, AttributeError):
        return round((time.monotonic() - _IMPORTED_S + time.process_time()) * 1000)


def read_script(name: str) -> str:
    """Return a script's text; ``-`` is standard input. Raises UsageWrong for what cannot be read."""
    try:
        if name == "-":
            content = sys.stdin.buffer.read(SCRIPT_READ_BYTES)
        else:
            with Path(name).open("rb") as file:
                content = file.read(SCRIPT_READ_BYTES)
    except FileNotFoundError as error:
        raise UsageWrong(
            f"There is no script {name!r} here.",
            code="script-not-found",
            fix=f"To run a command instead: headrace run -- {name}",
        ) from error
    except OSError as error:
        raise UsageWrong(f"The script {name!r} cannot be read: {error.strerror}.", code="script-unreadable") from error
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UsageWrong(
            f"The script {name!r} is not text in UTF-8 (byte {error.start}).", code="script-not-text"
        ) from error


def names_itself(script: str) -> bool:
    """Whether a script's #SBATCH lines give the job a name; the server reads them for good."""
    return re.search(r"^#SBATCH\b.*?\s['\"]?(?:-[A-Za-z]*J|--job-n)", script, re.MULTILINE) is not None


def environment_of(pairs: Sequence[str], environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of ``NAME=VALUE`` and of ``NAME``, which takes this environment's value."""
    chosen: dict[str, str] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not name:
            raise UsageWrong(f"--env {pair!r}: write NAME=VALUE or NAME.", code="env-invalid")
        if equals:
            chosen[name] = value
        elif name in environment:
            chosen[name] = environment[name]
        else:
            raise UsageWrong(f"--env {name}: this environment has no such variable.", code="env-invalid")
    return chosen


def split_after(text: str) -> After:
    """Return run and condition of ``RUN[:ok|any|notok]``."""
    run, colon, condition = text.partition(":")
    if colon and condition not in CONDITIONS:
        raise UsageWrong(
            f"--after {text!r}: after the colon comes one of {', '.join(CONDITIONS)}.", code="after-invalid"
        )
    return After(run, condition or "ok")
