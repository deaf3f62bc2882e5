"""Tables of identity and the queries on them. Secrets are kept as digests only."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Column, ForeignKey, Index, String, Table, UniqueConstraint, delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from headrace_server.identity.model import Role, Session, SessionKind
from headrace_server.kernel import UtcDateTime, metadata

# Spent links and sessions are kept this long, so that their owner hears "used" or "expired" and not "unknown".
KEPT_AFTER_EXPIRY = timedelta(days=7)

accounts = Table(
    "accounts",
    metadata,
    Column("name", String(32), primary_key=True),
    Column("role", String(16), nullable=False),
    Column("created_at", UtcDateTime(), nullable=False),
    Column("disabled_at", UtcDateTime()),
)
login_links = Table(
    "login_links",
    metadata,
    Column("digest", String(64), primary_key=True),
    Column("account", String(32), ForeignKey("accounts.name"), nullable=False),
    Column("created_at", UtcDateTime(), nullable=False),
    Column("expires_at", UtcDateTime(), nullable=False),
    Column("used_at", UtcDateTime()),
    Index("ix_login_links_expires_at", "expires_at"),
)
sessions = Table(
    "sessions",
    metadata,
    Column("digest", String(64), primary_key=True),
    Column("id", String(16), nullable=False),
    Column("account", String(32), ForeignKey("accounts.name"), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("label", String(100), nullable=False),
    Column("created_at", UtcDateTime(), nullable=False),
    Column("expires_at", UtcDateTime(), nullable=False),
    Column("ended_at", UtcDateTime()),
    UniqueConstraint("id", name="uq_sessions_id"),
    Index("ix_sessions_account", "account"),
    Index("ix_sessions_expires_at", "expires_at"),
)


@dataclass(frozen=True)
class Account:
    """A row of `accounts`."""

    name: str
    role: Role
    disabled_at: datetime | None


@dataclass(frozen=True)
class LoginLink:
    """A row of `login_links`, with what is known of its account."""

    account: Account
    expires_at: datetime
    used_at: datetime | None


@dataclass(frozen=True)
class StoredSession:
    """A row of `sessions`, with what is known of its account."""

    account: Account
    expires_at: datetime
    ended_at: datetime | None


async def account(connection: AsyncConnection, name: str) -> Account | None:
    """Return the account, if there is one."""
    row = (await connection.execute(select(accounts).where(accounts.c.name == name))).one_or_none()
    return Account(row.name, row.role, row.disabled_at) if row else None


async def put_account(connection: AsyncConnection, name: str, role: Role, now: datetime) -> None:
    """Make the account, or give the one there is this role. What else it has stays."""
    changed = await connection.execute(update(accounts).where(accounts.c.name == name).values(role=role))
    if changed.rowcount == 0:
        await connection.execute(insert(accounts).values(name=name, role=role, created_at=now))


async def set_disabled(connection: AsyncConnection, name: str, disabled_at: datetime | None) -> bool:
    """Disable the account (or enable it, with None); return whether there is one."""
    changed = await connection.execute(update(accounts).where(accounts.c.name == name).values(disabled_at=disabled_at))
    return changed.rowcount == 1


async def add_login_link(
    connection: AsyncConnection, digest: str, name: str, now: datetime, expires_at: datetime
) -> None:
    """Keep a new link."""
    values = {"digest": digest, "account": name, "created_at": now, "expires_at": expires_at}
    await connection.execute(insert(login_links).values(**values))


async def use_login_link(connection: AsyncConnection, digest: str, now: datetime) -> bool:
    """Mark the link used. Of any number of callers at once, on any number of replicas, one hears True."""
    fresh = (login_links.c.digest == digest) & login_links.c.used_at.is_(None) & (login_links.c.expires_at > now)
    return (await connection.execute(update(login_links).where(fresh).values(used_at=now))).rowcount == 1


async def login_link(connection: AsyncConnection, digest: str) -> LoginLink | None:
    """Return the link, if there is one."""
    columns = (login_links.c.expires_at, login_links.c.used_at, *accounts.c)
    query = select(*columns).join(accounts, accounts.c.name == login_links.c.account)
    row = (await connection.execute(query.where(login_links.c.digest == digest))).one_or_none()
    return LoginLink(Account(row.name, row.role, row.disabled_at), row.expires_at, row.used_at) if row else None


async def add_session(connection: AsyncConnection, digest: str, session: Session) -> None:
    """Keep a new session."""
    values = {
        "digest": digest,
        "id": session.id,
        "account": session.person,
        "kind": session.kind,
        "label": session.label,
        "created_at": session.created_at,
        "expires_at": session.expires_at,
    }
    await connection.execute(insert(sessions).values(**values))


async def session(connection: AsyncConnection, digest: str) -> StoredSession | None:
    """Return the session of this digest, if there is one."""
    columns = (sessions.c.expires_at, sessions.c.ended_at, *accounts.c)
    query = select(*columns).join(accounts, accounts.c.name == sessions.c.account)
    row = (await connection.execute(query.where(sessions.c.digest == digest))).one_or_none()
    return StoredSession(Account(row.name, row.role, row.disabled_at), row.expires_at, row.ended_at) if row else None


async def open_sessions(connection: AsyncConnection, name: str, now: datetime) -> tuple[Session, ...]:
    """Return where this person is logged in, newest first."""
    alive = (sessions.c.account == name) & sessions.c.ended_at.is_(None) & (sessions.c.expires_at > now)
    rows = await connection.execute(select(sessions).where(alive).order_by(sessions.c.created_at.desc()))
    return tuple(
        Session(row.id, row.account, _kind(row.kind), row.label, row.created_at, row.expires_at) for row in rows
    )


async def end_session(connection: AsyncConnection, digest: str, now: datetime) -> None:
    """End the session of this digest."""
    alive = (sessions.c.digest == digest) & sessions.c.ended_at.is_(None)
    await connection.execute(update(sessions).where(alive).values(ended_at=now))


async def end_session_by_id(connection: AsyncConnection, name: str, session_id: str, now: datetime) -> bool:
    """End one of this person's sessions; return whether there was one to end."""
    alive = (sessions.c.id == session_id) & (sessions.c.account == name) & sessions.c.ended_at.is_(None)
    return (await connection.execute(update(sessions).where(alive).values(ended_at=now))).rowcount == 1


async def forget_spent(connection: AsyncConnection, now: datetime) -> None:
    """Delete links and sessions that expired a week ago, so that the tables do not grow for ever."""
    for table in (login_links, sessions):
        await connection.execute(delete(table).where(table.c.expires_at < now - KEPT_AFTER_EXPIRY))


def _kind(value: str) -> SessionKind:
    return "browser" if value == "browser" else "token"
