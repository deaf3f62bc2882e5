import math
from datetime import UTC, datetime

import pytest

from slurmrest import InvalidArray, InvalidRequest, InvalidScript, InvalidTimeLimit, JobDescription
from slurmrest._operation import key_in
from slurmrest._submission import body

GOOD = "#!/bin/bash\nhostname\n"


def job(
    description: JobDescription, operation_key: str | None = None, key_in_field: str = "extra"
) -> dict[str, object]:
    made = body(description, operation_key=operation_key, operation_key_in=key_in_field, user="ada")["job"]
    assert isinstance(made, dict)
    return {str(key): value for key, value in made.items()}  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]


def describe(**fields: object) -> JobDescription:
    return JobDescription(**({"script": GOOD, "working_directory": "/home/ada"} | fields))  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    ("script", "code"),
    [
        ("", "script_empty"),
        (" \n\t\n", "script_empty"),
        ("hostname\n", "script_no_interpreter"),
        ("#!\nhostname\n", "script_no_interpreter"),
        ("#!/bin/bash\r\nhostname\r\n", "script_crlf"),
        ("#!/bin/bash\nhostname\r\n", "script_crlf"),
        ("#!/bin/bash\rhostname\r", "script_crlf"),
        ("#!/bin/bash\necho \0\n", "script_nul"),
        ("\ufeff#!/bin/bash\nhostname\n", "script_bom"),
        ("#!/bin/bash\n" + "#" * 4 * 1024 * 1024, "script_too_large"),
        ("#!/bin/bash\n" + "é" * 2 * 1024 * 1024, "script_too_large"),
        ("#!/bin/bash\n\ud800\n", "script_not_text"),
    ],
)
def test_scripts_that_cannot_run_are_refused_before_sending(script: str, code: str) -> None:
    with pytest.raises(InvalidScript) as refused:
        job(describe(script=script))
    assert (refused.value.code, refused.value.errno) == (code, None)


@pytest.mark.parametrize(
    ("minutes", "code"),
    [
        (0, "time_limit_too_small"),
        (-1, "time_limit_too_small"),
        (0.5, "time_limit_too_small"),
        (-math.inf, "time_limit_too_small"),
        (math.nan, "time_limit_too_small"),
        (1e9 * 1440, "time_limit_too_large"),
        (2**32, "time_limit_too_large"),
    ],
)
def test_time_limits_that_slurm_would_read_as_none_at_all_are_refused(minutes: float, code: str) -> None:
    with pytest.raises(InvalidTimeLimit) as refused:
        job(describe(time_limit_min=minutes))
    assert refused.value.code == code


@pytest.mark.parametrize(
    ("array", "code"),
    [
        ("0-4000001", "array_too_large"),
        ("99999999999999999999", "array_too_large"),
        ("abc", "array_malformed"),
        ("5-1", "array_malformed"),
        ("0-5:0", "array_malformed"),
        ("0-5%0", "array_malformed"),
        ("1,,2", "array_malformed"),
        ("-1", "array_malformed"),
        ("", "array_malformed"),
        ("0-5 --wrap=x", "array_malformed"),
    ],
)
def test_arrays_that_are_none_are_refused(array: str, code: str) -> None:
    with pytest.raises(InvalidArray) as refused:
        job(describe(array=array))
    assert refused.value.code == code


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"name": "a\nb"}, "control_character"),
        ({"name": "a\0b"}, "control_character"),
        ({"comment": "a\r"}, "control_character"),
        ({"account": "a\x1b[31m"}, "control_character"),
        ({"name": " "}, "name_empty"),
        ({"working_directory": None}, "working_directory_invalid"),
        ({"working_directory": "home/ada"}, "working_directory_invalid"),
        ({"environment": {"A=B": "c"}}, "environment_invalid"),
        ({"environment": {"": "c"}}, "environment_invalid"),
        ({"environment": {"A": "x\0y"}}, "environment_invalid"),
        ({"nodes": "x"}, "nodes_invalid"),
        ({"nodes": 0}, "count_invalid"),
        ({"cpus_per_task": -1}, "count_invalid"),
        ({"memory_per_node_mib": -1}, "count_invalid"),
        ({"memory_per_node_mib": 1, "memory_per_cpu_mib": 1}, "memory_twice"),
        ({"mail_on": ("SOMETIMES",)}, "mail_on_invalid"),
        ({"signal": "@30"}, "signal_invalid"),
        ({"open_mode": "w"}, "open_mode_invalid"),
        ({"gres": "gpu:1,,"}, "gres_invalid"),
    ],
)
def test_other_values_that_cannot_be(fields: dict[str, object], code: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        job(describe(**fields))
    assert (refused.value.code, refused.value.errno) == (code, None)


def test_a_value_is_never_an_option() -> None:
    name = "--wrap='x' $(reboot); \"quoted\" `id`"
    made = job(describe(name=name, account="--uid=0"))
    assert (made["name"], made["account"]) == (name, "--uid=0")


def test_units_and_unset_and_infinite() -> None:
    made = job(describe(time_limit_min=math.inf, memory_per_cpu_mib=100, begin=datetime(2026, 1, 1, tzinfo=UTC)))
    assert made["time_limit"] == {"set": False, "infinite": True, "number": 0}
    assert made["memory_per_cpu"] == {"set": True, "infinite": False, "number": 100}
    assert made["begin_time"] == {"set": True, "infinite": False, "number": 1767225600}
    assert "memory_per_node" not in made
    assert job(describe(time_limit_min=1.2))["time_limit"] == {"set": True, "infinite": False, "number": 2}


def test_generic_resources_as_slurm_wants_them() -> None:
    made = job(describe(gres="gpu:a100:2,shard:1", gpus=4))
    assert (made["tres_per_node"], made["tres_per_job"]) == ("gres/gpu:a100:2,gres/shard:1", "gres/gpu:4")


def test_the_environment_holds_what_sbatch_would_set_and_what_was_asked() -> None:
    made = job(describe(name="n", environment={"PATH": "/opt/bin", "LINES": "a,b\nc=d"}))["environment"]
    assert isinstance(made, list)
    lines = [str(line) for line in made]  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    assert "SLURM_SUBMIT_DIR=/home/ada" in lines
    assert "PATH=/opt/bin" in lines
    assert "LINES=a,b\nc=d" in lines
    assert [line for line in lines if line.startswith("PATH=")] == ["PATH=/opt/bin"]
    assert not [line for line in lines if line.startswith("SLURM_GET_USER_ENV")]


def test_the_key_travels_apart_from_the_comment() -> None:
    made = job(describe(comment="mine"), "key-12345678")
    assert (made["comment"], key_in(str(made["extra"]))) == ("mine", "key-12345678")


def test_the_key_can_travel_after_the_comment() -> None:
    made = job(describe(comment="mine"), "key-12345678", "comment")
    assert "extra" not in made
    assert str(made["comment"]).startswith("mine ")
    assert key_in(str(made["comment"])) == "key-12345678"


@pytest.mark.parametrize("fields", [{"extra": "x"}, {"slurm_fields": {"extra": "x"}}])
def test_the_key_does_not_push_out_what_the_user_put_there(fields: dict[str, object]) -> None:
    with pytest.raises(InvalidRequest) as refused:
        job(describe(**fields), "key-12345678")
    assert refused.value.code == "extra_in_use"


@pytest.mark.parametrize(
    "text", [None, "", "operation-key:", "xoperation-key:key-12345678", "operation-key:key-1 more"]
)
def test_what_only_looks_like_a_key_is_none(text: str | None) -> None:
    assert key_in(text) is None


def test_other_fields_pass_through() -> None:
    assert job(describe(slurm_fields={"oom_kill_step": 1}))["oom_kill_step"] == 1
