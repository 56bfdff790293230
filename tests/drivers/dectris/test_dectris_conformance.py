"""The DECTRIS driver keeps the contract of a detector: with eiger-simulator's process, and with our emulator."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from drivers.conformance import Bench, Body, DeclaredConformance, DetectorConformance
from drivers.declared import Declared
from drivers.dectris.driver import DECTRIS
from engine.clock import RealClock
from tests.drivers.eigersim import EigerSimulator, prepared
from tests.drivers.emulators.simplon import SimplonEmulator
from tests.drivers.onlyacamera import only_a_camera

pytest.importorskip("dectris.compression", reason="make counterparts installs it; it needs a compiler")


async def with_camera(options: dict[str, Any], body: Body) -> None:
    clock = RealClock()
    async with DECTRIS.connect(clock, 7, options) as parts:
        await body(clock, only_a_camera(parts))


@pytest.fixture(scope="module", params=["bslz4", "lz4"])
def simulator(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[EigerSimulator]:
    simulator = prepared(tmp_path_factory.mktemp("eigersim"), request.param)
    with simulator.running():
        yield simulator


@pytest.mark.counterpart
@pytest.mark.realtime
class TestPacedByEigerSimulator(DetectorConformance, DeclaredConformance):
    """A self-paced series of the simulator, both compressions."""

    @pytest.fixture
    def declared(self, simulator: EigerSimulator) -> Declared:
        return DECTRIS.facts(simulator.options)

    @pytest.fixture
    def bench(self, simulator: EigerSimulator) -> Bench:
        return Bench(lambda body: asyncio.run(with_camera(simulator.options, body)))


async def with_emulator(options: dict[str, Any], body: Body) -> None:
    emulator = SimplonEmulator()
    async with emulator.serving():
        await with_camera({**emulator.options, **options}, body)


@pytest.mark.realtime
class TestTriggered(DetectorConformance, DeclaredConformance):
    """One trigger an exposure, as on a detector with the API 1.8; our emulator."""

    @pytest.fixture
    def declared(self) -> Declared:
        return DECTRIS.facts({"overhead_s": 0.3})

    @pytest.fixture
    def bench(self) -> Bench:
        return Bench(lambda body: asyncio.run(with_emulator({}, body)))


@pytest.mark.realtime
class TestPaced(DetectorConformance, DeclaredConformance):
    """The same detector, pacing itself; our emulator."""

    @pytest.fixture
    def declared(self) -> Declared:
        return DECTRIS.facts({"overhead_s": 0.3, "series": "paced"})

    @pytest.fixture
    def bench(self) -> Bench:
        return Bench(lambda body: asyncio.run(with_emulator({"series": "paced"}, body)))
