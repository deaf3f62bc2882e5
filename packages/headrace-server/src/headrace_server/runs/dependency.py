"""From "after that run" to Slurm's dependency on that run's job."""

from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncConnection

from headrace_server.runs import store
from headrace_server.runs.model import ENDED, Condition
from headrace_server.runs.refusals import AfterNever
from headrace_server.runs.tables import Record

WORDS: dict[Condition, str] = {"ok": "afterok", "notok": "afternotok", "any": "afterany"}


@dataclass(frozen=True)
class Waiting:
    """The dependency cannot be named yet; `why` says what is missing."""

    why: str


async def dependency_of(connection: AsyncConnection, record: Record) -> str | Waiting | None:
    """Return what to put into `--dependency`, None if nothing is left to wait for.

    Raises AfterNever if the condition cannot come true any more. A run that has ended is judged here and not by Slurm,
    which forgets jobs minutes after their end.
    """
    after = (await store.after(connection, [record.id])).get(record.id, ())
    others = await store.find_many(connection, [one.run for one in after])
    parts: list[str] = []
    for one in after:
        other = others[one.run]
        if other.state in ENDED:
            _judge(other, one.condition)
        elif other.job_id is None:
            return Waiting(f"Waits until run {other.id} ({other.name}) has a job.")
        else:
            parts.append(f"{WORDS[one.condition]}:{other.job_id}")
    return ",".join(parts) or None


def _judge(other: Record, condition: Condition) -> None:
    well = other.state == "completed"
    never_ran = other.job_id is None
    if (condition == "ok" and not well) or (condition == "notok" and (well or never_ran)) or other.state == "refused":
        raise AfterNever(f"Run {other.id} ({other.name}) ended {other.state}, so this one can never begin.")
