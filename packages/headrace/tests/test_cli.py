"""The command line against a small real server: what people and programs see, faults included."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from headrace.cli import main
from headrace.testing import TOKEN, SmallWorld, small_server

HEADRACE = Path(sys.executable).with_name("headrace")


class Outcome(NamedTuple):
    status: int
    out: str
    err: str


Cli = Callable[..., Outcome]


@pytest.fixture
def world() -> SmallWorld:
    return SmallWorld()


@pytest.fixture
def address(world: SmallWorld) -> Iterator[str]:
    with small_server(world) as address:
        yield address


@pytest.fixture
def cli(tmp_path: Path, address: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Cli:
    for name in [name for name in os.environ if name.startswith("HEADRACE_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HEADRACE_CONFIG_DIR", str(tmp_path / "config"))
    monkeypatch.setenv("HEADRACE_URL", address)
    monkeypatch.setenv("HEADRACE_TOKEN", TOKEN)
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["headrace", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        captured = capsys.readouterr()
        status = ended.value.code
        return Outcome(status if isinstance(status, int) else 0, captured.out, captured.err)

    return call


def test_a_command_is_run_and_its_id_is_the_only_result(cli: Cli, world: SmallWorld) -> None:
    done = cli("run", "-n", "4", "--", "python", "train.py", "-n", "2")
    assert (done.status, done.out) == (0, "new0000000\n")
    (asked,) = world.asked
    assert asked["command"] == ["python", "train.py", "-n", "2"]
    assert (asked["door"], asked["options"]) == ("cli", {"tasks": 4})


def test_the_intent_began_with_the_process(tmp_path: Path, world: SmallWorld, address: str) -> None:
    environment = {**os.environ, "HEADRACE_URL": address, "HEADRACE_TOKEN": TOKEN, "HEADRACE_CONFIG_DIR": str(tmp_path)}
    before = time.monotonic()
    subprocess.run([HEADRACE, "run", "--", "true"], env=environment, check=True, capture_output=True)
    whole_ms = (time.monotonic() - before) * 1000
    assert 20 <= world.asked[0]["begun_ms_ago"] <= whole_ms + 20


def test_a_script_is_sent_as_it_is(cli: Cli, world: SmallWorld, tmp_path: Path) -> None:
    script = "#!/bin/bash\r\n#SBATCH -n 3\necho '$( )' \x00\n"
    (tmp_path / "job.sh").write_bytes(script.encode())
    assert cli("run", "job.sh", "one", "--two").status == 0
    (asked,) = world.asked
    assert (asked["script"], asked["name"]) == (script, "job.sh")
    assert asked["options"] == {"arguments": ["one", "--two"]}


@pytest.mark.parametrize("line", ["-J x", "--job-name=x", "-n 2 -J x", "-HJx"])
def test_a_script_that_names_itself_keeps_its_name(cli: Cli, world: SmallWorld, tmp_path: Path, line: str) -> None:
    (tmp_path / "job.sh").write_text(f"#!/bin/bash\n#SBATCH {line}\n")
    cli("run", "job.sh")
    assert "name" not in world.asked[0]


def test_every_option_reaches_the_server_under_the_apis_name(cli: Cli, world: SmallWorld, api: Any) -> None:
    world.add("before0000")
    cli(
        *"run --name x --cluster c --preset p -A a -p q -q r --reservation v -t 1:00 -N 2-4 -n 8".split(),
        *"--tasks-per-node 4 -c 2 --mem 4G --mem-per-cpu 1G --gres gpu:1 -G 2 -a 0-3 -L l:1 -C f --exclusive".split(),
        *"--hold --comment t -o o -e e -D /d -E A=1 --after before:any -- true".split(),
    )
    (asked,) = world.asked
    assert asked["options"] == {
        "account": "a", "partition": "q", "qos": "r", "reservation": "v", "time_limit": "1:00", "nodes": "2-4",
        "tasks": 8, "tasks_per_node": 4, "cpus_per_task": 2, "memory": "4G", "memory_per_cpu": "1G", "gres": "gpu:1",
        "gpus": "2", "array": "0-3", "licenses": "l:1", "constraint": "f", "exclusive": True, "hold": True,
        "comment": "t", "standard_output": "o", "standard_error": "e", "working_directory": "/d",
        "environment": {"A": "1"},
    }  # fmt: skip
    assert asked["after"] == [{"run": "before0000", "condition": "any"}]
    schemas = api["components"]["schemas"]
    assert set(asked["options"]) <= set(schemas["Options"]["properties"])
    assert set(asked) <= set(schemas["NewRun"]["properties"])


def test_a_lost_answer_makes_no_second_run(cli: Cli, world: SmallWorld) -> None:
    world.lose_answers = 2
    done = cli("run", "--", "true")
    assert (done.status, done.out) == (0, "new0000000\n")
    assert len(world.asked) == 3
    assert len(world.runs) == 1


def test_no_server(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADRACE_URL", "http://127.0.0.1:9")
    done = cli("run", "--", "true")
    assert (done.status, done.out) == (4, "")
    assert "127.0.0.1:9" in done.err
    assert "[unreachable]" in done.err


def test_a_server_that_cannot_serve_now(cli: Cli, world: SmallWorld) -> None:
    world.problems = [(503, {"code": "database-unavailable", "detail": "The database does not answer."})] * 9
    done = cli("ls")
    assert done.status == 4
    assert "The database does not answer. [database-unavailable]" in done.err


def test_something_else_answers(cli: Cli, world: SmallWorld) -> None:
    world.problems = [(200, {"hello": "I am a printer"})]
    done = cli("whoami")
    assert done.status == 4
    assert "[answer-invalid]" in done.err


def test_an_unknown_token(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADRACE_TOKEN", "hr_other")
    done = cli("ls")
    assert done.status == 5
    assert "[token-unknown]" in done.err
    assert "headrace login" in done.err


def test_not_logged_in(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HEADRACE_TOKEN")
    monkeypatch.delenv("HEADRACE_URL")
    assert cli("ls").status == 5


def test_a_refusal_names_code_detail_and_fix(cli: Cli, world: SmallWorld) -> None:
    problem = {"code": "time-limit-invalid", "detail": "The time limit is 0.", "fix": "Ask for a minute or more."}
    world.problems = [(422, problem)]
    done = cli("run", "-t", "0", "--", "true")
    assert (done.status, done.out) == (3, "")
    assert done.err == "headrace: The time limit is 0. [time-limit-invalid]\n  Ask for a minute or more.\n"
    world.problems = [(422, problem)]
    assert json.loads(cli("run", "--json", "-t", "0", "--", "true").out) == problem


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["run", "missing.sh"], "script-not-found"),
        (["run", "."], "script-unreadable"),
        (["run", "binary.sh"], "script-not-text"),
        (["run", "--bring", "missing", "--", "true"], "file-unreadable"),
        (["run", "--bring", "large", "--", "true"], "files-too-large"),
        (["run", "--env", "NO_SUCH_VARIABLE_HERE", "--", "true"], "env-invalid"),
        (["run", "--after", "x:sometimes", "--", "true"], "after-invalid"),
        (["run", "--after", "nowhere", "--", "true"], "no-such-run"),
        (["show", "zzz"], "no-such-run"),
        (["logs", "--stream", "both", "x"], "stream-invalid"),
        (["--context", "nowhere"], ""),
        (["ls", "--context", "nowhere"], "no-such-context"),
        (["run"], ""),
        (["run", "-n", "many", "--", "true"], ""),
        (["login", "secret-alone-with-bad-url"], "url-invalid"),
    ],
)
def test_what_cannot_be_meant(
    cli: Cli, world: SmallWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], code: str
) -> None:
    (tmp_path / "binary.sh").write_bytes(b"#!/bin/sh\n\xff\xfe\n")
    with (tmp_path / "large").open("wb") as file:
        file.truncate(17 * 1024 * 1024)
    if arguments[0] == "login":
        monkeypatch.setenv("HEADRACE_URL", "not an address")
    done = cli(*arguments)
    assert (done.status, done.out) == (2, "")
    assert code in done.err
    assert world.asked == []


def test_files_are_brought_with_their_paths(cli: Cli, world: SmallWorld, tmp_path: Path) -> None:
    (tmp_path / "data/deep").mkdir(parents=True)
    (tmp_path / "data/deep/x.csv").write_bytes(b"1,2\n")
    (tmp_path / "tool").write_bytes(b"\xff\x00")
    (tmp_path / "tool").chmod(0o755)
    elsewhere = tmp_path.parent / "elsewhere.txt"
    elsewhere.write_text("e")
    cli(
        "run",
        "--bring",
        "data",
        "--bring",
        "./tool",
        "--bring",
        str(elsewhere),
        "--bring",
        "../elsewhere.txt",
        "--",
        "ls",
    )
    files = {file["path"]: (file["content_base64"], file["mode"]) for file in world.asked[0]["files"]}
    assert files == {
        "data/deep/x.csv": ("MSwyCg==", 0o644),
        "tool": ("/wA=", 0o755),
        "elsewhere.txt": ("ZQ==", 0o644),
    }


@pytest.mark.parametrize(
    ("outcome", "status"),
    [
        ({"state": "completed", "exit_code": 0}, 0),
        ({"state": "failed", "exit_code": 42}, 42),
        ({"state": "failed", "exit_code": 0, "signal": 9}, 137),
        ({"state": "timed_out", "exit_code": None}, 1),
        ({"state": "refused", "exit_code": None, "reason": {"code": "qos-invalid", "text": "No such QOS."}}, 3),
    ],
)
def test_following_ends_with_the_jobs_exit_code(
    cli: Cli, world: SmallWorld, outcome: dict[str, Any], status: int
) -> None:
    world.outcome = outcome
    world.log_of_new = b"line one\nline two\n"
    done = cli("run", "-f", "--", "true")
    assert done.status == status
    assert done.out == ("" if outcome["state"] == "refused" else "line one\nline two\n")
    assert outcome["state"].replace("_", " ") in done.err


def test_a_cut_stream_goes_on_where_it_was(cli: Cli, world: SmallWorld) -> None:
    world.add("abcdefgh01")
    world.logs["abcdefgh01"] = b"".join(b"line %d\n" % number for number in range(40))
    world.cut_stream_after_bytes = 100
    done = cli("logs", "-f", "abc")
    assert (done.status, done.out) == (0, world.logs["abcdefgh01"].decode())


def test_a_stream_outlives_errors_of_the_server(cli: Cli, world: SmallWorld) -> None:
    world.add("abcdefgh01")
    world.logs["abcdefgh01"] = b"whole\n"
    world.problems = [(503, {"code": "files-unavailable", "detail": "The login host does not answer."})] * 2
    done = cli("logs", "-f", "abcdefgh01")
    assert (done.status, done.out) == (0, "whole\n")
    assert done.err.count("Trying again") == 1


def test_interrupted_following_says_how_to_come_back(tmp_path: Path, world: SmallWorld, address: str) -> None:
    world.outcome = {"state": "running", "exit_code": None}
    world.log_of_new = b"begun\n" + b"." * 4000
    world.cut_stream_after_bytes = 6
    environment = {**os.environ, "HEADRACE_URL": address, "HEADRACE_TOKEN": TOKEN, "HEADRACE_CONFIG_DIR": str(tmp_path)}
    with subprocess.Popen(
        [HEADRACE, "run", "-f", "--", "sleep", "60"], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"begun\n"
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert b"headrace logs -f new0000000" in err
    assert b"headrace cancel new0000000" in err
    assert b"Traceback" not in err


def test_a_log_is_read_to_its_end(cli: Cli, world: SmallWorld) -> None:
    world.add("abcdefgh01")
    world.logs["abcdefgh01"] = "grüße\n".encode() * 1000
    assert cli("logs", "abcdefgh01").out == "grüße\n" * 1000
    assert cli("logs", "--offset", "8", "abcdefgh01").out == "grüße\n" * 999


def test_ids_may_be_shortened_as_long_as_they_are_clear(cli: Cli, world: SmallWorld) -> None:
    for number in range(600):
        world.add(f"x{number:09}")
    world.add("abcdefgh01")
    world.add("abcdefgh02")
    assert json.loads(cli("show", "--json", "x000000000").out)["id"] == "x000000000"
    done = cli("show", "abcd")
    assert done.status == 2
    assert "abcdefgh01, abcdefgh02" in done.err or "abcdefgh02, abcdefgh01" in done.err
    assert json.loads(cli("show", "--json", "abcdefgh02").out)["id"] == "abcdefgh02"


def test_json_is_the_apis_own(cli: Cli, world: SmallWorld) -> None:
    run = world.add("abcdefgh01", something_new={"deep": [1]})
    assert json.loads(cli("show", "--json", "abc").out) == run
    assert json.loads(cli("ls", "--json").out) == {"items": [run], "next": None}
    assert json.loads(cli("whoami", "--json").out) == {"user": "ada", "role": "user"}


def test_a_pipe_gets_plain_text(cli: Cli, world: SmallWorld) -> None:
    world.add("abcdefgh01", name="\x1b]0;evil\x07\nname", state="failed", reason={"code": "x", "text": "a\x1b[2Jb"})
    for done in (cli("ls"), cli("show", "abc"), cli("wait", "abc")):
        assert "\x1b" not in done.out + done.err
        assert "\x07" not in done.out + done.err
    head, row = cli("ls").out.splitlines()
    assert head.split() == ["RUN", "STATE", "NAME", "JOB", "NODES", "QUEUED", "RAN", "MADE"]
    assert row.split()[:2] == ["abcdefgh01", "failed"]


def test_waiting_ends_with_one_when_a_run_did_not_complete(cli: Cli, world: SmallWorld) -> None:
    world.add("abcdefgh01")
    world.add("bbcdefgh01", state="failed", exit_code=3)
    assert cli("wait", "abc").status == 0
    assert cli("wait", "abc", "bbc").status == 1


def test_login_is_remembered_and_logout_forgets(
    cli: Cli, address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HEADRACE_URL")
    monkeypatch.delenv("HEADRACE_TOKEN")
    assert cli("login", f"{address}/login/hrl_secret").status == 0
    file = tmp_path / "config" / "contexts.json"
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.parent.stat().st_mode & 0o777 == 0o700
    assert cli("whoami").out == f"ada (user) at {address}\n"
    assert cli("login", "--context", "second", f"{address}/login/hrl_secret").status == 0
    listed = json.loads(cli("contexts", "--json").out)
    assert [(one["name"], one["current"]) for one in listed] == [("default", False), ("second", True)]
    assert cli("contexts", "--use", "default").status == 0
    assert cli("whoami", "--context", "second").status == 0
    assert cli("logout").status == 0
    assert [one["name"] for one in json.loads(cli("contexts", "--json").out)] == ["second"]


def test_a_token_goes_to_no_other_server(
    cli: Cli, address: str, world: SmallWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HEADRACE_TOKEN")
    cli("login", f"{address}/login/hrl_secret")
    other = SmallWorld()
    with small_server(other) as elsewhere:
        monkeypatch.setenv("HEADRACE_URL", elsewhere)
        assert cli("ls").status == 5
    assert other.tokens_seen == []


def test_up_without_the_server(cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    done = cli("up")
    assert done.status == 2
    assert "[server-not-installed]" in done.err


def test_little_is_imported_to_start() -> None:
    heavy = "httpx rich.console rich.table ssl asyncio http.client msgspec".split()
    code = f"import sys, headrace.cli; print([name for name in {heavy} if name in sys.modules])"
    loaded = subprocess.run([sys.executable, "-I", "-c", code], check=True, capture_output=True, text=True).stdout
    assert loaded.strip() == "['msgspec']"
