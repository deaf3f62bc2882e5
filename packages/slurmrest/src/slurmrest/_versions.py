"""What differs between the API versions, as far as this package reads or writes it.

The wire structs in `_wire` hold the union of all versions' fields, so that most differences are a default. What is left
needs a decision and stands here, one line a version with what changed.
"""

from __future__ import annotations

import re
from typing import NamedTuple


class ApiVersion(NamedTuple):
    """One version of the API."""

    name: str
    slurm_since: str
    slurm_until: str
    """The first Slurm release without it."""
    partition_flags: bool
    """Partitions carry ``flags``, DEFAULT among them."""
    configuration: bool
    """GET /slurm/V/conf exists."""


VERSIONS: tuple[ApiVersion, ...] = (
    # Baseline: job_state is a list, numbers that can be unset or infinite are structs.
    ApiVersion("v0.0.42", "24.11", "26.11", partition_flags=False, configuration=False),
    # Jobs gain stdin/stdout/stderr_expanded; nodes gain topology.
    ApiVersion("v0.0.43", "25.05", "27.05", partition_flags=False, configuration=False),
    # Jobs gain submit_line and step_id; a step's id becomes a struct.
    ApiVersion("v0.0.44", "25.11", "27.11", partition_flags=False, configuration=False),
    # Pings lose mode and pinged and gain status; partitions gain flags; /conf; slurmdb loses the parameter `format`;
    # an empty enumeration list is [] where it was "".
    ApiVersion("v0.0.45", "26.05", "28.05", partition_flags=True, configuration=True),
)

BY_NAME = {version.name: version for version in VERSIONS}
HIGHEST = VERSIONS[-1]

# slurmrestd escapes slashes in JSON.
_PATH = re.compile(rb'"\\?/slurm\\?/(v0\.0\.\d+)\\?/')


def spoken(openapi: bytes) -> frozenset[str]:
    """Return the versions that an OpenAPI document has paths for."""
    return frozenset(found.decode("ascii") for found in _PATH.findall(openapi))


def highest_common(theirs: frozenset[str]) -> ApiVersion | None:
    """Return the highest version that both sides speak."""
    return next((version for version in reversed(VERSIONS) if version.name in theirs), None)
