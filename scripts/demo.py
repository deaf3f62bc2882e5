"""The main job, from nothing: a real Slurm cluster, the control plane, and three real workloads timed from the wish on.

Run by `make demo`. Everything is asked for through `headrace`, as a user would; this script only starts the commands
and prints what they measured.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parents[1]
BIN = ROOT / ".venv/bin"
VERSION = os.environ.get("SLURM", "26.05")
LAB = os.environ.get("LAB") or ("headrace" if VERSION == "26.05" else f"headrace-{VERSION.replace('.', '')}")
PERSON = "ada"
console = Console(highlight=False, width=100)  # the table is worth a wide terminal


@dataclass(frozen=True)
class Workload:
    """One example: its folder, what it shows, and the runs that its `run` script asked for."""

    folder: str
    title: str


WORKLOADS = (
    Workload("script", "a batch script, brought as it is"),
    Workload("mpi", "an MPI program over several hosts"),
    Workload("backtest", "a backtest sweep over S&P 500 data: one array, then one job that gathers"),
)


def main() -> int:
    """Run the demo; exit 1 if any workload did not complete."""
    began = time.monotonic()
    step(f"Slurm {VERSION} lab and control plane")
    call(BIN / "slurmlab", "doctor", "--fix")
    call(BIN / "headrace-server", "up", "--detach", "--lab", LAB, "--slurm", VERSION)
    link = output(BIN / "headrace-server", "login-link", PERSON)
    with tempfile.TemporaryDirectory(prefix="headrace-demo-") as folder:
        environment = {**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}", "XDG_CONFIG_HOME": folder}
        subprocess.run(["headrace", "login", link], check=True, env=environment)
        runs: list[dict[str, Any]] = []
        for workload in WORKLOADS:
            step(f"{workload.title} (examples/{workload.folder})")
            before = {run["id"] for run in listed(environment)}
            subprocess.run([ROOT / "examples" / workload.folder / "run"], check=False, env=environment)
            runs += [run for run in reversed(listed(environment)) if run["id"] not in before]
    show(runs)
    portal = output(BIN / "headrace-server", "login-link", PERSON)
    console.print(f"\nThe portal, logged in as {PERSON} (this link works once): [bold]{portal}[/bold]")
    console.print(f"Took {time.monotonic() - began:.0f} s. Stop it all with: make down")
    return 0 if runs and all(run["state"] == "completed" for run in runs) else 1


def show(runs: list[dict[str, Any]]) -> None:
    """Print what became of each run, and how long each part took."""
    names = {run["id"]: run["name"] for run in runs}
    table = Table(title="From the wish to the result", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for column in ("run", "door", "intent→submitted", "submitted→running", "run time", "outcome"):
        table.add_column(column, justify="right" if "→" in column or column == "run time" else "left", no_wrap=True)
    for run in runs:
        wait = {part["name"]: part["seconds"] for part in run["waits"]}
        followed = ", ".join(names.get(after["run"], after["run"]) for after in run["after"])
        tasks = f", {run['tasks']['completed']} of {run['tasks']['total']} tasks" if run["array"] else ""
        table.add_row(
            run["name"],
            run["door"],
            seconds(wait.get("deciding", 0) + wait.get("submitting", 0)),
            seconds(wait.get("queue")),
            seconds(wait.get("running")),
            run["state"] + tasks + (f", after {followed}" if followed else ""),
        )
    console.print()
    console.print(table)
    console.print("Slurm counts in whole seconds, so what it timed is good to a second.")


def seconds(value: float | None) -> str:
    """A length of time, or that it is not known."""
    return "not known" if value is None else f"{value:.1f} s"


def listed(environment: dict[str, str]) -> list[dict[str, Any]]:
    """The person's runs, newest first."""
    answer = subprocess.run(
        ["headrace", "ls", "--json"], check=True, env=environment, stdout=subprocess.PIPE, text=True
    )
    return json.loads(answer.stdout)["items"]


def step(text: str) -> None:
    """Say what happens now."""
    console.print(f"\n[bold]{text}[/bold]")


def call(*argv: str | Path) -> None:
    """Run a program to its end; stop the demo if it fails."""
    subprocess.run(argv, check=True)


def output(*argv: str | Path) -> str:
    """Run a program and return what it printed."""
    return subprocess.run(argv, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


if __name__ == "__main__":
    try:
        sys.exit(main())
    except subprocess.CalledProcessError as error:
        console.print(f"[red]The demo stopped: {Path(error.cmd[0]).name} ended with {error.returncode}.[/red]")
        sys.exit(1)
