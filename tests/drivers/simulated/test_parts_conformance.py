"""The simulated optional parts keep the contracts of drivers/parts.py, on the virtual clock."""

import pytest

from drivers.conformance import (
    Bench,
    DeflectorsConformance,
    IlluminationConformance,
    ModeConformance,
    StageXYZConformance,
)
from drivers.simulated.microscope import SIMULATED_TIMING
from tests.drivers.simulated.test_conformance import on_virtual_time


class TestSimulatedParts(StageXYZConformance, DeflectorsConformance, ModeConformance, IlluminationConformance):
    @pytest.fixture
    def bench(self) -> Bench:
        return on_virtual_time(SIMULATED_TIMING)


class TestSlowInterface(StageXYZConformance, DeflectorsConformance, ModeConformance, IlluminationConformance):
    """As on systems whose calls take 277 ms."""

    @pytest.fixture
    def bench(self) -> Bench:
        return Bench(on_virtual_time(SIMULATED_TIMING, api_call_s=0.277).run, distance_nm=60_000.0)
