"""Who is asking?

Owns the tables `accounts`, `login_links` and `sessions`; local accounts, one-use login links, sessions of browsers and
tokens of programs. Imports the kernel only.
"""

from headrace_server.identity.api import router as api_router
from headrace_server.identity.caller import CurrentPerson, current_person
from headrace_server.identity.identity import Identity
from headrace_server.identity.model import (
    AccountDisabled,
    CrossSiteRequest,
    LoginLinkExpired,
    LoginLinkUnknown,
    LoginLinkUsed,
    LoginRequired,
    NoSuchAccount,
    NoSuchSession,
    Person,
    Role,
    Session,
    SessionKind,
    TokenExpired,
    TokenUnknown,
)
from headrace_server.identity.pages import router as pages_router

__all__ = [
    "AccountDisabled",
    "CrossSiteRequest",
    "CurrentPerson",
    "Identity",
    "LoginLinkExpired",
    "LoginLinkUnknown",
    "LoginLinkUsed",
    "LoginRequired",
    "NoSuchAccount",
    "NoSuchSession",
    "Person",
    "Role",
    "Session",
    "SessionKind",
    "TokenExpired",
    "TokenUnknown",
    "api_router",
    "current_person",
    "pages_router",
]
