"""The facade of this room: accounts, login links, sessions."""

from collections.abc import Mapping
from datetime import datetime, timedelta

from headrace_server.identity import store
from headrace_server.identity.model import (
    LINK_TTL,
    SECRET_LENGTH,
    AccountDisabled,
    LoginLinkExpired,
    LoginLinkUnknown,
    LoginLinkUsed,
    NoSuchAccount,
    NoSuchSession,
    Person,
    Role,
    Session,
    SessionKind,
    TokenExpired,
    TokenUnknown,
    clean_label,
)
from headrace_server.kernel import Clock, Database, checked_user_name, digest, new_id, new_secret

NEW_LINK = "Ask an operator for a new one, or run `headrace-server login-link USER` where the server runs."


class Identity:
    """Knows who is who. Secrets leave here once and are stored as digests only."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def ensure_accounts(self, names: Mapping[str, Role]) -> None:
        """Make the accounts that are missing and set the roles of all named. Nobody else's account changes."""
        for name in names:
            checked_user_name(name)
        async with self._database.write() as connection:
            for name, role in names.items():
                await store.put_account(connection, name, role, self._clock.now())

    async def disable_account(self, user: str) -> None:
        """Shut `user` out at once: open sessions and unused links stop working. Raises `NoSuchAccount`."""
        async with self._database.write() as connection:
            if not await store.set_disabled(connection, user, self._clock.now()):
                raise NoSuchAccount(f"There is no account {user!r}.", field="user", asked=user)

    async def enable_account(self, user: str) -> None:
        """Undo `disable_account`."""
        async with self._database.write() as connection:
            if not await store.set_disabled(connection, user, None):
                raise NoSuchAccount(f"There is no account {user!r}.", field="user", asked=user)

    async def issue_login_link(self, user: str) -> str:
        """Return the secret of a new login link: it works once, for 12 hours. Raises `NoSuchAccount`."""
        checked_user_name(user)
        secret = new_secret("hrl")
        now = self._clock.now()
        async with self._database.write() as connection:
            account = await store.account(connection, user)
            if account is None:
                raise NoSuchAccount(f"There is no account {user!r}.", field="user", asked=user)
            _refuse_disabled(account)
            await store.forget_spent(connection, now)
            await store.add_login_link(connection, digest(secret), user, now, now + LINK_TTL)
        return secret

    async def redeem_login_link(self, secret: str) -> Person:
        """Use up a login link. Raises `LoginLinkUsed`, `LoginLinkUnknown`, `LoginLinkExpired`, `AccountDisabled`.

        Of several callers with the same link, at once and on any replica, one gets the person.
        """
        key = _key(secret)
        async with self._database.write() as connection:
            won = await store.use_login_link(connection, key, self._clock.now())
            link = await store.login_link(connection, key)
            if link is None:
                raise LoginLinkUnknown("This login link was never issued here, or is long gone.", fix=NEW_LINK)
            _refuse_disabled(link.account)
            if won:
                return Person(link.account.name, link.account.role)
        if link.used_at is not None:
            raise LoginLinkUsed("A login link works once, and this one has been used.", fix=NEW_LINK)
        raise LoginLinkExpired("A login link works for 12 hours, and this one is older.", fix=NEW_LINK)

    async def open_session(self, person: Person, kind: SessionKind, label: str, ttl: timedelta) -> str:
        """Return the secret of a new session (`hr_…`) that ends after `ttl`. `label` says where it is, for people."""
        secret = new_secret("hr")
        now = self._clock.now()
        session = Session(new_id(), person.name, kind, clean_label(label), now, now + ttl)
        async with self._database.write() as connection:
            await store.add_session(connection, digest(secret), session)
        return secret

    async def who(self, secret: str) -> Person:
        """Return whose session this is. Raises `TokenUnknown`, `TokenExpired`, `AccountDisabled`."""
        async with self._database.read() as connection:
            session = await store.session(connection, _key(secret))
        if session is None or session.ended_at is not None:
            raise TokenUnknown("This token is not known here, or its session was ended.", fix="Log in again.")
        if session.expires_at <= self._clock.now():
            raise TokenExpired(f"This session ended at {session.expires_at:%Y-%m-%d %H:%M} UTC.", fix="Log in again.")
        _refuse_disabled(session.account)
        return Person(session.account.name, session.account.role)

    async def expires_at(self, secret: str) -> datetime:
        """Return when the session of this secret ends by itself. Raises `TokenUnknown`."""
        async with self._database.read() as connection:
            session = await store.session(connection, _key(secret))
        if session is None:
            raise TokenUnknown("This token is not known here.", fix="Log in again.")
        return session.expires_at

    async def sessions(self, person: Person) -> tuple[Session, ...]:
        """Return where this person is logged in, newest first."""
        async with self._database.read() as connection:
            return await store.open_sessions(connection, person.name, self._clock.now())

    async def end_session(self, secret: str) -> None:
        """End the session of this secret; a session that is unknown or has ended needs no ending."""
        async with self._database.write() as connection:
            await store.end_session(connection, _key(secret), self._clock.now())

    async def end_session_by_id(self, person: Person, session_id: str) -> None:
        """End one of this person's own sessions. Raises `NoSuchSession`."""
        async with self._database.write() as connection:
            if not await store.end_session_by_id(connection, person.name, session_id, self._clock.now()):
                raise NoSuchSession("There is no such session of yours.", asked=session_id[:64])


def _refuse_disabled(account: store.Account) -> None:
    if account.disabled_at is not None:
        raise AccountDisabled(f"The account {account.name} is disabled.", fix="Ask an operator to enable it.")


def _key(secret: str) -> str:
    """Return the digest to look up. What cannot be ours gets the same look-up, but is not hashed in full length."""
    return digest(secret if len(secret) <= SECRET_LENGTH and secret.isascii() else "")
