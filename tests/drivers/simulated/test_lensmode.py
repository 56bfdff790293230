"""The simulated lenses keep a value for each mode, and a change takes its time."""

import pytest

from drivers.parts import OpticalMode
from drivers.simulated.latency import Interface
from drivers.simulated.lensmode import LensMode, ModeSettings
from engine.clock import NS_PER_S
from engine.clock.virtual import VirtualClock
from engine.errors import Refused
from tests.engine.virtually import virtual

CALL_S = 0.035


def lenses_of(clock: VirtualClock, settings: ModeSettings | None = None) -> LensMode:
    return LensMode(Interface(clock, 1, CALL_S, jitter=0.0), settings or ModeSettings())


@virtual
async def test_each_mode_remembers_its_own_magnification_or_camera_length(clock: VirtualClock) -> None:
    lenses = lenses_of(clock)
    await lenses.set_camera_length_mm(400.0)
    await lenses.set_mode(OpticalMode.IMAGING)
    await lenses.set_magnification(20_000.0)
    await lenses.set_mode(OpticalMode.LOW_MAG)
    await lenses.set_magnification(80.0)
    await lenses.set_mode(OpticalMode.IMAGING)
    assert await lenses.magnification() == 20_000.0
    await lenses.set_mode(OpticalMode.LOW_MAG)
    assert await lenses.magnification() == 80.0
    await lenses.set_mode(OpticalMode.DIFFRACTION)
    assert await lenses.camera_length_mm() == 400.0


@virtual
async def test_a_change_takes_its_time_and_no_change_a_call(clock: VirtualClock) -> None:
    lenses = lenses_of(clock)
    took_s = []
    for mode in (OpticalMode.IMAGING, OpticalMode.IMAGING):
        began_ns = clock.now_ns()
        await lenses.set_mode(mode)
        took_s.append((clock.now_ns() - began_ns) / NS_PER_S)
    assert took_s == pytest.approx([CALL_S + 0.4, CALL_S])


@virtual
async def test_a_value_that_is_no_step_is_one_more(clock: VirtualClock) -> None:
    lenses = lenses_of(clock, ModeSettings(camera_length_mm=285.0, magnification=5500.0, low_magnification=55.0))
    assert 285.0 in lenses.facts.camera_lengths_mm
    assert 5500.0 in lenses.facts.magnifications[OpticalMode.IMAGING]
    assert 55.0 in lenses.facts.magnifications[OpticalMode.LOW_MAG]
    assert await lenses.camera_length_mm() == 285.0


@pytest.mark.parametrize("mode", OpticalMode)
@virtual
async def test_the_operator_left_it_in_this_mode(clock: VirtualClock, mode: OpticalMode) -> None:
    assert await lenses_of(clock, ModeSettings(mode=mode.value)).mode() is mode


@virtual
async def test_a_mode_that_there_is_not_is_refused(clock: VirtualClock) -> None:
    with pytest.raises(Refused, match="mode = 'diff' is not one of low-mag, imaging, diffraction; nothing was started"):
        lenses_of(clock, ModeSettings(mode="diff"))
