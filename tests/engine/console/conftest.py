"""An opened instrument on virtual time with the controls of the console, and runs that a test looks at."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from engine.clock.virtual import VirtualClock, VirtualLoop
from engine.console.controls import Controls
from engine.run.instrument import Instrument

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
