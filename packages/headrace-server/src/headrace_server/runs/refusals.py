"""What this room refuses, and why. Codes are listed in docs/errors.md.

`Invalid` ones are found before anything is stored; a `SlurmRefused` names a run that is kept, in state `refused`.
"""

import slurmrest
from headrace_server.kernel import Conflict, Invalid, Missing, Refused


class NoSuchRun(Missing):
    """There is no such run, or it is not yours."""

    code = "no-such-run"


class NoSuchLog(Missing):
    """The run keeps no such log."""

    code = "no-such-log"


class RunEnded(Conflict):
    """The run has ended already."""

    code = "run-ended"


class IdempotencyKeyReused(Conflict):
    """This idempotency key was used for a different request."""

    code = "idempotency-key-reused"


class IdempotencyKeyInvalid(Invalid):
    """This is not an idempotency key."""

    code = "idempotency-key-invalid"


class CursorInvalid(Invalid):
    """This is not a cursor that a list gave out."""

    code = "cursor-invalid"


class BodyTooLarge(Invalid):
    """The request is too large."""

    code = "body-too-large"


class UnknownField(Invalid):
    """The request has a field that nobody knows."""

    code = "unknown-field"


class UnknownOption(Invalid):
    """There is no such option."""

    code = "unknown-option"


class TextInvalid(Invalid):
    """A text holds characters that it must not hold."""

    code = "text-invalid"


class NameInvalid(Invalid):
    """This cannot be the name of a run."""

    code = "name-invalid"


class NothingToRun(Invalid):
    """There is no command and no script, or both."""

    code = "nothing-to-run"


class ScriptInvalid(Invalid):
    """The script cannot be a batch script."""

    code = "script-invalid"


class ScriptEmpty(ScriptInvalid):
    """The script is empty."""

    code = "script-empty"


class ScriptTooLarge(ScriptInvalid):
    """The script is larger than 4 MiB."""

    code = "script-too-large"


class ScriptHasNul(ScriptInvalid):
    """The script holds a NUL byte."""

    code = "script-nul"


class ScriptHasCrlf(ScriptInvalid):
    """The script has Windows line ends."""

    code = "script-crlf"


class ScriptWithoutInterpreter(ScriptInvalid):
    """The script's first line names no interpreter."""

    code = "script-no-interpreter"


class DirectiveInvalid(ScriptInvalid):
    """An #SBATCH line of the script cannot be understood."""

    code = "script-directive-invalid"


class OptionInvalid(Invalid):
    """An option has a value that it cannot have."""

    code = "option-invalid"


class TimeLimitInvalid(OptionInvalid):
    """This is not a time limit."""

    code = "time-limit-invalid"


class MemoryInvalid(OptionInvalid):
    """This is not an amount of memory."""

    code = "memory-invalid"


class ArrayInvalid(OptionInvalid):
    """This is not an array of tasks."""

    code = "array-invalid"


class ArrayTooLarge(ArrayInvalid):
    """The array has more tasks than can be."""

    code = "array-too-large"


class ArrayMissing(OptionInvalid):
    """A sweep needs an array."""

    code = "array-missing"


class EnvironmentInvalid(OptionInvalid):
    """An environment variable cannot be passed on."""

    code = "environment-invalid"


class NoSuchPreset(Invalid):
    """There is no such preset."""

    code = "no-such-preset"


class FilesInvalid(Invalid):
    """The files brought along cannot be taken."""

    code = "files-invalid"


class FilesTooLarge(FilesInvalid):
    """The files brought along are too many or too large."""

    code = "files-too-large"


class AfterInvalid(Invalid):
    """The run to wait for is not one that can be waited for."""

    code = "after-invalid"


class AfterNever(Refused):
    """The run waits for something that will not happen any more."""

    code = "after-never"


class FolderRefused(Refused):
    """The run's folder or files cannot be made on the cluster."""

    code = "folder-refused"


class UserRefused(Refused):
    """The cluster does not take jobs of this user."""

    code = "user-refused"


class SlurmRefused(Refused):
    """Slurm refuses the run."""

    code = "slurm-refused"


class SlurmRefusedScript(SlurmRefused):
    """Slurm refuses the script."""

    code = "slurm-script-refused"


class SlurmRefusedTimeLimit(SlurmRefused):
    """Slurm refuses the time limit."""

    code = "slurm-time-limit-refused"


class SlurmRefusedArray(SlurmRefused):
    """Slurm refuses the array."""

    code = "slurm-array-refused"


class SlurmRefusedDependency(SlurmRefused):
    """Slurm refuses the dependency."""

    code = "slurm-dependency-refused"


class SlurmRefusedAccount(SlurmRefused):
    """Slurm refuses the account."""

    code = "slurm-account-refused"


class SlurmRefusedPartition(SlurmRefused):
    """Slurm refuses the partition."""

    code = "slurm-partition-refused"


class SlurmRefusedQos(SlurmRefused):
    """Slurm refuses the QOS."""

    code = "slurm-qos-refused"


class SlurmRefusedResources(SlurmRefused):
    """Slurm cannot give these resources."""

    code = "slurm-resources-refused"


class SlurmLimitExceeded(SlurmRefused):
    """A limit in Slurm stands in the way."""

    code = "slurm-limit-exceeded"


class SlurmDenied(SlurmRefused):
    """Slurm does not permit this."""

    code = "slurm-permission-denied"


WORDS: tuple[tuple[type[slurmrest.SlurmError], type[Refused]], ...] = (
    (slurmrest.InvalidScript, SlurmRefusedScript),
    (slurmrest.InvalidTimeLimit, SlurmRefusedTimeLimit),
    (slurmrest.InvalidArray, SlurmRefusedArray),
    (slurmrest.InvalidDependency, SlurmRefusedDependency),
    (slurmrest.InvalidAccount, SlurmRefusedAccount),
    (slurmrest.InvalidPartition, SlurmRefusedPartition),
    (slurmrest.PartitionNotFound, SlurmRefusedPartition),
    (slurmrest.InvalidQos, SlurmRefusedQos),
    (slurmrest.InvalidResources, SlurmRefusedResources),
    (slurmrest.LimitExceeded, SlurmLimitExceeded),
    (slurmrest.PermissionDenied, SlurmDenied),
    (slurmrest.UserNotFound, UserRefused),
    (slurmrest.InvalidRequest, SlurmRefused),
    (slurmrest.OtherSlurmError, SlurmRefused),
)
"""Slurm's refusals (by slurmrest's words) and ours, the special ones first."""
REFUSALS: dict[str, type[Refused]] = {
    kind.code: kind for kind in (*(ours for _, ours in WORDS), AfterNever, FolderRefused, UserRefused)
}
"""By code, to raise again what a run was refused with."""


NO_REASON = -1
"""SLURM_ERROR: all that slurmrestd hands on when a job_submit plugin says no (seen on 26.05.5)."""


def refusal_of(error: slurmrest.SlurmError) -> Refused | None:
    """Say in our words what Slurm refused; None if the error is no refusal but a fault."""
    kind = next((ours for theirs, ours in WORDS if isinstance(error, theirs)), None)
    return None if kind is None else kind(text_of(error))


def text_of(error: slurmrest.SlurmError) -> str:
    """Return Slurm's own words, with its number where it gave one."""
    if error.errno == NO_REASON:
        return (
            "Slurm refuses it and gives no reason. Mostly that is the site's own rule (job_submit plugin): ask there."
        )
    words = error.slurm_text or str(error)
    if error.description and error.description not in words:
        words = f"{words} ({error.description})"
    return f"Slurm says: {words} [{error.errno}]" if error.errno else words
