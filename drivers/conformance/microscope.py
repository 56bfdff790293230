"""The contract of a whole `drivers.contract.Microscope`, as tests: the four parts, side by side."""

# ruff: noqa: D102, S101

import asyncio
import json

from drivers.conformance.bench import Bench, on_bench
from drivers.conformance.column import BeamConformance, OpticsConformance
from drivers.conformance.detector import DetectorConformance
from drivers.conformance.stage import StageConformance
from drivers.contract import Microscope
from drivers.facts import Facts
from engine.clock import NS_PER_MS, Clock, ns


class MicroscopeConformance(StageConformance, BeamConformance, OpticsConformance, DetectorConformance):
    """The four contracts, and that the parts work side by side."""

    @on_bench
    async def test_timing_is_declared(self, bench: Bench, clock: Clock, microscope: Microscope) -> None:
        timing = microscope.facts.timing
        assert 0 < timing.api_call_s <= timing.api_call_worst_s
        assert timing.stage_read_s > 0

    @on_bench
    async def test_what_it_tells_of_itself_is_read_again_from_a_header(
        self, bench: Bench, clock: Clock, microscope: Microscope
    ) -> None:
        facts = microscope.facts
        assert Facts.of(json.loads(json.dumps(facts.as_dict()))) == facts

    @on_bench
    async def test_calls_to_several_devices_at_once_are_all_answered(
        self, bench: Bench, clock: Clock, microscope: Microscope
    ) -> None:
        focus = await microscope.optics.focus()
        _, reading, _, blanked = await asyncio.gather(
            microscope.beam.blank(),
            microscope.stage.angle(),
            microscope.optics.set_focus(focus + bench.defocus),
            microscope.beam.is_blanked(),
        )
        assert blanked is True
        assert reading.t_before_ns <= reading.t_after_ns
        await microscope.optics.set_focus(focus)

    @on_bench
    async def test_an_exposure_goes_on_during_other_calls(
        self, bench: Bench, clock: Clock, microscope: Microscope
    ) -> None:
        frames = await self._arm(bench, microscope)
        began_ns = await microscope.detector.start(bench.exposure_s)
        for _ in range(3):
            await microscope.stage.angle()
        frame = await anext(frames)
        assert abs(frame.start_ns - began_ns) <= NS_PER_MS
        assert frame.end_ns - frame.start_ns < 2 * ns(bench.exposure_s)
