"""What people see: quiet on a terminal, plain in a pipe. Results go to standard output, remarks to standard error."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from .wire import Run

_COLOURS = {
    "submitting": "36", "pending": "33", "running": "1;34", "completed": "32", "failed": "1;31", "timed_out": "1;31",
    "refused": "31", "cancelled": "35", "unknown": "2",
}  # fmt: skip
MARKS = {
    "submitting": "◌", "pending": "○", "running": "●", "completed": "✓", "failed": "✗", "timed_out": "✗",
    "refused": "✗", "cancelled": "■", "unknown": "?",
}  # fmt: skip
_CONTROL = dict.fromkeys((*range(32), *range(127, 160)), "�")


def colourful(stream: object, environment: Mapping[str, str] = os.environ) -> bool:
    """Whether a stream is a terminal that wants colour (see no-color.org)."""
    isatty = getattr(stream, "isatty", None)
    return bool(isatty and isatty()) and not environment.get("NO_COLOR") and environment.get("TERM") != "dumb"


def say(text: str = "") -> None:
    """Write a line of the result."""
    print(text, flush=True)


def remark(text: str) -> None:
    """Write a line beside the result."""
    print(text, file=sys.stderr, flush=True)


def safe(text: str) -> str:
    """Return text of others without control characters, which could move the cursor or rename the window."""
    return text.translate(_CONTROL)


def state_word(run: Run, *, colour: bool) -> str:
    """Return a run's state, with its mark and colour on a terminal."""
    word = run.state.replace("_", " ")
    return f"\x1b[{_COLOURS.get(run.state, '0')}m{MARKS.get(run.state, '·')} {word}\x1b[0m" if colour else word


def span(seconds: float | None) -> str:
    """Write a duration in at most two units: ``0.4 s``, ``12 s``, ``3 min 05 s``, ``2 h 10 min``, ``4 d 02 h``."""
    if seconds is None:
        return "-"
    if seconds == 0:  # Slurm counts in whole seconds
        return "<1 s"
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    for unit, above, size, sub in (("min", "s", 60, 1), ("h", "min", 3600, 60), ("d", "h", 86400, 3600)):
        if whole < size * {"min": 60, "h": 24, "d": 10**6}[unit]:
            return f"{whole // size} {unit} {whole % size // sub:02} {above}"
    return f"{whole} s"


def ago(moment: datetime | None, now: datetime | None = None) -> str:
    """Write how long ago something was."""
    if moment is None:
        return "-"
    return f"{span(max(0.0, ((now or datetime.now(UTC)) - moment).total_seconds()))} ago"


def waited(run: Run, name: str) -> float | None:
    """Return the seconds of a named part of the timeline."""
    return next((wait.seconds for wait in run.waits if wait.name == name), None)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Write a table. In a pipe: columns two spaces apart, nothing cut off, so that awk can read it."""
    if not sys.stdout.isatty():
        widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
        for row in (head, *rows):
            say("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
        return
    from rich.console import Console  # noqa: PLC0415 - 60 ms, for terminals only
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    drawn = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for title in head:
        drawn.add_column(title, no_wrap=True, overflow="ellipsis")
    for row in rows:
        drawn.add_row(*(Text.from_ansi(cell) for cell in row))
    Console(highlight=False).print(drawn)


def runs_table(runs: Sequence[Run]) -> None:
    """List runs."""
    colour = colourful(sys.stdout)
    rows: list[list[str]] = []
    for run in runs:
        done = f" {run.tasks.completed}/{run.tasks.total}" if run.array else ""
        rows.append(
            [
                run.id,
                state_word(run, colour=colour) + done,
                safe(run.name),
                str(run.job_id or "-"),
                run.nodes or "-",
                span(waited(run, "queue")),
                span(waited(run, "running")),
                ago(run.moments.created_at),
            ]
        )
    table(("RUN", "STATE", "NAME", "JOB", "NODES", "QUEUED", "RAN", "MADE"), rows)


def run_sheet(run: Run) -> None:
    """Show one run."""
    colour = colourful(sys.stdout)

    def dim(text: str) -> str:
        return f"\x1b[2m{text}\x1b[0m" if colour else text

    say(f"{run.id}  {safe(run.name)}  {state_word(run, colour=colour)}")
    if run.reason:
        say(f"  {safe(run.reason.text)}  {dim(f'[{run.reason.code}]')}")
    facts = {
        "cluster": f"{run.cluster}, job {run.job_id}" if run.job_id else run.cluster,
        "nodes": run.nodes,
        "tasks": _tasks(run) if run.array else None,
        "exit code": None if run.exit_code is None else str(run.exit_code),
        "signal": str(run.signal) if run.signal else None,
        "made by": f"{run.user}, {run.door}, {run.preset or run.layer}",
        "folder": run.working_directory,
        "output": run.standard_output,
        "errors": run.standard_error,
    }
    say()
    for name, fact in facts.items():
        if fact is not None:
            say(f"  {dim(f'{name:<10}')} {safe(fact)}")
    say()
    for wait in run.waits:
        still = " so far" if wait.ongoing else ""
        why = f"  {dim(safe(wait.why))}" if wait.why else ""
        say(f"  {dim(f'{wait.name:<10}')} {span(wait.seconds)}{still}{why}")
    if run.as_of and not run.ended:
        say(f"\n  {dim(f'as of {ago(run.as_of)}')}")


def outcome_line(run: Run) -> str:
    """Return the one line that says how a run went."""
    colour = colourful(sys.stderr)
    parts = [state_word(run, colour=colour)]
    if run.array:
        parts.append(_tasks(run))
    if run.exit_code:
        parts.append(f"exit code {run.exit_code}")
    if run.signal:
        parts.append(f"signal {run.signal}")
    if run.nodes:
        parts.append(f"on {run.nodes}")
    if (queue := waited(run, "queue")) is not None:
        parts.append(f"queued {span(queue)}")
    if (ran := waited(run, "running")) is not None:
        parts.append(f"ran {span(ran)}")
    line = f"{run.id}  {', '.join(parts)}"
    return f"{line}\n  {safe(run.reason.text)} [{run.reason.code}]" if run.reason and run.state != "completed" else line


def _tasks(run: Run) -> str:
    counts = {name: getattr(run.tasks, name) for name in ("completed", "running", "pending", "failed", "cancelled")}
    return ", ".join(f"{count} {name}" for name, count in counts.items() if count) + f" of {run.tasks.total}"
