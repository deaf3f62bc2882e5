# ruff: noqa: PLC0415 - asyncio is imported by those who use it
"""The two ways of waiting. Written twice by hand; everything else of this folder is derived for the sync client."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    import asyncio

T = TypeVar("T")


async def sleep(seconds: float) -> None:
    """Wait without holding up others."""
    import asyncio

    await asyncio.sleep(seconds)


async def call(function: Callable[[], T], *, blocking: bool) -> T:
    """Call a function; in a thread of its own if it may block."""
    if not blocking:
        return function()
    import asyncio

    return await asyncio.to_thread(function)


def lock() -> asyncio.Lock:
    """Return a lock; what it guards is done by one while the others wait."""
    import asyncio

    return asyncio.Lock()
