"""Who is told that a run changed: everybody who shows it."""

from headrace_server.kernel import Wakeups

ALL = "runs"


def topic_of_user(user: str) -> str:
    """Return the topic of one person's runs; names are run ids."""
    return f"runs:{user}"


def topic_of_submitter(cluster: str) -> str:
    """Return the topic that wakes a cluster's submitter."""
    return f"submit:{cluster}"


async def tell(wakeups: Wakeups, user: str, run_id: str) -> None:
    """Say that a run changed."""
    await wakeups.publish(topic_of_user(user), run_id)
    await wakeups.publish(ALL, run_id)
