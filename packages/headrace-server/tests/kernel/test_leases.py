from datetime import UTC, datetime
from pathlib import Path

import pytest

from headrace_server.kernel import Database, LeaseLost, Leases, SteppedClock


@pytest.fixture
def clock() -> SteppedClock:
    return SteppedClock(datetime(2026, 11, 21, tzinfo=UTC))


async def test_a_process_that_slept_past_its_lease_cannot_write(tmp_path: Path, clock: SteppedClock) -> None:
    database = Database(f"sqlite:///{tmp_path}/headrace.sqlite", clock)
    await database.migrate()
    first, second = Leases(database, "first"), Leases(database, "second")

    held = await first.acquire("runs")
    assert held is not None
    assert await second.acquire("runs") is None

    clock.step(first.ttl_s + 1)
    successor = await second.acquire("runs")
    assert successor is not None
    assert successor.token > held.token
    with pytest.raises(LeaseLost):
        async with database.write() as connection:
            await held.guard(connection)
    with pytest.raises(LeaseLost):
        await first.renew(held)

    await second.release(successor)
    assert await first.acquire("runs") is not None
    await database.close()
