"""Every fault does what it says, and its undo takes it back, on both releases."""

from __future__ import annotations

import time
import urllib.error
import urllib.request
from collections.abc import Callable

import pytest

from slurmlab import Lab
from slurmlab.errors import HostUnreachable, OrderFailed
from slurmlab.listing import Condition

pytestmark = pytest.mark.lab


def until(what: Callable[[], bool], timeout_s: float = 30) -> None:
    deadline = time.monotonic() + timeout_s
    while not what():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.1)


def state_of(lab: Lab, daemon: str, host: str = "controller") -> str:
    return next(s.state for s in lab.services(host) if s.name == daemon)


def all_idle(lab: Lab) -> bool:
    return set(lab.node_states().values()) == {"idle"}


def reaches(lab: Lab, host: str) -> bool:
    connect = f"import socket; socket.create_connection(('{host}', 6818), 1)"
    return lab.exec("controller", ["python3", "-c", connect]).ok


@pytest.mark.parametrize("daemon", ["slurmctld", "slurmdbd", "slurmrestd"])
def test_a_daemon_is_stopped_killed_and_back(lab: Lab, daemon: str) -> None:
    with lab.fault.daemon_stopped(daemon):
        assert state_of(lab, daemon) == "stopped"
    assert state_of(lab, daemon) == "ready"
    with lab.fault.daemon_killed(daemon):
        assert state_of(lab, daemon) == "stopped"
    assert state_of(lab, daemon) == "ready"
    until(lambda: all_idle(lab))


def test_a_paused_daemon_takes_connections_and_says_nothing(lab: Lab) -> None:
    request = urllib.request.Request(
        f"{lab.slurmrestd_url}/slurm/{lab.release.data_parser}/ping/",
        headers={"X-SLURM-USER-TOKEN": lab.token("ada")},
    )
    with (
        lab.fault.daemon_paused("slurmrestd"),
        pytest.raises((TimeoutError, urllib.error.URLError)),
        urllib.request.urlopen(request, timeout=1),
    ):
        pass
    with urllib.request.urlopen(request, timeout=10) as reply:
        assert reply.status == 200


def test_a_killed_host_is_off_and_comes_back_with_its_node(lab: Lab) -> None:
    with lab.fault.host_killed("c1"):
        summary = next(each for each in Lab.list_all() if each.name == lab.name)
        assert (summary.condition, summary.hosts_down) == (Condition.DEGRADED, ("c1",))
        with pytest.raises(HostUnreachable):
            lab.services("c1")
    until(lambda: all_idle(lab))
    assert lab.exec("controller", ["srun", "-w", "c1", "hostname"], user="ada").stdout.strip() == "c1"


def test_the_controller_forgets_nothing_when_its_plug_is_pulled(lab: Lab) -> None:
    held = lab.exec("controller", ["sbatch", "--parsable", "--hold", "--wrap", "true"], user="ada").stdout.strip()
    lab.exec("controller", ["scontrol", "show", "job", held])
    with lab.fault.daemon_stopped("slurmctld"):
        pass
    with lab.fault.host_killed("controller"):
        pass
    assert f"JobId={held}" in lab.exec("controller", ["scontrol", "show", "job", held]).stdout
    assert lab.exec("controller", ["scancel", held]).ok
    until(lambda: all_idle(lab))


def test_a_paused_host_stands_still(lab: Lab) -> None:
    with lab.fault.host_paused("c2"), pytest.raises(HostUnreachable):
        lab.services("c2", timeout_s=1)
    assert state_of(lab, "slurmd", "c2") == "ready"


def test_a_cut_host_is_lost_and_healed(lab: Lab) -> None:
    assert reaches(lab, "c1")
    with lab.fault.network_cut("c1"):
        assert not reaches(lab, "c1")
    assert reaches(lab, "c1")


def test_a_full_disk_fails_what_writes_to_it(lab: Lab) -> None:
    submit = ["sbatch", "--hold", "--parsable", "--wrap", "true"]
    with lab.fault.disk_full("controller"):
        refused = lab.exec("controller", submit, user="ada")
        assert "I/O error writing script" in refused.stderr
        with pytest.raises(OrderFailed, match="full already"):
            lab.fault.fill_disk("controller")
    accepted = lab.exec("controller", submit, user="ada")
    assert accepted.ok
    assert lab.exec("controller", ["scancel", accepted.stdout.strip()]).ok


def test_a_slow_disk_slows_what_writes_to_it(lab: Lab) -> None:
    submit = ["sbatch", "--hold", "--parsable", "--wrap", "true"]
    with lab.fault.disk_slow("controller", delay_ms=400):
        started = time.monotonic()
        slow = lab.exec("controller", submit, user="ada")
        # slurmctld makes a directory for the job before it answers.
        assert time.monotonic() - started >= 0.4
        assert state_of(lab, "slow-disk") == "ready"
    assert slow.ok
    assert lab.exec("controller", ["scancel", slow.stdout.strip()]).ok
    assert "slow-disk" not in {s.name for s in lab.services("controller")}


def test_a_fault_that_cannot_be_made_says_why(lab: Lab) -> None:
    with pytest.raises(OrderFailed, match="say which one"):
        lab.fault.stop_daemon("slurmd")
    with pytest.raises(OrderFailed, match="no service postfix"):
        lab.fault.stop_daemon("postfix", "c1")
    with pytest.raises(HostUnreachable, match="no host 'c9'"):
        lab.fault.kill_host("c9")
