"""The words of a script's ``#SBATCH`` lines, cut as sbatch cuts them.

The rules come from running sbatch 24.11 and 26.05: the first line that is neither blank nor a comment ends the
directives; a word ends at white space outside quotes; an unescaped ``#`` ends the line; words of all lines form one
argument list, so ``#SBATCH -n`` on one line and ``#SBATCH 4`` on the next belong together.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from ._errors import InvalidScript

_WHITE = " \t\n\v\f\r"
_SEPARATORS = ("hetjob", "packjob")
_FOREIGN_PATIENCE_LINES = 100
"""sbatch gives up looking for #PBS and #BSUB lines after this many lines of commands."""


class Word(msgspec.Struct, frozen=True):
    """One word of a directive line, with the number of its line (from 1). Line 0: not from a script."""

    text: str
    line: int


class DirectiveRefused(InvalidScript):
    """A line of the script's directives cannot be honoured; ``option`` and ``line`` say which, the message says why."""

    default_code = "directive_invalid"

    def __init__(self, why: str, *, option: str, line: int, code: str | None = None) -> None:
        where = f"line {line}: {option}" if line else option
        super().__init__(f"{where}: {why}", code=code)
        self.why = why
        self.option = option
        """As sbatch names it, with its dashes: ``"--mem"``."""
        self.line = line
        """From 1; 0 when the option did not come from a script."""


def words(script: str) -> tuple[Word, ...]:
    """Return the words of all directive lines. Raises `DirectiveRefused` for what has no reading."""
    return tuple(_words(script))


def foreign_lines(script: str) -> tuple[Word, ...]:
    """Return the ``#PBS`` and ``#BSUB`` lines, which sbatch translates unless told ``--ignore-pbs``."""
    found: list[Word] = []
    commands = 0
    for number, line in enumerate(script.split("\n"), start=1):
        if line.startswith(("#PBS", "#BSUB")):
            found.append(Word(line, number))
        elif not line.startswith("#"):
            commands += 1
            if commands > _FOREIGN_PATIENCE_LINES:
                break
    return tuple(found)


def _words(script: str) -> Iterator[Word]:
    for number, line in enumerate(script.split("\n"), start=1):
        if line.startswith("#SBATCH"):
            yield from _cut(line.removeprefix("#SBATCH"), number)
        elif line.startswith("#SLURM"):
            # sbatch takes these too, with a complaint; what it would have read is refused rather than guessed.
            raise DirectiveRefused("write #SBATCH instead of #SLURM.", option=line.split()[0], line=number)
        elif line.strip(_WHITE) and not line.lstrip(_WHITE).startswith("#"):
            return


def _cut(rest: str, number: int) -> Iterator[Word]:
    position = 0
    while True:
        while position < len(rest) and rest[position] in _WHITE:
            position += 1
        if position == len(rest):
            return
        if rest[position] == ":":
            raise DirectiveRefused("a component separator is not understood here.", option=":", line=number)
        text, position = _word(rest, position, number)
        if text is None:  # an empty word, such as "" or the start of a comment, ends the line
            return
        if text.lower() in _SEPARATORS:
            raise DirectiveRefused(
                "heterogeneous jobs are not supported yet; submit the components as runs of their own.",
                option=text,
                line=number,
                code="directive_unsupported",
            )
        yield Word(text, number)


def _word(rest: str, position: int, number: int) -> tuple[str | None, int]:
    taken: list[str] = []
    quote = ""
    while position < len(rest) and (quote or rest[position] not in _WHITE):
        character = rest[position]
        if character == "\\" and position + 1 < len(rest):
            # Also inside quotes. A backslash before a tab ends the word like the bare tab would.
            following = rest[position + 1]
            if following == " " or quote or following not in _WHITE:
                taken.append(following)
                position += 2
                continue
            position += 1
            break
        if character == "\\":
            position += 1
            break
        if quote and character == quote:
            quote = ""
        elif not quote and character in "\"'":
            quote = character
        elif not quote and character == "#":
            break
        else:
            taken.append(character)
        position += 1
    if quote:
        raise DirectiveRefused(f"the quote {quote} is not closed.", option=rest.strip(), line=number)
    return ("".join(taken) if taken else None), position
