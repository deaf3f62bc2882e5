import asyncio

from headrace_server.kernel import Database, LocalWakeups, PostgresWakeups, Wakeups


async def heard(publisher: Wakeups, listener: Wakeups) -> tuple[str, ...]:
    """What `listener` hears of two names called on its topic and one on another."""
    async with listener.subscribe("runs") as calls:
        await publisher.publish("runs", "a")
        await publisher.publish("other", "x")
        await publisher.publish("runs", "a", "b")
        names: list[str] = []
        while "b" not in names:
            names += await calls.names(5)
        return tuple(dict.fromkeys(names))


async def test_a_name_is_heard_on_its_topic_only() -> None:
    wakeups = LocalWakeups()
    assert await heard(wakeups, wakeups) == ("a", "b")
    async with wakeups.subscribe("runs") as calls:
        assert await calls.names(0.01) == ()


async def test_replicas_hear_each_other_over_postgresql(database: Database) -> None:
    if database.is_sqlite:
        wakeups: Wakeups = LocalWakeups()
        assert await heard(wakeups, wakeups) == ("a", "b")
        return
    here, there = PostgresWakeups(database), PostgresWakeups(database)
    async with asyncio.TaskGroup() as group:
        listening = group.create_task(there.run())
        await there.listening.wait()
        assert await heard(here, there) == ("a", "b")
        listening.cancel()
