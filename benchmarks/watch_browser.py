"""How long a change of state takes to reach the portal's list of runs in a browser (used by watch.py).

The server is the real process on the same lab. Runs are cancelled with scancel on the cluster, behind the server's
back, so that only its watch can tell; the page is asked at every frame.
"""

import sys
import tempfile
import time
from pathlib import Path

from playwright.sync_api import sync_playwright

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from real.api import Api
from real.server import real_server
from slurmlab import Lab

CHROMIUM = Path("/usr/bin/chromium")
SHOWS = "([id, state]) => document.getElementById(id)?.dataset.state === state"


def browser_latencies(lab: Lab, changes: int, user: str = "chen") -> list[float]:
    """Return, in seconds, how late the browser was for each of `changes` cancellations."""
    late_s: list[float] = []
    with (
        tempfile.TemporaryDirectory() as state,
        real_server(lab.name, Path(state)) as server,
        sync_playwright() as playwright,
    ):
        options = ["--no-sandbox", "--disable-background-networking"]
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=options)
        page = browser.new_page()
        page.goto(server.login_link(user))
        page.get_by_role("button", name="Log in").click()
        page.wait_for_url(f"{server.base_url}/")
        api = Api(server, user)
        for number in range(changes):
            run_id = api.submit({"name": f"change {number}", "command": ["sleep", "600"], "wait_s": 30})
            row = f"run-{run_id}"
            page.wait_for_function(SHOWS, arg=[row, "pending"], timeout=60_000)
            job_id = str(api.ask("GET", f"/runs/{run_id}")["job_id"])
            # Changes fall anywhere between two sweeps.
            page.wait_for_timeout(number * 137 % 1000)
            begun = time.monotonic()
            lab.exec("controller", ["scancel", job_id], user=user)
            page.wait_for_function(SHOWS, arg=[row, "cancelled"], timeout=60_000)
            late_s.append(time.monotonic() - begun)
        browser.close()
    return late_s
