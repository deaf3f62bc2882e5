"""One run's way to Slurm, step by step.

The run's row says how far it is, and each step is written down before the next one acts, so that a crash anywhere costs
a delay and never a second job: `begun_at` is committed before Slurm is asked, and whoever finds it set looks the
operation key up before asking again. Every write asserts the lease.
"""

from datetime import datetime, timedelta
from typing import Any

import msgspec

import slurmrest
from headrace_server.clusters import (
    SUBMISSION_LIFESPAN_S,
    Cluster,
    FileDenied,
    FileMissing,
    FileRefused,
    PathInvalid,
    topic_of,
)
from headrace_server.kernel import Clock, Database, Lease, Refused, Wakeups, operation_key
from headrace_server.runs import store
from headrace_server.runs.compose import restored
from headrace_server.runs.dependency import Waiting, dependency_of
from headrace_server.runs.model import Reason, TaskCounts
from headrace_server.runs.place import fill, place_of
from headrace_server.runs.refusals import AfterNever, FolderRefused, refusal_of, text_of
from headrace_server.runs.steps import Steps
from headrace_server.runs.tables import Record
from headrace_server.runs.voice import tell
from slurmrest import JobDescription

RETRY_FIRST_S, RETRY_MOST_S = 1.0, 30.0
SUBMISSION_LIFESPAN = timedelta(seconds=SUBMISSION_LIFESPAN_S)
"""How long the token of one submission is good; after that no daemon accepts it any more."""
CLOCK_MARGIN = timedelta(seconds=5)
LOOK_BACK = timedelta(minutes=5)
"""How far the cluster's clock may be behind ours when a job is looked up by its submission time."""
LANGUAGE = "C.UTF-8"
NOT_CONNECTED = frozenset({1001, 1800, 2027})
"""Slurm's numbers for "slurmrestd could not connect to slurmctld" and "this slurmctld is the standby"."""
FAULTS: tuple[tuple[type[slurmrest.SlurmError], str], ...] = (
    (slurmrest.Unreachable, "cluster-unreachable"),
    (slurmrest.ControllerUnavailable, "cluster-unreachable"),
    (slurmrest.SlurmdbUnavailable, "accounting-unreachable"),
    (slurmrest.AuthenticationFailed, "cluster-refuses-token"),
    (slurmrest.EffectUnknownError, "submission-uncertain"),
)
"""Reasons for which a run stays `submitting` and is tried again; anything else is `cluster-fault`."""


class Submission:
    """The next steps of one run: towards a job, or, for a run that has one and is to end, towards its end."""

    def __init__(
        self,
        record: Record,
        lease: Lease,
        cluster: Cluster,
        database: Database,
        clock: Clock,
        wakeups: Wakeups,
        steps: Steps,
    ) -> None:
        self._record = record
        self._lease = lease
        self._cluster = cluster
        self._database = database
        self._clock = clock
        self._wakeups = wakeups
        self._steps = steps
        self._slurm = cluster.slurm(record.user_name)
        self._key = operation_key(record.id)
        self._begun_here = False

    async def advance(self) -> None:
        """Go as far as possible now. Raises a SlurmError or FilesUnavailable where a part does not answer."""
        record = self._record
        if record.state != "submitting":
            await self._cancel(record)
        elif record.begun_at is not None:
            await self._resume(record, record.begun_at)
        elif record.cancel_requested_at is not None:
            await self._end_unsubmitted()
        else:
            await self._begin()

    async def failed(self, error: slurmrest.SlurmError) -> None:
        """Write down what Slurm said: a refusal ends the run, anything else is tried again later."""
        if self._record.state != "submitting":
            if isinstance(error, slurmrest.JobNotFound | slurmrest.AlreadyFinished):
                await self._change(cancel_sent_at=self._clock.now(), next_try_at=None, tries=0)
            else:
                await self.wait(reason_of(error))
            return
        refusal = refusal_of(error)
        if refusal is not None and self._begun_here:
            await self._refuse(refusal, error.errno)
        elif isinstance(error, slurmrest.SubmissionUncertain):
            certain = error.certain_after or self._clock.now() + SUBMISSION_LIFESPAN
            await self.wait(reason_of(error), certain_after=certain)
        elif self._begun_here and nothing_sent(error):
            await self.wait(reason_of(error), begun_at=None, certain_after=None)
        else:
            await self.wait(reason_of(error))

    async def wait(self, reason: Reason, **values: Any) -> None:
        """Try again later, each time later; say why meanwhile."""
        tries = self._record.tries + 1
        pause_s = min(RETRY_FIRST_S * 2 ** min(tries - 1, 10), RETRY_MOST_S)
        due = self._clock.now() + timedelta(seconds=pause_s)
        if self._record.state == "submitting":
            values |= {"reason_code": reason.code, "reason_text": reason.text, "reason_number": reason.number}
        await self._change(tries=tries, next_try_at=due, **values)

    async def _begin(self) -> None:
        async with self._database.read() as connection:
            try:
                dependency = await dependency_of(connection, self._record)
            except AfterNever as never:
                dependency = never
        if isinstance(dependency, AfterNever):
            await self._refuse(dependency)
        elif isinstance(dependency, Waiting):
            due = self._clock.now() + timedelta(seconds=RETRY_MOST_S)
            await self._change(reason_code="waiting-for-run", reason_text=dependency.why, next_try_at=due)
        else:
            try:
                description = await self._placed(dependency)
            except (FileDenied, FileMissing, FileRefused, PathInvalid) as error:
                await self._refuse(FolderRefused(f"The run's folder could not be made: {error.detail}"))
                return
            if await self._mark_begun():
                await self._steps("submission-begun")
                submitted = await self._slurm.submit(description, operation_key=self._key)
                await self._steps("submission-sent")
                await self._record_job(submitted.job_id, submitted.user_message)

    async def _resume(self, record: Record, begun_at: datetime) -> None:
        """A submission was begun and its end is not known: by a process that died, or its answer was lost."""
        found = await self._slurm.find_operation(self._key, since=begun_at - LOOK_BACK)
        if found is not None:
            await self._record_job(found.job_id, at=found.submit_time)
        elif record.certain_after is not None and self._clock.now() < record.certain_after:
            text = "Whether Slurm took the submission is not certain yet; it will be in at most a minute."
            await self.wait(Reason("submission-uncertain", text))
        else:
            await self._change(begun_at=None, certain_after=None, next_try_at=None)

    async def _placed(self, dependency: str | None) -> JobDescription:
        """Return what to submit, after the run's folder and files are where it will look for them."""
        record = self._record
        async with self._database.read() as connection:
            script = await store.script(connection, record.id)
        description = restored(record.description, script)
        directory, environment = record.working_directory, {"HEADRACE_RUN": record.id, "LANG": LANGUAGE}
        if record.own_folder:
            place = await place_of(self._cluster, record)
            if record.placed_at is None:
                await fill(place, self._cluster, self._database, record, self._steps)
                directory = directory or place.folder
                await self._change(placed_at=self._clock.now(), working_directory=directory, drop_files=True)
            environment |= {"HOME": place.home, "HEADRACE_FOLDER": place.folder}
        depends = ",".join(part for part in (description.dependency, dependency) if part) or None
        return msgspec.structs.replace(
            description,
            working_directory=directory,
            dependency=depends,
            environment={**environment, **description.environment},
        )

    async def _mark_begun(self) -> bool:
        """Commit that Slurm is about to be asked, unless the person has cancelled meanwhile."""
        now = self._clock.now()
        async with self._database.write() as connection:
            await self._lease.guard(connection)
            current = await store.lock(connection, self._record.id)
            if current is None or current.state != "submitting" or current.cancel_requested_at is not None:
                return False
            certain = now + SUBMISSION_LIFESPAN + CLOCK_MARGIN
            self._record = await store.change(connection, current, begun_at=now, certain_after=certain)
        self._begun_here = True
        return True

    async def _record_job(self, job_id: int, message: str | None = None, at: datetime | None = None) -> None:
        now = self._clock.now()
        total = self._record.tasks.total
        await self._change(
            state="pending",
            slurm_states=("PENDING",),
            job_id=job_id,
            submitted_at=at or now,
            as_of=now,
            tasks=TaskCounts(total=total, pending=total),
            reason_code="slurm-message" if message else None,
            reason_text=message,
            reason_number=None,
            next_try_at=None,
            tries=0,
        )
        self._cluster.watch.expect(job_id)
        # A job that was found again may be in the snapshot already, and would then be no news.
        await self._wakeups.publish(topic_of(self._cluster.name), str(job_id))
        await self._steps("submission-recorded")

    async def _refuse(self, refusal: Refused, number: int | None = None) -> None:
        await self._change(
            state="refused",
            reason_code=refusal.code,
            reason_text=refusal.detail,
            reason_number=number,
            ended_at=self._clock.now(),
            next_try_at=None,
            drop_files=True,
        )

    async def _end_unsubmitted(self) -> None:
        await self._change(state="cancelled", ended_at=self._clock.now(), next_try_at=None, drop_files=True)

    async def _cancel(self, record: Record) -> None:
        assert record.job_id is not None, "only runs with a job are cancelled in Slurm"  # noqa: S101
        await self._slurm.cancel(record.job_id)
        await self._steps("cancel-sent")
        await self._change(cancel_sent_at=self._clock.now(), next_try_at=None, tries=0)
        self._cluster.watch.expect(record.job_id)

    async def _change(self, *, drop_files: bool = False, **values: Any) -> None:
        """Write under the lease, unless the run has moved on meanwhile (the person cancelled it); tell who shows it."""
        async with self._database.write() as connection:
            await self._lease.guard(connection)
            current = await store.lock(connection, self._record.id)
            if current is None or current.state != self._record.state:
                return
            self._record = await store.change(connection, current, **values)
            if drop_files:
                await store.drop_files(connection, current.id)
            if current.state == "submitting" != self._record.state:
                await store.release_waiting(connection, current.id)
        await tell(self._wakeups, current.user_name, current.id)


def nothing_sent(error: slurmrest.SlurmError) -> bool:
    """Whether it is certain after this error that slurmctld has not taken the submission."""
    if isinstance(error, slurmrest.ControllerUnavailable):
        return error.errno in NOT_CONNECTED
    return isinstance(error, slurmrest.Unreachable | slurmrest.AuthenticationFailed)


def reason_of(error: slurmrest.SlurmError) -> Reason:
    """Say why a run has not got further, in words of ours."""
    code = next((code for kind, code in FAULTS if isinstance(error, kind)), "cluster-fault")
    return Reason(code, text_of(error), error.errno)
