import json
import math
import shlex
import subprocess
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace_server.runs.compose import compose, restored, stored
from headrace_server.runs.model import NewRun, Options
from headrace_server.runs.presets import every_preset
from headrace_server.runs.refusals import ArrayMissing, DirectiveInvalid, NoSuchPreset, TimeLimitInvalid

NOW = datetime(2026, 11, 21, 9, 0, tzinfo=UTC)
WORDS = st.text(st.characters(blacklist_characters="\0", blacklist_categories=("Cs",)), max_size=40)


@given(st.lists(WORDS, min_size=1, max_size=6))
def test_a_command_reaches_the_program_word_by_word(argv: list[str]) -> None:
    script = compose(NewRun(command=("true", *argv)), NOW).description.script
    assert shlex.split(script.removeprefix("#!/bin/bash\nexec ")) == ["true", *argv]


@pytest.mark.parametrize("word", ["$(touch /tmp/owned)", "`id`", "'; rm -rf ~; '", '"$HOME"', "a\nb", "-rf", "", "*"])
def test_a_shell_gives_hostile_words_on_as_they_are(word: str) -> None:
    new = NewRun(command=("python3", "-c", "import json,sys; print(json.dumps(sys.argv[1:]))", word))
    script = compose(new, NOW).description.script
    said = subprocess.run(["bash", "-c", script.split("\n", 1)[1]], check=True, capture_output=True, text=True).stdout
    assert json.loads(said) == [word]


def test_a_sweep_puts_the_task_number_where_the_command_says() -> None:
    new = NewRun(preset="sweep", command=("echo", "a b", "seed={task}", "{task}.csv"), options=Options(array="0-3"))
    composed = compose(new, NOW)
    script = composed.description.script
    said = subprocess.run(
        ["bash", "-c", script.split("\n", 1)[1]],
        check=True, capture_output=True, text=True, env={"SLURM_ARRAY_TASK_ID": "3", "PATH": "/usr/bin:/bin"},
    ).stdout  # fmt: skip
    assert said == "a b seed=3 3.csv\n"
    assert (composed.total, composed.layer, composed.array_tasks) == (4, "preset", "0-3")


def test_a_sweep_without_an_array_is_refused() -> None:
    with pytest.raises(ArrayMissing):
        compose(NewRun(preset="sweep", command=("true",)), NOW)


def test_an_unknown_preset_is_refused_with_those_that_exist() -> None:
    with pytest.raises(NoSuchPreset) as refused:
        compose(NewRun(preset="quantum", command=("true",)), NOW)
    assert refused.value.allowed == sorted(one.name for one in every_preset())


@pytest.mark.parametrize("name", [one.name for one in every_preset()])
def test_every_preset_compiles_to_a_script_that_bash_can_read(name: str) -> None:
    new = NewRun(preset=name, command=("echo", "it's"), options=Options(array="0-1" if name == "sweep" else None))
    script = compose(new, NOW).description.script
    assert subprocess.run(["bash", "-n"], input=script, text=True, check=False).returncode == 0


def test_options_win_over_the_scripts_own_lines() -> None:
    script = "#!/bin/bash\n#SBATCH -J theirs\n#SBATCH --time=10\n#SBATCH -p short\n#SBATCH --array=0-4\ntrue\n"
    composed = compose(NewRun(script=script, options=Options(time_limit=20)), NOW)
    d = composed.description
    assert (d.name, d.time_limit_min, d.partition, composed.total, composed.layer) == (
        "theirs",
        20,
        "short",
        5,
        "script",
    )
    assert d.script == script
    assert d.standard_output == "out-%A_%a.log"


def test_an_unknown_directive_is_refused_with_its_line() -> None:
    with pytest.raises(DirectiveInvalid) as refused:
        compose(NewRun(script="#!/bin/bash\n#SBATCH --no-such-thing=1\ntrue\n"), NOW)
    assert "line 2" in refused.value.detail
    assert "--no-such-thing" in refused.value.detail


def test_the_layer_says_how_much_was_specified() -> None:
    assert compose(NewRun(command=("a",), options=Options(time_limit=5)), NOW).layer == "preset"
    assert compose(NewRun(command=("a",), options=Options(nice=5)), NOW).layer == "tuned"


def test_a_working_directory_of_ones_own_keeps_slurms_file_name() -> None:
    mine = compose(NewRun(command=("a",), options=Options(working_directory="/home/ada/x")), NOW)
    assert (mine.own_folder, mine.description.standard_output) == (False, "slurm-%j.out")
    assert compose(NewRun(command=("a",)), NOW).own_folder


def test_a_bad_time_limit_is_refused_by_name() -> None:
    with pytest.raises(TimeLimitInvalid):
        compose(NewRun(command=("a",), options=Options(time_limit=0)), NOW)


@given(
    st.one_of(st.none(), st.integers(1, 10**6), st.just("UNLIMITED")),
    st.dictionaries(st.from_regex(r"\A[A-Z_]{1,8}\Z"), WORDS, max_size=3),
    st.one_of(st.none(), st.integers(0, 10**6)),
)
def test_a_description_survives_the_database(
    limit: int | str | None, environment: dict[str, str], memory: int | None
) -> None:
    options = Options(time_limit=limit, environment=environment, memory=memory, begin=NOW, mail_on=("END",))
    before = compose(NewRun(command=("a",), options=options), NOW).description
    text = json.dumps(stored(before), allow_nan=False)
    assert restored(json.loads(text), before.script) == before
    if limit == "UNLIMITED":
        assert before.time_limit_min == math.inf
