"""What a lab is, looked at from inside, on both releases."""

from __future__ import annotations

import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from slurmlab import Lab
from slurmlab.tokens import sign_token

pytestmark = pytest.mark.lab


def run(lab: Lab, *argv: str, user: str = "ada", host: str = "controller", timeout_s: float = 60) -> str:
    done = lab.exec(host, argv, user=user, timeout_s=timeout_s)
    assert done.ok, done.stderr
    return done.stdout


def read_jobs(lab: Lab, token: str) -> int:
    request = urllib.request.Request(
        f"{lab.slurmrestd_url}/slurm/{lab.release.data_parser}/jobs/", headers={"X-SLURM-USER-TOKEN": token}
    )
    try:
        with urllib.request.urlopen(request, timeout=10) as reply:
            return int(reply.status)
    except urllib.error.HTTPError as error:
        return error.code


def test_it_runs_the_release_it_was_asked_for(lab: Lab) -> None:
    assert run(lab, "sinfo", "--version").startswith(f"slurm-wlm {lab.release.version}.")


def test_every_host_is_its_own(lab: Lab) -> None:
    names = [run(lab, "hostname", host=host, user="root").strip() for host in lab.hosts]
    assert names == ["controller", "login", "c1", "c2", "c3"]
    assert lab.node_states() == {"c1": "idle", "c2": "idle", "c3": "idle"}
    daemons = {host: {s.name for s in lab.services(host)} for host in lab.hosts}
    assert daemons["controller"] == {"munged", "mariadbd", "slurmdbd", "accounts", "slurmctld", "slurmrestd"}
    assert daemons["login"] == {"sshd"}
    assert daemons["c1"] == {"munged", "slurmd"}


def test_slurmrestd_takes_the_lab_s_tokens_and_no_others(lab: Lab) -> None:
    assert read_jobs(lab, lab.token("ada")) == 200
    assert read_jobs(lab, lab.token("ada", lifespan_s=-60)) != 200
    assert read_jobs(lab, sign_token(b"x" * 32, "ada", 60)) != 200


def test_six_users_in_two_accounts_with_three_qos(lab: Lab) -> None:
    rows = run(lab, "sacctmgr", "-nP", "show", "assoc", "format=account,user,qos,fairshare").splitlines()
    assert "physics|ada|debug,high,normal|1" in rows
    assert "quant|dara|debug,high,normal|1" in rows
    assert "physics|||60" in [row.replace("debug,high,normal", "") for row in rows]
    people = run(lab, "sacctmgr", "-nP", "show", "user", "withcoord", "format=user,admin,coord").splitlines()
    assert {"ada|None|", "olga|Operator|", "petra|None|physics,quant"} <= set(people)
    assert set(lab.users) == {"ada", "bo", "chen", "dara", "petra", "olga"}


def test_partitions_gpus_switches_and_licences(lab: Lab) -> None:
    partitions = run(lab, "sinfo", "--noheader", "--format", "%P %l %D")
    assert partitions.splitlines() == ["short 30:00 3", "compute* 1-00:00:00 3", "gpu 8:00:00 1"]
    assert "Gres=gpu:4" in run(lab, "scontrol", "show", "node", "c3")
    switches = run(lab, "scontrol", "show", "topology")
    assert "SwitchName=leaf1" in switches
    assert "SwitchName=leaf2" in switches
    assert "LicenseName=solver" in run(lab, "scontrol", "show", "licenses")


def test_the_site_s_own_rule_refuses_in_its_own_words(lab: Lab) -> None:
    refused = lab.exec("controller", ["sbatch", "--partition=gpu", "--wrap", "true"], user="ada")
    assert not refused.ok
    assert "The gpu partition is for jobs that ask for GPUs" in refused.stderr
    assert run(lab, "srun", "--partition=gpu", "--gres=gpu:2", "sh", "-c", "echo $SLURM_GPUS_ON_NODE").strip() == "2"


def test_an_array_beyond_the_limit_is_refused_by_slurm(lab: Lab) -> None:
    refused = lab.exec("controller", ["sbatch", "--array=0-4000001", "--wrap", "true"], user="ada")
    assert "Invalid job array specification" in refused.stderr


def test_openmetrics_where_the_release_has_it(lab: Lab) -> None:
    if lab.metrics_url is None:
        assert lab.release.version == "24.11"
        return
    with urllib.request.urlopen(f"{lab.metrics_url}/nodes", timeout=10) as reply:
        assert "slurm_nodes" in reply.read().decode()


def test_a_job_s_memory_is_its_share_of_the_node(lab: Lab) -> None:
    script = "scontrol show job $SLURM_JOB_ID"
    assert "mem=4G" in run(lab, "srun", "--ntasks=1", "sh", "-c", script)


def test_numpy_on_every_host_a_user_reaches(lab: Lab) -> None:
    for host in ("login", "c1"):
        assert run(lab, "python3", "-c", "import numpy; print(numpy.arange(4).sum())", host=host).strip() == "6"


def test_mpi_over_two_hosts(lab: Lab) -> None:
    program = lab.home / "ada" / "sum.py"
    program.write_text(
        "from mpi4py import MPI\nimport socket\nc = MPI.COMM_WORLD\n"
        "print(c.allreduce(c.rank), c.size, socket.gethostname(), flush=True)\n"
    )
    out = run(lab, "salloc", "--nodes=2", "--ntasks-per-node=2", "mpirun", "python3", str(Path("/home/ada/sum.py")))
    rows = [line.split() for line in out.splitlines() if line]
    assert [row[:2] for row in rows] == [["6", "4"]] * 4
    assert len({row[2] for row in rows}) == 2


def test_a_job_is_accounted_with_its_script(lab: Lab) -> None:
    job_id = run(lab, "sbatch", "--wait", "--parsable", "--comment=note", "--wrap", "echo accounted").strip()
    deadline = time.monotonic() + 20
    row = ""
    while time.monotonic() < deadline and "COMPLETED" not in row:
        row = run(lab, "sacct", "-nPX", "-j", job_id, "--format=state,account,qos,comment")
    assert row.strip() == "COMPLETED|physics|normal|note"
    assert "echo accounted" in run(lab, "sacct", "-j", job_id, "--batch-script")


def test_the_login_host_has_users_and_homes_and_no_slurm(lab: Lab, tmp_path: Path) -> None:
    key = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    sign = ["ssh-keygen", "-q", "-s", str(lab.ssh_ca_key_path), "-I", "test", "-n", "ada", "-V", "+5m", f"{key}.pub"]
    subprocess.run(sign, check=True)
    address, port = lab.ssh_address

    def ssh(user: str, *argv: str) -> subprocess.CompletedProcess[str]:
        options = ["-i", str(key), "-o", f"UserKnownHostsFile={lab.ssh_known_hosts_path}", "-o", "BatchMode=yes"]
        options += ["-F", "none", "-o", "StrictHostKeyChecking=yes", "-p", str(port)]
        return subprocess.run(
            ["ssh", *options, f"{user}@{address}", *argv], capture_output=True, text=True, check=False
        )

    assert ssh("ada", "id -un; pwd").stdout.split() == ["ada", "/home/ada"]
    assert ssh("ada", "command -v sbatch || command -v munged || echo none").stdout.strip() == "none"
    # The certificate speaks for ada only.
    assert ssh("bo", "id").returncode == 255
    # A line written on a compute host is there at once.
    run(lab, "srun", "sh", "-c", "hostname > /home/ada/where")
    assert ssh("ada", "cat where").stdout.strip() in lab.compute_hosts
