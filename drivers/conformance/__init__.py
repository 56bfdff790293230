"""What every driver promises, as one suite: the contracts of drivers/contract.py, checked on a connected instrument.

A driver's test module inherits the classes of the parts it implements (`MicroscopeConformance` for the four that cRED
needs; `StageXYZConformance` and those after it for the parts that not every instrument has) and gives a
fixture `bench`, which connects the instrument, runs a test's coroutine on it and lets go. `DeclaredConformance` takes a
fixture `declared` as well, what the driver says of itself without a connection. Nothing here assumes virtual
time: only order, outcome and what readings say are judged, so the same suite runs on the simulation, on recordings
and against fake servers on the real clock. It needs pytest (`pip install -e ".[test]"`); nothing else of the
drivers imports it. docs/driver-writing.md shows it at work.
"""

import pytest

# A failed check shows its values, also in the tests of another package.
PARTS = ("stage", "column", "detector", "microscope", "stagexyz", "deflectors", "mode", "illumination", "declared")
pytest.register_assert_rewrite(*(f"{__name__}.{part}" for part in PARTS))

from drivers.conformance.bench import Bench, Body, bench_for, on_bench  # noqa: E402
from drivers.conformance.column import BeamConformance, OpticsConformance  # noqa: E402
from drivers.conformance.declared import DeclaredConformance  # noqa: E402
from drivers.conformance.deflectors import DeflectorsConformance  # noqa: E402
from drivers.conformance.detector import DetectorConformance  # noqa: E402
from drivers.conformance.illumination import IlluminationConformance  # noqa: E402
from drivers.conformance.microscope import MicroscopeConformance  # noqa: E402
from drivers.conformance.mode import ModeConformance  # noqa: E402
from drivers.conformance.stage import StageConformance  # noqa: E402
from drivers.conformance.stagexyz import StageXYZConformance  # noqa: E402

__all__ = [
    "BeamConformance",
    "Bench",
    "Body",
    "DeclaredConformance",
    "DeflectorsConformance",
    "DetectorConformance",
    "IlluminationConformance",
    "MicroscopeConformance",
    "ModeConformance",
    "OpticsConformance",
    "StageConformance",
    "StageXYZConformance",
    "bench_for",
    "on_bench",
]
