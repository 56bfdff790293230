"""The console as operators have it: maps, clicks, queue, hand-over, calibrations, earlier runs."""

import json
import re

import pytest

from tests.engine.console.browsing import IN_A_BROWSER, PATIENCE_MS, SHORT, lit, press_start, start

pytestmark = IN_A_BROWSER


def _plan(page, protocol, **keys):
    page.locator("#keys .field").first.wait_for()
    if page.input_value("#protocol") != protocol:
        before = page.locator("#summary").inner_text()
        page.select_option("#protocol", protocol)
        page.wait_for_function("before => document.getElementById('summary').textContent !== before", arg=before)
    for key, value in keys.items():
        page.locator(f"#key-{key}").wait_for(state="attached")
        if not page.locator(f"#key-{key}").is_visible():
            page.locator("#more summary").click()
        field = page.locator(f"#key-{key}")
        if field.evaluate("field => field.tagName") == "SELECT":
            field.select_option(value)
        elif value in ("on", "off"):
            field.set_checked(value == "on")
        else:
            field.fill(value)
    page.wait_for_function("() => document.getElementById('plan').textContent.includes('Fits')")


def _begin(page, protocol, **keys):
    _plan(page, protocol, **keys)
    press_start(page)


def _over(page, status):
    page.wait_for_function(f"() => window.credline.run?.status === '{status}'", timeout=4 * PATIENCE_MS)
    page.wait_for_function("() => window.credline.status?.instrument?.run === null")


def _commands(console, name):
    lines = (console.folder / "runs" / name / "trace.jsonl").read_text().splitlines()
    return [record for record in map(json.loads, lines) if record["kind"] == "command"]


def _nothing_serious(page):
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page).response["violations"]
    assert [(each["id"], [node["html"] for node in each["nodes"]]) for each in found] == []


def test_the_map_of_a_serial_run_shows_fields_and_crystals_and_queues_one(page, console):
    _plan(page, "cred", range_deg="42")  # the operator's plan for what the map offers
    _begin(page, "serialed", width_um="26", height_um="13")
    page.locator("canvas.grid-map").wait_for()
    page.wait_for_function("() => window.credline.run?.done >= 1", timeout=3 * PATIENCE_MS)
    caption = page.locator(".panel figcaption")
    caption.filter(has_text=re.compile(r"Grid: .*1 visited.*; [1-9]\d* crystals")).wait_for()
    assert page.locator("#figures", has_text="patterns an hour").count() == 1
    page.locator("canvas.grid-map").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    page.wait_for_function("() => window.credline.row !== null && window.credline.drawn?.row === window.credline.row")
    said = page.locator(".panel output").inner_text()
    assert re.match(r"field \d+, crystal \d+, \d+ nm long", said)
    _nothing_serious(page)
    page.get_by_role("button", name="Queue runs of it").click()
    page.locator("#queue-list li").nth(1).wait_for()
    assert "brought back under the beam" in page.locator("#queue-list li").nth(0).inner_text()
    queued = json.loads((console.folder / "runs" / "queue.json").read_text())["runs"]
    assert [run["protocol"] for run in queued] == ["serialed-recall", "cred"]
    assert "range_deg=42" in queued[1]["settings"]
    assert queued[1]["settings"][-1].startswith("sample=")  # that of the crystal
    page.locator("#newest").click()
    page.wait_for_function("() => window.credline.row === null")
    page.keyboard.press("F8")
    page.get_by_text("the blanker reads as closed").wait_for()
    _over(page, "stopped")
    page.reload()  # the map of a run that is over
    page.wait_for_function("() => /1 visited/.test(document.querySelector('.panel figcaption')?.textContent || '')")


def test_a_click_on_a_snapshot_holds_the_crystal_elsewhere(page, console):
    page.fill("#me", "Anna")
    # Long enough for a cell where frames are lost and live lags: the run is stopped once the page tells one.
    _begin(page, "cred", **{**SHORT, "range_deg": "80"}, tracking="correct", live="on")
    page.locator("#kinds button", has_text="snapshot").click()
    page.locator("#click-hint", has_text="click where the crystal is to be held").wait_for()
    box = page.locator("#frame").bounding_box()
    at = {"x": box["width"] / 2 + 12, "y": box["height"] / 2 - 9}
    page.locator("#frame").click(position=at)
    page.locator("#point-words", has_text="From the next snapshot on the crystal is held").wait_for()
    plain = page.locator("#point-words").inner_text()
    assert _commands(console, "zeolite_001") == []  # nothing is sent by the first one
    page.keyboard.press("Enter")
    page.locator("#say", has_text="Told the run").wait_for()
    page.fill("#mark-words", "ice")
    page.keyboard.press("Enter")
    page.locator("#say", has_text="Marked: ice").wait_for()
    page.locator(".told-table", has_text="cell").wait_for(timeout=2 * PATIENCE_MS)
    page.keyboard.press("F8")
    _over(page, "stopped")
    told, marked, _ = _commands(console, "zeolite_001")
    ((x_nm, y_nm),) = re.findall(r"held (-?\d+) nm along the tilt axis and (-?\d+) nm", plain)
    assert (told["name"], told["reason"]) == ("told", f"track offset {x_nm} {y_nm}")
    assert told["by"].startswith("Anna, browser")
    assert (marked["name"], marked["by"]) == ("marked", told["by"])
    assert marked["reason"].endswith(": ice")


def test_two_tabs_hand_over_and_the_other_one_watches(page, console):
    page.fill("#me", "Anna")
    other = page.context.new_page()
    other.set_default_timeout(PATIENCE_MS)
    other.goto(console.place)
    other.locator("#who", has_text="steers").wait_for()
    other.fill("#me", "Bo")
    assert other.locator("#start").is_disabled()
    assert other.locator("#red").is_enabled()  # for everybody with the cookie
    other.locator("#control", has_text="Take over").click()
    page.locator("#asked-words", has_text="Bo, browser").wait_for()
    other.locator("#asked-words", has_text="was asked").wait_for()
    page.locator("#keep").click()
    other.locator("#say", has_text="you were refused").wait_for()
    other.locator("#control").click()
    page.locator("#give", has_text="Hand over").click()
    other.get_by_text("you steer").wait_for()
    page.locator("#who", has_text="Bo, browser").wait_for()
    assert page.locator("#start").is_disabled()
    start(other)
    page.locator("#stop").wait_for()
    assert not page.locator("#abort").is_visible()
    lit(page, "expose")
    other.reload()  # and steers still
    other.get_by_text("you steer").wait_for()
    page.keyboard.press("F8")  # who watches blanks all the same
    page.get_by_text("the blanker reads as closed").wait_for()
    _over(other, "stopped")
    page.locator("#control").click()
    other.close()  # who steers is gone
    page.get_by_text("you steer").wait_for()


def test_a_queue_is_put_in_order_and_goes_on_by_itself(page, console):
    for sample in ("first", "second", "third"):
        _plan(page, "cred", **{**SHORT, "sample": sample, "range_deg": "2"})
        page.locator("#enqueue:not([disabled])").click()
        page.locator("#say", has_text="Put into the queue").wait_for()
        page.wait_for_function(f"() => document.getElementById('queue-list').textContent.includes('{sample}')")
    page.locator("#tab-queue").click()
    page.locator("#queue-list li", has_text="third").drag_to(page.locator("#queue-list li", has_text="first"))
    page.wait_for_function("() => document.querySelector('#queue-list li').textContent.startsWith('third')")
    page.get_by_role("button", name="Earlier: second").focus()
    page.keyboard.press("Enter")
    page.wait_for_function("() => document.querySelectorAll('#queue-list li')[1].textContent.startsWith('second')")
    page.get_by_role("button", name="Remove: first").click()
    page.wait_for_function("() => document.querySelectorAll('#queue-list li').length === 2")
    _nothing_serious(page)
    page.locator("#go").click()
    page.wait_for_function("() => window.credline.run?.name === 'third_001'")
    page.wait_for_function("() => window.credline.run?.name === 'second_001'", timeout=3 * PATIENCE_MS)
    lit(page, "expose")
    page.locator("#stop").click()
    page.wait_for_function("() => document.getElementById('queue-stands').textContent === 'stands'")
    _over(page, "stopped")
    names = {
        path.name: json.loads((path / "run.json").read_text())["status"]
        for path in (console.folder / "runs").glob("*_001")
    }
    assert names == {"third_001": "done", "second_001": "stopped"}
    page.locator("#tab-runs").click()
    for name in names:
        page.get_by_label(f"Compare {name}").check()
    page.locator("#compared .differs", has_text="stopped").wait_for()
    page.locator("#spread summary").click()
    page.locator("#spread-words", has_text="runs, median").wait_for()
    page.select_option("#figure", "frames")  # a range of 2 deg has no angles of its own
    page.locator("#spread-words", has_text="frames: 2 runs").wait_for()
    page.select_option("#of-status", "stopped")
    page.wait_for_function("() => document.querySelectorAll('#list li').length === 1")
    _nothing_serious(page)


@pytest.mark.parametrize("console", [("--devices", "{folder}/devices.toml")], indirect=True)
def test_a_calibration_is_performed_shown_and_stored(page, console):
    stored = console.folder / "instrument.toml"
    _begin(page, "lens", cycles="3", turns="3", frames="2")
    _over(page, "done")
    page.locator("#kept-lines", has_text="lens_settling_s = ").wait_for(timeout=2 * PATIENCE_MS)
    assert not stored.exists()
    page.locator("#store").click()
    page.locator("#say", has_text="stored in").wait_for()
    assert "lens_settling_s" in stored.read_text()
    before = console.instrument["pid"]
    page.locator("#reopen").click()  # without the command line
    page.locator("#say", has_text="The instrument is open").wait_for(timeout=2 * PATIENCE_MS)
    page.get_by_text("you steer").wait_for()
    assert console.instrument["pid"] != before
    page.locator("#reopen").wait_for(state="hidden")
    page.locator("#start:not([disabled])").wait_for()
