"""A browser on a real Headrace on a real lab."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, sync_playwright

from real.server import RealServer, real_server
from slurmlab import Lab

CHROMIUM = Path("/usr/bin/chromium")
OpenPage = Callable[..., Page]


@pytest.fixture(scope="session")
def headrace(slurm_lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealServer]:
    with real_server(slurm_lab.name, tmp_path_factory.mktemp("headrace")) as server:
        yield server


@pytest.fixture(scope="module")  # an open Playwright holds this thread's event loop, which async tests need
def chromium() -> Iterator[Browser]:
    if not CHROMIUM.exists():
        raise RuntimeError("Chromium is not installed: scripts/apt-install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-background-networking"]
        )
        yield browser
        browser.close()


@pytest.fixture
def open_page(headrace: RealServer, chromium: Browser) -> Iterator[OpenPage]:
    """Open a page as a person who logged in by a link (or as nobody). Any error that a page logs fails the test."""
    contexts: list[BrowserContext] = []
    complaints: list[str] = []

    def note(message: ConsoleMessage) -> None:
        # Error pages and refused forms answer 4xx: Chromium logs those, and they are meant.
        if message.type in {"error", "warning"} and not re.search(r"status of 4[0-9][0-9]", message.text):
            complaints.append(message.text)

    def open_as(user: str | None, path: str = "/", **options: object) -> Page:
        context = chromium.new_context(base_url=headrace.base_url, **options)  # pyright: ignore[reportArgumentType]
        context.set_default_timeout(20_000)
        contexts.append(context)
        page = context.new_page()
        page.on("console", note)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("dialog", lambda dialog: complaints.append(f"a dialog opened: {dialog.message}"))
        if user is not None:
            page.goto(headrace.login_link(user))
            page.get_by_role("button", name="Log in").click()
            page.get_by_role("heading", name=re.compile("runs", re.IGNORECASE)).first.wait_for()
        if path != "/" or user is None:
            page.goto(path)
        return page

    yield open_as
    for context in contexts:
        context.close()
    assert complaints == []
