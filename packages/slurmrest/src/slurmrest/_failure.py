"""From what slurmrestd answers to an error in words.

The HTTP status is a hint, not the truth: a refused token is a 200 on ``/ping``, an unknown node is a 200 with
``errors``, a bad flag is a 500 with good data. The envelope decides; the status only where there is no envelope.
"""

from __future__ import annotations

import re

import msgspec

from . import _errors as e
from ._wire import Envelope, ErrorItem

BY_ERRNO: dict[int, type[e.SlurmError]] = {
    # talking to slurmctld
    1001: e.ControllerUnavailable,
    1005: e.ProtocolError,
    1007: e.AuthenticationFailed,
    1800: e.ControllerUnavailable,
    2027: e.ControllerUnavailable,
    2131: e.ControllerUnavailable,
    # who
    2002: e.PermissionDenied,
    2010: e.UserNotFound,
    2113: e.UserNotFound,
    2169: e.UserNotFound,
    2170: e.UserNotFound,
    2171: e.UserNotFound,
    2172: e.UserNotFound,
    6000: e.AuthenticationFailed,
    6001: e.TokenExpired,
    6010: e.UserNotFound,
    # jobs
    2017: e.JobNotFound,
    2018: e.NodeNotFound,
    2021: e.AlreadyFinished,
    2084: e.AlreadyFinished,
    2138: e.InvalidRequest,
    2139: e.InvalidRequest,
    2140: e.InvalidRequest,
    # what was asked
    2000: e.InvalidPartition,
    2001: e.InvalidPartition,
    2003: e.InvalidPartition,
    2004: e.InvalidResources,
    2005: e.InvalidResources,
    2006: e.InvalidResources,
    2007: e.LimitExceeded,
    2009: e.InvalidScript,
    2012: e.InvalidRequest,
    2014: e.InvalidResources,
    2015: e.InvalidResources,
    2025: e.InvalidResources,
    2029: e.InvalidResources,
    2038: e.InvalidDependency,
    2040: e.InvalidResources,
    2044: e.InvalidResources,
    2045: e.InvalidAccount,
    2048: e.InvalidResources,
    2050: e.LimitExceeded,
    2051: e.InvalidTimeLimit,
    2052: e.PermissionDenied,
    2053: e.InvalidRequest,
    2054: e.InvalidRequest,
    2063: e.InvalidRequest,
    2066: e.InvalidQos,
    2068: e.InvalidResources,
    2069: e.InvalidResources,
    2070: e.InvalidPartition,
    2071: e.InvalidDependency,
    2072: e.InvalidResources,
    2074: e.LimitExceeded,
    2081: e.InvalidArray,
    2101: e.InvalidPartition,
    2105: e.ControllerUnavailable,
    2114: e.InvalidResources,
    2115: e.InvalidResources,
    2119: e.InvalidResources,
    2122: e.InvalidResources,
    2123: e.InvalidRequest,
    2124: e.InvalidTimeLimit,
    2127: e.InvalidRequest,
    2130: e.InvalidAccount,
    2133: e.InvalidResources,
    2134: e.InvalidResources,
    2173: e.InvalidAccount,
    2178: e.InvalidResources,
    2177: e.InvalidRequest,
    8000: e.InvalidTimeLimit,
    # accounting
    7000: e.SlurmdbUnavailable,
    7006: e.LimitExceeded,
    7007: e.LimitExceeded,
    7008: e.SlurmdbUnavailable,
    # slurmrestd's own: it could not read the request
    9000: e.InvalidRequest,
    9200: e.InvalidRequest,
    9201: e.InvalidRequest,
    9202: e.InvalidRequest,
    9203: e.InvalidRequest,
    9204: e.InvalidRequest,
    9205: e.InvalidRequest,
    9206: e.InvalidRequest,
    9207: e.InvalidRequest,
}
"""Slurm's error number to a word. A number that is missing becomes `OtherSlurmError` with Slurm's text."""

ALREADY_DONE = 2021
"""ESLURM_ALREADY_DONE."""

NO_REASON = -1
"""SLURM_ERROR, "Unspecified error"."""

FIRST_SLURM_ERRNO = 1000

LOST_ON_THE_WAY = frozenset(
    {1002, 1003, 1004, 1017, 1018, 1020, 1022, 1023, 1024, 1801, 1802, 1803, 1805, 5003, 5004, 5005}
)
"""slurmrestd spoke to slurmctld and did not get an answer: a change may have been made all the same."""

_NOISE = re.compile(r"\s+")


def raise_for(
    envelope: Envelope | None, status: int, body: bytes, *, mutating: bool, slurmdb: bool, token_expired: bool
) -> None:
    """Raise what the answer says, if it says that something went wrong."""
    problem = _worst(envelope)
    if problem is not None:
        raise _from_item(problem, status, mutating=mutating, slurmdb=slurmdb, token_expired=token_expired)
    if envelope is not None:
        for warning in envelope.warnings or ():
            if "Ignoring unknown field" in (warning.description or ""):
                raise e.UnknownParameter(
                    f"slurmrestd ignored a field it does not know: {warning.description}",
                    description=warning.description,
                )
    if status in {401, 511}:
        raise _unauthenticated(None, status, token_expired=token_expired)
    if status >= 400 or envelope is None:
        text = _NOISE.sub(" ", body[:300].decode("utf-8", "replace")).strip()
        raise e.ProtocolError(
            f"slurmrestd answered with HTTP {status} and no explanation: {text or 'empty body'}.",
            description=text,
            http_status=status,
        )


def decode_envelope(body: bytes) -> Envelope | None:
    """Return the envelope of a body, or None when the body is not Slurm's JSON."""
    try:
        return msgspec.json.decode(body, type=Envelope)
    except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError):
        return None


def token_was_refused(status: int, body: bytes) -> bool:
    """Whether an answer says that the token is no good: 401 without one, 511 or error 1007 with a bad one."""
    return status in {401, 511} or (status >= 400 and b'"error_number": 1007' in body[:2000])


def error_of(errno: int, text: str | None, about: str) -> e.SlurmError:
    """Return the error for a number that came on its own."""
    item = ErrorItem(description=about, error_number=errno, error=text)
    return _from_item(item, 200, mutating=True, slurmdb=False, token_expired=False)


def version_is_gone(status: int, body: bytes) -> bool:
    """Whether slurmrestd does not know the path at all: it was replaced by one that lacks this API version."""
    return status == 404 and b"requested URL" in body[:300]


def _worst(envelope: Envelope | None) -> ErrorItem | None:
    if envelope is None or not envelope.errors:
        return None
    # The first with a number: slurmrestd puts the cause first and then what followed from it.
    return next((item for item in envelope.errors if item.error_number), envelope.errors[0])


def _from_item(item: ErrorItem, status: int, *, mutating: bool, slurmdb: bool, token_expired: bool) -> e.SlurmError:
    errno = item.error_number or None
    kind = e.OtherSlurmError if errno is None else BY_ERRNO.get(errno, e.OtherSlurmError)
    message, code, submission = _sentence(item), None, "slurm_submit_batch_job" in (item.source or "")
    if errno == NO_REASON and submission:
        kind, code = e.InvalidRequest, "refused_by_site"
        message = (
            "Slurm refuses the job and gives no reason: usually a rule of the site's job_submit plugin, whose message "
            "the REST API drops."
        )
    elif _was_lost(errno):
        kind = e.TimedOut if mutating else e.ControllerUnavailable
        message = f"slurmrestd lost contact with slurmctld before an answer came. {message}"
    if slurmdb and "authentication" in (item.description or ""):
        kind = e.AuthenticationFailed
    elif slurmdb and kind is e.ControllerUnavailable:
        kind = e.SlurmdbUnavailable
    if issubclass(kind, e.AuthenticationFailed) or (status in {401, 511} and errno is None):
        return _unauthenticated(item, status, token_expired=token_expired)
    error = e.TimedOut(message, code="controller_lost") if kind is e.TimedOut else kind(message, code=code)
    error.errno, error.slurm_text, error.description = errno, item.error, item.description
    error.http_status = status
    return error


def _was_lost(errno: int | None) -> bool:
    # Small numbers are the operating system's (104: connection reset). With slurmctld down a sweep of states says -1
    # and a cancellation says 1, "Operation not permitted", with HTTP 403: neither means what it says.
    return errno is not None and (errno == NO_REASON or 0 < errno < FIRST_SLURM_ERRNO or errno in LOST_ON_THE_WAY)


def _unauthenticated(item: ErrorItem | None, status: int, *, token_expired: bool) -> e.AuthenticationFailed:
    kind = e.TokenExpired if token_expired else e.AuthenticationFailed
    message = "The Slurm token has expired." if token_expired else "Slurm refuses the token."
    return kind(
        message,
        errno=item.error_number if item else None,
        slurm_text=item.error if item else None,
        description=item.description if item else None,
        http_status=status,
    )


def _sentence(item: ErrorItem) -> str:
    error, description = (item.error or "").strip(), (item.description or "").strip()
    if error in ("", "No error") or error == description:
        sentence = description or error or "Slurm gave no reason"
    elif not description:
        sentence = error
    else:
        sentence = f"{error} ({description})"
    return _NOISE.sub(" ", sentence).rstrip(".") + "."
