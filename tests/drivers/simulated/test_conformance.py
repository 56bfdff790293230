"""The simulated microscopes keep the contracts of drivers/contract.py, on the virtual clock and on the real one."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from drivers.conformance import (
    Bench,
    Body,
    DeclaredConformance,
    DetectorConformance,
    MicroscopeConformance,
    StageConformance,
)
from drivers.contract import Microscope
from drivers.declared import Declared
from drivers.simulated.microscope import SIMULATED, SIMULATED_TIMING, SimulatedMicroscope
from engine.clock import Clock, RealClock
from engine.clock.virtual import VirtualClock, VirtualLoop

Factory = Callable[[asyncio.AbstractEventLoop], Clock]


def connected(driver: SimulatedMicroscope, clock_of: Factory, loop_factory: Any, options: dict[str, Any]) -> Any:
    """The `run` of a bench: the driver connected on a loop of its own."""

    def run(body: Body) -> None:
        with asyncio.Runner(loop_factory=loop_factory) as runner:
            clock = clock_of(runner.get_loop())
            runner.run(_on(driver, clock, options, body))

    return run


async def _on(driver: SimulatedMicroscope, clock: Clock, options: dict[str, Any], body: Body) -> None:
    async with driver.connect(clock, 7, options) as parts:
        microscope: Microscope = parts.assembled()
        result: Coroutine[Any, Any, None] = body(clock, microscope)  # type: ignore[assignment]
        await result


def on_virtual_time(driver: SimulatedMicroscope, **options: Any) -> Bench:
    def clock_of(loop: asyncio.AbstractEventLoop) -> Clock:
        assert isinstance(loop, VirtualLoop)
        return VirtualClock(loop)

    return Bench(connected(driver, clock_of, VirtualLoop, options))


class TestSimulated(MicroscopeConformance, DeclaredConformance):
    @pytest.fixture
    def bench(self) -> Bench:
        return on_virtual_time(SIMULATED, beam_on=True)

    @pytest.fixture
    def declared(self) -> Declared:
        return SIMULATED.facts({})


class TestSimulatedTiming(MicroscopeConformance, DeclaredConformance):
    @pytest.fixture
    def bench(self) -> Bench:
        return on_virtual_time(SIMULATED_TIMING)

    @pytest.fixture
    def declared(self) -> Declared:
        return SIMULATED_TIMING.facts({})


class TestSlowInterface(MicroscopeConformance, DeclaredConformance):
    """As on systems whose calls take 277 ms."""

    @pytest.fixture
    def declared(self) -> Declared:
        return SIMULATED_TIMING.facts({"api_call_s": 0.277})

    @pytest.fixture
    def bench(self) -> Bench:
        return Bench(on_virtual_time(SIMULATED_TIMING, api_call_s=0.277).run, travel_deg=6.0)


@pytest.mark.realtime
class TestSimulatedTimingOnTheRealClock(DetectorConformance, StageConformance):
    @pytest.fixture
    def bench(self) -> Bench:
        options = {
            "api_call_s": 0.002,
            "detector": {"arm_s": 0.001},
            "stage": {"acceleration_s": 0.01, "pedal_wait_s": (0.01, 0.1)},
        }
        run = connected(SIMULATED_TIMING, lambda _: RealClock(), None, options)
        # The simulated camera spins through the last 3 ms of a readout, as the engine does before a frame.
        return Bench(
            run, exposure_s=0.02, snapshot_exposure_s=0.002, speed_deg_s=10.0, travel_deg=4.0, longest_turn_ms=6.0
        )
