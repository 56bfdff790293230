"""The console as an operator has it: real processes, a real browser, simulated devices on the real clock.

Where there is no Chromium these tests are skipped, unless CREDLINE_REQUIRE_BROWSER=1.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
REQUIRED = os.environ.get("CREDLINE_REQUIRE_BROWSER") == "1"

pytestmark = [
    pytest.mark.long,
    pytest.mark.realtime,
    pytest.mark.skipif(CHROMIUM is None and not REQUIRED, reason="there is no Chromium"),
]
PROGRAM = "import sys; from engine.commands.program import main; sys.argv[0] = 'credline'; main()"
SHORT = {"sample": "zeolite", "range_deg": "8", "snapshot_interval": "5"}
PATIENCE_MS = 60_000


class Program:
    """A console in a process of its own, and the instrument process that it starts."""

    def __init__(self, folder: Path, *words: str) -> None:
        self.log = folder / f"console-{time.monotonic_ns()}.log"
        self.folder = folder
        environment = {**os.environ, "TMPDIR": str(folder / "tmp")}  # a lock folder of its own
        (folder / "tmp").mkdir(exist_ok=True)
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", PROGRAM, "console", "--port", "0", "--out", str(folder / "runs"), *words],
                stderr=log,
                env=environment,
            )
        self._wait_for(r"enter\?key=")

    def _wait_for(self, pattern: str) -> str:
        for _ in range(1200):
            if found := re.findall(pattern, self.log.read_text()):
                return str(found[-1])
            if self.process.poll() is not None:
                break
            time.sleep(0.1)
        raise AssertionError(self.log.read_text())

    @property
    def link(self) -> str:
        """The link that steers, which has not been used."""
        return re.findall(r"http://\S+enter\S+", self.log.read_text())[-1]

    @property
    def place(self) -> str:
        return self.link.partition("enter")[0]

    @property
    def instrument(self) -> dict:
        """What the instrument process says of itself."""
        return json.loads(next((self.folder / "tmp").glob("credline-*/instrument-*.json")).read_text())

    def end(self, number: int = signal.SIGINT) -> str:
        """End the console; what it said."""
        if self.process.poll() is None:
            self.process.send_signal(number)
            self.process.wait(30)
        return self.log.read_text()


@pytest.fixture
def console(tmp_path) -> Iterator[Program]:
    program = Program(tmp_path)
    try:
        yield program
    finally:
        program.end()
        for file in (tmp_path / "tmp").glob("credline-*/instrument-*.json"):
            with suppress(ProcessLookupError):  # a test has killed it
                os.kill(json.loads(file.read_text())["pid"], signal.SIGTERM)


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser, console):
    """A page that steers, and has nothing to complain of."""
    page = browser.new_page(viewport={"width": 1366, "height": 768})
    page.set_default_timeout(PATIENCE_MS)
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda said: wrong.append(said.text) if said.type == "error" else None)
    page.goto(console.link)
    page.get_by_text("you steer").wait_for()
    yield page
    page.close()
    assert [text for text in wrong if "ERR_CONNECTION_REFUSED" not in text] == []


def _start(page, **keys: str) -> None:
    for key, value in {**SHORT, **keys}.items():
        page.fill(f"#key-{key}", value)
    page.wait_for_function("() => document.getElementById('plan').textContent.includes('Fits')")
    page.locator("#start:not([disabled])").click()
    page.locator("#stop").wait_for()


def _lit(page, state: str) -> None:
    page.wait_for_function(f"() => document.querySelector('#machine .lit')?.textContent.startsWith('{state}')")


def _slots(page, number: int) -> None:
    page.wait_for_function(f"() => window.credline.run?.done >= {number}")


def test_a_run_from_an_empty_page_to_its_report(page, console):
    page.fill("#key-exposure_s", "half a second")
    page.get_by_text("give a plain number of seconds").wait_for()
    assert page.locator("#start").is_disabled()
    page.fill("#key-exposure_s", "0.5")
    _start(page)
    _lit(page, "expose")
    _slots(page, 3)
    page.wait_for_function("() => window.credline.frames >= 2")
    assert page.locator("#status").inner_text() == "running"
    assert page.locator("#beam").inner_text() == "BEAM ON"

    page.reload()  # in the middle
    page.get_by_text("you steer").wait_for()
    _slots(page, 8)
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
    assert {"theme", "red", "frame", "start", "protocol", "tab-runs", "span"} <= reached


def test_a_console_that_is_killed_harms_no_run_and_the_next_one_finds_it(page, console, tmp_path):
    _start(page, range_deg="4")
    _lit(page, "expose")
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
        assert document["result"]["lost_slots"] + document["result"]["frames"] > 10
    finally:
        said = again.end()
    assert "instrument: let go" in said
    assert "Traceback" not in said
    assert not list((tmp_path / "tmp").glob("credline-*/*"))


def test_the_page_says_when_the_instrument_process_is_gone(page, console):
    _start(page)
    _lit(page, "expose")
    os.kill(console.instrument["pid"], signal.SIGKILL)
    page.get_by_text("no instrument").wait_for(timeout=3000)
    page.get_by_text("the instrument process does not answer").wait_for(timeout=3000)
    page.get_by_text("was cut off").wait_for()
