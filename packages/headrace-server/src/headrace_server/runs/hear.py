"""Wait for a run to change, by subscription; look again by the clock too, for a wake-up that got lost."""

import asyncio
from collections.abc import AsyncIterator, Callable

from headrace_server.kernel import Database, Wakeups
from headrace_server.runs import store
from headrace_server.runs.refusals import NoSuchRun
from headrace_server.runs.tables import Record
from headrace_server.runs.voice import ALL, topic_of_user

LOOK_AGAIN_S = 5.0
HEARTBEAT_S = 15.0


async def until(
    database: Database, wakeups: Wakeups, record: Record, enough: Callable[[Record], bool], patience_s: float
) -> Record:
    """Return the run as soon as it is `enough`, or as it is after `patience_s`."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + patience_s
    async with wakeups.subscribe(topic_of_user(record.user_name)) as calls:
        while True:
            record = await again(database, record.id)
            names: tuple[str, ...] = ()
            while record.id not in names:
                left_s = deadline - loop.time()
                if enough(record) or left_s <= 0:
                    return record
                # Others' wake-ups cost no reading: many may wait at once.
                names = await calls.names(min(left_s, LOOK_AGAIN_S)) or (record.id,)


async def changes(database: Database, wakeups: Wakeups, run_id: str, user: str) -> AsyncIterator[Record | None]:
    """Yield a run now and after each change; None is a heartbeat. Never ends by itself."""
    async with wakeups.subscribe(topic_of_user(user)) as calls:
        last: Record | None = None
        quiet_s = 0.0
        while True:
            record = await again(database, run_id)
            if record != last:
                last, quiet_s = record, 0.0
                yield record
            elif quiet_s >= HEARTBEAT_S:
                quiet_s = 0.0
                yield None
            names = await calls.names(LOOK_AGAIN_S)
            while names and run_id not in names:
                names = await calls.names(LOOK_AGAIN_S)
            quiet_s += 0.0 if names else LOOK_AGAIN_S


async def changes_of_all(database: Database, wakeups: Wakeups, user: str | None) -> AsyncIterator[Record | None]:
    """Yield each run of `user` (None: of everybody) when it changes; None is a heartbeat. Never ends by itself."""
    async with wakeups.subscribe(ALL if user is None else topic_of_user(user)) as calls:
        yield None  # "I listen now": whoever reads the list after this misses nothing
        while True:
            names = await calls.names(HEARTBEAT_S)
            async with database.read() as connection:
                records = await store.find_many(connection, names) if names else {}
            for record in records.values():
                yield record
            if not records:
                yield None


async def again(database: Database, run_id: str) -> Record:
    """Read a run that was there a moment ago."""
    async with database.read() as connection:
        record = await store.find(connection, run_id)
    if record is None:
        raise NoSuchRun(f"There is no run {run_id!r}.")
    return record
