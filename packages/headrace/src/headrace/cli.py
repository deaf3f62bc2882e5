"""The `headrace` command line. Commands are thin; what they mean is in the modules they import when they run."""

# ruff: noqa: PLC0415 - a command imports what it needs, so that none waits for what it does not

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from .errors import INTERRUPTED, RUN_FAILED, HeadraceError, NotLoggedIn, Refused, UsageWrong
from .wish import begun_ms_ago

if TYPE_CHECKING:
    from .server import Server
    from .wire import Run

F = TypeVar("F", bound=Callable[..., Any])


@click.group(context_settings={"help_option_names": ["-h", "--help"]}, no_args_is_help=True)
def app() -> None:
    """Run work on a Slurm cluster and follow it.

    Exit codes: 0 it worked, 1 a run did not end well, 2 usage, 3 refused, 4 server unreachable, 5 not logged in, 130
    interrupted; with --follow the job's own.
    """


def _json(command: F) -> F:
    return click.option("--json", "json", is_flag=True, help="Write the API's own JSON.")(command)


def _named(command: F) -> F:
    return click.option(
        "--context", "named", metavar="NAME", help="Server and user to use, instead of HEADRACE_CONTEXT."
    )(command)


_run_id = click.argument("run", metavar="RUN")
_run_ids = click.argument("runs", metavar="RUN…", nargs=-1, required=True)


def main() -> None:
    """Run the command line. Every error is a sentence, a code and where there is one a fix; never a traceback."""
    try:
        status = app(standalone_mode=False)
    except HeadraceError as error:
        raise SystemExit(_report(error)) from None
    except click.ClickException as error:
        error.show()
        raise SystemExit(UsageWrong.exit_code) from None
    except (click.Abort, KeyboardInterrupt):
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
    raise SystemExit(status or 0)


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


class _Operands(click.Command):
    """A command that knows whether its operands came after ``--``: then they are a command to run, else a script."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        written = list(args)
        rest = super().parse_args(ctx, args)
        operands: tuple[str, ...] = tuple(ctx.params.get("operands") or ())
        before = len(written) - len(operands) - 1
        ctx.meta["headrace.dashes"] = before >= 0 and written[before] == "--"
        return rest


@app.command("run", cls=_Operands, context_settings={"allow_interspersed_args": False})
@click.argument("operands", metavar="-- COMMAND… | SCRIPT [ARGUMENT…]", nargs=-1, required=True, type=click.UNPROCESSED)
@click.option("--preset", metavar="NAME", help="Begin with a preset.")
@click.option("--name", "-J", help="Name of the run.")
@click.option("--cluster", metavar="NAME", help="Cluster to run on.")
@click.option("--account", "-A", metavar="NAME")
@click.option("--partition", "-p", metavar="NAME")
@click.option("--qos", "-q", metavar="NAME")
@click.option("--reservation", metavar="NAME")
@click.option("--time", "-t", "time_limit", metavar="TIME", help="Limit: minutes, HH:MM:SS, D-HH.")
@click.option("--nodes", "-N", metavar="COUNT", help="Count, or MIN-MAX.")
@click.option("--tasks", "--ntasks", "-n", "tasks", type=int)
@click.option("--tasks-per-node", "--ntasks-per-node", "tasks_per_node", type=int)
@click.option("--cpus", "--cpus-per-task", "-c", "cpus_per_task", type=int, help="CPUs of each task.")
@click.option("--mem", "memory", metavar="SIZE", help="Memory of each node: 4G.")
@click.option("--mem-per-cpu", "memory_per_cpu", metavar="SIZE")
@click.option("--gres", metavar="NAME:COUNT", help="Of each node: gpu:1.")
@click.option("--gpus", "-G", metavar="COUNT", help="Of the whole job: 4, a100:4.")
@click.option("--array", "-a", metavar="NUMBERS", help="Task numbers: 0-23%4.")
@click.option("--licenses", "-L", metavar="NAME:COUNT")
@click.option("--constraint", "-C", metavar="FEATURES")
@click.option("--exclusive", is_flag=True, default=None, help="Share the nodes with nobody.")
@click.option("--hold", "-H", is_flag=True, default=None, help="Keep it from starting until it is released.")
@click.option("--comment", metavar="TEXT")
@click.option("--output", "-o", "standard_output", metavar="PATH")
@click.option("--error", "-e", "standard_error", metavar="PATH")
@click.option("--chdir", "-D", "working_directory", metavar="PATH", help="Folder on the cluster.")
@click.option("--env", "-E", multiple=True, metavar="NAME[=VALUE]", help="Variable of the run. Repeatable.")
@click.option("--bring", "-b", multiple=True, metavar="PATH", help="File or folder to bring. Repeatable.")
@click.option(
    "--after",
    multiple=True,
    metavar="RUN[:ok|any|notok]",
    help="Start after a run ended so; ok if not said. Repeatable.",
)
@click.option("--follow", "-f", is_flag=True, help="Write its log; exit with its exit code.")
@_json
@_named
@click.pass_context
def run_command(
    context: click.Context,
    operands: tuple[str, ...],
    preset: str | None,
    name: str | None,
    cluster: str | None,
    env: tuple[str, ...],
    bring: tuple[str, ...],
    after: tuple[str, ...],
    follow: bool,
    json: bool,
    named: str | None,
    **options: object,
) -> int:
    """Run a command, or a batch script with its #SBATCH lines.

    \b
    headrace run -n 4 -- python train.py
    headrace run job.sh INPUT
    """
    from .wish import environment_of

    given = {option: value for option, value in options.items() if value is not None}
    if env:
        given["environment"] = environment_of(env, os.environ)
    is_command = bool(context.meta.get("headrace.dashes"))
    names = (name, cluster, preset)
    return _run(_server(named), list(operands), is_command, given, names, bring, after, follow, json)


def _run(
    server: Server,
    operands: list[str],
    is_command: bool,
    options: dict[str, object],
    named: tuple[str | None, str | None, str | None],
    brought: tuple[str, ...],
    after: tuple[str, ...],
    follow: bool,
    json: bool,
) -> int:
    from .bring import bring
    from .follow import follow as follow_run
    from .paper import remark, say
    from .server import decode
    from .wire import Run
    from .wish import After, Wish, names_itself, read_script, split_after

    waits_for = [split_after(text) for text in after]
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
        files=bring(brought),
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
@click.option("--state", multiple=True, help="Only runs in this state. Repeatable.")
@click.option("--limit", "-n", type=click.IntRange(1, 500), default=20, metavar="COUNT", show_default=True)
@click.option("--cursor", help="`next` of the page before.")
@_json
@_named
def list_command(state: tuple[str, ...], limit: int, cursor: str | None, json: bool, named: str | None) -> None:
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
@_run_id
@click.option("--script", is_flag=True, help="Show the batch script instead, as Slurm got it.")
@_json
@_named
def show_command(run: str, script: bool, json: bool, named: str | None) -> None:
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
@_run_id
@click.option("--follow", "-f", is_flag=True, help="Go on until the run has ended.")
@click.option("--task", type=click.IntRange(0), help="Which task of an array.")
@click.option("--stream", default="out", metavar="out|err", help="Which stream.")
@click.option("--offset", type=click.IntRange(0), default=0, metavar="BYTE", help="Where to begin.")
@click.option("--json", "json", is_flag=True, help="Write the API's pieces, one a line.")
@_named
def logs_command(
    run: str, follow: bool, task: int | None, stream: str, offset: int, json: bool, named: str | None
) -> int:
    """Write a run's log; with -f as it is written, until the run has ended."""
    if stream not in {"out", "err"}:
        raise UsageWrong(f"--stream {stream!r}: write out or err.", code="stream-invalid")
    server = _server(named)
    return _write_log(server, server.full_id(run), follow, task, stream, offset, json)


def _write_log(
    server: Server, run_id: str, follow: bool, task: int | None, stream: str, offset: int, json: bool
) -> int:
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
            return INTERRUPTED
        return 0
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
    return 0


@app.command("cancel")
@_run_ids
@_json
@_named
def cancel_command(runs: tuple[str, ...], json: bool, named: str | None) -> None:
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
@_run_ids
@_json
@_named
def wait_command(runs: tuple[str, ...], json: bool, named: str | None) -> int:
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
    return 0 if all(run.state == "completed" for run in ended) else RUN_FAILED


@app.command("login")
@click.argument("link", metavar="LINK")
@click.option("--context", metavar="NAME", help="Remember it by this name.")
@click.option("--label", help="What the server calls this place; by default this machine's name.")
@_json
def login_command(link: str, context: str | None, label: str | None, json: bool) -> None:
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
@_named
def logout_command(named: str | None) -> None:
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
@_json
@_named
def whoami_command(json: bool, named: str | None) -> None:
    """Say who you are for the server."""
    from .paper import say
    from .server import decode
    from .wire import Me

    server = _server(named)
    raw = server.get("/me")
    me = decode(raw, Me)
    say(raw.decode() if json else f"{me.user} ({me.role}) at {server.url}")


@app.command("contexts")
@click.option("--use", metavar="NAME", help="Make this the current one.")
@_json
def contexts_command(use: str | None, json: bool) -> None:
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


@app.command("up", context_settings={"ignore_unknown_options": True, "help_option_names": []})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def up_command(arguments: tuple[str, ...]) -> None:
    """Bring up a server with a Slurm lab on this machine: `headrace-server up`, if it is installed."""
    import shutil
    from pathlib import Path

    beside = Path(sys.executable).with_name("headrace-server")
    program = str(beside) if beside.exists() else shutil.which("headrace-server")
    if program is None:
        raise UsageWrong(
            "The server is not installed here.", code="server-not-installed", fix="pip install 'headrace-server[lab]'"
        )
    os.execv(program, [program, "up", *arguments])  # noqa: S606 - becoming the server is the point
