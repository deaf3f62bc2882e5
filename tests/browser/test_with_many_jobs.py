"""The list follows a cluster on which 4,000 jobs wait."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from real.api import Api
from real.server import RealServer, real_server
from slurmlab import Lab

pytestmark = [pytest.mark.browser, pytest.mark.lab]

PENDING = 4000
WITHIN_S = 2.0


@pytest.fixture
def busy(slurm_lab: Lab) -> Iterator[Lab]:
    """The lab, with 4,000 jobs of somebody else's, held."""
    lab = slurm_lab
    submit = f"seq {PENDING} | xargs -P 8 -I_ sbatch -Q --hold -J waits -o /dev/null --wrap 'sleep 60'"
    lab.exec("controller", ["bash", "-c", f"cd /tmp && {submit}"], user="bo")
    pending = lab.exec("controller", ["squeue", "-h", "-t", "PD", "-n", "waits", "-o", "%i"]).stdout
    assert len(pending.splitlines()) == PENDING
    yield lab
    lab.exec("controller", ["scancel", "-n", "waits"])


@pytest.fixture
def headrace(busy: Lab, tmp_path: Path) -> Iterator[RealServer]:
    """A server of its own, which finds the jobs there when it starts: submitting them is not what is measured."""
    with real_server(busy.name, tmp_path) as server:
        yield server


def test_a_change_of_state_reaches_the_browser_within_two_seconds(
    headrace: RealServer, busy: Lab, open_page: Callable[..., Page]
) -> None:
    page = open_page("petra")
    api = Api(headrace, "petra")
    for number in range(5):
        run_id = api.submit({"name": f"change {number}", "command": ["true"], "options": {"hold": True}})
        row = page.locator(f"#run-{run_id}")
        expect(row).to_contain_text("Waiting", timeout=60_000)
        job_id = api.ask("GET", f"/runs/{run_id}")["job_id"]
        # Changed behind Headrace's back, so that nothing but its watch can tell it; a waiting job is cancelled at once.
        changed_at = time.monotonic()
        busy.exec("controller", ["scancel", str(job_id)], user="petra")
        # Looked at in every frame; `expect` would look once a second by then.
        cancelled = "id => document.getElementById(id)?.dataset.state === 'cancelled'"
        page.wait_for_function(cancelled, arg=f"run-{run_id}", polling="raf", timeout=10_000)
        taken_s = time.monotonic() - changed_at
        assert taken_s < WITHIN_S, f"{taken_s:.2f} s"
