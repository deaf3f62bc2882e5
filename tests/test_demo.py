import os
import subprocess
import sys
from pathlib import Path

import pytest

from real.server import free_port
from slurmlab import Lab

ROOT = Path(__file__).parents[1]


@pytest.mark.lab
@pytest.mark.timeout(600)
def test_the_demo_takes_three_workloads_from_the_wish_to_their_results(slurm_lab: Lab, tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "LAB": slurm_lab.name,
        "SLURM": slurm_lab.release.version,
        "HEADRACE_STATE": str(tmp_path),
        "HEADRACE_LISTEN": f"127.0.0.1:{free_port()}",
    }
    try:
        demo = subprocess.run(
            [sys.executable, ROOT / "scripts/demo.py"], env=environment, capture_output=True, text=True, check=False
        )
    finally:
        down = Path(sys.executable).parent / "headrace-server"
        subprocess.run([down, "down"], env=environment, check=True, capture_output=True)
    assert demo.returncode == 0, demo.stdout + demo.stderr
    rows = {
        line.split()[0]: line
        for line in demo.stdout.split("From the wish to the result")[1].splitlines()
        if line.split()
    }
    assert "completed" in rows["pi-digits"]
    assert "completed" in rows["heat"]
    assert "24 of 24 tasks" in rows["sweep"]
    assert "completed, after sweep" in rows["gather"]
    assert "buy and hold" in demo.stdout
    assert "agree with the serial answer" in demo.stdout
    assert "/login/" in demo.stdout.split("The portal")[1]
