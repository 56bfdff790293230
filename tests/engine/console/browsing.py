"""A console as an operator has it: real processes, a real browser, simulated devices on the real clock.

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
from pathlib import Path

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
REQUIRED = os.environ.get("CREDLINE_REQUIRE_BROWSER") == "1"

IN_A_BROWSER = [
    pytest.mark.long,
    pytest.mark.realtime,
    pytest.mark.skipif(CHROMIUM is None and not REQUIRED, reason="there is no Chromium"),
]
PROGRAM = "import sys; from engine.commands.program import main; sys.argv[0] = 'credline'; main()"
SHORT = {"sample": "zeolite", "range_deg": "8", "snapshot_interval": "5"}
PATIENCE_MS = 180_000
LARGE_CAMERA = """[microscope]
driver = "simulated"
[microscope.pictures]
shape = [1400, 1400]
wide_cross = false
"""


class Program:
    """A console in a process of its own, and the instrument process that it starts."""

    def __init__(self, folder: Path, *words: str) -> None:
        self.log = folder / f"console-{time.monotonic_ns()}.log"
        self.folder = folder
        environment = {**os.environ, "TMPDIR": str(folder / "tmp")}  # a lock folder of its own
        (folder / "tmp").mkdir(exist_ok=True)
        (folder / "devices.toml").write_text('instrument = "instrument.toml"\n[microscope]\ndriver = "simulated"\n')
        (folder / "large.toml").write_text(LARGE_CAMERA)
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
            self.process.wait(PATIENCE_MS / 1000)
        return self.log.read_text()


def start(page, **keys: str) -> None:
    """Begin a short run of cRED."""
    for key, value in {**SHORT, **keys}.items():
        page.fill(f"#key-{key}", value)
    page.wait_for_function("() => document.getElementById('plan').textContent.includes('Fits')")
    press_start(page)


def press_start(page) -> None:
    """Begin what is planned; on a machine that is busy just then, in spite of its timing."""
    page.locator("#start:not([disabled])").click()
    stop, all_the_same = page.locator("#stop"), page.locator("#accept-timing")
    stop.or_(all_the_same).locator("visible=true").wait_for()
    if all_the_same.is_visible():
        all_the_same.click()
    stop.wait_for()


def lit(page, state: str) -> None:
    """Wait until a state is active."""
    page.wait_for_function(f"() => document.querySelector('#machine .lit')?.textContent.startsWith('{state}')")


def slots(page, number: int) -> None:
    """Wait until so many slots are over."""
    page.wait_for_function(f"() => window.credline.run?.done >= {number}")
