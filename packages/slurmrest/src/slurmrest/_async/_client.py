"""The client."""

from __future__ import annotations

import ssl
import time
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from types import TracebackType
from typing import TYPE_CHECKING, TypeVar

import msgspec

from .. import _failure, _reading, _submission, _wire
from .._errors import (
    AuthenticationFailed,
    ConnectionLost,
    ControllerUnavailable,
    EffectUnknownError,
    InvalidRequest,
    JobNotFound,
    ProtocolError,
    SlurmdbUnavailable,
    SubmissionUncertain,
    TimedOut,
    Unreachable,
    UnsupportedVersion,
)
from .._model import (
    ControllerPing,
    FoundOperation,
    HistoryJob,
    Job,
    JobDescription,
    JobList,
    JobStates,
    NodeList,
    PartitionList,
    Submitted,
)
from .._operation import check_key
from .._query import Value, target
from .._tokens import HS256Key, TokenProvider, expiry
from .._versions import HIGHEST, VERSIONS, ApiVersion
from ._connection import Answer, Connection
from ._waiting import call, sleep

if TYPE_CHECKING:
    import httpx

E = TypeVar("E", bound=_wire.Envelope)

CLOCK_SLACK = timedelta(minutes=5)
"""How far the clocks of this machine and the cluster may be apart."""
FENCE_MARGIN_S = 30.0
"""Wait this long after a token's end before nothing of its request can come any more."""
WALK_AT_MOST = 100
"""Jobs looked at one by one, newest first, before a whole dump is cheaper."""
OLDER_IN_A_ROW = 8


class AsyncClient:
    """One slurmrestd, seen as one user.

    ``url`` is ``http://host:6820``, ``https://…`` or ``unix:/path/to/socket``. ``version`` pins the API version, which is
    negotiated otherwise. ``timeout_s`` is the longest silence in an answer. At most ``max_connections`` are open at a
    time, however many views (`acting_as`) share them. ``operation_key_in`` says which field of a job carries the
    operation key: ``"extra"`` or ``"comment"`` (then after the user's own text).
    """

    def __init__(
        self,
        url: str,
        token: TokenProvider,
        *,
        version: str | None = None,
        timeout_s: float = 60,
        connect_timeout_s: float = 5,
        max_connections: int = 8,
        verify: ssl.SSLContext | bool = True,
        operation_key_in: str = "extra",
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        if operation_key_in not in ("extra", "comment"):
            raise InvalidRequest("operation_key_in is extra or comment.")
        self._connection = Connection(
            url,
            version=version,
            timeout_s=timeout_s,
            connect_timeout_s=connect_timeout_s,
            max_connections=max_connections,
            verify=verify,
            transport=transport,
        )
        self._token = token
        self._operation_key_in = operation_key_in
        self._owns_connection = True

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close all connections. A view made by `acting_as` closes nothing."""
        if self._owns_connection:
            await self._connection.aclose()

    def acting_as(self, token: TokenProvider) -> AsyncClient:
        """Return a client with another identity on the same connections; cheap enough to make for one call."""
        view = object.__new__(type(self))
        view._connection = self._connection
        view._token = token
        view._operation_key_in = self._operation_key_in
        view._owns_connection = False
        return view

    @property
    def user(self) -> str | None:
        """The user this client acts as, where its token provider says so."""
        return self._token.user

    async def api_version(self) -> str:
        """Return the API version in use, such as ``"v0.0.45"``: the highest that both sides speak."""
        return (await self._version()).name

    async def ping(self) -> tuple[ControllerPing, ...]:
        """Return whether each slurmctld answers slurmrestd. A refused token raises, unlike in the API itself."""
        # With a controller down the answer is a 500 with both errors and pings: the pings are what was asked for.
        answer, _ = await self._get(_wire.PingAnswer, ("ping", ""), lenient=True)
        pings = tuple(_reading.ping(record) for record in answer.pings or ())
        for ping in pings:
            if "authentication" in (ping.status or "").lower():
                raise AuthenticationFailed("Slurm refuses the token.", slurm_text=ping.status)
        return pings

    async def job_states(self) -> JobStates:
        """Return the states of all jobs in slurmctld; cheap enough for once a second."""
        answer, _ = await self._get(_wire.StatesAnswer, ("jobs", "state", ""))
        return _reading.job_states(answer.jobs or ())

    async def jobs(self, *, update_time: datetime | None = None) -> JobList:
        """Return all jobs in slurmctld: about 8 kB and 1 ms of the daemon's time for each job.

        With ``update_time`` the answer may be ``unchanged``.
        """
        answer, unchanged = await self._get(_wire.JobsAnswer, ("jobs", ""), _since(update_time))
        last_update = _wire.moment(answer.last_update)
        # slurmrestd says "nothing changed" as a 200 with no jobs and no last_update.
        if update_time is not None and (unchanged or last_update is None):
            return JobList(unchanged=True, last_update=update_time)
        return JobList(
            jobs=tuple(_reading.job(record) for record in answer.jobs or ()),
            last_update=last_update,
            last_backfill=_wire.moment(answer.last_backfill),
        )

    async def job(self, job_id: int | str) -> tuple[Job, ...]:
        """Return a job's records: several for an array or a heterogeneous job, one for ``"123_4"`` or ``"123+1"``.

        Raises `JobNotFound` for what slurmctld does not know (any more).
        """
        base, task, offset = split_job_id(job_id)
        answer, _ = await self._get(_wire.JobsAnswer, ("job", base))
        found = tuple(_reading.job(record) for record in answer.jobs or ())
        # slurmrestd answers with the whole array whatever was asked.
        if task is not None:
            found = tuple(job for job in found if _holds_task(job, task))
        if offset is not None:
            found = tuple(job for job in found if job.het_job_offset == offset)
        if not found:
            raise JobNotFound(f"Slurm's controller does not know job {job_id}.")
        return found

    async def submit(
        self,
        description: JobDescription,
        *,
        operation_key: str | None = None,
        settle_s: float = 5,
    ) -> Submitted:
        """Submit a batch job; with an operation key, exactly once.

        When the answer is lost, the key is looked up for ``settle_s`` seconds: the job is returned with ``found``, or
        `SubmissionUncertain` says from when on `find_operation` is final. The job is sent a second time only when it is
        certain that the first request can no longer be accepted. Without a key a lost answer raises `TimedOut` or
        `ConnectionLost` with ``effect_unknown``.

        What cannot be a job is refused before anything is sent (`InvalidRequest` and below, ``errno`` None).
        """
        if operation_key is not None:
            check_key(operation_key)
        content = msgspec.json.encode(
            _submission.body(
                description, operation_key=operation_key, operation_key_in=self._operation_key_in, user=self.user
            )
        )
        began = datetime.now(UTC)
        if operation_key is None:
            return await self._submit_once(content, None, await self._fetch_token())
        for last in (False, True):
            # Each request has its own token: when that has expired, no daemon accepts the request any more.
            token = await self._submission_token()
            try:
                return await self._submit_once(content, operation_key, token)
            except EffectUnknownError as lost:
                if not lost.effect_unknown:
                    raise
                found = await self._settle(operation_key, began, token, settle_s)
                if found is not None:
                    return found
                if last:
                    lost.effect_unknown = False
                    raise
        raise AssertionError  # the last turn of the loop returns or raises

    async def find_operation(
        self, operation_key: str, *, since: datetime | None, user: str | None = None, name: str | None = None
    ) -> FoundOperation | None:
        """Return the job that carries the key, wherever Slurm still knows it; None if there is none.

        ``since``: no earlier than this the job was submitted (None looks everywhere, at the cost of a whole dump).
        ``user``: whose job it is; the client's user if not given. None is final only after the ``certain_after`` of the
        submission's `SubmissionUncertain`. Raises when Slurm cannot tell: an unreachable daemon is not a None.
        """
        check_key(operation_key)
        found = await self._find_in_slurmctld(operation_key, since)
        if found is not None:
            return found
        return await self._find_in_slurmdb(operation_key, since, user or self.user, name)

    async def cancel(self, job_id: int | str, *, signal: str | int | None = None) -> None:
        """Cancel a job or array task (``"123_4"``), or send it a signal (``"USR1"``, 10).

        Raises `JobNotFound`, `AlreadyFinished`, `PermissionDenied`. Never repeated by itself.
        """
        split_job_id(job_id)
        query: list[tuple[str, Value]] = [] if signal is None else [("signal", signal)]
        await self._call("DELETE", "slurm", ("job", job_id), _wire.Envelope, query=query)

    async def nodes(self, *, update_time: datetime | None = None) -> NodeList:
        """Return all nodes. With ``update_time`` the answer may be ``unchanged``."""
        answer, unchanged = await self._get(_wire.NodesAnswer, ("nodes", ""), _since(update_time))
        last_update = _wire.moment(answer.last_update)
        if update_time is not None and (unchanged or last_update is None):
            return NodeList(unchanged=True, last_update=update_time)
        return NodeList(nodes=tuple(_reading.node(record) for record in answer.nodes or ()), last_update=last_update)

    async def partitions(self, *, update_time: datetime | None = None) -> PartitionList:
        """Return all partitions. With ``update_time`` the answer may be ``unchanged``."""
        answer, unchanged = await self._get(_wire.PartitionsAnswer, ("partitions", ""), _since(update_time))
        version = await self._version()
        last_update = _wire.moment(answer.last_update)
        if update_time is not None and (unchanged or last_update is None):
            return PartitionList(unchanged=True, last_update=update_time)
        return PartitionList(
            partitions=tuple(
                _reading.partition(record, says_flags=version.partition_flags) for record in answer.partitions or ()
            ),
            last_update=last_update,
        )

    async def history(
        self,
        *,
        job_id: int | str | None = None,
        users: Sequence[str] = (),
        accounts: Sequence[str] = (),
        names: Sequence[str] = (),
        states: Sequence[str] = (),
        start: datetime | None = None,
        end: datetime | None = None,
        skip_steps: bool = True,
    ) -> tuple[HistoryJob, ...]:
        """Return jobs from accounting: one job (several records for an array), or those active in a period.

        Without ``start`` slurmdbd begins at midnight, as sacct does. An unknown job is an empty answer.
        """
        query: list[tuple[str, Value]] = [("skip_steps", True)] if skip_steps else []
        if job_id is not None:
            # /jobs/?step=ID takes filters and finds jobs of any day; /job/ID cannot leave out the steps everywhere.
            query.append(("step", str(job_id)))
        query += [("users", user) for user in users]
        query += [("account", account) for account in accounts]
        query += [("job_name", name) for name in names]
        query += [("state", state) for state in states]
        if start is not None:
            query.append(("start_time", start))
        if end is not None or states:
            # slurmdbd takes states at the end of the period: without an end the period is empty.
            query.append(("end_time", end or datetime.now(UTC)))
        answer, _ = await self._get(_wire.HistoryAnswer, ("jobs", ""), query, family="slurmdb")
        return tuple(_reading.history_job(record) for record in answer.jobs or ())

    async def _submit_once(self, content: bytes, operation_key: str | None, token: str) -> Submitted:
        answer, _ = await self._call(
            "POST", "slurm", ("job", "submit"), _wire.SubmitAnswer, content=content, token=token
        )
        if not answer.job_id:
            raise ProtocolError("slurmrestd accepted the submission but named no job.")
        said = answer.job_submit_user_msg or (answer.result.job_submit_user_msg if answer.result else None)
        return Submitted(
            job_id=answer.job_id,
            operation_key=operation_key,
            user_message=said or None,
            warnings=tuple(warning.description or "" for warning in answer.warnings or ()),
        )

    async def _settle(self, operation_key: str, began: datetime, token: str, settle_s: float) -> Submitted | None:
        """Look for the job of a lost submission; None: there is none and there will be none."""
        ends = expiry(token)
        fence = None if ends is None else ends + FENCE_MARGIN_S
        deadline = time.monotonic() + settle_s
        pause_s = 0.1
        while True:
            final = fence is not None and time.time() > fence
            try:
                found = await self.find_operation(operation_key, since=began)
            except (Unreachable, TimedOut, ConnectionLost, ControllerUnavailable, SlurmdbUnavailable):
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
            await sleep(pause_s)
            pause_s = min(pause_s * 2, 2.0)

    async def _find_in_slurmctld(self, operation_key: str, since: datetime | None) -> FoundOperation | None:
        states = await self.job_states()
        newest_first = sorted(states.states, reverse=True)
        # Small tables are cheaper in one piece; when the ids wrapped around, the order says nothing.
        wrapped = bool(newest_first) and newest_first[0] - newest_first[-1] > 30_000_000
        if since is not None and len(newest_first) > WALK_AT_MOST and not wrapped:
            older = 0
            for job_id in newest_first[:WALK_AT_MOST]:
                try:
                    jobs = await self.job(job_id)
                except JobNotFound:
                    continue
                if (found := _carrier(jobs, operation_key)) is not None:
                    return found
                # A task of an array gets its id when it starts: a new id on an old job says nothing about order.
                if job_id not in states.array_tasks and _submitted_before(jobs, since - CLOCK_SLACK):
                    older += 1
                    if older >= OLDER_IN_A_ROW:
                        return None
        return _carrier((await self.jobs()).jobs, operation_key)

    async def _find_in_slurmdb(
        self, operation_key: str, since: datetime | None, user: str | None, name: str | None
    ) -> FoundOperation | None:
        try:
            jobs = await self.history(
                users=() if user is None else (user,),
                start=None if since is None else since - CLOCK_SLACK,
            )
        except SlurmdbUnavailable as error:
            if error.code == "no_accounting":
                return None
            raise
        del name
        for job in jobs:
            if job.operation_key == operation_key:
                return FoundOperation(
                    job_id=job.array_job_id or job.het_job_id or job.job_id,
                    operation_key=operation_key,
                    states=job.states,
                    submit_time=job.submit_time,
                    source="slurmdb",
                )
        return None

    async def _get(
        self,
        answer: type[E],
        segments: Sequence[str | int],
        query: Iterable[tuple[str, Value]] = (),
        *,
        family: str = "slurm",
        lenient: bool = False,
    ) -> tuple[E, bool]:
        """GET something; the flag says that the daemon answered "not modified"."""
        return await self._call("GET", family, segments, answer, query=query, lenient=lenient)

    async def _call(
        self,
        method: str,
        family: str,
        segments: Sequence[str | int],
        kind: type[E],
        *,
        query: Iterable[tuple[str, Value]] = (),
        content: bytes | None = None,
        token: str | None = None,
        lenient: bool = False,
    ) -> tuple[E, bool]:
        mutating = method != "GET"
        query = tuple(query)
        # The highest version first: where it is missing slurmrestd says so before doing anything, and then it is asked.
        version = self._connection.version or HIGHEST
        given = token is not None
        secret = token or await self._fetch_token()
        renewed = False
        while True:
            answer = await self._connection.send(
                method,
                target(family, version.name, segments, query),
                headers=self._headers(secret),
                content=content,
                mutating=mutating,
            )
            if _failure.version_is_gone(answer.status, answer.body):
                version = await self._renegotiate(version, family)
                continue
            self._connection.version = version
            try:
                return self._read(answer, kind, secret, mutating=mutating, slurmdb=family == "slurmdb", lenient=lenient)
            except AuthenticationFailed:
                # Refused means not done, so that even a submission may be sent again, with a token that is not the same.
                if renewed or given:
                    raise
                renewed = True
                fresh = await self._fetch_token(fresh=True)
                if fresh == secret:
                    raise
                secret = fresh

    def _read(
        self, answer: Answer, kind: type[E], secret: str, *, mutating: bool, slurmdb: bool, lenient: bool
    ) -> tuple[E, bool]:
        if answer.status == 304:
            return kind(), True
        misshapen: str | None = None
        decoded: E | None = None
        try:
            decoded = _decoder(kind).decode(answer.body)
        except msgspec.ValidationError as error:
            misshapen = str(error)
        except (msgspec.DecodeError, UnicodeDecodeError):
            pass
        if (
            decoded is not None
            and lenient
            and (not decoded.errors or (isinstance(decoded, _wire.PingAnswer) and decoded.pings))
        ):
            return decoded, False
        ends = expiry(secret)
        _failure.raise_for(
            decoded if decoded is not None else _failure.decode_envelope(answer.body),
            answer.status,
            answer.body,
            mutating=mutating,
            slurmdb=slurmdb,
            token_expired=ends is not None and ends <= time.time(),
        )
        if decoded is None:
            raise ProtocolError(f"slurmrestd's answer has an unexpected shape: {misshapen}.", http_status=answer.status)
        return decoded, False

    async def _version(self) -> ApiVersion:
        if self._connection.version is None:
            self._connection.version = await self._negotiate()
        return self._connection.version

    async def _negotiate(self) -> ApiVersion:
        secret = await self._fetch_token()
        for last in (False, True):
            common, answer = await self._connection.openapi_versions(self._headers(secret))
            if common is not None:
                return common
            if answer.status not in (401, 511) or last:
                break
            fresh = await self._fetch_token(fresh=True)
            if fresh == secret:
                break
            secret = fresh
        if answer.status == 200 and b'"openapi"' in answer.body[:4000]:
            ours = ", ".join(version.name for version in VERSIONS)
            raise UnsupportedVersion(f"slurmrestd speaks none of {ours}.")
        ends = expiry(secret)
        _failure.raise_for(
            None,
            answer.status,
            answer.body,
            mutating=False,
            slurmdb=False,
            token_expired=ends is not None and ends <= time.time(),
        )
        raise ProtocolError("The answer is not slurmrestd's.", http_status=answer.status)

    async def _renegotiate(self, missing: ApiVersion, family: str) -> ApiVersion:
        """After "no such path": slurmrestd was replaced by another version, or the path is not served there."""
        if self._connection.pinned is not None:
            there = await self._negotiate()
        else:
            there = self._connection.version = await self._negotiate()
        if there is not missing and self._connection.pinned is None:
            return there
        if there is missing and family == "slurmdb":
            raise SlurmdbUnavailable("This slurmrestd serves no accounting.", code="no_accounting")
        raise UnsupportedVersion(f"slurmrestd does not serve this path in {missing.name}.")

    async def _fetch_token(self, *, fresh: bool = False) -> str:
        return await call(lambda: self._token.token(fresh=fresh), blocking=self._token.blocking)

    async def _submission_token(self) -> str:
        if isinstance(self._token, HS256Key):
            return self._token.submission_token()
        return await self._fetch_token()

    def _headers(self, secret: str) -> dict[str, str]:
        headers = {"X-SLURM-USER-TOKEN": secret, "Accept": "application/json"}
        if self._token.user is not None:
            headers["X-SLURM-USER-NAME"] = self._token.user
        return headers


@cache
def _decoder(kind: type[E]) -> msgspec.json.Decoder[E]:
    return msgspec.json.Decoder(kind)


def _since(update_time: datetime | None) -> list[tuple[str, Value]]:
    return [] if update_time is None else [("update_time", update_time)]


def split_job_id(job_id: int | str) -> tuple[int, int | None, int | None]:
    """Return (job, array task, heterogeneous offset) of ``123``, ``"123_4"`` or ``"123+1"``."""
    base, plus, offset = str(job_id).partition("+")
    base, underscore, task = base.partition("_")
    parts = [base, *([task] if underscore else []), *([offset] if plus else [])]
    if not all(part.isascii() and part.isdecimal() for part in parts) or int(base) == 0:
        raise InvalidRequest(f"{job_id!r} is not a job id.", code="job_id_invalid")
    return int(base), int(task) if underscore else None, int(offset) if plus else None


def _holds_task(job: Job, task: int) -> bool:
    if job.array_task_id is not None:
        return job.array_task_id == task
    return task in array_tasks(job.array_task_string or "")


def array_tasks(text: str) -> set[int]:
    """Return the task numbers in ``"1,3,5-9:2%4"``."""
    numbers: set[int] = set()
    for part in text.partition("%")[0].split(","):
        bounds, _, step = part.partition(":")
        low, _, high = bounds.partition("-")
        if low.isdecimal():
            numbers.update(range(int(low), int(high or low) + 1, int(step or 1)))
    return numbers


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
