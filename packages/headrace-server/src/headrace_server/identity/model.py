"""People and what proves who they are. Pure."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from headrace_server.kernel import Conflict, Forbidden, Missing, Unauthenticated

Role = Literal["user", "operator"]
SessionKind = Literal["browser", "token"]

LABEL_LENGTH = 100
# Longer secrets are never ours; they are not even hashed, so a megabyte of header costs nothing.
SECRET_LENGTH = 200
LINK_TTL = timedelta(hours=12)
BROWSER_TTL = timedelta(hours=12)
TOKEN_TTL = timedelta(days=30)


class NoSuchAccount(Missing):
    """There is no account of this name."""

    code = "no-such-account"


class NoSuchSession(Missing):
    """There is no such session, or it is not yours."""

    code = "no-such-session"


class LoginRequired(Unauthenticated):
    """Log in first."""

    code = "login-required"


class TokenUnknown(Unauthenticated):
    """This token is not known."""

    code = "token-unknown"


class TokenExpired(Unauthenticated):
    """This session has expired."""

    code = "token-expired"


class AccountDisabled(Forbidden):
    """This account is disabled."""

    code = "account-disabled"


class CrossSiteRequest(Forbidden):
    """The request did not come from a page of Headrace."""

    code = "cross-site-request"


class LoginLinkUnknown(Unauthenticated):
    """This login link is not known."""

    code = "login-link-unknown"


class LoginLinkUsed(Conflict):
    """This login link was used before."""

    code = "login-link-used"


class LoginLinkExpired(Unauthenticated):
    """This login link has expired."""

    code = "login-link-expired"


@dataclass(frozen=True)
class Person:
    """Somebody who is known here. `name` is also the user name on the clusters."""

    name: str
    role: Role


@dataclass(frozen=True)
class Session:
    """One place where a person is logged in. `id` names it without giving it away."""

    id: str
    person: str
    kind: SessionKind
    label: str
    created_at: datetime
    expires_at: datetime


def clean_label(label: str) -> str:
    """Return a session's label without control characters, at most 100 characters long."""
    return "".join(character for character in label if character.isprintable()).strip()[:LABEL_LENGTH]
