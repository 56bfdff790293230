"""What an opened instrument does beside its runs: the timing test again, and parts connected anew."""

from pathlib import Path

import pytest

import engine.run.instrument as opened
from engine.clock import Clock, RealClock
from engine.clock.selftest import TimingHealth
from engine.run.instrument import Instrument
from tests.engine.run.toy_session import TOY, ToyPlan
from tests.engine.virtually import really


@pytest.mark.realtime
@pytest.mark.parametrize(
    ("good_for_s", "beam_on", "tests"), [(600.0, False, 1), (0.0, False, 2), (0.0, True, 1)],
    ids=["young", "old", "old, with the beam on"],
)  # fmt: skip
@really
async def test_the_timing_test_is_repeated_when_it_is_old_and_the_beam_is_off(
    clock: RealClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, good_for_s: float, beam_on: bool, tests: int
) -> None:
    asked: list[Clock] = []

    async def measure(clock: Clock) -> TimingHealth:
        asked.append(clock)
        return TimingHealth(0.0, 0.0, 0.0)

    monkeypatch.setattr(opened, "TIMING_GOOD_FOR_S", good_for_s)
    monkeypatch.setattr(opened, "measure_timing", measure)
    async with Instrument.open("simulated-timing", clock, signals=False) as instrument:
        for _ in range(2):
            await instrument.perform(TOY, ToyPlan(light_s=0.05), out=tmp_path)
            if beam_on:
                await instrument.microscope.beam.unblank()
    assert len(asked) == tests
