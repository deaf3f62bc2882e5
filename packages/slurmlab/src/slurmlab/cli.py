"""The `slurmlab` command: a thin skin over `Lab`."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from slurmlab import cli_faults
from slurmlab.config import DEFAULT_RELEASE, RELEASES, LabConfig
from slurmlab.doctor import examine
from slurmlab.doctor import fix as install_missing
from slurmlab.engine import find_engine
from slurmlab.errors import HostUnreachable, LabError
from slurmlab.images import ensure_images, list_images, remove_images
from slurmlab.lab import Lab

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Real Slurm clusters on one machine.")
image_app = typer.Typer(no_args_is_help=True, help="The images that hosts start from.")
app.add_typer(image_app, name="image")
app.add_typer(cli_faults.app, name="fault")

out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)

Name = Annotated[str, typer.Argument(help="Name of the lab.")]
LabOption = Annotated[str, typer.Option("--lab", "-l", help="Name of the lab.", envvar="SLURMLAB_NAME")]


def main() -> None:
    """Entry point: run a command, and turn what goes wrong into one message and exit status 1."""
    try:
        app()
    except LabError as error:
        err.print(f"slurmlab: {error}", markup=False)
        sys.exit(1)


def say(message: str) -> None:
    """Progress goes to standard error, so that standard output can be piped."""
    err.print(f"[dim]==>[/dim] {message}")


@app.command()
def up(
    name: Name = "lab",
    slurm: Annotated[str | None, typer.Option(help=f"Slurm release: {' or '.join(RELEASES)}.")] = None,
    nodes: Annotated[int | None, typer.Option(help="Number of compute hosts.")] = None,
    config: Annotated[Path | None, typer.Option(help="TOML file that describes the lab.")] = None,
) -> None:
    """Bring up a lab and wait until every node is idle."""
    wanted = LabConfig.from_file(config) if config else LabConfig()
    if not config or name != "lab":
        wanted = wanted.with_changes(name=name)
    if nodes is not None:
        wanted = wanted.with_changes(nodes=nodes, gpu_nodes=min(wanted.gpu_nodes, nodes))
    lab = Lab.up(wanted.with_changes(slurm=slurm), say)
    out.print(f"slurmrestd  {lab.slurmrestd_url}")
    out.print(f"login       {lab.ssh_address[0]} port {lab.ssh_address[1]}")
    out.print(f"users       {' '.join(lab.users)}")


@app.command()
def down(name: Name = "lab") -> None:
    """Remove a lab, whole or half dead, with its users' homes."""
    if Lab.remove(name, say):
        out.print(f"lab '{name}' removed")
    else:
        out.print(f"there is no lab '{name}'; nothing to remove")


@app.command("ls")
def list_labs() -> None:
    """List the labs of this machine."""
    table = Table(box=None, pad_edge=False)
    for column in ("NAME", "SLURM", "CONDITION", "HOSTS", "SLURMRESTD"):
        table.add_column(column)
    for lab in Lab.list_all():
        table.add_row(
            lab.name,
            lab.slurm,
            lab.condition,
            f"{len(lab.hosts_up)}/{len(lab.hosts_up) + len(lab.hosts_down)}",
            lab.slurmrestd_url,
        )
    out.print(table)


@app.command()
def status(name: Name = "lab") -> None:
    """Show a lab's hosts and daemons, and Slurm's own view of its nodes."""
    lab = Lab.find(name)
    out.print(f"{lab.name}: Slurm {lab.release.version}, {lab.slurmrestd_url}, state in {lab.directory}")
    nodes = lab.node_states()
    table = Table(box=None, pad_edge=False)
    for column in ("HOST", "ADDRESS", "NODE", "DAEMONS"):
        table.add_column(column)
    for host in lab.hosts:
        try:
            daemons = "  ".join(f"{s.name} {s.state}" for s in lab.services(host, timeout_s=2))
        except HostUnreachable:
            daemons = "no answer: the host is off, paused or half dead"
        table.add_row(host, lab.address(host), nodes.get(host, ""), daemons)
    out.print(table)


@app.command()
def logs(
    name: Name = "lab",
    host: Annotated[str | None, typer.Option(help="Only this host.")] = None,
    service: Annotated[str | None, typer.Option(help="Only this daemon, such as slurmctld.")] = None,
    lines: Annotated[int, typer.Option("--lines", "-n", help="Last lines of each file.")] = 20,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as lines are written.")] = False,
) -> None:
    """Show the daemons' logs, also of a lab that failed to come up."""
    lab = Lab.find(name)
    paths = [
        path
        for each in ([host] if host else lab.hosts)
        for path in lab.logs(each).values()
        if path.stat().st_size and (not service or path.stem == service)
    ]
    if not paths:
        err.print("slurmlab: no log has a line in it")
        sys.exit(1)
    argv = ["tail", "-v", "-n", str(lines), *(["-F"] if follow else []), *map(str, paths)]
    os.execvp(argv[0], argv)  # noqa: S606  the program takes this terminal over; no shell is meant


@app.command()
def doctor(fix: Annotated[bool, typer.Option("--fix", help="Install what is missing.")] = False) -> None:
    """Check what this machine needs, and say how to get it."""
    findings = examine()
    if fix and not all(f.ok for f in findings):
        install_missing(findings, say)
        findings = examine()
    for finding in findings:
        mark = "[green]ok[/green]     " if finding.ok else "[red]missing[/red]"
        out.print(f"{mark} {finding.topic}: {finding.sentence}" + (f" Fix: {finding.fix}" if finding.fix else ""))
    if not all(f.ok for f in findings):
        if not fix and any(f.packages for f in findings if not f.ok):
            out.print("Install what is missing with: slurmlab doctor --fix")
        sys.exit(1)


@app.command()
def token(
    user: Annotated[str, typer.Argument(help="User the token speaks for.")],
    lab: LabOption = "lab",
    lifespan: Annotated[float, typer.Option(help="Seconds until it expires.")] = 1800.0,
) -> None:
    """Print a Slurm token for a user."""
    out.print(Lab.find(lab).token(user, lifespan))


@app.command("exec", context_settings={"allow_interspersed_args": False})
def exec_(
    host: Annotated[str, typer.Argument(help="controller, login, c1, c2, …")],
    command: Annotated[list[str], typer.Argument(help="Program and its arguments, after --.")],
    lab: LabOption = "lab",
    user: Annotated[str, typer.Option("--user", "-u", help="Who runs it.")] = "root",
) -> None:
    """Run a program on a host, in this terminal."""
    found = Lab.find(lab)
    command = command[1:] if command[0] == "--" else command
    argv = found.attach_argv(host, command, user, terminal=sys.stdin.isatty() and sys.stdout.isatty())
    os.execvp(argv[0], argv)  # noqa: S606  the program takes this terminal over; no shell is meant


@image_app.command("build")
def image_build(
    slurm: Annotated[str, typer.Option(help=f"Slurm release: {' or '.join(RELEASES)}.")] = DEFAULT_RELEASE,
    force: Annotated[bool, typer.Option("--force", help="Build it again although it is there.")] = False,
) -> None:
    """Build the images of a Slurm release."""
    release = LabConfig(slurm=slurm).release
    out.print(ensure_images(find_engine(), release, say, rebuild=force)[1])


@image_app.command("ls")
def image_ls() -> None:
    """List the images that are there."""
    table = Table(box=None, pad_edge=False)
    for column in ("SLURM", "IMAGE", "SIZE", ""):
        table.add_column(column)
    for image in list_images(find_engine()):
        table.add_row(image.release, image.reference, f"{image.size_mib} MiB", "" if image.current else "outdated")
    out.print(table)


@image_app.command("rm")
def image_rm(
    slurm: Annotated[str | None, typer.Argument(help="Slurm release; every release when left out.")] = None,
    old: Annotated[bool, typer.Option("--old", help="Only images that this slurmlab would not use.")] = False,
) -> None:
    """Remove images."""
    if slurm:
        LabConfig(slurm=slurm)
    for reference in remove_images(find_engine(), slurm, old_only=old):
        out.print(f"removed {reference}")
