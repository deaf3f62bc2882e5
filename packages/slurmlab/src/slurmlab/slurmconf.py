"""Slurm's configuration files for one lab, rendered from the templates beside this module."""

from __future__ import annotations

import re
from importlib.resources import files
from string import Template

from slurmlab.config import LabConfig

JWT_KEY = "/etc/slurm-keys/jwt_hs256.key"
GPU_FILE = "/etc/slurm/gpus/gpu{}"
JWKS = "/etc/slurm-keys/jwks.json"


def render(config: LabConfig) -> dict[str, str]:
    """File name to text, for everything that belongs in /etc/slurm on the controller and the compute hosts."""
    gpus = {GPU_FILE.format(i).removeprefix("/etc/slurm/"): "" for i in range(config.gpus if config.gpu_hosts else 0)}
    return gpus | {
        "slurm.conf": _slurm_conf(config),
        "slurmdbd.conf": _template("slurmdbd.conf").substitute(auth_alt_parameters=_auth_alt_parameters(config)),
        "cgroup.conf": "CgroupPlugin=disabled\n",
        "gres.conf": _gres_conf(config),
        "topology.conf": _topology_conf(config),
        "job_submit.lua": _template("job_submit.lua").template,
    }


def sshd_config() -> str:
    """The login host's sshd: certificates of the lab's user CA, and nothing else."""
    return _template("sshd_config").template


def _template(name: str) -> Template:
    return Template(files("slurmlab").joinpath("templates", name).read_text())


def _slurm_conf(config: LabConfig) -> str:
    plain = [host for host in config.compute_hosts if host not in config.gpu_hosts]
    size = f"CPUs={config.cpus} RealMemory={config.memory_mib} State=UNKNOWN"
    nodes = [f"NodeName={host} {size} Weight=1" for host in plain]
    nodes += [f"NodeName={host} {size} Weight=10 Gres=gpu:{config.gpus} Feature=gpu" for host in config.gpu_hosts]
    gpu_partition = ""
    if config.gpu_hosts:
        gpu_partition = f"PartitionName=gpu Nodes={','.join(config.gpu_hosts)} MaxTime=08:00:00 DefaultTime=01:00:00"
    licences = config.site.licences
    text = _template("slurm.conf").substitute(
        cluster=config.name,
        auth_alt_parameters=_auth_alt_parameters(config),
        memory_mib_per_cpu=max(1, config.memory_mib // config.cpus),
        max_job_count=config.max_job_count,
        max_array_size=config.max_array_size,
        min_job_age_s=config.min_job_age_s,
        licences=",".join(f"{name}:{count}" for name, count in licences.items()),
        first_licence=next(iter(licences), ""),
        extra="MetricsType=metrics/openmetrics\n" if config.release.has_openmetrics else "",
        nodes="\n".join(nodes),
        gpu_partition=gpu_partition,
    )
    if not licences:
        text = re.sub(r"^Licenses=.*\n", "", text, flags=re.MULTILINE).replace(",license/\n", "\n")
    return _with_lines(text, config.slurm_conf)


def _with_lines(text: str, lines: dict[str, str]) -> str:
    """Replace the line of each key, or add it before the nodes."""
    for key, value in lines.items():
        line = f"{key}={value}"
        text, replaced = re.subn(rf"^{key}=.*$", lambda _: line, text, flags=re.MULTILINE | re.IGNORECASE)  # noqa: B023
        if not replaced:
            text = f"{line}\n{text}"
    return text


def _auth_alt_parameters(config: LabConfig) -> str:
    return f"jwt_key={JWT_KEY}" + (f",jwks={JWKS}" if config.jwks_file else "")


def _gres_conf(config: LabConfig) -> str:
    if not config.gpu_hosts:
        return "# no GPUs in this lab\n"
    # Slurm drops GPUs without a file and takes any file for one; these are empty.
    device = GPU_FILE.format(f"[0-{config.gpus - 1}]")
    return f"NodeName={','.join(config.gpu_hosts)} Name=gpu File={device}\n"


def _topology_conf(config: LabConfig) -> str:
    """Two leaf switches, each with half the hosts, under one spine."""
    hosts = config.compute_hosts
    if len(hosts) == 1:
        return f"SwitchName=leaf1 Nodes={hosts[0]}\n"
    half = (len(hosts) + 1) // 2
    return (
        f"SwitchName=leaf1 Nodes={','.join(hosts[:half])}\n"
        f"SwitchName=leaf2 Nodes={','.join(hosts[half:])}\n"
        "SwitchName=spine Switches=leaf1,leaf2\n"
    )
