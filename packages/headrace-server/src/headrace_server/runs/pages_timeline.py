"""What a run's page shows of time: the parts, their places on a bar, and the one number that counts. Pure."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from headrace_server.runs.model import Run, Wait

BAR = 1000.0
"""The bar's length in units of its own; the page stretches it."""
LEAST = 6.0
"""A part that took any time at all is seen."""

WORDS = {"deciding": "Deciding", "submitting": "Submitting", "queue": "In the queue", "running": "Running"}

# Slurm's reasons for a wait, in plain words. What is not here is shown as Slurm says it.
REASONS = {
    "Priority": "Jobs of higher priority go first.",
    "Resources": "The nodes it needs are busy; it is next.",
    "Dependency": "It waits for another run to end.",
    "DependencyNeverSatisfied": "The run it waits for ended otherwise; it will never start. Cancel it.",
    "BeginTime": "Its begin time has not come.",
    "JobHeldUser": "It is held by its owner.",
    "JobHeldAdmin": "It is held by an operator.",
    "JobArrayTaskLimit": "As many of its tasks run as it allows at once.",
    "Licenses": "All licences it needs are in use.",
    "Reservation": "Its reservation has not begun.",
    "ReqNodeNotAvail": "A node it asks for by name is not available.",
    "PartitionDown": "Its partition starts no jobs now.",
    "PartitionInactive": "Its partition takes no jobs now.",
    "PartitionNodeLimit": "It asks for more nodes than its partition has or allows.",
    "PartitionTimeLimit": "It asks for more time than its partition allows.",
    "QOSJobLimit": "The QOS runs as many jobs at once as it may.",
    "QOSMaxJobsPerUserLimit": "You run as many jobs at once as the QOS allows.",
    "QOSMaxCpuPerUserLimit": "Your running jobs use all CPUs that the QOS allows you.",
    "QOSResourceLimit": "A limit of the QOS is reached.",
    "AssocGrpCpuLimit": "Your account uses all CPUs it may.",
    "AssocMaxJobsLimit": "You run as many jobs at once as you may.",
    "NodeDown": "A node it needs is down.",
    "PartitionConfig": "Its partition cannot give what it asks for: too many nodes, or too long.",
    "BadConstraints": "No nodes have what it asks for.",
    "None": "",
}


@dataclass(frozen=True)
class Part:
    """One wait, and where it lies on the bar."""

    name: str
    word: str
    seconds: float
    ongoing: bool
    reason: str | None
    why: str
    begins_at: datetime
    x: float
    width: float


@dataclass(frozen=True)
class Headline:
    """Intent to running: reached, still counting, or never reached."""

    kind: Literal["reached", "counting", "never"]
    seconds: float


@dataclass(frozen=True)
class Timeline:
    """All parts in order, and the headline."""

    parts: tuple[Part, ...]
    headline: Headline


def timeline_of(run: Run) -> Timeline:
    """Lay the run's waits out on one bar, to scale but for the shortest."""
    total = sum(wait.seconds for wait in run.waits)
    wide = [max(LEAST, wait.seconds / total * BAR) if total and wait.seconds else 0.0 for wait in run.waits]
    shrink = BAR / sum(wide) if sum(wide) else 0.0
    parts: list[Part] = []
    x, begins_at = 0.0, run.moments.intent_at
    for wait, width in zip(run.waits, wide, strict=True):
        parts.append(_part(wait, begins_at, x, width * shrink))
        x += width * shrink
        begins_at += timedelta(seconds=wait.seconds)
    return Timeline(tuple(parts), _headline(run))


def waited(run: Run) -> Headline:
    """Return how long the person waited (so far) for the run to start."""
    return _headline(run)


def wait_reason(run: Run) -> str | None:
    """Return Slurm's word for why the run waits now, if it waits and Slurm says why."""
    last = run.waits[-1] if run.waits else None
    return last.why if last and last.ongoing and last.name == "queue" and last.why != "None" else None


def run_time(run: Run) -> Wait | None:
    """Return the running part, if the run has come that far."""
    return next((wait for wait in run.waits if wait.name == "running"), None)


def _part(wait: Wait, begins_at: datetime, x: float, width: float) -> Part:
    reason = wait.why if wait.why and wait.why != "None" else None
    why = REASONS.get(reason, "") if reason else ""
    return Part(
        wait.name,
        WORDS[wait.name],
        wait.seconds,
        wait.ongoing,
        reason,
        why,
        begins_at,
        round(x, 2),
        round(width, 2),
    )


def _headline(run: Run) -> Headline:
    seconds = sum(wait.seconds for wait in run.waits if wait.name != "running")
    if run.moments.started_at is not None:
        return Headline("reached", seconds)
    return Headline("never" if run.ended else "counting", seconds)
