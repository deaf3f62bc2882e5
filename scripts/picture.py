"""Take the README's picture from a real run. Usage: picture.py LOGIN_LINK, while `make up` is running."""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from urllib.parse import urlsplit

from playwright.sync_api import sync_playwright

ROOT = Path(__file__).resolve().parents[1]
TARGET = ROOT / "docs/images/run.png"
PROGRAM = """
import time
import numpy as np

SPOT, STRIKE, RATE, VOLATILITY, YEARS = 100.0, 105.0, 0.03, 0.2, 1.0
print(f"European call: spot {SPOT:g}, strike {STRIKE:g}, volatility {VOLATILITY:.0%}, {YEARS:g} year", flush=True)
random, total, squares, paths = np.random.default_rng(7), 0.0, 0.0, 0
while True:
    draws = random.standard_normal(200_000)
    ends = SPOT * np.exp((RATE - VOLATILITY**2 / 2) * YEARS + VOLATILITY * np.sqrt(YEARS) * draws)
    payoffs = np.exp(-RATE * YEARS) * np.maximum(ends - STRIKE, 0)
    total, squares, paths = total + payoffs.sum(), squares + (payoffs**2).sum(), paths + payoffs.size
    price = total / paths
    error = np.sqrt((squares / paths - price**2) / paths)
    print(f"{paths:>12,} paths   price {price:.5f}   standard error {error:.5f}", flush=True)
    time.sleep(0.7)
"""


def main(link: str) -> None:
    """Start a run as the link's person, look at its page after a while, and keep what is seen."""
    address = urlsplit(link)
    headrace = ROOT / ".venv/bin/headrace"
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        environment = {**os.environ, "XDG_CONFIG_HOME": folder}
        subprocess.run([headrace, "login", link], check=True, env=environment)
        Path(folder, "price.py").write_text(PROGRAM)
        asked = [headrace, "run", "--name", "option-price", "--nodes", "1", "--time", "20", "--mem", "1G"]
        asked += ["--bring", "price.py", "--", "python3", "price.py"]
        run = subprocess.run(asked, check=True, env=environment, cwd=folder, stdout=subprocess.PIPE, text=True)
        second = subprocess.run(
            [ROOT / ".venv/bin/headrace-server", "login-link", "ada"], check=True, stdout=subprocess.PIPE, text=True
        )
        time.sleep(14)
        browser = playwright.chromium.launch(
            executable_path="/usr/bin/chromium", args=["--no-sandbox", "--disable-background-networking"]
        )
        page = browser.new_page(viewport={"width": 1180, "height": 860}, device_scale_factor=1.5)
        page.goto(second.stdout.strip())
        page.get_by_role("button", name="Log in").click()
        page.goto(f"{address.scheme}://{address.netloc}/runs/{run.stdout.strip()}")
        page.get_by_text("paths").first.wait_for()
        page.wait_for_timeout(1500)
        TARGET.parent.mkdir(exist_ok=True)
        page.screenshot(path=TARGET)
        browser.close()
        subprocess.run([headrace, "cancel", run.stdout.strip()], check=True, env=environment)


if __name__ == "__main__":
    main(sys.argv[1])
