"""`headrace-server`: up (all of it, on one machine), api, worker, login-link, openapi."""

import asyncio
import json
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Annotated, Any

import typer

from headrace_server.identity import Role
from headrace_server.kernel import HeadraceError

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
Config = Annotated[Path | None, typer.Option("--config", help="TOML file with the settings. Default: HEADRACE_CONFIG.")]


def main() -> None:
    """Run the command line; errors of ours are one line with their code, not a traceback."""
    try:
        app()
    except HeadraceError as error:
        print(f"headrace-server: {error.detail} [{error.code}]", file=sys.stderr)
        if error.fix:
            print(f"  {error.fix}", file=sys.stderr)
        raise SystemExit(1) from error


@app.command()
def up(
    lab: Annotated[str, typer.Option(help="Lab to use; it is started if it is not running.")] = "headrace",
    slurm: Annotated[str, typer.Option(help="Slurm version of a lab that is started.")] = "26.05",
    nodes: Annotated[int, typer.Option(help="Compute hosts of a lab that is started.", min=1, max=64)] = 4,
    slurmrestd: Annotated[str | None, typer.Option(help="Use this slurmrestd instead of a lab.")] = None,
    jwt_key: Annotated[Path | None, typer.Option(help="With --slurmrestd: the cluster's JWT key (HS256).")] = None,
    login_host: Annotated[str | None, typer.Option(help="With --slurmrestd: HOST[:PORT] for users' files.")] = None,
    ssh_ca_key: Annotated[Path | None, typer.Option(help="With --login-host: the SSH user CA's private key.")] = None,
    known_hosts: Annotated[Path | None, typer.Option(help="With --login-host: the login host's public key.")] = None,
    user: Annotated[list[str] | None, typer.Option(help="With --slurmrestd: who may log in. Repeatable.")] = None,
    listen: Annotated[str | None, typer.Option(help="ADDRESS:PORT of the portal.")] = None,
    detach: Annotated[bool, typer.Option("--detach", help="Return when it is ready; stop it with `down`.")] = False,
    config: Config = None,
) -> None:
    """Start everything on this machine: a lab (or your slurmrestd), the API, the portal and the workers."""
    from headrace_server import up as embedded  # noqa: PLC0415 - slurmlab is needed by this command only

    elsewhere = None
    if slurmrestd is not None:
        elsewhere = embedded.Elsewhere(slurmrestd, jwt_key, login_host, ssh_ca_key, known_hosts, tuple(user or ()))
    wish = embedded.Wish(lab=lab, slurm=slurm, nodes=nodes, elsewhere=elsewhere, listen=listen, config=config)
    embedded.up(wish, detach=detach)


@app.command()
def down(config: Config = None) -> None:
    """Stop what `up --detach` started. The lab goes on; `slurmlab down` stops it."""
    from headrace_server import up as embedded  # noqa: PLC0415
    from headrace_server.settings import read_settings  # noqa: PLC0415

    embedded.down(read_settings(config).state)


@app.command()
def api(config: Config = None) -> None:
    """Serve the API and the portal; run any number of these."""
    _serve(config, api=True, worker=False)


@app.command()
def worker(config: Config = None) -> None:
    """Watch the clusters and drive the runs; run any number of these."""
    _serve(config, api=False, worker=True)


@app.command("login-link")
def login_link(name: str, config: Config = None) -> None:
    """Print a new one-time login link for a local account."""
    from headrace_server.app import join  # noqa: PLC0415
    from headrace_server.settings import read_settings  # noqa: PLC0415

    async def issue() -> str:
        house = join(read_settings(config))
        try:
            return f"{house.settings.base_url}/login/{await house.identity.issue_login_link(name)}"
        finally:
            await house.close()

    print(_run(issue()))


@app.command()
def account(name: str, role: Role = "user", config: Config = None) -> None:
    """Make a local account (or change its role), so that login links can be issued for it."""
    from headrace_server.app import join  # noqa: PLC0415
    from headrace_server.settings import read_settings  # noqa: PLC0415

    async def make() -> None:
        house = join(read_settings(config))
        try:
            await house.database.migrate()
            await house.identity.ensure_accounts({name: role})
        finally:
            await house.close()

    _run(make())
    print(f"{name} may log in: headrace-server login-link {name}")


@app.command()
def openapi() -> None:
    """Print the OpenAPI document; openapi/headrace.json in the repository is this output."""
    from headrace_server.app import build  # noqa: PLC0415
    from headrace_server.settings import Settings  # noqa: PLC0415

    document = build(Settings(state=Path("/nonexistent"), database_url="sqlite:///:memory:")).openapi()
    print(json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False))


def _serve(config: Path | None, *, api: bool, worker: bool) -> None:
    from headrace_server.app import build  # noqa: PLC0415
    from headrace_server.serve import serve  # noqa: PLC0415
    from headrace_server.settings import read_settings  # noqa: PLC0415

    settings = read_settings(config)
    _run(serve(build(settings, api=api, worker=worker), settings))


def _run(task: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(task)
