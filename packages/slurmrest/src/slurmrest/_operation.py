"""The operation key: a token that travels in the job and makes a submission findable.

Where it travels, and why, is docs/decisions/0002-operation-key.md.
"""

from __future__ import annotations

import re

from ._errors import InvalidRequest

_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{7,63}")
# No operator of Slurm's extra_constraints (, & | < > = !) may stand in the mark: a cluster that reads `extra` as a
# filter on nodes then refuses the job with a clear error instead of waiting for a node that never matches.
_MARK = re.compile(r"(?:^|\s)operation-key:([A-Za-z0-9][A-Za-z0-9._-]{7,63})$")


def check_key(operation_key: str) -> None:
    """Refuse what could not be told from the text around it."""
    if not _KEY.fullmatch(operation_key):
        raise InvalidRequest(
            "An operation key is 8 to 64 letters, digits, dots, dashes or underscores, a letter or digit first.",
            code="operation_key_invalid",
        )


def marked(text: str | None, operation_key: str) -> str:
    """Return the text with the key after it."""
    mark = f"operation-key:{operation_key}"
    return f"{text} {mark}" if text else mark


def key_in(*texts: str | None) -> str | None:
    """Return the operation key at the end of the first text that holds one."""
    for text in texts:
        # The substring test is what a dump of thousands of jobs costs; the expression runs on the few that match.
        if text and "operation-key:" in text and (found := _MARK.search(text)):
            return found[1]
    return None
