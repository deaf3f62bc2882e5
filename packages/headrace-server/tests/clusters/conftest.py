"""The session's real lab as a registered cluster. What these tests break they heal."""

import pytest

from headrace_server.clusters import ClusterSettings
from slurmlab import Lab


@pytest.fixture
def settings(slurm_lab: Lab) -> ClusterSettings:
    host, port = slurm_lab.ssh_address
    return ClusterSettings(
        name=slurm_lab.name,
        slurmrestd_url=slurm_lab.slurmrestd_url,
        jwt_key_file=slurm_lab.jwt_key_path,
        login_host=host,
        login_port=port,
        ssh_ca_key_file=slurm_lab.ssh_ca_key_path,
        ssh_known_hosts_file=slurm_lab.ssh_known_hosts_path,
    )
