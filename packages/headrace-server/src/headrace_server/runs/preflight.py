"""What is refused before anything is stored: texts, script, numbers, environment, files. Pure."""

import base64
import binascii
import re
from dataclasses import dataclass, fields

from headrace_server.runs.model import NewFile, NewRun, Options
from headrace_server.runs.refusals import (
    AfterInvalid,
    EnvironmentInvalid,
    FilesInvalid,
    FilesTooLarge,
    NameInvalid,
    NothingToRun,
    OptionInvalid,
    ScriptEmpty,
    ScriptHasCrlf,
    ScriptHasNul,
    ScriptInvalid,
    ScriptTooLarge,
    ScriptWithoutInterpreter,
    TextInvalid,
)

NAME_LENGTH = 200
TEXT_LENGTH = 4096
SCRIPT_BYTES = 4 * 1024 * 1024
"""Slurm's default max_script_size; it takes scripts that are smaller."""
FILES_BYTES = 16 * 1024 * 1024
FILES_MOST = 500
AFTER_MOST = 100
ENVIRONMENT_BYTES = 1024 * 1024
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_COUNTS = ("nodes", "tasks", "tasks_per_node", "cpus_per_task")
_MOST_COUNT = 2**31 - 1


@dataclass(frozen=True)
class Brought:
    """A file brought along, decoded."""

    path: str
    mode: int
    content: bytes


def preflight(new: NewRun) -> tuple[Brought, ...]:
    """Refuse what cannot be a run, by name; return the files it brings."""
    if bool(new.command) == (new.script is not None):
        raise NothingToRun("Give either a command or a script.", field="command")
    for field in ("cluster", "preset"):
        check_text(getattr(new, field), field)
    check_name(new.name)
    if new.script is not None:
        check_script(new.script)
    for position, word in enumerate(new.command):
        check_encodable(word, f"command.{position}")
        if "\0" in word:
            raise TextInvalid("A word of the command holds a NUL byte.", field=f"command.{position}")
    if new.command and not new.command[0].strip():
        raise NothingToRun("The command is empty.", field="command.0")
    _check_options(new.options)
    _check_environment(new.options.environment)
    _check_after(new)
    return _files(new.files)


def check_encodable(text: str, field: str) -> None:
    """Refuse half of a surrogate pair, which no file, database or host can hold."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise TextInvalid(f"{field} is not valid Unicode.", field=field) from error


def check_text(text: str | None, field: str) -> None:
    """Refuse line breaks and control characters in what must be one line."""
    if text is None:
        return
    check_encodable(text, field)
    if _CONTROL.search(text):
        raise TextInvalid(f"{field} holds a line break or control character.", field=field, asked=text[:80])
    if len(text) > TEXT_LENGTH:
        raise TextInvalid(f"{field} is longer than {TEXT_LENGTH} characters.", field=field, allowed=TEXT_LENGTH)


def check_name(name: str | None) -> None:
    """Refuse names that would hide or forge something where they are shown. Quotes and `$( )` are only text."""
    if name is None:
        return
    check_encodable(name, "name")
    if not name.strip():
        raise NameInvalid("The name is empty.", field="name")
    if not name.isprintable():  # covers control characters, line breaks and marks that turn the writing direction
        raise NameInvalid(
            "The name holds a line break, a control character or an invisible mark.", field="name", asked=name[:80]
        )
    if len(name) > NAME_LENGTH:
        raise NameInvalid(f"The name is longer than {NAME_LENGTH} characters.", field="name", allowed=NAME_LENGTH)


def check_script(script: str) -> None:
    """Refuse a script that Slurm or the host would refuse or misread."""
    if not script.strip():
        raise ScriptEmpty("The script is empty.", field="script")
    try:
        size = len(script.encode())
    except UnicodeEncodeError as error:
        raise ScriptInvalid("The script is not valid Unicode.", field="script") from error
    if size >= SCRIPT_BYTES:
        raise ScriptTooLarge(
            f"The script has {size} bytes; Slurm takes less than {SCRIPT_BYTES}.",
            field="script",
            asked=size,
            allowed=SCRIPT_BYTES - 1,
            fix="Keep data in files of their own.",
        )
    if "\0" in script:
        line = script[: script.index("\0")].count("\n") + 1
        raise ScriptHasNul(f"Line {line} of the script holds a NUL byte.", field="script")
    if "\r\n" in script or "\r" in script.split("\n", 1)[0]:
        line = script[: script.index("\r")].count("\n") + 1
        raise ScriptHasCrlf(
            f"Line {line} of the script ends in CR LF, as on Windows; Slurm refuses such scripts.",
            field="script",
            fix="Save it with Unix line ends: sed -i 's/\\r$//' FILE",
        )
    if script.startswith("\ufeff"):
        raise ScriptWithoutInterpreter(
            "The script begins with a byte order mark.", field="script", fix="Save it as UTF-8 without one."
        )
    if not script.startswith("#!") or not script[2:].split("\n", 1)[0].strip():
        raise ScriptWithoutInterpreter(
            "The first line of the script must name its interpreter.",
            field="script",
            asked=script.split("\n", 1)[0][:80],
            fix="Begin it with #!/bin/bash",
        )


def _check_options(options: Options) -> None:
    for one in fields(Options):
        value, where = getattr(options, one.name), f"options.{one.name}"
        if isinstance(value, str):
            check_text(value, where)
            if not value.strip():
                raise OptionInvalid(f"{one.name} is empty.", field=where)
    for name in _COUNTS:
        count = getattr(options, name)
        if isinstance(count, int) and not 0 < count <= _MOST_COUNT:
            raise OptionInvalid(f"{name} must be at least 1.", field=f"options.{name}", asked=count)
    for position, argument in enumerate(options.arguments):
        check_encodable(argument, f"options.arguments.{position}")
        if "\0" in argument:
            raise TextInvalid("An argument holds a NUL byte.", field=f"options.arguments.{position}")
    if options.working_directory is not None and not options.working_directory.startswith("/"):
        raise OptionInvalid(
            "The working directory must be an absolute path on the cluster.",
            field="options.working_directory",
            asked=options.working_directory[:80],
        )
    if options.memory is not None and options.memory_per_cpu is not None:
        raise OptionInvalid("Memory is asked for by node or by CPU, not both.", field="options.memory_per_cpu")


def _check_environment(environment: dict[str, str]) -> None:
    size = 0
    for key, value in environment.items():
        field = f"options.environment.{key[:40]}"
        check_encodable(key, "options.environment")
        check_encodable(value, field)
        if _VARIABLE.fullmatch(key) is None:
            raise EnvironmentInvalid(
                f"{key[:40]!r} cannot be the name of a variable.", field="options.environment", asked=key[:40]
            )
        if "\n" in value or "\0" in value or "\r" in value:
            raise EnvironmentInvalid(
                f"The value of {key[:40]} holds a line break or a NUL byte.",
                field=field,
                fix="Put it into a file that the run brings along.",
            )
        size += len(key) + len(value.encode()) + 2
    if size > ENVIRONMENT_BYTES:
        raise EnvironmentInvalid("The environment is larger than 1 MiB.", field="options.environment", asked=size)


def _check_after(new: NewRun) -> None:
    names = [one.run for one in new.after]
    if len(names) > AFTER_MOST:
        raise AfterInvalid(f"A run can wait for at most {AFTER_MOST} others.", field="after", asked=len(names))
    if len(set(names)) != len(names):
        raise AfterInvalid("A run is named twice in `after`.", field="after")
    for position, name in enumerate(names):
        check_text(name, f"after.{position}.run")


def _files(files: tuple[NewFile, ...]) -> tuple[Brought, ...]:
    if len(files) > FILES_MOST:
        raise FilesTooLarge(
            f"The run brings {len(files)} files; at most {FILES_MOST} are taken.", field="files", allowed=FILES_MOST
        )
    total, brought, taken = 0, list[Brought](), set[str]()
    for position, file in enumerate(files):
        field = f"files.{position}"
        parts = _parts(file.path, f"{field}.path")
        folders = {"/".join(parts[:depth]) for depth in range(1, len(parts))}
        if file.path in taken or folders & {one.path for one in brought}:
            raise FilesInvalid(f"{file.path[:80]!r} comes twice.", field=f"{field}.path")
        taken |= {file.path} | folders
        if not 0 <= file.mode <= 0o777:
            raise FilesInvalid(
                "A file's mode is made of permission bits only.", field=f"{field}.mode", asked=oct(file.mode)
            )
        try:
            content = base64.b64decode(file.content_base64, validate=True)
        except (binascii.Error, ValueError) as error:
            raise FilesInvalid("The content is not base64.", field=f"{field}.content_base64") from error
        total += len(content)
        if total > FILES_BYTES:
            raise FilesTooLarge(
                "The files are larger than 16 MiB together.",
                field="files",
                allowed=FILES_BYTES,
                fix="Put large data on the cluster first, and name its path.",
            )
        brought.append(Brought(file.path, file.mode, content))
    return tuple(brought)


def _parts(path: str, field: str) -> list[str]:
    check_text(path, field)
    parts = path.split("/")
    if path.startswith(("/", "~")) or any(part in {"", ".", ".."} for part in parts):
        raise FilesInvalid(
            f"{path[:80]!r} does not stay in the run's folder.",
            field=field,
            asked=path[:80],
            allowed="a relative path without . and ..",
        )
    if len(path) > 500 or any(len(part.encode()) > 250 for part in parts):
        raise FilesInvalid(f"{path[:40]!r}… is too long a path.", field=field)
    return parts
