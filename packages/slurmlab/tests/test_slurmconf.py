from __future__ import annotations

from pathlib import Path

import pytest

from slurmlab import LabConfig, slurmconf
from slurmlab.site import default_site
from slurmlab.slurmconf import render


def lines_of(config: LabConfig, name: str = "slurm.conf") -> list[str]:
    return [line for line in render(config)[name].splitlines() if line and not line.startswith("#")]


def test_only_releases_that_have_openmetrics_are_told_of_it() -> None:
    assert "MetricsType=metrics/openmetrics" in lines_of(LabConfig(slurm="26.05"))
    assert not [line for line in lines_of(LabConfig(slurm="24.11")) if "Metrics" in line]


def test_a_line_of_the_configuration_replaces_the_template_s() -> None:
    lines = lines_of(LabConfig(slurm_conf={"SlurmdTimeout": "20", "Epilog": "/bin/true", "minjobage": "7"}))
    assert [line for line in lines if line.startswith("SlurmdTimeout")] == ["SlurmdTimeout=20"]
    assert [line for line in lines if line.lower().startswith("minjobage")] == ["minjobage=7"]
    assert lines.count("Epilog=/bin/true") == 1


def test_hosts_are_split_over_two_switches() -> None:
    assert lines_of(LabConfig(nodes=5), "topology.conf")[:2] == [
        "SwitchName=leaf1 Nodes=c1,c2,c3",
        "SwitchName=leaf2 Nodes=c4,c5",
    ]


def test_a_lab_without_gpus_or_licences_leaves_them_out() -> None:
    site = default_site()
    plain = type(site)(site.users, site.accounts, site.qos, {})
    text = "\n".join(lines_of(LabConfig(gpu_nodes=0, site=plain)))
    assert "PartitionName=gpu" not in text
    assert "icense" not in text
    assert "Gres=" not in text


@pytest.mark.parametrize("name", ["slurm.conf", "slurmdbd.conf"])
def test_a_key_set_is_trusted_beside_the_lab_s_own_key(name: str) -> None:
    (line,) = [x for x in lines_of(LabConfig(jwks_file=Path("k.json")), name) if x.startswith("AuthAltParameters")]
    assert line == f"AuthAltParameters=jwt_key={slurmconf.JWT_KEY},jwks={slurmconf.JWKS}"
