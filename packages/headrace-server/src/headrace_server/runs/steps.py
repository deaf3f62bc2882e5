"""Fault points: named places in a run's walk where a test may stop the process. In production they do nothing."""

from collections.abc import Awaitable, Callable
from typing import Final

Steps = Callable[[str], Awaitable[None]]
SUBMISSION_STEPS: Final = (
    "run-written",
    "folder-made",
    "files-placed",
    "submission-begun",
    "submission-sent",
    "submission-recorded",
    "run-followed",
)
"""In the order in which a submission passes them."""


async def no_steps(_: str) -> None:
    """Go on."""
