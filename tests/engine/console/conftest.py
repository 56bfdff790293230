"""An opened instrument on virtual time with the controls of the console, and runs that a test looks at."""

import asyncio
import json
import os
import signal
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from engine.clock.virtual import VirtualClock, VirtualLoop
from engine.console.controls import Controls
from engine.run.instrument import Instrument
from tests.engine.console.browsing import CHROMIUM, PATIENCE_MS, Program

Scene = Callable[["Asked"], Awaitable[Any]]


class Asked:
    """Requests to the controls, each with an id of its own."""

    def __init__(self, controls: Controls, instrument: Instrument, out: Path) -> None:
        self.controls, self.instrument, self.out, self.clock = controls, instrument, out, instrument.clock
        self._number = 0

    async def __call__(self, ask: str, **more: Any) -> dict[str, Any]:
        self._number += 1
        return await self.controls.answer({"ask": ask, "id": f"request-{self._number}", "who": "a test", **more})

    async def until_over(self) -> dict[str, Any]:
        while (status := await self("status"))["run"] is not None or status["preparing"]:
            await self.clock.sleep_s(1)
        return status


@pytest.fixture
def on_instrument(tmp_path: Path) -> Callable[..., Any]:
    """Plays a scene on an instrument: `on_instrument(scene, devices=..., faults=[...])`."""

    def play(scene: Scene, devices: str = "simulated-timing", faults: tuple[str, ...] = ()) -> Any:
        async def opened() -> Any:
            loop = asyncio.get_running_loop()
            assert isinstance(loop, VirtualLoop)
            async with Instrument.open(devices, VirtualClock(loop), 1, faults, signals=False) as instrument:
                controls = Controls(instrument, tmp_path / "runs")
                await controls.opened()
                told = await scene(Asked(controls, instrument, tmp_path / "runs"))
                await controls.shut("the test is over")
                return told

        with asyncio.Runner(loop_factory=VirtualLoop) as runner:
            return runner.run(opened())

    return play


@pytest.fixture
def console(tmp_path, request) -> Iterator[Program]:
    """A console; with the words that a test gives it by `indirect` parameters."""
    program = Program(tmp_path, *(word.format(folder=tmp_path) for word in getattr(request, "param", ())))
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


SAID_BY_THE_BROWSER = ("ERR_CONNECTION_REFUSED", "400 (Bad Request)")
"""Of a server that a test has ended, and of a request that was refused: the page says both in its own words."""


@pytest.fixture
def page(browser, console):
    """A page that steers, and has nothing to complain of."""
    context = browser.new_context(viewport={"width": 1366, "height": 768})
    page = context.new_page()
    page.set_default_timeout(PATIENCE_MS)
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda said: wrong.append(said.text) if said.type == "error" else None)
    page.goto(console.link)
    page.get_by_text("you steer").wait_for()
    yield page
    context.close()
    assert [text for text in wrong if not any(said in text for said in SAID_BY_THE_BROWSER)] == []
