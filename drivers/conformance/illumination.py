"""The contract of `drivers.parts.Illumination`, as tests: spot size and brightness kept, limits, cancelled calls."""

# ruff: noqa: D102, S101

import math

import pytest

from drivers.conformance.bench import Bench, cancelled_soon, on_bench
from drivers.conformance.responsive import assert_responsive
from drivers.contract import Microscope
from drivers.parts import Illumination
from engine.clock import Clock
from engine.errors import DeviceError


class IlluminationConformance:
    """The contract of `drivers.parts.Illumination`. Every test puts back what it found."""

    @on_bench
    async def test_spot_sizes_and_limits_make_sense(self, bench: Bench, clock: Clock, microscope: Microscope) -> None:
        facts = _part(microscope).facts
        assert facts.spot_sizes
        assert list(facts.spot_sizes) == sorted(set(facts.spot_sizes))
        low, high = facts.brightness_limits
        assert low < high

    @on_bench
    async def test_every_spot_size_is_kept_and_leaves_the_brightness(
        self, bench: Bench, clock: Clock, microscope: Microscope
    ) -> None:
        illumination = _part(microscope)
        found, brightness = await illumination.spot_size(), await illumination.brightness()
        for value in (*illumination.facts.spot_sizes, found):
            await illumination.set_spot_size(value)
            assert await illumination.spot_size() == value
        assert await illumination.brightness() == brightness

    @on_bench
    async def test_a_brightness_is_kept_and_leaves_the_spot_size(
        self, bench: Bench, clock: Clock, microscope: Microscope
    ) -> None:
        illumination = _part(microscope)
        found, spot_size = await illumination.brightness(), await illumination.spot_size()
        for value in (*illumination.facts.brightness_limits, found):
            await illumination.set_brightness(value)
            assert await illumination.brightness() == value
        assert await illumination.spot_size() == spot_size

    @on_bench
    async def test_what_the_panel_does_not_have_is_refused(
        self, bench: Bench, clock: Clock, microscope: Microscope
    ) -> None:
        illumination = _part(microscope)
        found = await illumination.spot_size(), await illumination.brightness()
        low, high = illumination.facts.brightness_limits
        for spot_size in (min(illumination.facts.spot_sizes) - 1, max(illumination.facts.spot_sizes) + 1):
            with pytest.raises(DeviceError, match="nothing was set"):
                await illumination.set_spot_size(spot_size)
        for brightness in (2 * low - high, 2 * high - low, math.nan):
            with pytest.raises(DeviceError, match="nothing was set"):
                await illumination.set_brightness(brightness)
        if illumination.facts.whole_numbers:
            with pytest.raises(DeviceError, match="not a whole number; nothing was set"):
                await illumination.set_brightness(low + 0.5)
        assert (await illumination.spot_size(), await illumination.brightness()) == found

    @on_bench
    async def test_a_cancelled_call_leaves_the_illumination_usable(
        self, bench: Bench, clock: Clock, microscope: Microscope
    ) -> None:
        illumination = _part(microscope)
        found, brightness = await illumination.spot_size(), await illumination.brightness()
        await cancelled_soon(illumination.set_spot_size(illumination.facts.spot_sizes[-1]))
        await cancelled_soon(illumination.set_brightness(illumination.facts.brightness_limits[0]))
        await cancelled_soon(illumination.spot_size())
        await illumination.set_spot_size(found)
        await illumination.set_brightness(brightness)
        assert (await illumination.spot_size(), await illumination.brightness()) == (found, brightness)

    @on_bench
    async def test_no_call_to_the_illumination_blocks_the_event_loop(
        self, bench: Bench, clock: Clock, microscope: Microscope
    ) -> None:
        illumination = _part(microscope)
        found, brightness = await illumination.spot_size(), await illumination.brightness()
        calls = {
            "illumination.spot_size": illumination.spot_size,
            "illumination.set_spot_size": lambda: illumination.set_spot_size(found),
            "illumination.brightness": illumination.brightness,
            "illumination.set_brightness": lambda: illumination.set_brightness(brightness),
        }
        await assert_responsive(clock, calls)


def _part(microscope: Microscope) -> Illumination:
    assert microscope.illumination is not None, "this instrument has no illumination"
    return microscope.illumination
