"""Labs of both Slurm releases, shared by all tests of this package."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import cast

import pytest

from slurmlab import RELEASES, Lab, LabConfig


@pytest.fixture(scope="session", params=list(RELEASES))
def lab(request: pytest.FixtureRequest) -> Iterator[Lab]:
    """A lab of three compute hosts, once a release; both run side by side until the session ends."""
    version = cast("str", request.param)
    made = Lab.up(LabConfig(name=f"test{version.replace('.', '')}-{os.getpid()}", slurm=version, nodes=3))
    yield made
    made.down()
