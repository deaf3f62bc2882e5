"""What every room stands on: database, clock, keys, leases, wake-ups, the reconcile loop, errors.

Owns the table `leases` and the schema's history. Imports no room.
"""

from headrace_server.kernel.clock import Clock, SteppedClock, SystemClock
from headrace_server.kernel.database import Database, UtcDateTime, metadata
from headrace_server.kernel.errors import (
    Broken,
    Conflict,
    Forbidden,
    HeadraceError,
    Invalid,
    Missing,
    Refused,
    Unauthenticated,
    Unavailable,
)
from headrace_server.kernel.keys import digest, new_id, new_secret, operation_key
from headrace_server.kernel.leases import Lease, LeaseLost, Leases
from headrace_server.kernel.loop import Controller, hold, reconcile
from headrace_server.kernel.user_name import UserNameInvalid, checked_user_name
from headrace_server.kernel.wakeups import LocalWakeups, PostgresWakeups, Subscription, Wakeups

__all__ = [
    "Broken",
    "Clock",
    "Conflict",
    "Controller",
    "Database",
    "Forbidden",
    "HeadraceError",
    "Invalid",
    "Lease",
    "LeaseLost",
    "Leases",
    "LocalWakeups",
    "Missing",
    "PostgresWakeups",
    "Refused",
    "SteppedClock",
    "Subscription",
    "SystemClock",
    "Unauthenticated",
    "Unavailable",
    "UserNameInvalid",
    "UtcDateTime",
    "Wakeups",
    "checked_user_name",
    "digest",
    "hold",
    "metadata",
    "new_id",
    "new_secret",
    "operation_key",
    "reconcile",
]
