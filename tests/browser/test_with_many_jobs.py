"""The list follows a cluster on which 4,000 jobs wait. Named to run last: they fill the lab's queue."""

import time
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Page, expect

from real.api import Api
from real.server import RealServer
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


def test_a_change_of_state_reaches_the_browser_within_two_seconds(
    headrace: RealServer, busy: Lab, open_page: Callable[..., Page]
) -> None:
    page = open_page("chen")
    api = Api(headrace, "chen")
    for number in range(3):
        run_id = api.submit({"name": f"change {number}", "command": ["sleep", "600"]})
        row = page.locator(f"#run-{run_id}")
        expect(row).to_contain_text("Running", timeout=60_000)
        job_id = api.ask("GET", f"/runs/{run_id}")["job_id"]
        # Changed behind Headrace's back, so that nothing but its watch can tell it.
        changed_at = time.monotonic()
        busy.exec("controller", ["scancel", str(job_id)], user="chen")
        expect(row).to_contain_text("Cancelled", timeout=10_000)
        assert time.monotonic() - changed_at < WITHIN_S
