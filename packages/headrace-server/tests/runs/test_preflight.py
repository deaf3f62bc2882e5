import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace_server.kernel import Invalid
from headrace_server.runs.model import After, NewFile, NewRun, Options
from headrace_server.runs.preflight import FILES_BYTES, SCRIPT_BYTES, preflight

GOOD = "#!/bin/bash\ntrue\n"


def file(path: str, content: bytes = b"x", mode: int = 0o644) -> NewFile:
    return NewFile(path, base64.b64encode(content).decode(), mode)


BAD: list[tuple[str, NewRun]] = [
    ("nothing-to-run", NewRun()),
    ("nothing-to-run", NewRun(command=("true",), script=GOOD)),
    ("nothing-to-run", NewRun(command=(" ",))),
    ("script-empty", NewRun(script="")),
    ("script-empty", NewRun(script=" \n\t")),
    ("script-nul", NewRun(script="#!/bin/bash\necho \0\n")),
    ("script-crlf", NewRun(script="#!/bin/bash\r\ntrue\r\n")),
    ("script-crlf", NewRun(script="#!/bin/bash\necho\r\n")),
    ("script-no-interpreter", NewRun(script="echo hello\n")),
    ("script-no-interpreter", NewRun(script="#!\ntrue\n")),
    ("script-no-interpreter", NewRun(script="\ufeff#!/bin/bash\n")),
    ("script-invalid", NewRun(script="#!/bin/bash\necho \ud800\n")),
    ("script-too-large", NewRun(script=GOOD + "#" * SCRIPT_BYTES)),
    ("name-invalid", NewRun(command=("a",), name="two\nlines")),
    ("name-invalid", NewRun(command=("a",), name="\x1b[31mred")),
    ("name-invalid", NewRun(command=("a",), name="abc\u202egnp.exe")),
    ("name-invalid", NewRun(command=("a",), name="  ")),
    ("name-invalid", NewRun(command=("a",), name="n" * 201)),
    ("text-invalid", NewRun(command=("a\0b",))),
    ("text-invalid", NewRun(command=("a\udfff",))),
    ("text-invalid", NewRun(command=("a",), cluster="a\nb")),
    ("text-invalid", NewRun(command=("a",), options=Options(partition="x\n#SBATCH --uid=0"))),
    ("text-invalid", NewRun(command=("a",), options=Options(account="a\x00"))),
    ("text-invalid", NewRun(command=("a",), options=Options(comment="c" * 5000))),
    ("option-invalid", NewRun(command=("a",), options=Options(partition=""))),
    ("option-invalid", NewRun(command=("a",), options=Options(nodes=0))),
    ("option-invalid", NewRun(command=("a",), options=Options(tasks=2**31))),
    ("option-invalid", NewRun(command=("a",), options=Options(working_directory="../up"))),
    ("option-invalid", NewRun(command=("a",), options=Options(memory="1G", memory_per_cpu="1G"))),
    ("environment-invalid", NewRun(command=("a",), options=Options(environment={"A": "1\nLD_PRELOAD=x"}))),
    ("environment-invalid", NewRun(command=("a",), options=Options(environment={"A=B": "1"}))),
    ("environment-invalid", NewRun(command=("a",), options=Options(environment={"": "1"}))),
    ("environment-invalid", NewRun(command=("a",), options=Options(environment={"A": "x" * 2**20}))),
    ("files-invalid", NewRun(command=("a",), files=(file("/etc/passwd"),))),
    ("files-invalid", NewRun(command=("a",), files=(file("../../.ssh/authorized_keys"),))),
    ("files-invalid", NewRun(command=("a",), files=(file("a/../../b"),))),
    ("files-invalid", NewRun(command=("a",), files=(file("~/x"),))),
    ("files-invalid", NewRun(command=("a",), files=(file("a//b"),))),
    ("files-invalid", NewRun(command=("a",), files=(file("."),))),
    ("files-invalid", NewRun(command=("a",), files=(file(""),))),
    ("files-invalid", NewRun(command=("a",), files=(file("a"), file("a")))),
    ("files-invalid", NewRun(command=("a",), files=(file("a"), file("a/b")))),
    ("files-invalid", NewRun(command=("a",), files=(file("a/b"), file("a")))),
    ("files-invalid", NewRun(command=("a",), files=(file("a", mode=0o4755),))),
    ("files-invalid", NewRun(command=("a",), files=(NewFile("a", "not base64!"),))),
    ("text-invalid", NewRun(command=("a",), files=(file("a\nb"),))),
    ("files-too-large", NewRun(command=("a",), files=tuple(file(f"f{n}") for n in range(501)))),
    ("files-too-large", NewRun(command=("a",), files=(file("a", b"x" * (FILES_BYTES + 1)),))),
    ("after-invalid", NewRun(command=("a",), after=(After("x"), After("x", "any")))),
    ("after-invalid", NewRun(command=("a",), after=tuple(After(f"r{n}") for n in range(101)))),
]


@pytest.mark.parametrize(("code", "new"), BAD)
def test_bad_input_is_refused_under_its_code(code: str, new: NewRun) -> None:
    with pytest.raises(Invalid) as refused:
        preflight(new)
    assert refused.value.code == code
    assert refused.value.field


@pytest.mark.parametrize("name", ["it's", '"quoted"', "$(reboot)", "`id`", "; rm -rf /", "-J", "Grüße", "a,b"])
def test_a_harmless_name_is_only_a_name(name: str) -> None:
    assert preflight(NewRun(command=("a",), name=name)) == ()


def test_a_script_just_below_the_limit_passes() -> None:
    preflight(NewRun(script=GOOD + "#" * (SCRIPT_BYTES - len(GOOD) - 1)))


def test_files_are_decoded() -> None:
    (one,) = preflight(NewRun(command=("a",), files=(file("bin/tool", b"\x00\xff", 0o755),)))
    assert (one.path, one.mode, one.content) == ("bin/tool", 0o755, b"\x00\xff")


@given(st.text(max_size=30))
def test_no_path_leaves_the_folder(path: str) -> None:
    try:
        (one,) = preflight(NewRun(command=("a",), files=(file(path),)))
    except Invalid:
        return
    assert not one.path.startswith(("/", "~"))
    assert not {"", ".", ".."} & set(one.path.split("/"))
