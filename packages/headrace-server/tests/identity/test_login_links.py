import asyncio
from datetime import timedelta

import pytest
from sqlalchemy import text

from headrace_server.identity import (
    AccountDisabled,
    Identity,
    LoginLinkExpired,
    LoginLinkUnknown,
    LoginLinkUsed,
    NoSuchAccount,
    NoSuchSession,
    Person,
    TokenExpired,
    TokenUnknown,
)
from headrace_server.kernel import Database, HeadraceError, SteppedClock, UserNameInvalid

ALICE = Person("alice", "user")


@pytest.fixture
async def identity(database: Database, clock: SteppedClock) -> Identity:
    identity = Identity(database, clock)
    await identity.ensure_accounts({"alice": "user", "olga": "operator"})
    return identity


async def test_a_link_logs_its_user_in_once(identity: Identity) -> None:
    secret = await identity.issue_login_link("alice")

    assert await identity.redeem_login_link(secret) == ALICE
    with pytest.raises(LoginLinkUsed):
        await identity.redeem_login_link(secret)


async def test_of_many_redemptions_at_once_one_wins(identity: Identity) -> None:
    secret = await identity.issue_login_link("alice")

    answers = await asyncio.gather(*(identity.redeem_login_link(secret) for _ in range(8)), return_exceptions=True)

    assert [answer for answer in answers if isinstance(answer, Person)] == [ALICE]
    assert sum(isinstance(answer, LoginLinkUsed) for answer in answers) == 7


async def test_a_link_expires_after_twelve_hours(identity: Identity, clock: SteppedClock) -> None:
    secret = await identity.issue_login_link("alice")
    clock.step(12 * 3600)
    with pytest.raises(LoginLinkExpired):
        await identity.redeem_login_link(secret)


@pytest.mark.parametrize("secret", ["", "hrl_guess", "x" * 1_000_000, "\x00", "ключ", "' or 1=1 --"])
async def test_a_link_that_was_never_issued_is_unknown(identity: Identity, secret: str) -> None:
    await identity.issue_login_link("alice")
    with pytest.raises(LoginLinkUnknown):
        await identity.redeem_login_link(secret)


@pytest.mark.parametrize(
    "name", ["", "root", "1alice", "-rf", "a" * 33, "alice\n", "al ice", "a;b", "alic\u0435", "../alice", "a'--"]
)
async def test_a_name_that_linux_would_not_take_gets_no_account(identity: Identity, name: str) -> None:
    with pytest.raises(UserNameInvalid):
        await identity.ensure_accounts({name: "user"})
    with pytest.raises(UserNameInvalid):
        await identity.issue_login_link(name)


async def test_nobody_gets_a_link_without_an_account(identity: Identity) -> None:
    with pytest.raises(NoSuchAccount):
        await identity.issue_login_link("mallory")


async def test_ensuring_accounts_again_changes_roles_only(identity: Identity) -> None:
    await identity.disable_account("olga")
    await identity.ensure_accounts({"alice": "operator", "olga": "operator"})

    assert await identity.redeem_login_link(await identity.issue_login_link("alice")) == Person("alice", "operator")
    with pytest.raises(AccountDisabled):
        await identity.issue_login_link("olga")


async def test_a_disabled_account_is_out_at_once_and_its_link_is_not_used_up(identity: Identity) -> None:
    link = await identity.issue_login_link("alice")
    session = await identity.open_session(ALICE, "token", "laptop", timedelta(days=1))
    await identity.disable_account("alice")

    with pytest.raises(AccountDisabled):
        await identity.who(session)
    with pytest.raises(AccountDisabled):
        await identity.redeem_login_link(link)
    await identity.enable_account("alice")
    assert await identity.who(session) == ALICE
    assert await identity.redeem_login_link(link) == ALICE


async def test_a_session_lasts_until_it_expires_or_is_ended(identity: Identity, clock: SteppedClock) -> None:
    short = await identity.open_session(ALICE, "browser", "Firefox on Linux", timedelta(minutes=5))
    ended = await identity.open_session(ALICE, "token", "laptop", timedelta(days=1))
    assert await identity.who(short) == await identity.who(ended) == ALICE

    await identity.end_session(ended)
    clock.step(300)

    with pytest.raises(TokenUnknown):
        await identity.who(ended)
    with pytest.raises(TokenExpired):
        await identity.who(short)
    assert await identity.sessions(ALICE) == ()


async def test_a_person_lists_and_ends_only_their_own_sessions(identity: Identity, clock: SteppedClock) -> None:
    olga = Person("olga", "operator")
    first = await identity.open_session(ALICE, "token", "lap\ntop\x1b[31m", timedelta(days=1))
    clock.step(1)
    await identity.open_session(ALICE, "browser", "x" * 500, timedelta(days=1))
    newest, oldest = await identity.sessions(ALICE)
    assert (len(newest.label), oldest.label) == (100, "laptop[31m")

    with pytest.raises(NoSuchSession):
        await identity.end_session_by_id(olga, oldest.id)
    assert await identity.who(first) == ALICE
    await identity.end_session_by_id(ALICE, oldest.id)
    with pytest.raises(TokenUnknown):
        await identity.who(first)
    assert [session.id for session in await identity.sessions(ALICE)] == [newest.id]


async def test_no_secret_is_stored(identity: Identity, database: Database) -> None:
    secrets = {
        await identity.issue_login_link("alice"),
        await identity.open_session(ALICE, "token", "laptop", timedelta(days=1)),
    }
    async with database.read() as connection:
        rows = [
            str(value)
            for table in ("accounts", "login_links", "sessions")
            for row in await connection.execute(text(f"select * from {table}"))
            for value in row
        ]
    assert len(rows) > 10
    assert not [value for value in rows if any(secret in value or secret[4:20] in value for secret in secrets)]


async def test_spent_links_and_sessions_do_not_pile_up(
    identity: Identity, database: Database, clock: SteppedClock
) -> None:
    for _ in range(3):
        await identity.issue_login_link("alice")
        await identity.open_session(ALICE, "token", "laptop", timedelta(days=1))
    clock.step(timedelta(days=9).total_seconds())
    await identity.issue_login_link("alice")
    async with database.read() as connection:
        links = (await connection.execute(text("select count(*) from login_links"))).scalar_one()
        sessions = (await connection.execute(text("select count(*) from sessions"))).scalar_one()
    assert (links, sessions) == (1, 0)


@pytest.mark.parametrize("secret", ["", "hr_guess", "x" * 1_000_000, "\udcff"])
async def test_an_unknown_token_is_nobodys(identity: Identity, secret: str) -> None:
    with pytest.raises(HeadraceError) as caught:
        await identity.who(secret)
    assert caught.value.code == "token-unknown"
