import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace_server.kernel import Invalid
from headrace_server.runs.amounts import MOST_MINUTES, array_of, memory_mib, minutes_of
from headrace_server.runs.refusals import ArrayInvalid, ArrayTooLarge, MemoryInvalid, TimeLimitInvalid


@pytest.mark.parametrize(
    ("text", "minutes"),
    [
        ("30", 30), (30, 30), ("1:30", 2), ("1:30:00", 90), ("2-12", 3600), ("1-0:30", 1470), ("0-0:0:1", 1),
        ("UNLIMITED", math.inf), ("unlimited", math.inf), ("0:59", 1), (" 5 ", 5),
    ],
)  # fmt: skip
def test_time_limits_are_read_as_slurm_reads_them(text: str | int, minutes: float) -> None:
    assert minutes_of(text) == minutes


@pytest.mark.parametrize(
    "text",
    ["0", 0, "-1", -1, "1000000000-0", "1000000000", "", "soon", "1:2:3:4", "1e9", "1.5", "٣", "30 --exclusive", "0:0",
     "$(id)", "9" * 5000, "1-", "-", "nan", "inf"],
)  # fmt: skip
def test_what_is_no_time_limit_is_refused(text: str | int) -> None:
    with pytest.raises(TimeLimitInvalid) as refused:
        minutes_of(text)
    assert refused.value.field == "options.time_limit"


@given(st.integers(0, 300), st.integers(0, 23), st.integers(0, 59), st.integers(0, 59))
def test_every_way_to_write_a_time_means_the_same(days: int, hours: int, minutes: int, seconds: int) -> None:
    total = days * 1440 + hours * 60 + minutes + (1 if seconds else 0)
    if total == 0:
        return
    assert minutes_of(f"{days}-{hours}:{minutes}:{seconds}") == total
    assert minutes_of(f"{days * 24 + hours}:{minutes}:{seconds}") == total
    if not seconds:
        assert minutes_of(total) == total


@given(st.text(max_size=60))
def test_any_text_is_a_time_or_refused(text: str) -> None:
    try:
        minutes = minutes_of(text)
    except TimeLimitInvalid:
        return
    assert minutes == math.inf or 1 <= minutes <= MOST_MINUTES


@pytest.mark.parametrize(("text", "mib"), [("100", 100), ("1K", 1), ("4G", 4096), ("1T", 2**20), ("0", 0), (512, 512)])
def test_memory_is_mib_unless_it_says_otherwise(text: str | int, mib: int) -> None:
    assert memory_mib(text) == mib


@pytest.mark.parametrize("text", ["1.5T", "P", "-1", "", "4 potatoes", "9" * 30, "4G\n", "\x00"])
def test_what_is_no_memory_is_refused(text: str) -> None:
    with pytest.raises(MemoryInvalid):
        memory_mib(text.strip(" ") if text != "4G\n" else "4G\nx")


@pytest.mark.parametrize(
    ("text", "total"), [("0-23", 24), ("1,3,5-9:2", 5), ("0-99%4", 100), ("7", 1), ("0-10:3", 4), ("0-4,2-3:5", None)]
)
def test_arrays_are_counted(text: str, total: int | None) -> None:
    if total is None:
        with pytest.raises(ArrayInvalid):
            array_of(text)
    else:
        assert array_of(text).total == total


@pytest.mark.parametrize("text", ["", "x", "5-1", "0-3%0", "0-3%", "0-3:0", "1,,2", "-1", "1,1", "0-3%x", "1\n2", "²"])
def test_what_is_no_array_is_refused(text: str) -> None:
    with pytest.raises(ArrayInvalid):
        array_of(text)


def test_an_array_beyond_slurms_end_is_too_large() -> None:
    with pytest.raises(ArrayTooLarge) as refused:
        array_of("0-4000001")
    assert refused.value.code == "array-too-large"


@given(st.lists(st.tuples(st.integers(0, 200), st.integers(0, 50), st.integers(1, 9)), min_size=1, max_size=5))
def test_an_array_holds_the_tasks_that_its_text_names(parts: list[tuple[int, int, int]]) -> None:
    text = ",".join(f"{first}-{first + length}:{step}" for first, length, step in parts)
    tasks = [task for first, length, step in parts for task in range(first, first + length + 1, step)]
    if len(set(tasks)) != len(tasks):
        with pytest.raises(Invalid):
            array_of(text)
        return
    array = array_of(text)
    assert array.total == len(tasks)
    assert {task for task in range(400) if task in array} == set(tasks)
