import pytest

from headrace_server.kernel import Database, LeaseLost, Leases


async def test_one_holder_at_a_time(database: Database) -> None:
    first, second = Leases(database, "first"), Leases(database, "second")
    held = await first.acquire("runs")
    assert held is not None
    assert await second.acquire("runs") is None
    await first.release(held)
    assert await second.acquire("runs") is not None


async def test_an_expired_lease_is_taken_over_and_its_holder_fenced_off(database: Database) -> None:
    sleeper, successor = Leases(database, "sleeper", ttl_s=-1), Leases(database, "successor")
    lost = await sleeper.acquire("runs")
    assert lost is not None
    taken = await successor.acquire("runs")
    assert taken is not None
    assert taken.token > lost.token
    with pytest.raises(LeaseLost):
        async with database.write() as connection:
            await lost.guard(connection)
    with pytest.raises(LeaseLost):
        await sleeper.renew(lost)
    await sleeper.release(lost)  # gives back nothing that is no longer its own
    await successor.renew(taken)
