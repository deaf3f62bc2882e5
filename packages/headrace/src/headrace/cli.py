"""The `headrace` command line. Commands are thin; what they mean is in the modules they import when they run."""

# ruff: noqa: PLC0415 - a command imports what it needs, so that none waits for what it does not

from __future__ import annotations

import contextlib
import os
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from .errors import INTERRUPTED, RUN_FAILED, HeadraceError, NotLoggedIn, Refused, UsageWrong
from .wish import begun_ms_ago

if TYPE_CHECKING:
    from .server import Server
    from .wire import Run

app = typer.Typer(
    name="headrace",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # rich's help would double the time to start
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Run work on a Slurm cluster and follow it. Exit codes: 0 it worked, 1 a run did not end well, 2 usage, "
    "3 refused, 4 server unreachable, 5 not logged in, 130 interrupted; with --follow the job's own.",
)

Json = Annotated[bool, typer.Option("--json", help="Write the API's own JSON.")]
Named = Annotated[
    str | None, typer.Option("--context", metavar="NAME", help="Server and user to use, instead of HEADRACE_CONTEXT.")
]
RunId = Annotated[str, typer.Argument(metavar="RUN", help="A run's id, or the beginning of it.")]


def main() -> None:
    """Run the command line. Every error is a sentence, a code and where there is one a fix; never a traceback."""
    try:
        app()
    except HeadraceError as error:
        raise SystemExit(_report(error)) from None
    except KeyboardInterrupt:
        raise SystemExit(INTERRUPTED) from None
    except BrokenPipeError:
        # The reader of a pipe went away (headrace logs … | head): nobody is left to tell.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(141) from None
    except Exception as error:
        if os.environ.get("HEADRACE_DEBUG"):
            raise
        wrong = HeadraceError(
            f"{type(error).__name__}: {error}",
            code="internal-error",
            fix="This is a mistake in headrace. HEADRACE_DEBUG=1 shows where; please report it.",
        )
        raise SystemExit(_report(wrong)) from None


def _report(error: HeadraceError) -> int:
    from .paper import colourful, remark, safe, say

    if "--json" in sys.argv and isinstance(error, Refused) and error.problem:
        say(error.problem.decode(errors="replace"))
    red, end = ("\x1b[1;31m", "\x1b[0m") if colourful(sys.stderr) else ("", "")
    remark(f"{red}headrace:{end} {safe(error.detail)} [{error.code}]")
    if error.fix:
        remark(f"  {safe(error.fix)}")
    return error.exit_code


def _server(named: str | None) -> Server:
    from .contexts import choose
    from .server import Server

    _, context = choose(named, os.environ)
    if not context.token:
        raise NotLoggedIn(
            f"There is no token for {context.url}.", code="not-logged-in", fix="Log in with: headrace login LINK"
        )
    return Server(context)


class _Operands(TyperCommand):
    """A command that knows whether its operands came after ``--``: then they are a command to run, else a script."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        written = list(args)
        rest = super().parse_args(ctx, args)
        operands: tuple[str, ...] = tuple(ctx.params.get("operands") or ())
        before = len(written) - len(operands) - 1
        ctx.meta["headrace.dashes"] = before >= 0 and written[before] == "--"
        return rest


@app.command("run", cls=_Operands, context_settings={"allow_interspersed_args": False})
def run_command(
    context: typer.Context,
    operands: Annotated[
        list[str], typer.Argument(metavar="-- COMMAND… | SCRIPT [ARGUMENT…]", help="What to run.", show_default=False)
    ],
    preset: Annotated[str | None, typer.Option(metavar="NAME", help="Begin with a preset.")] = None,
    name: Annotated[str | None, typer.Option("--name", "-J", help="Name of the run.")] = None,
    cluster: Annotated[str | None, typer.Option(metavar="NAME", help="Cluster to run on.")] = None,
    account: Annotated[str | None, typer.Option("--account", "-A", metavar="NAME")] = None,
    partition: Annotated[str | None, typer.Option("--partition", "-p", metavar="NAME")] = None,
    qos: Annotated[str | None, typer.Option("--qos", "-q", metavar="NAME")] = None,
    reservation: Annotated[str | None, typer.Option(metavar="NAME")] = None,
    time: Annotated[str | None, typer.Option("--time", "-t", help="Limit: minutes, HH:MM:SS, D-HH.")] = None,
    nodes: Annotated[str | None, typer.Option("--nodes", "-N", help="Count, or MIN-MAX.")] = None,
    tasks: Annotated[int | None, typer.Option("--tasks", "--ntasks", "-n")] = None,
    tasks_per_node: Annotated[int | None, typer.Option("--tasks-per-node", "--ntasks-per-node")] = None,
    cpus: Annotated[int | None, typer.Option("--cpus", "--cpus-per-task", "-c", help="CPUs of each task.")] = None,
    mem: Annotated[str | None, typer.Option(help="Memory of each node: 4G.")] = None,
    mem_per_cpu: Annotated[str | None, typer.Option(metavar="SIZE")] = None,
    gres: Annotated[str | None, typer.Option(help="Of each node: gpu:1.")] = None,
    gpus: Annotated[str | None, typer.Option("--gpus", "-G", help="Of the whole job: 4, a100:4.")] = None,
    array: Annotated[str | None, typer.Option("--array", "-a", help="Task numbers: 0-23%4.")] = None,
    licenses: Annotated[str | None, typer.Option("--licenses", "-L", metavar="NAME:COUNT")] = None,
    constraint: Annotated[str | None, typer.Option("--constraint", "-C", metavar="FEATURES")] = None,
    exclusive: Annotated[bool, typer.Option("--exclusive", help="Share the nodes with nobody.")] = False,
    hold: Annotated[bool, typer.Option("--hold", "-H", help="Keep it from starting until it is released.")] = False,
    comment: Annotated[str | None, typer.Option(metavar="TEXT")] = None,
    output: Annotated[str | None, typer.Option("--output", "-o", metavar="PATH")] = None,
    error: Annotated[str | None, typer.Option("--error", "-e", metavar="PATH")] = None,
    chdir: Annotated[str | None, typer.Option("--chdir", "-D", metavar="PATH", help="Folder on the cluster.")] = None,
    env: Annotated[
        list[str] | None, typer.Option("--env", "-E", metavar="NAME[=VALUE]", help="Variable of the run. Repeatable.")
    ] = None,
    bring: Annotated[
        list[str] | None, typer.Option("--bring", "-b", metavar="PATH", help="File or folder to bring. Repeatable.")
    ] = None,
    after: Annotated[
        list[str] | None,
        typer.Option(metavar="RUN[:ok|any|notok]", help="Start after a run ended so; ok if not said. Repeatable."),
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Write its log; exit with its exit code.")] = False,
    json: Json = False,
    named: Named = None,
) -> None:
    """Run a command, or a batch script with its #SBATCH lines.

    headrace run -n 4 -- python train.py     headrace run job.sh INPUT
    """
    from .wish import environment_of

    options: dict[str, object | None] = {
        "account": account, "partition": partition, "qos": qos, "reservation": reservation, "time_limit": time,
        "nodes": nodes, "tasks": tasks, "tasks_per_node": tasks_per_node, "cpus_per_task": cpus, "memory": mem,
        "memory_per_cpu": mem_per_cpu, "gres": gres, "gpus": gpus, "array": array, "licenses": licenses,
        "constraint": constraint, "exclusive": exclusive or None, "hold": hold or None, "comment": comment,
        "standard_output": output, "standard_error": error, "working_directory": chdir,
        "environment": environment_of(env or (), os.environ) or None,
    }  # fmt: skip
    given = {option: value for option, value in options.items() if value is not None}
    is_command = bool(context.meta.get("headrace.dashes"))
    raise typer.Exit(
        _run(_server(named), operands, is_command, given, (name, cluster, preset), bring, after, follow, json)
    )


def _run(
    server: Server,
    operands: list[str],
    is_command: bool,
    options: dict[str, object],
    named: tuple[str | None, str | None, str | None],
    brought: list[str] | None,
    after: list[str] | None,
    follow: bool,
    json: bool,
) -> int:
    from .bring import bring
    from .follow import follow as follow_run
    from .paper import remark, say
    from .server import decode
    from .wire import Run
    from .wish import After, Wish, names_itself, read_script, split_after

    waits_for = [split_after(text) for text in after or ()]
    script = None if is_command else read_script(operands[0])
    if script is not None and operands[1:]:
        options["arguments"] = operands[1:]
    name, cluster, preset = named
    if script is not None and name is None and operands[0] != "-" and not names_itself(script):
        name = os.path.basename(operands[0])  # noqa: PTH119 - as sbatch names a job
    wish = Wish(
        door="cli",
        name=name,
        cluster=cluster,
        preset=preset,
        command=tuple(operands) if is_command else (),
        script=script,
        options=options,
        files=bring(brought or ()),
        after=tuple(After(server.full_id(one.run), one.condition) for one in waits_for),
        begun_ms_ago=begun_ms_ago(),
    )
    raw = server.post("/runs", wish)
    run = decode(raw, Run)
    if json:
        say(raw.decode())
    if follow:
        if not json:
            remark(_submitted(run))
        return follow_run(server, run.id)
    if not json:
        say(run.id)
        remark(_submitted(run) + ("" if run.ended else f" Follow it: headrace logs -f {run.id}"))
    return Refused.exit_code if run.state == "refused" else 0


def _submitted(run: Run) -> str:
    from .paper import safe

    if run.state == "refused":
        why = f"{safe(run.reason.text)} [{run.reason.code}]" if run.reason else "no reason was given"
        return f"Slurm refuses {run.id} ({safe(run.name)}): {why}"
    job = f"job {run.job_id} on {run.cluster}" if run.job_id else f"being submitted to {run.cluster}"
    return f"{run.id} ({safe(run.name)}) is {job}."


@app.command("ls")
def list_command(
    state: Annotated[list[str] | None, typer.Option(help="Only runs in this state. Repeatable.")] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=500)] = 20,
    cursor: Annotated[str | None, typer.Option(help="`next` of the page before.")] = None,
    json: Json = False,
    named: Named = None,
) -> None:
    """List runs, newest first."""
    from .paper import remark, runs_table, say
    from .server import decode
    from .wire import RunPage

    query: dict[str, object] = {"limit": limit}
    if state:
        query["state"] = [word.replace("-", "_") for word in state]
    if cursor:
        query["cursor"] = cursor
    raw = _server(named).get("/runs", query)
    if json:
        say(raw.decode())
        return
    page = decode(raw, RunPage)
    if page.items:
        runs_table(page.items)
    else:
        remark("No runs yet. Make one: headrace run -- hostname")
    if page.next:
        remark(f"There are more: headrace ls --limit {limit} --cursor {page.next}")


@app.command("show")
def show_command(
    run: RunId,
    script: Annotated[bool, typer.Option("--script", help="Show the batch script instead, as Slurm got it.")] = False,
    json: Json = False,
    named: Named = None,
) -> None:
    """Show a run: where it is, how long each part of its way took, where its output is."""
    from .paper import run_sheet, say

    server = _server(named)
    run_id = server.full_id(run)
    if script:
        sys.stdout.write(server.get(f"/runs/{run_id}/script").decode(errors="replace"))
        return
    shown, raw = server.run(run_id)
    if json:
        say(raw.decode())
    else:
        run_sheet(shown)


@app.command("logs")
def logs_command(
    run: RunId,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the run has ended.")] = False,
    task: Annotated[int | None, typer.Option("--task", min=0, help="Which task of an array.")] = None,
    stream: Annotated[str, typer.Option(metavar="out|err", help="Which stream.")] = "out",
    offset: Annotated[int, typer.Option(min=0, metavar="BYTE", help="Where to begin.")] = 0,
    json: Annotated[bool, typer.Option("--json", help="Write the API's pieces, one a line.")] = False,
    named: Named = None,
) -> None:
    """Write a run's log; with -f as it is written, until the run has ended."""
    if stream not in {"out", "err"}:
        raise UsageWrong(f"--stream {stream!r}: write out or err.", code="stream-invalid")
    server = _server(named)
    _write_log(server, server.full_id(run), follow, task, stream, offset, json)


def _write_log(
    server: Server, run_id: str, follow: bool, task: int | None, stream: str, offset: int, json: bool
) -> None:
    import msgspec

    from .follow import watched
    from .paper import remark, say
    from .server import decode
    from .wire import LogChunk

    if follow:
        try:
            with watched(server):
                for chunk in server.log_events(run_id, stream, task, offset):
                    if json:
                        say(msgspec.json.encode(chunk).decode())
                    else:
                        sys.stdout.write(chunk.data)
                        sys.stdout.flush()
        except KeyboardInterrupt:
            remark(f"\nThe run goes on. Cancel: headrace cancel {run_id}")
            raise typer.Exit(INTERRUPTED) from None
        return
    while True:
        query: dict[str, object] = {"stream": stream, "offset": offset}
        if task is not None:
            query["task"] = task
        raw = server.get(f"/runs/{run_id}/log", query)
        chunk = decode(raw, LogChunk)
        if json:
            say(raw.decode())
        else:
            sys.stdout.write(chunk.data)
        if chunk.next_offset <= offset or chunk.size is None or chunk.next_offset >= chunk.size:
            break
        offset = chunk.next_offset
    if chunk.size is None and not json:
        remark("There is no log yet." if not chunk.ended else "The run left no log.")


@app.command("cancel")
def cancel_command(
    runs: Annotated[list[str], typer.Argument(metavar="RUN…", help="Ids, or the beginnings of them.")],
    json: Json = False,
    named: Named = None,
) -> None:
    """Cancel runs."""
    from .paper import remark, say
    from .server import decode
    from .wire import Run

    server = _server(named)
    for run_id in [server.full_id(run) for run in runs]:
        raw = server.post(f"/runs/{run_id}/cancel")
        if json:
            say(raw.decode())
        else:
            run = decode(raw, Run)
            remark(
                f"{run.id} had ended: {run.state}."
                if run.ended and run.state != "cancelled"
                else f"{run.id} is being cancelled."
            )


@app.command("wait")
def wait_command(
    runs: Annotated[list[str], typer.Argument(metavar="RUN…", help="Ids, or the beginnings of them.")],
    json: Json = False,
    named: Named = None,
) -> None:
    """Wait until runs have ended. Exit code 0 when all of them completed, else 1."""
    from .follow import wait
    from .paper import outcome_line, remark, say

    server = _server(named)
    ended = wait(server, [server.full_id(run) for run in runs])
    for run in ended:
        if json:
            say(server.run(run.id)[1].decode())
        else:
            remark(outcome_line(run))
    if any(run.state != "completed" for run in ended):
        raise typer.Exit(RUN_FAILED)


@app.command("login")
def login_command(
    link: Annotated[str, typer.Argument(metavar="LINK", help="The link you were given, whole.")],
    context: Annotated[str | None, typer.Option("--context", metavar="NAME", help="Remember it by this name.")] = None,
    label: Annotated[str | None, typer.Option(help="What the server calls this place. [this machine's name]")] = None,
    json: Json = False,
) -> None:
    """Log in with a link, once; the token is kept in ~/.config/headrace, readable by you only."""
    import platform

    from .contexts import DEFAULT, Context, checked_url, remember
    from .paper import remark, say
    from .server import Server, decode
    from .wire import LoggedIn

    address = link if "://" in link else os.environ.get("HEADRACE_URL", "")
    if not address:
        raise UsageWrong(
            "The link has no address.",
            code="url-invalid",
            fix="Give the whole link, or set HEADRACE_URL to the server's.",
        )
    server = Server(Context(url=checked_url(address)))
    raw = server.post("/login", {"link": link, "label": (label or platform.node())[:100]})
    new = decode(raw, LoggedIn)
    name = context or os.environ.get("HEADRACE_CONTEXT") or DEFAULT
    remember(name, Context(url=server.url, user=new.user, token=new.token, expires_at=new.expires_at), os.environ)
    if json:
        import msgspec

        say(
            msgspec.json.encode(
                {"context": name, "url": server.url, "user": new.user, "expires_at": new.expires_at}
            ).decode()
        )
    else:
        remark(f"You are {new.user} at {server.url}, until {new.expires_at:%Y-%m-%d}. This is context {name!r}.")


@app.command("logout")
def logout_command(named: Named = None) -> None:
    """End the session on the server and forget its token here."""
    from .contexts import choose, forget
    from .paper import remark
    from .server import Server

    name, context = choose(named, os.environ)
    if not context.token:
        raise NotLoggedIn(f"There is no token for {context.url}.", code="not-logged-in")
    with contextlib.suppress(NotLoggedIn):  # the server may have forgotten it already
        Server(context).post("/logout")
    forget(name, os.environ)
    remark(f"Logged out of {context.url}.")


@app.command("whoami")
def whoami_command(json: Json = False, named: Named = None) -> None:
    """Say who you are for the server."""
    from .paper import say
    from .server import decode
    from .wire import Me

    server = _server(named)
    raw = server.get("/me")
    me = decode(raw, Me)
    say(raw.decode() if json else f"{me.user} ({me.role}) at {server.url}")


@app.command("contexts")
def contexts_command(
    use: Annotated[str | None, typer.Option("--use", metavar="NAME", help="Make this the current one.")] = None,
    json: Json = False,
) -> None:
    """List the servers you are logged in to, the current one marked."""
    import msgspec

    from .contexts import Contexts, load, save
    from .paper import remark, say, table

    stored = load(os.environ)
    if use is not None:
        if use not in stored.contexts:
            raise UsageWrong(
                f"There is no context {use!r}.", code="no-such-context", fix="List them: headrace contexts"
            )
        stored = Contexts(current=use, contexts=stored.contexts)
        save(stored, os.environ)
    known = sorted(stored.contexts.items())
    if json:
        shown = [{"name": n, "url": c.url, "user": c.user, "current": n == stored.current} for n, c in known]
        say(msgspec.json.encode(shown).decode())
    elif known:
        rows = [["*" if n == stored.current else "", n, c.user or "-", c.url] for n, c in known]
        table(("", "NAME", "USER", "SERVER"), rows)
    else:
        remark("You are logged in nowhere. Log in with: headrace login LINK")


@app.command("up", context_settings={"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []})
def up_command(context: typer.Context) -> None:
    """Bring up a server with a Slurm lab on this machine: `headrace-server up`, if it is installed."""
    import shutil
    from pathlib import Path

    beside = Path(sys.executable).with_name("headrace-server")
    program = str(beside) if beside.exists() else shutil.which("headrace-server")
    if program is None:
        raise UsageWrong(
            "The server is not installed here.", code="server-not-installed", fix="pip install 'headrace-server[lab]'"
        )
    os.execv(program, [program, "up", *context.args])  # noqa: S606 - becoming the server is the point
