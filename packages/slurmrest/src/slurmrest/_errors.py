"""Everything that can go wrong, as words of the domain.

    SlurmError                        every error of this package
    ├── Unreachable                   no connection to slurmrestd: nothing was sent
    ├── TimedOut                      no answer in time; ``effect_unknown`` says whether something may have happened
    ├── ConnectionLost                the connection broke after sending; ``effect_unknown`` likewise
    ├── SubmissionUncertain           submit() cannot know yet whether the job exists; carries the operation key
    ├── AuthenticationFailed          the token was refused
    │   ├── TokenExpired              because its time is over
    │   └── TokenUnavailable          the token provider has none
    ├── PermissionDenied              the user may not do that
    ├── NotFound
    │   ├── JobNotFound
    │   ├── NodeNotFound
    │   ├── PartitionNotFound
    │   └── UserNotFound
    ├── AlreadyFinished               the job has ended
    ├── InvalidRequest                Slurm (or this package, before sending) refuses what was asked
    │   ├── InvalidScript
    │   ├── InvalidTimeLimit
    │   ├── InvalidArray
    │   ├── InvalidDependency
    │   ├── InvalidAccount            account, partition and association do not fit the user
    │   ├── InvalidPartition
    │   ├── InvalidQos
    │   ├── InvalidResources          nodes, memory, CPUs, GRES, features or licences that cannot be had
    │   └── UnknownParameter          slurmrestd ignored a field or parameter: an error in the calling program
    ├── LimitExceeded                 a limit of the association, QOS, partition or cluster
    ├── ControllerUnavailable         slurmrestd works, slurmctld does not answer it
    ├── SlurmdbUnavailable            slurmdbd does not answer, or the cluster has no accounting
    ├── UnsupportedVersion            no API version in common
    ├── ProtocolError                 the answer is not what Slurm's API says
    └── OtherSlurmError               an error number of Slurm without a word of its own here

``code`` is stable and documented in docs/slurmrest.md; ``errno`` and ``slurm_text`` are Slurm's own.
"""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar


class SlurmError(Exception):
    """Every error of this package. ``str()`` is a sentence for people."""

    default_code: ClassVar[str] = "slurm_error"

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        errno: int | None = None,
        slurm_text: str | None = None,
        description: str | None = None,
        http_status: int | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        """A sentence for people."""
        self.code = code or self.default_code
        """Stable word for programs."""
        self.errno = errno
        """Slurm's error number, where there is one."""
        self.slurm_text = slurm_text
        """Slurm's text for that number."""
        self.description = description
        """What slurmrestd said about this occasion."""
        self.http_status = http_status


class EffectUnknownError(SlurmError):
    """Base of the errors that leave open whether a change was made."""

    default_code = "effect_unknown"

    def __init__(self, message: str, *, effect_unknown: bool = True, code: str | None = None) -> None:
        super().__init__(message, code=code)
        self.effect_unknown = effect_unknown
        """True when the request changes something and may have been carried out."""


class Unreachable(SlurmError):
    """slurmrestd cannot be reached; nothing was sent."""

    default_code = "unreachable"


class TimedOut(EffectUnknownError):
    """No answer from slurmrestd in time."""

    default_code = "timed_out"


class ConnectionLost(EffectUnknownError):
    """The connection to slurmrestd broke before the answer was complete."""

    default_code = "connection_lost"


class SubmissionUncertain(EffectUnknownError):
    """The answer to a submission was lost and the job is not known yet.

    Look the key up with `find_operation`. Before ``certain_after`` a None is not final: the request may still be on its
    way through a stalled daemon. After it the token of that request has expired, no daemon accepts it any more, and a
    None means that there is no job. None as ``certain_after``: the token's end is unknown, so no moment is certain.
    """

    default_code = "submission_uncertain"

    def __init__(self, message: str, *, operation_key: str, certain_after: datetime | None) -> None:
        super().__init__(message)
        self.operation_key = operation_key
        self.certain_after = certain_after


class AuthenticationFailed(SlurmError):
    """Slurm refuses the token."""

    default_code = "authentication_failed"


class TokenExpired(AuthenticationFailed):
    """Slurm refuses the token because its time is over."""

    default_code = "token_expired"


class TokenUnavailable(AuthenticationFailed):
    """The token provider has no token to give."""

    default_code = "token_unavailable"


class PermissionDenied(SlurmError):
    """The user may not do that."""

    default_code = "permission_denied"


class NotFound(SlurmError):
    """What was asked for does not exist."""

    default_code = "not_found"


class JobNotFound(NotFound):
    """slurmctld does not know the job (any more: finished jobs leave it after MinJobAge)."""

    default_code = "job_not_found"


class NodeNotFound(NotFound):
    """There is no such node."""

    default_code = "node_not_found"


class PartitionNotFound(NotFound):
    """There is no such partition."""

    default_code = "partition_not_found"


class UserNotFound(NotFound):
    """The cluster does not know the user."""

    default_code = "user_not_found"


class AlreadyFinished(SlurmError):
    """The job has ended."""

    default_code = "already_finished"


class InvalidRequest(SlurmError):
    """What was asked cannot be; Slurm's number and text say why. ``errno`` is None if it was refused before sending."""

    default_code = "invalid_request"


class InvalidScript(InvalidRequest):
    """The batch script cannot be submitted."""

    default_code = "script_invalid"


class InvalidTimeLimit(InvalidRequest):
    """The time limit is not one, or not allowed."""

    default_code = "time_limit_invalid"


class InvalidArray(InvalidRequest):
    """The array specification is not one, or too large for the cluster."""

    default_code = "array_invalid"


class InvalidDependency(InvalidRequest):
    """The dependency is not one, or names an unknown job."""

    default_code = "dependency_invalid"


class InvalidAccount(InvalidRequest):
    """The user may not use this account here."""

    default_code = "account_invalid"


class InvalidPartition(InvalidRequest):
    """There is no such partition, or the job does not fit it."""

    default_code = "partition_invalid"


class InvalidQos(InvalidRequest):
    """There is no such QOS, or the user may not use it."""

    default_code = "qos_invalid"


class InvalidResources(InvalidRequest):
    """Nodes, memory, CPUs, GRES, features or licences that this cluster cannot give."""

    default_code = "resources_invalid"


class UnknownParameter(InvalidRequest):
    """slurmrestd ignored a field or parameter: the calling program is wrong for this API version."""

    default_code = "unknown_parameter"


class LimitExceeded(SlurmError):
    """A limit of the association, QOS, partition or cluster stands in the way."""

    default_code = "limit_exceeded"


class ControllerUnavailable(SlurmError):
    """slurmrestd answers, slurmctld does not."""

    default_code = "controller_unavailable"


class SlurmdbUnavailable(SlurmError):
    """slurmdbd does not answer, or this cluster has no accounting."""

    default_code = "slurmdb_unavailable"


class UnsupportedVersion(SlurmError):
    """slurmrestd speaks no API version that this package knows."""

    default_code = "unsupported_version"


class ProtocolError(SlurmError):
    """The answer is not what Slurm's API says; often something else is listening there."""

    default_code = "protocol_error"


class OtherSlurmError(SlurmError):
    """An error number of Slurm that has no word of its own here."""

    default_code = "slurm_error"
