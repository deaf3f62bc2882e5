"""Lengths of time and logs read the same whether the server or the script wrote them."""

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from headrace_server.portal import words

SOURCES = Path(words.__file__).parent / "assets" / "src"
SECONDS = [0, 0.03, 0.0994, 0.0995, 0.4, 9.94, 9.95, 12.2, 59.4, 59.6, 60, 185, 3599.4, 3600, 8040, 86400, 273600, 9e8]
LOGS = [
    "",
    "plain\nlines\n",
    "10%\r20%\r30%\n",
    "10%\r20%",
    "10%\r",
    "windows\r\nlines\r\n",
    "\x1b[31mred\x1b[0m \x1b]0;title\x07text \x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\",
    "a\x1b[2Kb\x1b(Bc",
    "<b>&amp;</b>",
    "\r\r\r\n\n",
]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "–"),  # noqa: RUF001
        (0, "0 ms"),
        (-3, "0 ms"),
        (0.033, "33 ms"),
        (0.42, "0.4 s"),
        (12, "12 s"),
        (185, "3m 05s"),
        (8040, "2h 14m"),
        (273600, "3d 04h"),
    ],
)
def test_a_length_of_time_has_at_most_two_units(seconds: float | None, text: str) -> None:
    assert words.duration(seconds) == text


def test_a_moment_is_told_in_utc() -> None:
    moment = datetime(2026, 11, 21, 10, 0, 0, 250_000, tzinfo=timezone(timedelta(hours=1)))
    assert words.moment(moment) == "2026-11-21 09:00:00 UTC"
    assert words.iso(moment) == "2026-11-21T09:00:00.250+00:00"
    assert words.epoch_ms(datetime(1970, 1, 2, tzinfo=UTC)) == 86_400_000


@pytest.mark.parametrize(
    ("log", "shown"),
    [(LOGS[2], "30%\n"), (LOGS[4], "10%"), (LOGS[5], "windows\nlines\n"), (LOGS[6], "red text link"), (LOGS[7], "abc")],
)
def test_a_log_reads_as_on_a_terminal(log: str, shown: str) -> None:
    assert words.plain(log) == shown


def test_a_long_line_without_an_end_costs_no_more_than_its_length() -> None:
    # The page is made from 64 KiB of log; a pattern that looks back at every character would take minutes here.
    assert words.plain("x" * 5_000_000) == "x" * 5_000_000
    assert words.plain("\x1b[" * 1_000_000 + "1" * 1_000_000)


def test_the_script_says_the_same(tmp_path: Path) -> None:
    node = Path(sys.executable).parent / "node"  # of the development packages
    program = tmp_path / "say.mjs"
    program.write_text(
        # The modules touch the page when they are read; here there is none.
        "globalThis.document = {documentElement: {dataset: {}}};\n"
        f"const {{duration}} = await import({json.dumps(str(tmp_path / 'time.mjs'))});\n"
        f"const {{plain}} = await import({json.dumps(str(tmp_path / 'log.mjs'))});\n"
        f"console.log(JSON.stringify([{json.dumps(SECONDS)}.map(duration), {json.dumps(LOGS)}.map(plain)]));\n"
    )
    for name in ("time", "log"):
        (tmp_path / f"{name}.mjs").write_text((SOURCES / f"{name}.js").read_text())
    said = json.loads(subprocess.run([node, program], check=True, capture_output=True, text=True).stdout)
    assert said == [[words.duration(seconds) for seconds in SECONDS], [words.plain(log) for log in LOGS]]


@pytest.mark.parametrize(("seconds", "says"), [(0.0, "< 1 s"), (0.2, "< 2 s"), (2.0, "< 3 s"), (12.3, "12 s")])
def test_what_slurm_counted_is_known_to_a_second(seconds: float, says: str) -> None:
    assert words.counted(seconds) == says
