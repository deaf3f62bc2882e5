"""The options sbatch 24.11 to 26.05 knows, and reading words as such options, the way getopt_long does."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Literal

import msgspec

from ._batch_lines import DirectiveRefused, Word

Takes = Literal["nothing", "value", "maybe"]


class Option(msgspec.Struct, frozen=True):
    """An option of sbatch. ``refused`` says why it cannot be honoured; empty when it can."""

    name: str
    takes: Takes = "value"
    letter: str = ""
    refused: str = ""


class Directive(msgspec.Struct, frozen=True):
    """An option as somebody wrote it."""

    option: str
    """The full name without dashes: ``"cpus-per-task"``."""
    value: str | None
    """None when the option stands alone."""
    written: str
    """The option as it was written: ``"-c"``, ``"--cpus"``."""
    line: int
    """From 1; 0 when it did not come from a script."""


_ELSEWHERE = "it tells the sbatch program what to do; it has no meaning for a job sent over REST."
_LOCAL_FILE = "it names a file of the machine where sbatch runs; put the content into the script."
_IDENTITY = "a job runs as the user who submits it."
_NOT_IN_API = "Slurm's REST API has no field for it."
_NOT_YET = "it is not supported yet."

_SPECIFICATION = """
account:A acctg-freq array:a batch begin:b bb chdir:D comment constraint:C container container-id contiguous!
core-spec:S cpu-freq cpus-per-gpu cpus-per-task:c deadline delay-boot dependency:d distribution:m
error:e exclude:x exclusive? export extra get-user-env? gpu-bind tres-bind gpu-freq gpus:G gpus-per-node
gpus-per-socket gpus-per-task tres-per-task gres gres-flags hold!H ignore-pbs! input:i job-name:J kill-on-invalid-dep
licenses:L mail-type mail-user mcs-label mem mem-per-cpu mem-per-gpu mincpus network nice? no-kill?k no-requeue!
nodelist:w nodes:N ntasks:n ntasks-per-core ntasks-per-node ntasks-per-socket ntasks-per-tres ntasks-per-gpu open-mode
oom-kill-step? output:o overcommit!O oversubscribe!s parsable! partition:p prefer priority qos:q quiet!Q reboot!
requeue? reservation signal sockets-per-node spread-job! stepmgr! switches tasks-per-node thread-spec threads-per-core
time:t time-min tmp use-min-nodes! verbose!v wait-all-nodes wckey
"""

_REFUSED: tuple[Option, ...] = (
    Option("autocomplete", refused=_ELSEWHERE),
    Option("bbf", refused=_LOCAL_FILE),
    Option("cluster", refused="a job goes to the cluster whose REST API is asked."),
    Option("cluster-constraint", refused="federations are not supported yet."),
    Option("clusters", letter="M", refused="a job goes to the cluster whose REST API is asked."),
    Option("consolidate-segments", "nothing", refused=_NOT_YET),
    Option("container-type", refused="only Slurm 26.05 and later have it; it is not supported yet."),
    Option("context", refused=_NOT_YET),
    Option("cores-per-socket", refused="Slurm's REST API has no field for it before 26.05."),
    Option("export-file", refused=_LOCAL_FILE),
    Option("external", "nothing", refused=_NOT_YET),
    Option("extra-node-info", letter="B", refused="write --sockets-per-node and --threads-per-core instead."),
    Option("gid", refused=_IDENTITY),
    Option("help", "nothing", "h", refused=_ELSEWHERE),
    Option("hint", refused="write --threads-per-core or --ntasks-per-core instead."),
    Option("mem-bind", refused="set it with srun inside the script."),
    Option("mem-update", refused="only Slurm 26.05 and later have it; it is not supported yet."),
    Option("nodefile", letter="F", refused=_LOCAL_FILE),
    Option("profile", refused=_NOT_YET),
    Option("propagate", "maybe", refused="limits of the machine where sbatch runs do not exist here."),
    Option("resources", refused="only Slurm 26.05 and later have it; it is not supported yet."),
    Option("resv-ports", "maybe", refused=_NOT_IN_API),
    Option("segment", refused=_NOT_YET),
    Option("spread-segments", "nothing", refused=_NOT_YET),
    Option("test-only", "nothing", refused=_ELSEWHERE),
    Option("uid", refused=_IDENTITY),
    Option("usage", "nothing", refused=_ELSEWHERE),
    Option("version", "nothing", "V", refused=_ELSEWHERE),
    Option("wait", "nothing", "W", refused=_ELSEWHERE),
    Option("wrap", refused="a script is not wrapped; write the command into it."),
)


def _parsed(specification: str) -> Option:
    marks: dict[str, Takes] = {"!": "nothing", "?": "maybe", ":": "value"}
    for mark, takes in marks.items():
        if mark in specification:
            name, _, letter = specification.partition(mark)
            return Option(name, takes, letter)
    return Option(specification)


OPTIONS: dict[str, Option] = {
    option.name: option for option in (*(_parsed(part) for part in _SPECIFICATION.split()), *_REFUSED)
}
"""By full name."""
_BY_LETTER = {option.letter: option for option in OPTIONS.values() if option.letter}
_SAME = {"tasks-per-node": "ntasks-per-node"}
"""Second names."""


def read_options(words: Sequence[Word], *, stop_at_operand: bool = False) -> tuple[tuple[Directive, ...], int]:
    """Return the options among the words and the number of words read.

    A word that is no option is refused; with ``stop_at_operand`` it ends the reading instead, as on a command line.
    Raises `DirectiveRefused`, naming option and line.
    """
    found: list[Directive] = []
    position = 0
    while position < len(words):
        word = words[position]
        if word.text == "--" or not word.text.startswith("-") or word.text == "-":
            position += word.text == "--"
            break
        if word.text.startswith("--"):
            directive, position = _read_long(words, position)
            found.append(directive)
        else:
            directives, position = _read_letters(words, position)
            found.extend(directives)
    if position < len(words) and not stop_at_operand:
        stray = words[position]
        raise DirectiveRefused(
            "this is not an option; a value with spaces needs quotes.", option=stray.text, line=stray.line
        )
    return tuple(found), position


def _read_long(words: Sequence[Word], position: int) -> tuple[Directive, int]:
    word = words[position]
    name, equals, value = word.text[2:].partition("=")
    option = _long_option(name, word)
    written = f"--{name}"
    _refuse_if_unsupported(option, written, word)
    if option.takes == "nothing" and equals:
        raise DirectiveRefused("it takes no value.", option=written, line=word.line)
    if equals or option.takes != "value":
        return _directive(option, value if equals else None, written, word), position + 1
    return _directive(option, _next_value(words, position, written), written, word), position + 2


def _read_letters(words: Sequence[Word], position: int) -> tuple[list[Directive], int]:
    word = words[position]
    found: list[Directive] = []
    rest = word.text[1:]
    while rest:
        written, rest = f"-{rest[0]}", rest[1:]
        option = _BY_LETTER.get(written[1])
        if option is None:
            raise DirectiveRefused("sbatch has no such option.", option=written, line=word.line)
        _refuse_if_unsupported(option, written, word)
        if option.takes == "nothing":
            found.append(_directive(option, None, written, word))
        elif rest or option.takes == "maybe":
            found.append(_directive(option, rest or None, written, word))
            break
        else:
            found.append(_directive(option, _next_value(words, position, written), written, word))
            return found, position + 2
    return found, position + 1


def _long_option(name: str, word: Word) -> Option:
    if option := OPTIONS.get(name):
        return option
    begun = sorted(option for option in OPTIONS if option.startswith(name)) if name else []
    if len({_SAME.get(option, option) for option in begun}) == 1:
        return OPTIONS[begun[0]]
    if begun:
        why = f"it could be any of {', '.join(f'--{option}' for option in begun)}."
    else:
        near = difflib.get_close_matches(name, OPTIONS, n=1, cutoff=0.7)
        why = "sbatch has no such option." + (f" Did you mean --{near[0]}?" if near else "")
    raise DirectiveRefused(why, option=f"--{name}", line=word.line)


def _refuse_if_unsupported(option: Option, written: str, word: Word) -> None:
    if option.refused:
        raise DirectiveRefused(option.refused, option=written, line=word.line, code="directive_unsupported")


def _next_value(words: Sequence[Word], position: int, written: str) -> str:
    if position + 1 >= len(words):
        raise DirectiveRefused("it needs a value.", option=written, line=words[position].line)
    return words[position + 1].text


def _directive(option: Option, value: str | None, written: str, word: Word) -> Directive:
    return Directive(_SAME.get(option.name, option.name), value, written, word.line)
