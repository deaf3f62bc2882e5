"""Labs for this room's tests: of their own, because they stop daemons and hosts."""

import os
from collections.abc import Iterator

import pytest

from headrace_server.clusters import ClusterSettings
from slurmlab import Lab, LabConfig


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    lab = Lab.up(LabConfig(name=f"clusters-{os.getpid()}", nodes=2))
    try:
        yield lab
    finally:
        lab.down()


@pytest.fixture(scope="session")
def old_lab() -> Iterator[Lab]:
    lab = Lab.up(LabConfig(name=f"clusters-old-{os.getpid()}", slurm="24.11", nodes=2))
    try:
        yield lab
    finally:
        lab.down()


@pytest.fixture(params=["26.05", "24.11"])
def either_lab(request: pytest.FixtureRequest) -> Lab:
    """Run the test on both Slurm versions."""
    found: Lab = request.getfixturevalue("lab" if request.param == "26.05" else "old_lab")
    return found


def settings_of(lab: Lab) -> ClusterSettings:
    host, port = lab.ssh_address
    return ClusterSettings(
        name=lab.name,
        slurmrestd_url=lab.slurmrestd_url,
        jwt_key_file=lab.jwt_key_path,
        login_host=host,
        login_port=port,
        ssh_ca_key_file=lab.ssh_ca_key_path,
        ssh_known_hosts_file=lab.ssh_known_hosts_path,
    )


@pytest.fixture
def settings(lab: Lab) -> ClusterSettings:
    return settings_of(lab)


@pytest.fixture
def either_settings(either_lab: Lab) -> ClusterSettings:
    return settings_of(either_lab)
