"""What a person does in a browser, on a real Slurm cluster."""

import re
import time
import uuid
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from real.api import Api
from real.server import RealServer

pytestmark = [pytest.mark.browser, pytest.mark.lab]

OpenPage = Callable[..., Page]
WITHIN_MS = 60_000


def test_from_the_login_link_to_the_log_of_a_completed_run(headrace: RealServer, open_page: OpenPage) -> None:
    page = open_page(None, "/")
    expect(page.get_by_role("heading", name="Log in")).to_be_visible()
    link = headrace.login_link("ada")
    page.goto(link)
    page.get_by_role("button", name="Log in").click()
    expect(page).to_have_url(f"{headrace.base_url}/")

    page.get_by_role("link", name="New run").first.click()
    page.get_by_label("Command", exact=True).last.fill("bash -c 'for i in 1 2 3; do echo line $i; sleep 1; done'")
    page.get_by_label("Name").fill("three lines")
    page.get_by_role("button", name="Start").click()

    expect(page.get_by_role("heading", name="three lines")).to_be_visible()
    log = page.get_by_role("log")
    # Neither the states nor the lines need a reload: the page is marked, and a reload would lose the mark.
    page.evaluate("document.body.dataset.mark = 'kept'")
    title = page.locator("#run-title")
    expect(title).to_contain_text("Running", timeout=WITHIN_MS)
    expect(log).to_contain_text("line 1", timeout=WITHIN_MS)
    expect(title).to_contain_text("Completed", timeout=WITHIN_MS)
    expect(log).to_have_text("line 1\nline 2\nline 3\n", timeout=WITHIN_MS)
    expect(page.get_by_text("from intent to running")).to_be_visible()
    expect(page.locator("#run-facts")).to_contain_text("COMPLETED")
    expect(page.get_by_role("button", name="Cancel")).to_have_count(0)
    assert page.evaluate("document.body.dataset.mark") == "kept"

    page.goto(link)
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_text("login-link-used")).to_be_visible()


def test_a_run_is_started_with_the_keyboard_alone(open_page: OpenPage) -> None:
    page = open_page("ada")
    page.keyboard.press("n")
    expect(page.get_by_role("heading", name="New run")).to_be_visible()
    expect(page.locator("#command")).to_be_focused()
    page.keyboard.type("echo typed")
    page.keyboard.press("Tab")
    page.keyboard.type("by keyboard")
    page.keyboard.press("Control+Enter")
    expect(page.get_by_role("heading", name="by keyboard")).to_be_visible()
    expect(page.locator("#run-title")).to_contain_text("Completed", timeout=WITHIN_MS)

    page.goto("/")
    page.keyboard.press("/")
    expect(page.locator("#find")).to_be_focused()
    page.keyboard.type("by key")
    expect(page.locator("#runs-rows tr:visible")).to_have_count(1)
    page.keyboard.press("Escape")
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    expect(page.locator("#run-title")).to_be_visible()


def test_the_first_key_leads_past_the_navigation(open_page: OpenPage) -> None:
    page = open_page("ada")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#content")).to_be_focused()


def test_a_hostile_name_and_log_are_text(open_page: OpenPage) -> None:
    # The fixture fails the test if a dialog opens or the content security policy has to step in.
    hostile = """<img src=x onerror=alert(1)>"><script>alert(2)</script><hx-partial hx-target="body">{{7*7}}"""
    page = open_page("ada", "/runs/new")
    page.get_by_label("Name").fill(hostile)
    page.get_by_text("Script", exact=True).first.click()
    page.locator("#script").fill("#!/bin/bash\necho '</pre><script>alert(3)</script><b>bold</b>'\nsleep 2\n")
    page.get_by_role("button", name="Start").click()
    expect(page.get_by_role("heading", name=hostile)).to_be_visible()
    expect(page.locator("#run-title")).to_contain_text("Completed", timeout=WITHIN_MS)
    expect(page.get_by_role("log")).to_have_text("</pre><script>alert(3)</script><b>bold</b>\n", timeout=WITHIN_MS)
    page.reload()
    expect(page.get_by_role("log")).to_contain_text("</pre><script>alert(3)</script>")
    page.goto("/")
    expect(page.get_by_role("link", name=hostile)).to_be_visible()
    expect(page.get_by_text("Live")).to_be_visible()
    assert page.locator("main img, main script, main b, hx-partial").count() == 0


def test_a_refused_form_keeps_what_was_typed_and_says_what_would_pass(open_page: OpenPage) -> None:
    page = open_page("ada", "/runs/new")
    page.get_by_label("Command", exact=True).last.fill("echo 'kept   as typed'")
    page.get_by_label("Name").fill("kept name")
    page.get_by_label("Time limit").fill("-1")
    page.get_by_label("Memory per node").fill("2G")
    page.get_by_role("button", name="Start").click()
    wrong = page.get_by_label("Time limit")
    expect(wrong).to_have_attribute("aria-invalid", "true")
    expect(wrong).to_be_focused()
    expect(page.locator("#time_limit-error")).to_contain_text("time")
    expect(page.locator("#time_limit-error code")).to_have_text(re.compile("[a-z-]+"))
    expect(page.locator("#command")).to_have_value("echo 'kept   as typed'")
    expect(page.get_by_label("Name")).to_have_value("kept name")
    expect(page.get_by_label("Memory per node")).to_have_value("2G")
    wrong.fill("5")
    page.get_by_role("button", name="Start").click()
    expect(page.get_by_role("heading", name="kept name")).to_be_visible()


def test_cancelling_asks_first(open_page: OpenPage) -> None:
    page = open_page("ada", "/runs/new")
    page.get_by_label("Command", exact=True).last.fill("sleep 600")
    page.get_by_role("button", name="Start").click()
    title = page.locator("#run-title")
    expect(title).to_contain_text("Running", timeout=WITHIN_MS)
    page.get_by_role("button", name="Cancel").click()
    page.get_by_role("button", name="Keep it").click()
    expect(page.get_by_text("Cancel this run?")).to_be_hidden()
    page.get_by_role("button", name="Cancel").click()
    page.get_by_role("button", name="Cancel the run").click()
    expect(title).to_contain_text("Cancelled", timeout=WITHIN_MS)


def test_everything_works_without_scripts(open_page: OpenPage) -> None:
    page = open_page("bo", "/runs/new", java_script_enabled=False)
    page.get_by_label("Command", exact=True).last.fill("echo no scripts here")
    page.get_by_role("button", name="Start").click()
    expect(page.locator("#run-title")).to_be_visible()
    deadline = time.monotonic() + WITHIN_MS / 1000
    while "Completed" not in page.locator("#run-title").inner_text() and time.monotonic() < deadline:
        page.reload()
    expect(page.locator("#run-title")).to_contain_text("Completed")
    expect(page.get_by_role("log")).to_have_text("no scripts here\n")
    page.goto("/")
    expect(page.get_by_role("link", name="echo").or_(page.locator("td.name a"))).to_have_count(1)


def test_a_change_of_state_reaches_the_list_within_two_seconds(headrace: RealServer, open_page: OpenPage) -> None:
    page = open_page("chen")
    expect(page.get_by_role("heading", name="No runs yet")).to_be_visible()
    api = Api(headrace, "chen")
    name = f"seen-{uuid.uuid4().hex[:8]}"
    run_id = api.submit({"name": name, "command": ["sleep", "600"]})
    row = page.locator("#runs-rows tr", has_text=name)
    expect(row).to_be_visible(timeout=2_000)
    expect(row).to_contain_text("Running", timeout=WITHIN_MS)

    api.ask("POST", f"/runs/{run_id}/cancel", {})
    cancelled_at = api.wait_for(run_id, "cancelled")
    cancelled = "id => document.getElementById(id)?.dataset.state === 'cancelled'"
    page.wait_for_function(cancelled, arg=f"run-{run_id}", polling="raf", timeout=2_000)
    assert time.monotonic() - cancelled_at < 2


def test_nobody_sees_another_persons_run(headrace: RealServer, open_page: OpenPage) -> None:
    run_id = Api(headrace, "ada").submit({"name": "private", "command": ["true"]})
    page = open_page("dara")
    answer = page.goto(f"/runs/{run_id}")
    assert answer is not None
    assert answer.status == 404
    expect(page.get_by_text("no-such-run")).to_be_visible()
    operator = open_page("olga", f"/runs/{run_id}")
    expect(operator.get_by_role("heading", name="private")).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_page_is_wider_than_a_phone(open_page: OpenPage, scheme: str) -> None:
    page = open_page("ada", color_scheme=scheme, viewport={"width": 390, "height": 844})
    first = page.locator("td.name a").first.get_attribute("href")
    for path in ("/", "/runs/new", first or "/", "/account", "/login"):
        page.goto(path)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, path
