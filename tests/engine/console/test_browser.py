"""The console as an operator has it: a run from its form to its report, and what may go away meanwhile."""

import json
import os
import signal
import time

from tests.engine.console.browsing import IN_A_BROWSER, PATIENCE_MS, Program, lit, slots, start

pytestmark = IN_A_BROWSER


def test_a_run_from_an_empty_page_to_its_report(page, console):
    page.fill("#key-exposure_s", "half a second")
    page.get_by_text("give a plain number of seconds").wait_for()
    assert page.locator("#start").is_disabled()
    page.fill("#key-exposure_s", "0.5")
    start(page)
    lit(page, "expose")
    slots(page, 3)
    page.wait_for_function("() => window.credline.frames >= 2")
    assert page.locator("#status").inner_text() == "running"
    assert page.locator("#beam").inner_text() == "BEAM ON"

    page.reload()  # in the middle
    page.get_by_text("you steer").wait_for()
    slots(page, 8)
    page.wait_for_function("() => window.credline.frames >= 2")
    assert page.locator("#name").inner_text() == "zeolite_001"
    assert page.locator("#second").is_visible()  # the last snapshot

    other = page.context.browser.new_context()  # somebody else's browser
    watching = other.new_page()
    watching.goto(console.place)
    watching.get_by_text("watching only").wait_for()
    watching.wait_for_function("() => window.credline.frames >= 1", timeout=PATIENCE_MS)
    assert watching.locator("#red").is_disabled()
    assert watching.locator("#start").is_disabled()
    assert not watching.locator("#stop").is_visible()
    other.close()

    page.keyboard.press("F8")
    page.get_by_text("the blanker reads as closed").wait_for()
    page.wait_for_function("() => window.credline.run?.status === 'stopped'")
    assert "red button, from the console" in page.locator("#told").inner_text()
    page.wait_for_function("() => document.getElementById('beam').textContent === 'beam off'")
    page.locator("#row").fill("0")  # through the frames of a run that is over
    page.wait_for_function("() => window.credline.drawn?.row === 0")
    page.locator("#report").wait_for()
    with page.expect_popup() as opened:
        page.locator("#report").click()
    assert "zeolite" in opened.value.locator("h1").inner_text()
    opened.value.close()

    page.locator("#tab-runs").click()
    page.locator("#list button", has_text="zeolite_001").wait_for()
    document = json.loads((console.folder / "runs" / "zeolite_001" / "run.json").read_text())
    assert document["status"] == "stopped"
    assert document["result"]["frames"] >= 6


def test_nobody_who_needs_contrast_names_or_a_keyboard_is_left_out(page):
    from axe_playwright_python.sync_playwright import Axe

    for theme in ("dark", "light"):
        if page.locator("html").get_attribute("data-theme") != theme:
            page.locator("#theme").click()
        found = Axe().run(page).response["violations"]
        serious = [(each["id"], [node["html"] for node in each["nodes"]]) for each in found]
        assert [each for each in serious if each] == [], theme
    page.locator("#start:not([disabled])").wait_for()
    reached = set()
    for _ in range(90):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.id"))
    assert {"theme", "red", "frame", "start", "protocol", "tab-runs"} <= reached


def test_a_console_that_is_killed_harms_no_run_and_the_next_one_finds_it(page, console, tmp_path):
    start(page, range_deg="4")
    lit(page, "expose")
    console.end(signal.SIGKILL)
    page.get_by_text("console lost").wait_for()
    again = Program(tmp_path)
    try:
        assert "held by a process that is there already" in again.log.read_text()
        page.goto(again.link)
        page.get_by_text("you steer").wait_for()
        page.wait_for_function("() => window.credline.run?.status === 'done'")
        page.wait_for_function("() => window.credline.status?.instrument?.run === null")
        document = json.loads((tmp_path / "runs" / "zeolite_001" / "run.json").read_text())
        assert (document["status"], document["reason"]) == ("done", "range covered")
        assert document["result"]["frames"] > 0
    finally:
        said = again.end()
    assert "instrument: let go" in said
    assert "Traceback" not in said
    for _ in range(200):  # it ends when it has answered
        if not list((tmp_path / "tmp").glob("credline-*/*")):
            break
        time.sleep(0.1)
    assert not list((tmp_path / "tmp").glob("credline-*/*"))


def test_the_page_says_when_the_instrument_process_is_gone(page, console):
    start(page)
    lit(page, "expose")
    os.kill(console.instrument["pid"], signal.SIGKILL)
    page.get_by_text("no instrument").wait_for(timeout=3000)
    page.get_by_text("the instrument process does not answer").wait_for(timeout=3000)
    page.get_by_text("was cut off").wait_for()
