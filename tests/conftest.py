"""Fixtures of the tests that cross packages."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from real.server import RealServer, real_server
from slurmlab import Lab


@pytest.fixture(scope="session")
def headrace(slurm_lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealServer]:
    """A real Headrace on the session's lab, once for each Slurm version."""
    folder: Path = tmp_path_factory.mktemp("headrace")
    with real_server(slurm_lab.name, folder) as server:
        yield server
