"""The recorded instrument keeps the contracts of drivers/contract.py and parts.py wherever its recording can.

Every case of the suite is performed twice: on the simulated microscope, behind the gate of a run and with its frames
recorded as a run records them; then on the instrument made from that recording. The case must pass again, and what the
second performance records must be what the first did, byte for byte.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from drivers.conformance import (
    Bench,
    Body,
    DeflectorsConformance,
    IlluminationConformance,
    MicroscopeConformance,
    ModeConformance,
    StageXYZConformance,
)
from drivers.contract import Microscope
from drivers.parts import OPTIONAL_PARTS
from drivers.replayed.microscope import recorded_microscope
from drivers.simulated.microscope import SIMULATED_TIMING
from engine.clock import Clock
from engine.clock.virtual import VirtualClock, VirtualLoop
from engine.frame import Frame
from engine.record.spool import crc_of
from engine.record.trace import Record, Trace
from engine.run.gate import CallGate

EXPOSURE_S, DEFOCUS = 0.1, 1500
PATIENCE_S = 1000.0
BEHIND = ("stage", "beam", "optics", *OPTIONAL_PARTS)

# Case -> why no recording passes it. Each must fail, on the recording and not before.
NOT_ON_A_RECORDING = {
    "test_the_frames_end_after_disarm": "a series and its disarm end at one instant: which was first is lost",
}


class NotTheSame(Exception):
    """A case that passes on the instrument and not on its recording."""


class RecordedFrames:
    """A detector behind the gate. Its frames are recorded when they are taken, and so is what comes instead of one."""

    def __init__(self, gate: CallGate, trace: Trace, detector: Any) -> None:
        self._gate, self._trace, self._taken = gate, trace, 0
        self._detector = gate.wrap("detector", detector)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._detector, name)

    def frames(self) -> AsyncIterator[Frame]:
        return self._recorded(self._detector.frames())

    async def _recorded(self, frames: AsyncIterator[Frame]) -> AsyncIterator[Frame]:
        while True:
            try:
                frame = await self._gate.next_item("detector.frames", frames, PATIENCE_S)
            except StopAsyncIteration:
                return
            fields = {"number": frame.number, "start_ns": frame.start_ns, "end_ns": frame.end_ns}
            index, self._taken = self._taken, self._taken + 1
            arrived_ns, crc = self._trace.now_ns, crc_of(frame)
            self._trace.record(
                "frame", "diffraction", slot=index + 1, **fields, arrived_ns=arrived_ns, index=index, crc=crc
            )
            yield frame


async def performed(body: Body, clock: Clock, microscope: Microscope) -> list[Record]:
    """Perform a case with every device behind the gate; the records of that, as a file would hold them."""
    trace = Trace(clock)
    records: list[Record] = []
    trace.observe(records.append)
    gate = CallGate(clock, trace)
    parts = {name: gate.wrap(name, getattr(microscope, name)) for name in BEHIND}
    detector: Any = RecordedFrames(gate, trace, microscope.detector)
    await body(clock, replace(microscope, **parts, detector=detector))
    return [json.loads(json.dumps(record)) for record in records]


async def on_the_instrument(body: Body, clock: Clock) -> tuple[dict[str, Any], list[Record]]:
    async with SIMULATED_TIMING.connect(clock, 7, {}) as parts:
        microscope = parts.assembled()
        return json.loads(json.dumps(microscope.facts.as_dict())), await performed(body, clock, microscope)


def on_virtual_time(performance: Any) -> Any:
    """What `performance` returns for the clock of a loop of its own."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        loop = runner.get_loop()
        assert isinstance(loop, VirtualLoop)
        return runner.run(performance(VirtualClock(loop)))


def twice(body: Body) -> None:
    """The `run` of a bench: on the instrument, then on its recording."""
    facts, records = on_virtual_time(lambda clock: on_the_instrument(body, clock))
    try:
        again = on_virtual_time(lambda clock: performed(body, clock, recorded_microscope(clock, facts, records)))
    except (Exception, pytest.fail.Exception, pytest.skip.Exception) as error:
        raise NotTheSame("it fails on the recording") from error
    if json.dumps(again) != json.dumps(records):
        raise NotTheSame("what it records differs")


class TestRecorded(
    MicroscopeConformance, StageXYZConformance, DeflectorsConformance, ModeConformance, IlluminationConformance
):
    @pytest.fixture
    def bench(self, request: pytest.FixtureRequest) -> Bench:
        if reason := NOT_ON_A_RECORDING.get(request.node.name):
            request.applymarker(pytest.mark.xfail(strict=True, raises=NotTheSame, reason=reason))
        return Bench(twice, exposure_s=EXPOSURE_S, defocus=DEFOCUS)


def test_what_is_listed_is_in_the_suite() -> None:
    assert all(hasattr(TestRecorded, name.partition("[")[0]) for name in NOT_ON_A_RECORDING)
