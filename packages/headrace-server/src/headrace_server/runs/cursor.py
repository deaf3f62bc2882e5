"""Cursors of a list: where the last page ended, opaque to whoever carries them."""

import base64
import binascii
from datetime import datetime

from headrace_server.runs.refusals import CursorInvalid
from headrace_server.runs.tables import Record


def written(last: Record) -> str:
    """Return the cursor of the page after `last`."""
    return base64.urlsafe_b64encode(f"{last.created_at.isoformat()} {last.id}".encode()).decode().rstrip("=")


def position_of(cursor: str) -> tuple[datetime, str]:
    """Read a cursor. Raises CursorInvalid."""
    try:
        plain = base64.urlsafe_b64decode(cursor[:200] + "=" * (-len(cursor) % 4)).decode()
        moment, _, run_id = plain.partition(" ")
        at = datetime.fromisoformat(moment)
    except (binascii.Error, ValueError) as error:
        raise CursorInvalid("This is not a cursor that a list gave out.", field="cursor") from error
    if at.tzinfo is None or not run_id.isalnum():
        raise CursorInvalid("This is not a cursor that a list gave out.", field="cursor")
    return at, run_id
