"""The shapes this client reads, against the server's own description of them; and the reading of streams."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace import bring, wire, wish
from headrace.paper import safe, span
from headrace.server import Event, parse_events

SHAPES = {
    "Run": wire.Run,
    "Moments": wire.Moments,
    "TaskCounts": wire.Tasks,
    "Wait": wire.Wait,
    "Reason": wire.Reason,
    "Page_Run_": wire.RunPage,
    "LogChunk": wire.LogChunk,
    "LoggedIn": wire.LoggedIn,
    "Me": wire.Me,
    "NewRun": wish.Wish,
    "After": wish.After,
    "NewFile": bring.BroughtFile,
}


@pytest.mark.parametrize("name", SHAPES)
def test_the_server_describes_every_field_that_is_used(api: Any, name: str) -> None:
    described = api["components"]["schemas"][name]["properties"]
    used = {field.encode_name for field in msgspec.structs.fields(SHAPES[name])}
    assert used <= set(described)


@pytest.mark.parametrize("name", [name for name in SHAPES if name not in {"NewRun", "After", "NewFile"}])
def test_what_the_client_needs_is_always_there(api: Any, name: str) -> None:
    promised = set(api["components"]["schemas"][name].get("required", ()))
    needed = {field.encode_name for field in msgspec.structs.fields(SHAPES[name]) if field.required}
    assert needed <= promised


def test_the_states_that_end_a_run_are_the_servers(api: Any) -> None:
    states = set(api["components"]["schemas"]["Run"]["properties"]["state"]["enum"])
    assert states >= wire.ENDED
    assert states - wire.ENDED == {"submitting", "pending", "running", "unknown"}


def lines_of(events: list[Event]) -> list[bytes]:
    text = b": hello\n\n"
    for event in events:
        head = b"" if event.id is None else b"id: " + event.id.encode() + b"\n"
        text += b"event: " + event.name.encode() + b"\n" + head + b"data: " + event.data + b"\n\n: still here\n\n"
    return text.splitlines(keepends=True)


words = st.text("abcxyz", min_size=1, max_size=8)
events = st.builds(Event, words, words.map(str.encode), words)


@given(st.lists(events))
def test_events_are_read_back(sent: list[Event]) -> None:
    assert list(parse_events(iter(lines_of(sent)))) == sent


@given(st.lists(events, min_size=1), st.integers(1, 3))
def test_an_event_cut_short_is_dropped(sent: list[Event], missing: int) -> None:
    ends = [number for number, line in enumerate(lines_of(sent)) if line.startswith(b"data:")]
    cut = lines_of(sent)[: ends[-1] + (1 if missing == 1 else 0)]
    assert list(parse_events(iter(cut))) == sent[:-1]


@given(st.text())
def test_no_control_character_is_shown(text: str) -> None:
    assert not any(ord(character) < 32 or 127 <= ord(character) < 160 for character in safe(text))


@pytest.mark.parametrize(
    ("seconds", "written"),
    [
        (None, "-"), (0, "<1 s"), (0.42, "0.4 s"), (9.96, "10 s"), (59.4, "59 s"), (60, "1 min 00 s"),
        (185, "3 min 05 s"), (3600, "1 h 00 min"), (7800, "2 h 10 min"), (86400, "1 d 00 h"), (356400, "4 d 03 h"),
    ],
)  # fmt: skip
def test_durations(seconds: float | None, written: str) -> None:
    assert span(seconds) == written
