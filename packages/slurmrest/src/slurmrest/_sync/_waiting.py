"""The two ways of waiting. Written by hand, unlike the rest of this folder."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def sleep(seconds: float) -> None:
    """Wait."""
    time.sleep(seconds)


def call(function: Callable[[], T], *, blocking: bool) -> T:
    """Call a function."""
    del blocking
    return function()


def lock() -> threading.Lock:
    """Return a lock; what it guards is done by one while the others wait."""
    return threading.Lock()
