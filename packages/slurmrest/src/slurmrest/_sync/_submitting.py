"""Exactly once: a submission whose answer is lost is looked for before anything is sent again."""

from __future__ import annotations

import time
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

import msgspec

from .. import _reading, _submission, _wire
from .._errors import (
    EffectUnknownError,
    InvalidAccount,
    JobNotFound,
    ProtocolError,
    SlurmdbUnavailable,
    SlurmError,
    SubmissionUncertain,
    UserNotFound,
)
from .._model import FoundOperation, HistoryJob, Job, JobDescription, JobStates, Submitted
from .._operation import check_key
from .._query import Value
from .._tokens import expiry
from ._exchange import Exchange
from ._waiting import sleep

CLOCK_SLACK = timedelta(minutes=5)
"""How far the clocks of this machine and the cluster may be apart."""
FENCE_MARGIN_S = 30.0
"""Wait this long after a token's end before nothing of its request can come any more."""
WALK_AT_MOST = 100
"""Jobs looked at one by one, newest first, before a whole dump is cheaper."""
OLDER_IN_A_ROW = 8
"""So many jobs older than the submission, one after another, end the walk."""
WRAPPED_IDS = 30_000_000
"""Ids further apart than this have begun again at 1, and their order says nothing."""


def submit(
    exchange: Exchange, description: JobDescription, operation_key: str | None, operation_key_in: str, settle_s: float
) -> Submitted:
    """See `Client.submit`."""
    if operation_key is not None:
        check_key(operation_key)
    content = msgspec.json.encode(
        _submission.body(
            description,
            operation_key=operation_key,
            operation_key_in=operation_key_in,
            user=exchange.token.user,
        )
    )
    if operation_key is None:
        return _submit_once(exchange, content, None, None)
    began = datetime.now(UTC)
    for last in (False, True):
        # Each request has its own token: when that has expired, no daemon accepts the request any more.
        token = exchange.submission_token()
        try:
            return _submit_once(exchange, content, operation_key, token)
        except EffectUnknownError as lost:
            if not lost.effect_unknown:
                raise
            found = _settle(exchange, operation_key, began, token, settle_s)
            if found is not None:
                return found
            if last:
                lost.effect_unknown = False
                raise
    raise AssertionError  # the last turn of the loop returns or raises


def find_operation(
    exchange: Exchange, operation_key: str, since: datetime | None, user: str | None
) -> FoundOperation | None:
    """See `Client.find_operation`."""
    check_key(operation_key)
    answer = exchange.get(_wire.StatesAnswer, ("jobs", "state", ""))
    states = _reading.job_states((answer.jobs if answer else None) or ())
    found = _find_in_slurmctld(exchange, operation_key, since, states)
    if found is not None:
        return found
    return _find_in_slurmdb(exchange, operation_key, since, user, states)


def _submit_once(exchange: Exchange, content: bytes, operation_key: str | None, token: str | None) -> Submitted:
    answer, secret = exchange.call("POST", "slurm", ("job", "submit"), content=content, token=token)
    try:
        submitted = exchange.read(_wire.SubmitAnswer, answer, secret, family="slurm", mutating=True)
    except InvalidAccount as error:
        # Without an association Slurm blames the account; before 26.05 also for a user that does not exist.
        _check_user(exchange, error)
        raise
    except SlurmError as error:
        # A value that slurmrestd cannot read is reported and left out, and the rest is submitted all the same.
        if (job_id := _wire.job_id_in(answer.body)) is not None:
            _withdraw(exchange, job_id, error)
        raise
    if not submitted.job_id:
        raise ProtocolError("slurmrestd accepted the submission but named no job.")
    said = submitted.job_submit_user_msg or (submitted.result.job_submit_user_msg if submitted.result else None)
    return Submitted(
        job_id=submitted.job_id,
        operation_key=operation_key,
        user_message=said or None,
        warnings=tuple(warning.description or "" for warning in submitted.warnings or ()),
    )


def _withdraw(exchange: Exchange, job_id: int, because: SlurmError) -> None:
    try:
        exchange.change(_wire.CancelAnswer, "DELETE", ("job", job_id))
    except SlurmError as error:
        because.message = f"{because.message} Job {job_id} was submitted without it and could not be cancelled: {error}"
        because.args = (because.message,)


def _check_user(exchange: Exchange, blamed: InvalidAccount) -> None:
    user = exchange.token.user
    if user is None:
        return
    try:
        answer = exchange.get(_wire.UsersAnswer, ("user", user), family="slurmdb")
    except SlurmError:
        return
    if answer is not None and not answer.users:
        raise UserNotFound(
            f"The cluster's accounting knows no user {user!r}.",
            errno=blamed.errno,
            slurm_text=blamed.slurm_text,
            description=blamed.description,
            http_status=blamed.http_status,
        ) from blamed


def _settle(exchange: Exchange, operation_key: str, began: datetime, token: str, settle_s: float) -> Submitted | None:
    """Look for the job of a lost submission; None: there is none and there will be none."""
    ends = expiry(token)
    fence = None if ends is None else ends + FENCE_MARGIN_S
    deadline = time.monotonic() + settle_s
    pause_s = 0.1
    while True:
        final = fence is not None and time.time() > fence
        try:
            found = find_operation(exchange, operation_key, began, exchange.token.user)
        except SlurmError:  # whatever hides the answer: not knowing is not a no
            found, final = None, False
        if found is not None:
            return Submitted(job_id=found.job_id, operation_key=operation_key, found=True)
        if final:
            return None
        if time.monotonic() + pause_s > deadline:
            raise SubmissionUncertain(
                "The answer to the submission was lost, and Slurm does not show the job yet.",
                operation_key=operation_key,
                certain_after=None if fence is None else datetime.fromtimestamp(fence, UTC),
            )
        sleep(pause_s)
        pause_s = min(pause_s * 2, 2.0)


def _find_in_slurmctld(
    exchange: Exchange, operation_key: str, since: datetime | None, states: JobStates
) -> FoundOperation | None:
    newest_first = sorted(states.states, reverse=True)
    # Small tables are cheaper in one piece; when the ids wrapped around, the order says nothing.
    wrapped = bool(newest_first) and newest_first[0] - newest_first[-1] > WRAPPED_IDS
    if since is not None and len(newest_first) > WALK_AT_MOST and not wrapped:
        older = 0
        for job_id in newest_first[:WALK_AT_MOST]:
            try:
                jobs = _jobs(exchange, ("job", job_id))
            except JobNotFound:
                continue
            if (found := _carrier(jobs, operation_key)) is not None:
                return found
            # A task of an array gets its id when it starts: a new id on an old job says nothing about order.
            if job_id not in states.array_tasks:
                older = older + 1 if _submitted_before(jobs, since - CLOCK_SLACK) else 0
                if older >= OLDER_IN_A_ROW:
                    return None
    return _carrier(_jobs(exchange, ("jobs", "")), operation_key)


def _find_in_slurmdb(
    exchange: Exchange, operation_key: str, since: datetime | None, user: str | None, states: JobStates
) -> FoundOperation | None:
    query: list[tuple[str, Value]] = [("skip_steps", True)]
    if user is not None:
        query.append(("users", user))
    query.append(("start_time", since - CLOCK_SLACK if since is not None else datetime.fromtimestamp(1, UTC)))
    try:
        answer = exchange.get(_wire.HistoryAnswer, ("jobs", ""), query, family="slurmdb")
    except SlurmdbUnavailable as error:
        if error.code == "no_accounting":
            return None
        raise
    jobs = [_reading.history_job(record) for record in (answer.jobs if answer else None) or ()]
    for job in jobs:
        if job.operation_key == operation_key:
            return FoundOperation(
                job_id=job.array_job_id or job.het_job_id or job.job_id,
                operation_key=operation_key,
                states=job.states,
                submit_time=job.submit_time,
                source="slurmdb",
            )
    if any(job.extra or job.comment for job in jobs):
        exchange.connection.accounting_keeps_keys = True
    if not exchange.connection.accounting_keeps_keys and any(_could_be_ours(job, since, states) for job in jobs):
        raise SubmissionUncertain(
            "The job may have ended and left the controller, and accounting does not show operation keys: "
            "the cluster needs AccountingStoreFlags=job_extra.",
            operation_key=operation_key,
            certain_after=None,
        )
    return None


def _could_be_ours(job: HistoryJob, since: datetime | None, states: JobStates) -> bool:
    """A job of the right time that slurmctld no longer has and whose key accounting did not keep."""
    young = since is None or job.submit_time is None or job.submit_time >= since - CLOCK_SLACK
    return young and job.end_time is not None and job.job_id not in states.states


def _jobs(exchange: Exchange, segments: tuple[str | int, ...]) -> list[Job]:
    answer = exchange.get(_wire.JobsAnswer, segments)
    return [_reading.job(record) for record in (answer.jobs if answer else None) or ()]


def _carrier(jobs: Iterable[Job], operation_key: str) -> FoundOperation | None:
    for job in jobs:
        if job.operation_key == operation_key:
            return FoundOperation(
                job_id=job.array_job_id or job.het_job_id or job.job_id,
                operation_key=operation_key,
                states=job.states,
                submit_time=job.submit_time,
                source="slurmctld",
            )
    return None


def _submitted_before(jobs: Iterable[Job], moment: datetime) -> bool:
    return all(job.submit_time is not None and job.submit_time < moment for job in jobs)
