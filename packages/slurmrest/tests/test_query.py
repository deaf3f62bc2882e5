from datetime import UTC, datetime

import pytest

from slurmrest import InvalidRequest
from slurmrest._query import check_signal, split_job_id, target
from slurmrest._reading import array_tasks


def test_everything_but_unreserved_characters_is_encoded() -> None:
    value = "a,b:c/d=e?f$g'h{i<j([@*!\"|%;+~é\n"
    path = target("slurmdb", "v0.0.45", ("jobs", ""), [("users", value)])
    _, _, encoded = path.partition("=")
    assert set(encoded) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~%")
    assert path.startswith("/slurmdb/v0.0.45/jobs/?users=a%2Cb%3Ac%2Fd%3De%3F")


def test_a_segment_cannot_leave_its_place() -> None:
    assert target("slurm", "v0.0.45", ("job", "../../x?y#z")) == "/slurm/v0.0.45/job/..%2F..%2Fx%3Fy%23z"


def test_lists_repeat_the_key_and_times_are_seconds() -> None:
    moment = datetime(2026, 11, 21, 8, 0, tzinfo=UTC)
    query = [("users", "a"), ("users", "b"), ("skip_steps", True), ("start_time", moment)]
    assert target("slurmdb", "v0.0.42", ("jobs", ""), query).endswith(
        "?users=a&users=b&skip_steps=true&start_time=1795248000"
    )


@pytest.mark.parametrize(
    ("text", "parts"),
    [(12, (12, None, None)), ("12", (12, None, None)), ("12_0", (12, 0, None)), ("12+3", (12, None, 3))],
)
def test_job_ids(text: int | str, parts: tuple[int, int | None, int | None]) -> None:
    assert split_job_id(text) == parts


@pytest.mark.parametrize("text", ["", "0", "-1", "1_", "1_x", "1+", "1;2", "../1", "١٢", "1_2_3", "all"])
def test_what_is_no_job_id_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        split_job_id(text)
    assert refused.value.code == "job_id_invalid"


@pytest.mark.parametrize(("signal", "sent"), [("usr1", "USR1"), ("SIGTERM", "TERM"), (9, 9)])
def test_signals(signal: str | int, sent: str | int) -> None:
    assert check_signal(signal) == sent


@pytest.mark.parametrize("signal", ["", "BLA", "USR1,KILL", 0, 65, -9])
def test_an_unknown_signal_is_refused_here_because_slurmrestd_would_kill_the_job(signal: str | int) -> None:
    with pytest.raises(InvalidRequest) as refused:
        check_signal(signal)
    assert refused.value.code == "signal_invalid"


@pytest.mark.parametrize(
    ("text", "numbers"),
    [("5", {5}), ("1,3", {1, 3}), ("0-8:4%2", {0, 4, 8}), ("1-3,7", {1, 2, 3, 7}), ("", set[int]())],
)
def test_array_tasks(text: str, numbers: set[int]) -> None:
    assert array_tasks(text) == numbers
