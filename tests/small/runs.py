"""`Runs` with a small world inside: runs in memory, newest first, that a test changes as it likes."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from headrace_server.identity import Person
from headrace_server.kernel import HeadraceError, LocalWakeups
from headrace_server.runs import LogChunk, Moments, NewRun, Page, Preset, Run, RunFilter, RunState, Stream, TaskCounts
from headrace_server.runs.model import waits_of
from headrace_server.runs.refusals import NoSuchRun
from headrace_server.runs.voice import tell

NOW = datetime(2026, 11, 21, 9, 0, tzinfo=UTC)
ALICE = Person("alice", "user")


def a_run(number: int, state: RunState = "pending", *, name: str | None = None, user: str = "alice") -> Run:
    """A run whose parts fit its state: intent at nine, 4 s of deciding, 1 s of submitting, 10 s in the queue."""
    started = state in {"running", "completed", "failed", "timed_out"}
    ended = state in {"completed", "failed", "timed_out", "cancelled", "refused"}
    moments = Moments(
        NOW,
        NOW + timedelta(seconds=4),
        NOW + timedelta(seconds=5) if state not in {"submitting", "refused"} else None,
        NOW + timedelta(seconds=15) if started else None,
        NOW + timedelta(seconds=20) if ended else None,
    )
    return Run(
        id=f"r{number:09}",
        user=user,
        cluster="dev",
        name=name or f"run {number}",
        door="cli",
        layer="preset",
        preset="command",
        state=state,
        slurm_states=(state.upper(),),
        reason=None,
        job_id=number + 1,
        array=False,
        tasks=TaskCounts(),
        failures=(),
        nodes="c1" if started else None,
        exit_code=0 if state == "completed" else None,
        signal=None,
        working_directory="/home/alice/headrace/x",
        standard_output="/home/alice/headrace/x/out.log",
        standard_error=None,
        cancel_requested=False,
        moments=moments,
        waits=waits_of(moments, state, None, "Priority", NOW + timedelta(seconds=30)),
        after=(),
        as_of=NOW + timedelta(seconds=30),
    )


class SmallRuns:
    """The part of `Runs` that pages ask."""

    def __init__(self, runs: Sequence[Run] = (), wakeups: LocalWakeups | None = None) -> None:
        self.wakeups = wakeups or LocalWakeups()
        self.runs = {run.id: run for run in runs}
        self.wishes: list[tuple[NewRun, str | None]] = []
        self.refusal: HeadraceError | None = None
        self.log = ""
        self.pages_read = 0

    async def put(self, *runs: Run) -> None:
        """Change runs, or add some on top, and tell all who show them."""
        for run in runs:
            if run.id not in self.runs:
                self.runs = {run.id: run, **self.runs}
            self.runs[run.id] = run
        for run in runs:
            await tell(self.wakeups, run.user, run.id)

    async def submit(
        self, person: Person, new: NewRun, *, idempotency_key: str | None = None, wait_s: float | None = None
    ) -> Run:
        del wait_s
        self.wishes.append((new, idempotency_key))
        if self.refusal is not None:
            raise self.refusal
        run = replace(a_run(len(self.runs), name=new.name), user=person.name)
        await self.put(run)
        return run

    async def get(self, person: Person, run_id: str) -> Run:
        run = self.runs.get(run_id)
        if run is None or (person.role != "operator" and run.user != person.name):
            raise NoSuchRun(f"There is no run {run_id[:40]}, or it is not yours.")
        return run

    async def list(
        self, person: Person, which: RunFilter | None = None, cursor: str | None = None, limit: int = 50
    ) -> Page[Run]:
        self.pages_read += 1
        states = which.states if which else frozenset[RunState]()
        first = int(cursor or 0)
        wanted = [
            run
            for run in self.runs.values()
            if (person.role == "operator" or run.user == person.name) and (not states or run.state in states)
        ]
        following = str(first + limit) if len(wanted) > first + limit else None
        return Page(tuple(wanted[first : first + limit]), following)

    async def script(self, person: Person, run_id: str) -> str:
        await self.get(person, run_id)
        return "#!/bin/bash\necho '</pre><script>alert(1)</script>'\n"

    async def read_log(
        self, person: Person, run_id: str, *, stream: Stream, task: int | None, offset: int, limit: int
    ) -> LogChunk:
        run = await self.get(person, run_id)
        del stream, task
        size = len(self.log)
        data = self.log[offset : offset + limit]
        return LogChunk(data, offset, offset + len(data), size, run.ended and offset + len(data) == size)

    def presets(self) -> tuple[Preset, ...]:
        return ()
