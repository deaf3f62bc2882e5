"""`slurmlab fault …`: what breaks, what it does, and where."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from slurmlab.lab import Lab

app = typer.Typer(no_args_is_help=True, help="Make faults, and undo them.")

LabOption = Annotated[str, typer.Option("--lab", "-l", help="Name of the lab.", envvar="SLURMLAB_NAME")]
Host = Annotated[str, typer.Argument(help="controller, login, c1, c2, …")]


class HostFault(StrEnum):
    """What can be done to a host; `start` undoes `kill`, `resume` undoes `pause`."""

    KILL = "kill"
    PAUSE = "pause"
    RESUME = "resume"
    START = "start"


class NetworkFault(StrEnum):
    """What can be done to a host's network; `heal` undoes `cut`."""

    CUT = "cut"
    HEAL = "heal"


class DaemonFault(StrEnum):
    """What can be done to a daemon; `start` undoes `stop` and `kill`, `resume` undoes `pause`."""

    STOP = "stop"
    KILL = "kill"
    PAUSE = "pause"
    RESUME = "resume"
    START = "start"


class DiskFault(StrEnum):
    """What can be done to a host's disk; `free` undoes `fill`, `normal` undoes `slow`."""

    FILL = "fill"
    FREE = "free"
    SLOW = "slow"
    NORMAL = "normal"


@app.command()
def host(what: HostFault, host: Host, lab: LabOption = "lab") -> None:
    """Kill, pause, resume or start a whole host."""
    fault = Lab.find(lab).fault
    {
        HostFault.KILL: fault.kill_host,
        HostFault.PAUSE: fault.pause_host,
        HostFault.RESUME: fault.resume_host,
        HostFault.START: fault.start_host,
    }[what](host)


@app.command()
def network(what: NetworkFault, host: Host, lab: LabOption = "lab") -> None:
    """Cut or heal a host's network."""
    fault = Lab.find(lab).fault
    (fault.cut_network if what is NetworkFault.CUT else fault.heal_network)(host)


@app.command()
def daemon(
    what: DaemonFault,
    daemon: Annotated[str, typer.Argument(help="slurmctld, slurmdbd, slurmrestd, mariadbd, sshd, slurmd or munged.")],
    host: Annotated[str | None, typer.Option(help="Where; needed for slurmd and munged.")] = None,
    lab: LabOption = "lab",
) -> None:
    """Stop, kill, pause, resume or start one daemon."""
    fault = Lab.find(lab).fault
    {
        DaemonFault.STOP: fault.stop_daemon,
        DaemonFault.KILL: fault.kill_daemon,
        DaemonFault.PAUSE: fault.pause_daemon,
        DaemonFault.RESUME: fault.resume_daemon,
        DaemonFault.START: fault.start_daemon,
    }[what](daemon, host)


@app.command()
def disk(
    what: DiskFault,
    host: Host,
    path: Annotated[str | None, typer.Option(help="Directory to fill; the host's spool when left out.")] = None,
    delay_ms: Annotated[int, typer.Option(help="How much longer a disk call takes when slow.", min=1)] = 200,
    lab: LabOption = "lab",
) -> None:
    """Fill or free, slow or normalise a host's disk."""
    fault = Lab.find(lab).fault
    if what is DiskFault.FILL:
        fault.fill_disk(host, path)
    elif what is DiskFault.FREE:
        fault.free_disk(host)
    elif what is DiskFault.SLOW:
        fault.slow_disk(host, delay_ms)
    else:
        fault.normal_disk(host)
