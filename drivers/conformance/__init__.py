"""What every driver promises, as one suite: the contracts of drivers/contract.py, checked on a connected instrument.

A driver's test module inherits the classes of the parts it implements (`MicroscopeConformance` for all) and gives a
fixture `bench`, which connects the instrument, runs a test's coroutine on it and lets go. Nothing here assumes virtual
time: only order, outcome and what readings say are judged, so the same suite runs on the simulation, on recordings
and against fake servers on the real clock. It needs pytest (`pip install "credline[test]"`); nothing else of the
drivers imports it. docs/driver-writing.md shows it at work.
"""

import pytest

# A failed check shows its values, also in the tests of another package.
pytest.register_assert_rewrite(*(f"{__name__}.{part}" for part in ("stage", "column", "detector", "microscope")))

from drivers.conformance.bench import Bench, Body, bench_for, on_bench  # noqa: E402
from drivers.conformance.column import BeamConformance, OpticsConformance  # noqa: E402
from drivers.conformance.detector import DetectorConformance  # noqa: E402
from drivers.conformance.microscope import MicroscopeConformance  # noqa: E402
from drivers.conformance.stage import StageConformance  # noqa: E402

__all__ = [
    "BeamConformance",
    "Bench",
    "Body",
    "DetectorConformance",
    "MicroscopeConformance",
    "OpticsConformance",
    "StageConformance",
    "bench_for",
    "on_bench",
]
