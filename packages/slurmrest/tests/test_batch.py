"""Reading #SBATCH lines. What real sbatch does with the same scripts is compared in test_batch_differential.py."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slurmrest import InvalidScript, JobDescription
from slurmrest._batch_fold import READERS
from slurmrest._batch_options import OPTIONS
from slurmrest.batch import (
    SCRIPT_LIMIT_BYTES,
    DirectiveRefused,
    check_script,
    fold,
    parse_memory_mib,
    parse_moment,
    parse_node_count,
    parse_time_limit,
    read_arguments,
    read_directives,
)

NOTHING = JobDescription(script="")


def described(*lines: str, already: JobDescription = NOTHING) -> JobDescription:
    script = "\n".join(["#!/bin/bash", *(f"#SBATCH {line}" for line in lines), "true", ""])
    return fold(read_directives(script), already)


def refusal(*lines: str) -> DirectiveRefused:
    with pytest.raises(DirectiveRefused) as refused:
        described(*lines)
    return refused.value


def test_directives_end_at_the_first_command() -> None:
    script = (
        "#!/bin/bash\n\n   \t\n# a comment\n ##SBATCH --bogus\n #SBATCH --bogus\n##SBATCH --bogus\n"
        "#SBATCH -J kept\necho hi\n#SBATCH --bogus\n"
    )
    (directive,) = read_directives(script)
    assert (directive.option, directive.value, directive.written, directive.line) == ("job-name", "kept", "-J", 8)


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("-J x", "x"),
        ("-Jx", "x"),
        ("-J=x", "=x"),
        ("--job-name=x", "x"),
        ("--job-name x", "x"),
        ("--job-n x", "x"),
        ('--job-name="my job"', "my job"),
        ("--job-name='my job'", "my job"),
        ('"--job-name=my job"', "my job"),
        ("--job-name=my\\ job", "my job"),
        ("--job-name=a\\#b", "a#b"),
        ("--job-name=a#b", "a"),
        ("--job-name=a # the rest", "a"),
        ('--job-name="a#b"', "a#b"),
        ('--job-name="a\\"b"', 'a"b'),
        ("--job-name=a'b'\"c\"", "abc"),
        ("--job-name=$(reboot)", "$(reboot)"),
        ("--job-name=x\r", "x"),
        ("-HJ x", "x"),
        ("-J a -J x", "x"),
    ],
)
def test_ways_to_write_an_option(line: str, name: str) -> None:
    assert described(line).name == name


def test_options_of_several_lines_are_one_argument_list() -> None:
    assert described("--ntasks", "4").tasks == 4


def test_the_magic_word_needs_no_space_after_it() -> None:
    script = "#!/bin/sh\n#SBATCH--ntasks=3\n"
    assert fold(read_directives(script), JobDescription(script=script)).tasks == 3


@pytest.mark.parametrize(
    ("line", "option", "code"),
    [
        ("--nonsense=1", "--nonsense", "directive_invalid"),
        ("--job_name=x", "--job_name", "directive_invalid"),
        ("-Z", "-Z", "directive_invalid"),
        ("--cpus=4", "--cpus", "directive_invalid"),
        ("--hold=yes", "--hold", "directive_invalid"),
        ("--ntasks", "--ntasks", "directive_invalid"),
        ("--nice 5", "5", "directive_invalid"),
        ("stray", "stray", "directive_invalid"),
        ('-J "open', '-J "open', "directive_invalid"),
        (": -n 4", ":", "directive_invalid"),
        ("hetjob", "hetjob", "directive_unsupported"),
        ("PackJob", "PackJob", "directive_unsupported"),
        ("-n 1 hetjob -n 2", "hetjob", "directive_unsupported"),
        ("--clusters=other", "--clusters", "directive_unsupported"),
        ("-W", "-W", "directive_unsupported"),
        ("--uid=0", "--uid", "directive_unsupported"),
        ("-n -1", "-n", "directive_invalid"),
        ("-n 0", "-n", "directive_invalid"),
        ("-c 1.5", "-c", "directive_invalid"),
        ("--time=tomorrow", "--time", "directive_invalid"),
        ("--time=99999999-0", "--time", "directive_invalid"),
        ("--mem=4X", "--mem", "directive_invalid"),
        ("--mem=-4G", "--mem", "directive_invalid"),
        ("--array=a-b", "--array", "directive_invalid"),
        ("--nodes=4-2", "--nodes", "directive_invalid"),
        ("--nodes=2-", "--nodes", "directive_invalid"),
        ("--signal=NOPE", "--signal", "directive_invalid"),
        ("--mail-type=SOMETIMES", "--mail-type", "directive_invalid"),
        ("--open-mode=x", "--open-mode", "directive_invalid"),
        ("--begin=whenever", "--begin", "directive_invalid"),
        ("--nodelist=./hosts.txt", "--nodelist", "directive_invalid"),
        ("--mem=1G --mem-per-cpu=1G", "--mem-per-cpu", "directive_invalid"),
        ("--exclusive --oversubscribe", "--oversubscribe", "directive_invalid"),
        ("--begin=now+2hours --deadline=now+1hour", "--deadline", "directive_invalid"),
    ],
)
def test_what_cannot_be_honoured_is_refused_by_name_and_line(line: str, option: str, code: str) -> None:
    refused = refusal("--partition=short", line)
    assert (refused.option, refused.line, refused.code) == (option, 3, code)
    assert f"line 3: {option}: " in str(refused)


def test_near_names_are_suggested() -> None:
    assert "--mem-per-cpu" in str(refusal("--mem-per-cup=1G"))


def test_lines_for_other_systems_are_refused_unless_ignored() -> None:
    script = "#!/bin/sh\n#PBS -l walltime=1:00\n#SBATCH -n 1\ntrue\n"
    with pytest.raises(DirectiveRefused, match="#PBS"):
        read_directives(script)
    assert len(read_directives(script.replace("-n 1", "-n 1 --ignore-pbs"))) == 2
    with pytest.raises(DirectiveRefused, match="#SLURM"):
        read_directives("#!/bin/sh\n#SLURM -n 1\n")


def test_common_options_become_fields() -> None:
    description = described(
        "-A physics -p short,compute -q high -t 1-02:03:04 --time-min=30 -N 2-4 -n 8 --ntasks-per-node=4 -c 2",
        "--mem-per-cpu=512M --tmp=10G --gres=gpu:1,shard:2 -G a100:4 --array=1-9:2%2 -d afterok:12:13",
        "-C 'intel&gpu' -L solver:2 --exclusive -D /data -o out-%j.log -e err -i in --open-mode=append",
        "--comment='a b' --no-requeue -H --nice=7 --signal=B:USR2@30 --mail-user=a@b --mail-type=BEGIN,TIME_LIMIT_80",
        "--wckey=w -w c[1-2,4],d1 -x c9 --reservation=maint",
    )
    expected: dict[str, object] = {
        "account": "physics",
        "partition": "short,compute",
        "qos": "high",
        "time_limit_min": 1564,
        "time_min_min": 30,
        "nodes": "2-4",
        "tasks": 8,
        "tasks_per_node": 4,
        "cpus_per_task": 2,
        "memory_per_cpu_mib": 512,
        "temporary_disk_per_node_mib": 10240,
        "gres": "gpu:1,shard:2",
        "gpus": "a100:4",
        "array": "1-9:2%2",
        "dependency": "afterok:12:13",
        "constraints": "intel&gpu",
        "licenses": "solver:2",
        "exclusive": True,
        "working_directory": "/data",
        "standard_output": "out-%j.log",
        "standard_error": "err",
        "standard_input": "in",
        "open_mode": "append",
        "comment": "a b",
        "requeue": False,
        "hold": True,
        "nice": 7,
        "signal": "USR2@30",
        "mail_user": "a@b",
        "mail_on": ("BEGIN", "TIME=80%"),
        "wckey": "w",
        "required_nodes": ("c[1-2,4]", "d1"),
        "excluded_nodes": ("c9",),
        "reservation": "maint",
    }
    assert {name: getattr(description, name) for name in expected} == expected
    assert description.slurm_fields == {
        "kill_warning_flags": ["BATCH_JOB"],
        "flags": ["EXACT_CPU_COUNT_REQUESTED"],
        "tres_per_task": "cpu=2",
    }


def test_what_has_no_field_travels_under_slurms_name() -> None:
    fields = described(
        "--gpus-per-task=a100:2 --cpus-per-gpu=3 --mem-per-gpu=2G --kill-on-invalid-dep=yes --spread-job",
        "--switches=1@10:00 --threads-per-core=1 --no-kill --exclusive=user --gres-flags=enforce-binding",
    ).slurm_fields
    assert fields == {
        "tres_per_task": "gres/gpu:a100=2",
        "tres_bind": "gres/gpu:per_task:2",
        "cpus_per_tres": "gres/gpu:3",
        "memory_per_tres": "gres/gpu:2048",
        "flags": ["KILL_INVALID_DEPENDENCY", "SPREAD_JOB", "GRES_BINDING_ENFORCED"],
        "required_switches": 1,
        "wait_for_switch": 600,
        "threads_per_core": 1,
        "kill_on_node_fail": False,
        "shared": ["user"],
    }


def test_gpus_per_node_join_gres() -> None:
    assert described("--gpus-per-node=2 --gres=gres/shard:1").gres == "gpu:2,shard:1"


@pytest.mark.parametrize(
    ("lines", "nodes", "fields"),
    [
        ("-N4 -n2", "2", {}),
        ("-N1-8 -n4", "1-4", {}),
        ("-n5 --ntasks-per-node=2", None, {"minimum_nodes": 3}),
        ("-N2k", "2048", {}),
        ("-N1-15:4", "1-15:4", {}),
    ],
)
def test_counts_are_settled_as_sbatch_does(lines: str, nodes: str | None, fields: dict[str, int]) -> None:
    description = described(lines)
    assert (description.nodes, description.slurm_fields) == (nodes, fields)


def test_what_the_description_says_wins_over_the_script() -> None:
    already = JobDescription(script="", name="mine", memory_per_cpu_mib=100, nodes="3")
    description = described("-J script -t 10 --mem=4G -n4 --ntasks-per-node=2", already=already)
    assert (description.name, description.time_limit_min, description.nodes) == ("mine", 10, "3")
    assert (description.memory_per_node_mib, description.memory_per_cpu_mib) == (None, 100)
    assert "minimum_nodes" not in description.slurm_fields


@pytest.mark.parametrize(
    ("export", "environment", "login"),
    [
        ("ALL", {"A": "1", "B": "2", "SLURM_X": "3"}, False),
        ("NIL", {"SLURM_X": "3", "SLURM_EXPORT_ENV": "NIL"}, False),
        ("NONE", {"SLURM_X": "3", "SLURM_EXPORT_ENV": "NONE"}, True),
        ("A,C=7,D", {"A": "1", "C": "7", "SLURM_X": "3", "SLURM_EXPORT_ENV": "A,C=7,D"}, True),
        ("A=9,ALL", {"A": "9", "B": "2", "SLURM_X": "3", "SLURM_EXPORT_ENV": "A=9,ALL"}, True),
    ],
)
def test_export_chooses_from_the_environment(export: str, environment: dict[str, str], login: bool) -> None:
    description = described(
        f"--export={export}", already=JobDescription(script="", environment={"A": "1", "B": "2", "SLURM_X": "3"})
    )
    assert description.environment == environment
    assert description.login_environment is login


def test_command_lines_are_read_up_to_the_operand() -> None:
    directives, operands = read_arguments(["-n", "4", "--mem=1G", "job.sh", "-n", "5"])
    assert [(directive.option, directive.value) for directive in directives] == [("ntasks", "4"), ("mem", "1G")]
    assert operands == ("job.sh", "-n", "5")
    with pytest.raises(DirectiveRefused) as refused:
        read_arguments(["--bogus"])
    assert refused.value.line == 0
    assert str(refused.value).startswith("--bogus: ")


def test_every_option_has_a_reader_or_a_reason() -> None:
    assert set(READERS) == {option.name for option in OPTIONS.values() if not option.refused} - {"tasks-per-node"}
    letters = [option.letter for option in OPTIONS.values() if option.letter]
    assert len(letters) == len(set(letters))


@pytest.mark.parametrize(
    ("script", "code"),
    [
        ("", "script_empty"),
        (" \n\t\n", "script_empty"),
        ("#!/bin/sh\necho \0\n", "script_nul"),
        ("#!/bin/sh\r\ntrue\r\n", "script_crlf"),
        ("echo hi\n", "script_no_interpreter"),
        ("#!/bin/sh\n#" + "x" * SCRIPT_LIMIT_BYTES, "script_too_large"),
    ],
)
def test_scripts_that_cannot_run_are_refused(script: str, code: str) -> None:
    with pytest.raises(InvalidScript) as refused:
        check_script(script)
    assert refused.value.code == code


@pytest.mark.parametrize(
    ("text", "minutes"),
    [
        ("30", 30), ("0:30", 1), ("90:00", 90), ("1:00:00", 60), ("1-0", 1440), ("1-2:30", 1590), ("1-02:03:04", 1564),
        ("0-0:0:1", 1), ("UNLIMITED", math.inf), ("infinite", math.inf), ("-1", math.inf), ("0", math.inf),
    ],
)  # fmt: skip
def test_time_limits(text: str, minutes: float) -> None:
    assert parse_time_limit(text) == minutes


@pytest.mark.parametrize("text", ["", "1h", "-5", "1:2:3:4", "1-", "-1:00", "1-2-3", "1:-2", " 5", "1000000000"])
def test_times_without_meaning(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not a time|is longer"):
        parse_time_limit(text)


@given(st.integers(0, 999), st.integers(0, 23), st.integers(0, 59), st.integers(1, 59))
def test_a_written_duration_is_read_back(days: int, hours: int, minutes: int, seconds: int) -> None:
    expected = math.ceil((((days * 24 + hours) * 60 + minutes) * 60 + seconds) / 60)
    assert parse_time_limit(f"{days}-{hours:02}:{minutes:02}:{seconds:02}") == expected


@given(st.integers(0, 10**9), st.sampled_from(["", "K", "kB", "M", "mb", "G", "GB", "t", "TB"]))
def test_sizes(number: int, unit: str) -> None:
    bytes_a_unit = {"": 1024**2, "k": 1024, "m": 1024**2, "g": 1024**3, "t": 1024**4}[unit[:1].lower()]
    assert parse_memory_mib(f"{number}{unit}") == -(-number * bytes_a_unit // 1024**2)


NOW = datetime(2026, 11, 21, 14, 30, tzinfo=timezone(timedelta(hours=1)))


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("now", "2026-11-21T13:30"),
        ("now+1hour", "2026-11-21T14:30"),
        ("now+90", "2026-11-21T13:31:30"),
        ("now + 2 days", "2026-11-23T13:30"),
        ("now-1week", "2026-11-14T13:30"),
        ("16:00", "2026-11-21T15:00"),
        ("14:00", "2026-11-22T13:00"),
        ("4:00 PM", "2026-11-21T15:00"),
        ("12:15am", "2026-11-21T23:15"),
        ("noon", "2026-11-22T11:00"),
        ("tomorrow", "2026-11-21T23:00"),
        ("tomorrow-fika", "2026-11-22T14:00"),
        ("2027-01-20", "2027-01-19T23:00"),
        ("2027-01-20T12:34:56", "2027-01-20T11:34:56"),
        ("01/20/27-12:34", "2027-01-20T11:34"),
        ("0120", "2027-01-19T23:00"),
        ("uts1800000000", "2027-01-15T08:00"),
    ],
)
def test_moments(text: str, moment: str) -> None:
    assert parse_moment(text, NOW) == datetime.fromisoformat(moment).replace(tzinfo=UTC)


@pytest.mark.parametrize("text", ["", "-", "now+", "now+1min", "25:00", "13:00pm", "2027-02-30", "soon", "Tomorrow"])
def test_moments_without_meaning(text: str) -> None:
    with pytest.raises(ValueError, match="is not a moment"):
        parse_moment(text, NOW)


@given(st.integers(0, 10**6), st.integers(0, 10**6))
def test_node_ranges(one: int, other: int) -> None:
    least, greatest = sorted((one, other))
    assert parse_node_count(f"{least}-{greatest}") == (least, greatest, False)


def outcome(script: str) -> JobDescription | DirectiveRefused:
    try:
        return fold(read_directives(script), NOTHING)
    except DirectiveRefused as refused:
        return refused


@given(st.text())
def test_any_text_is_read_or_refused_with_its_line(text: str) -> None:
    result = outcome(f"#!/bin/sh\n#SBATCH {text}\n")
    assert isinstance(result, JobDescription) or result.line >= 2


@given(st.sampled_from(sorted(READERS)), st.text(max_size=12))
def test_any_value_of_any_option_is_read_or_refused(option: str, value: str) -> None:
    quoted = value.replace("\\", "").replace("'", "").replace("\n", "")
    result = outcome(f"#!/bin/sh\n#SBATCH '--{option}={quoted}'\n")
    if isinstance(result, DirectiveRefused):
        assert result.line == 2
        assert result.option.startswith("--")


@given(st.text(st.characters(exclude_characters="\n\\'\0"), min_size=1))
def test_a_quoted_value_arrives_unchanged(name: str) -> None:
    assert described(f"--job-name='{name}'").name == name
