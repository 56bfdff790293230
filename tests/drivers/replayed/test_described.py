"""What a header holds of an instrument is enough to make it again, of the parts that were there."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from drivers.contract import Microscope
from drivers.facts import Facts
from drivers.parts import IlluminationFacts
from drivers.replayed.microscope import recorded_microscope
from drivers.replayed.whatif import what_if_microscope
from drivers.simulated.microscope import SIMULATED_TIMING
from engine.clock import Clock
from engine.clock.virtual import VirtualClock, VirtualLoop
from engine.errors import DataError, DeviceError, Refused
from engine.record.trace import jsonable

Again = Callable[[Clock, dict[str, Any], list[dict[str, Any]]], Microscope]


def recorded(clock: Clock, told: dict[str, Any], records: list[dict[str, Any]]) -> Microscope:
    return recorded_microscope(clock, told, records)


def asked(clock: Clock, told: dict[str, Any], records: list[dict[str, Any]]) -> Microscope:
    header = {"kind": "header", "name": "credline", "instrument": told}
    return what_if_microscope(clock, [header, *records], {}, settling_s=None, dead_time_s=None, beam_on=False, seed=0)


AGAIN = pytest.mark.parametrize("again", [recorded, asked])


def on_virtual_time(work: Callable[[VirtualClock], Any]) -> Any:
    async def main() -> Any:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        return await work(VirtualClock(loop))

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main())


def told_by_the_simulated(**changes: Any) -> dict[str, Any]:
    async def work(clock: VirtualClock) -> dict[str, Any]:
        async with SIMULATED_TIMING.connect(clock, 1, {}) as parts:
            facts = replace(parts.assembled(), **changes).facts
            told: dict[str, Any] = json.loads(json.dumps(facts.as_dict()))
            return told

    told: dict[str, Any] = on_virtual_time(work)
    return told


@AGAIN
def test_a_part_that_was_not_there_is_not_there_again(again: Again) -> None:
    told = told_by_the_simulated(stage=None, detector=None)
    assert not {"stage", "detector"} & set(told)

    async def work(clock: VirtualClock) -> None:
        microscope: Any = again(clock, told, [])  # a microscope's type has every part
        assert (microscope.stage, microscope.detector) == (None, None)
        assert microscope.beam is not None
        assert microscope.optics is not None

    on_virtual_time(work)


@AGAIN
def test_a_plan_is_prepared_from_what_the_run_knew(again: Again) -> None:
    told = told_by_the_simulated()

    async def work(clock: VirtualClock) -> None:
        facts, before = again(clock, told, []).facts, Facts.of(told)
        for name in ("geometry", "timing", "stage", "optics", "detector"):
            assert getattr(facts, name) == getattr(before, name)

    on_virtual_time(work)


def test_a_header_without_a_geometry_describes_no_instrument() -> None:
    async def work(clock: VirtualClock) -> None:
        with pytest.raises(DataError, match=r"instrument\.geometry"):
            recorded_microscope(clock, {}, [])

    on_virtual_time(work)


ROTATED = {"kind": "call", "name": "stage.rotate", "args": [1.0, 1.0], "begin_ns": 0, "end_ns": 1, "result": None}


def test_what_if_needs_readings_only_of_a_stage_that_moved_or_is_asked() -> None:
    told = told_by_the_simulated()

    async def work(clock: VirtualClock) -> None:
        stage = asked(clock, told, []).stage
        await stage.stop()
        with pytest.raises(DeviceError, match="never read it"):
            await stage.angle()
        with pytest.raises(Refused, match="fewer than two stage readings"):
            asked(clock, told, [ROTATED])

    on_virtual_time(work)


def test_what_if_has_the_facts_of_an_optional_part_and_no_answers() -> None:
    facts = IlluminationFacts((1, 2, 3), (0.0, 65535.0), whole_numbers=True)
    told = {**told_by_the_simulated(mode=None), "illumination": json.loads(json.dumps(jsonable(facts)))}

    async def work(clock: VirtualClock) -> None:
        microscope = asked(clock, told, [])
        assert microscope.mode is None
        assert microscope.illumination is not None
        assert microscope.illumination.facts == facts
        with pytest.raises(DeviceError, match=r"illumination\.set_spot_size: the recorded run never called"):
            await microscope.illumination.set_spot_size(2)
        called = {**ROTATED, "name": "illumination.spot_size", "args": [], "result": 1}
        with pytest.raises(Refused, match=r"used its illumination \(1 call\)"):
            asked(clock, told, [called])

    on_virtual_time(work)
