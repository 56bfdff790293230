"""How long the pattern takes to settle: seen by the camera on the simulated microscope, beam on, and put back."""

from dataclasses import replace
from typing import Any

import pytest

from drivers.check.settling import Settling, measure_settling
from drivers.contract import Microscope
from drivers.simulated.microscope import SIMULATED
from engine.clock.virtual import VirtualClock
from engine.errors import DeviceError
from tests.drivers.check.test_measure import Wrapped
from tests.engine.virtually import virtual


async def settling(clock: VirtualClock, defocus: int, **options: Any) -> Settling:
    async with SIMULATED.connect(clock, 3, options) as parts:
        microscope: Microscope = parts.assembled()
        focus = await microscope.optics.focus()
        found = await measure_settling(clock, microscope, 0.02, defocus)
        assert await microscope.beam.is_blanked()
        assert await microscope.optics.focus() == focus
    return found


@pytest.mark.long
@pytest.mark.parametrize("slow_s", [0.05, 0.168])
@virtual
async def test_it_grows_with_the_lens_own_time(clock: VirtualClock, slow_s: float) -> None:
    found = await settling(clock, 1500, lens={"slow_s": slow_s})
    assert found.settled_s is not None
    assert slow_s / 2 < found.settled_s < 6 * slow_s
    assert found.left_share(0.0) > found.left_share(slow_s / 2) > found.left_share(found.settled_s)
    assert abs(found.left_share(found.settled_s)) < 0.01


@virtual
async def test_a_picture_that_shows_no_defocus_tells_nothing(clock: VirtualClock) -> None:
    async with SIMULATED.connect(clock, 3, {}) as parts:
        microscope: Microscope = parts.assembled()

        async def set_focus(value: int) -> None:
            """Of a lens that is not in the beam's way."""

        microscope = replace(microscope, optics=Wrapped(microscope.optics, set_focus=set_focus))
        found = await measure_settling(clock, microscope, 0.02, 1500)
    assert found.settled_s is None
    assert "the same in and out of focus" in found.why


@virtual
async def test_a_camera_that_fails_leaves_the_beam_off(clock: VirtualClock) -> None:
    async with SIMULATED.connect(clock, 3, {}) as parts:
        microscope: Microscope = parts.assembled()
        begun = 0

        async def start(exposure_s: float) -> int:
            nonlocal begun
            begun += 1
            if begun == 12:
                raise DeviceError("broken")
            return await microscope.detector.start(exposure_s)

        broken = replace(microscope, detector=Wrapped(microscope.detector, start=start))
        focus = await microscope.optics.focus()
        with pytest.raises(DeviceError, match="broken"):
            await measure_settling(clock, broken, 0.02, 1500)
        assert await microscope.beam.is_blanked()
        assert await microscope.optics.focus() == focus
