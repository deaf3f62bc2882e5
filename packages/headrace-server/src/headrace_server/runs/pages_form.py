"""The form for a new run: from what was typed to a wish, and back onto the page when it is refused."""

import hashlib
import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime

from fastapi import Request
from starlette.datastructures import FormData

from headrace_server.kernel import HeadraceError, Invalid, new_id
from headrace_server.runs.model import NewRun, Options
from headrace_server.runs.refusals import BodyTooLarge

BODY_BYTES = 16 * 1024 * 1024
"""A script of 4 MiB, percent-encoded, and room for the rest."""
LONGEST_INTENT_MS = 24 * 3600 * 1000
"""A form left open for longer was not one decision; the intent then counts as a day old."""


class NotANumber(Invalid):
    """This is not a whole number."""

    code = "not-a-number"


class CommandUnbalanced(Invalid):
    """A quote in the command is opened and not closed."""

    code = "command-unbalanced"


@dataclass(frozen=True)
class Typed:
    """What stands in the form, as text. `begun` is when it was first opened (ms since 1970), `key` is its own."""

    begun: str = ""
    key: str = ""
    name: str = ""
    cluster: str = ""
    what: str = "command"
    command: str = ""
    script: str = ""
    preset: str = ""
    account: str = ""
    partition: str = ""
    qos: str = ""
    time_limit: str = ""
    nodes: str = ""
    tasks: str = ""
    cpus_per_task: str = ""
    memory: str = ""
    gres: str = ""
    array: str = ""
    constraint: str = ""
    licenses: str = ""
    working_directory: str = ""

    @property
    def widened(self) -> bool:
        """Whether anything stands in the fields that are folded away at first."""
        return any(
            (self.account, self.qos, self.array, self.gres, self.constraint, self.licenses, self.working_directory)
        )


def opened(now: datetime) -> Typed:
    """Return an empty form that was opened `now`."""
    return Typed(begun=str(int(now.timestamp() * 1000)), key=new_id())


async def read_form(request: Request) -> Typed:
    """Return what was typed. Line ends become the script's own again (browsers send CRLF). Raises BodyTooLarge."""
    length = request.headers.get("content-length", "")
    if not length.isdecimal() or int(length) > BODY_BYTES:
        raise BodyTooLarge("The form is larger than 16 MiB.", field="script", allowed="4 MiB of script")
    form = await request.form()
    return typed_of(form)


def typed_of(form: FormData | Mapping[str, str]) -> Typed:
    """Return what was typed, from a form's fields; unknown ones are ignored, files are none of ours."""
    values = {name: value for name in asdict(Typed()) if isinstance(value := form.get(name), str)}
    script = values.get("script", "").replace("\r\n", "\n")
    others = {name: value.strip() for name, value in values.items() if name != "script"}
    typed = replace(Typed(), **others, script=script)
    return typed if typed.what in {"command", "script"} else replace(typed, what="command")


def wish(typed: Typed, now: datetime) -> NewRun:
    """Return the wish that was typed. Raises what can be told from the text alone: NotANumber, CommandUnbalanced."""
    return NewRun(
        door="portal",
        begun_ms_ago=_begun_ms_ago(typed.begun, now),
        cluster=typed.cluster or None,
        name=typed.name or None,
        preset=(typed.preset or None) if typed.what == "command" else None,
        command=_argv(typed.command) if typed.what == "command" else (),
        script=typed.script if typed.what == "script" else None,
        options=_options(typed),
    )


def idempotency_key(typed: Typed) -> str:
    """Return the key this form is sent under: pressed twice it is the same, with anything changed it is another."""
    content = "\0".join(f"{name}={value}" for name, value in asdict(typed).items())
    return f"form-{hashlib.sha256(content.encode('utf-8', 'replace')).hexdigest()[:40]}"


def by_field(error: HeadraceError) -> dict[str, HeadraceError]:
    """Return the error under the name of the form's field it is about, or under "" if it is about none of them."""
    names = [part for part in (error.field or "").split(".") if part in _FIELDS]
    return {names[-1] if names else "": error}


_FIELDS = frozenset(asdict(Typed())) - {"begun", "key", "what"}


def _options(typed: Typed) -> Options:
    return Options(
        account=typed.account or None,
        partition=typed.partition or None,
        qos=typed.qos or None,
        time_limit=typed.time_limit or None,
        nodes=typed.nodes or None,
        tasks=_number("tasks", typed.tasks),
        cpus_per_task=_number("cpus_per_task", typed.cpus_per_task),
        memory=typed.memory or None,
        gres=typed.gres or None,
        array=typed.array or None,
        constraint=typed.constraint or None,
        licenses=typed.licenses or None,
        working_directory=typed.working_directory or None,
    )


def _begun_ms_ago(begun: str, now: datetime) -> int:
    # Said by the browser, so believed within a day only; it moves nobody's number but the person's own.
    if not begun.isascii() or not begun.isdecimal() or len(begun) > 16:
        return 0
    return min(max(0, int(now.timestamp() * 1000) - int(begun)), LONGEST_INTENT_MS)


def _number(name: str, text: str) -> int | None:
    if not text:
        return None
    if not text.isascii() or not text.lstrip("-").isdecimal() or len(text) > 9:
        raise NotANumber(f"{text[:20]!r} is not a whole number.", field=f"options.{name}", asked=text[:20])
    return int(text)


def _argv(command: str) -> tuple[str, ...]:
    try:
        return tuple(shlex.split(command))
    except ValueError as error:
        raise CommandUnbalanced(
            "A quote is opened and not closed.", field="command", fix="Close it, or write a script instead."
        ) from error
