"""Ask for a run's end: the wish is written first; a run that Slurm was not asked for yet ends at once."""

from headrace_server.runs import store
from headrace_server.runs.hear import until
from headrace_server.runs.model import ENDED
from headrace_server.runs.refusals import RunEnded
from headrace_server.runs.submit import Parts
from headrace_server.runs.tables import Record
from headrace_server.runs.voice import tell, topic_of_submitter

PATIENCE_S = 5.0


async def cancel(parts: Parts, run_id: str) -> Record:
    """Write the wish down and wait a little for Slurm to hear of it. Raises RunEnded."""
    async with parts.database.write() as connection:
        record = await store.lock(connection, run_id)
        if record is None or record.state in ENDED:
            state = "gone" if record is None else record.state
            raise RunEnded(f"Run {run_id} has ended already: {state}.", run=run_id)
        now = parts.clock.now()
        wish = {"cancel_requested_at": record.cancel_requested_at or now, "next_try_at": None}
        if record.state == "submitting" and record.begun_at is None:
            # The submitter asserts the same condition in the transaction that begins a submission.
            record = await store.change(connection, record, **wish, state="cancelled", ended_at=now)
            await store.drop_files(connection, run_id)
            await store.release_waiting(connection, run_id)
        else:
            record = await store.change(connection, record, **wish, cancel_sent_at=None)
    await tell(parts.wakeups, record.user_name, record.id)
    await parts.wakeups.publish(topic_of_submitter(record.cluster), record.id)
    return await until(parts.database, parts.wakeups, record, _told, PATIENCE_S)


def _told(record: Record) -> bool:
    return record.state in ENDED or record.cancel_sent_at is not None or record.reason_code == "cluster-unreachable"
