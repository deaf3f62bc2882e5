"""What a batch script asks for in its ``#SBATCH`` lines, as a job description.

slurmrestd does not read those lines: a script sent to it as it is would run with none of its options. So they are read
here, as sbatch reads them, and become fields of the description. What sbatch would not understand, and what cannot be
had over REST, is refused by name and line; nothing is skipped silently.

    directives = read_directives(script)
    description = fold(directives, JobDescription(script=script, working_directory="/home/alice"))

Fields that are already set in the description given to `fold` win over the script, as options on sbatch's command line
do. Three options concern only what sbatch prints (``--parsable``, ``--quiet``, ``--verbose``) and change nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from ._batch_fold import Asked, merged, read_directive
from ._batch_lines import DirectiveRefused, Word, foreign_lines, words
from ._batch_options import Directive, read_options
from ._batch_values import (
    parse_count,
    parse_memory_mib,
    parse_moment,
    parse_node_count,
    parse_time_limit,
)
from ._errors import InvalidScript
from ._model import JobDescription

__all__ = [
    "Directive", "DirectiveRefused", "check_script", "fold", "parse_count", "parse_memory_mib", "parse_moment",
    "parse_node_count", "parse_time_limit", "read_arguments", "read_directives",
]  # fmt: skip

SCRIPT_LIMIT_BYTES = 4 * 1024 * 1024
"""Slurm's default ``max_script_size``."""


def read_directives(script: str) -> tuple[Directive, ...]:
    """Return the options in a script's ``#SBATCH`` lines, in order. Raises `DirectiveRefused`."""
    found, _ = read_options(words(script))
    if not any(directive.option == "ignore-pbs" for directive in found):
        for word in foreign_lines(script)[:1]:
            name = word.text.split()[0]
            raise DirectiveRefused(
                "lines for other batch systems are not translated; write them as #SBATCH, or add #SBATCH --ignore-pbs.",
                option=name,
                line=word.line,
                code="directive_unsupported",
            )
    return found


def read_arguments(arguments: Sequence[str]) -> tuple[tuple[Directive, ...], tuple[str, ...]]:
    """Return the options at the start of a command line, and the operands after them. Raises `DirectiveRefused`."""
    found, position = read_options([Word(text, 0) for text in arguments], stop_at_operand=True)
    return found, tuple(arguments[position:])


def check_script(script: str) -> None:
    """Refuse, as sbatch does before it submits, what no slurmd could run. Raises `InvalidScript`."""
    if not script.strip():
        raise InvalidScript("The script is empty.", code="script_empty")
    if "\0" in script:
        raise InvalidScript("The script contains a NUL character.", code="script_nul")
    if "\r\n" in script:
        number = script[: script.index("\r\n")].count("\n") + 1
        raise InvalidScript(
            f"Line {number} of the script ends in CR LF, as on Windows; convert it with `sed -i 's/\\r$//'`.",
            code="script_crlf",
        )
    if not script.startswith("#!"):
        raise InvalidScript(
            "The first line of the script must name its interpreter, such as #!/bin/bash.", code="script_no_interpreter"
        )
    size = len(script.encode(errors="surrogatepass"))
    if size >= SCRIPT_LIMIT_BYTES:
        raise InvalidScript(
            f"The script has {size} bytes; Slurm takes less than {SCRIPT_LIMIT_BYTES}. Keep the data in a file.",
            code="script_too_large",
        )


def fold(
    directives: Sequence[Directive], description: JobDescription, *, now: datetime | None = None
) -> JobDescription:
    """Return the description with what the directives ask for, where it does not say so itself.

    A later directive wins over an earlier one. ``description.environment`` is taken as the environment that sbatch
    would have been called in: ``--export`` chooses from it. ``now`` (aware) is the moment and the time zone for
    ``--begin`` and ``--deadline``; the machine's own if None. Raises `DirectiveRefused`.
    """
    asked = Asked(now or datetime.now().astimezone(), description.environment)
    for directive in directives:
        read_directive(asked, directive)
    return merged(asked, description)
