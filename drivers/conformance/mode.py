"""The contract of `drivers.parts.Mode`, as tests: modes, magnifications, camera lengths, and each only in its mode."""

# ruff: noqa: D102, S101

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from drivers.conformance.bench import Bench, cancelled_soon, on_bench
from drivers.conformance.responsive import assert_responsive
from drivers.contract import Microscope
from drivers.parts import Mode, OpticalMode
from engine.clock import Clock
from engine.errors import DeviceError


class ModeConformance:
    """The contract of `drivers.parts.Mode`. Every test puts back the mode that it found."""

    @on_bench
    async def test_the_modes_and_their_steps_make_sense(
        self, bench: Bench, clock: Clock, microscope: Microscope
    ) -> None:
        facts = _part(microscope).facts
        assert facts.modes
        assert set(facts.magnifications) <= set(facts.modes) - {OpticalMode.DIFFRACTION}
        for steps in (*facts.magnifications.values(), facts.camera_lengths_mm):
            assert list(steps) == sorted(set(steps))
            assert all(step > 0 for step in steps)
        assert facts.settling_s >= 0

    @on_bench
    async def test_every_mode_can_be_set_and_is_told(self, bench: Bench, clock: Clock, microscope: Microscope) -> None:
        async with _put_back(microscope) as mode:
            for wanted in mode.facts.modes:
                for _ in range(2):  # setting what is set changes nothing
                    await mode.set_mode(wanted)
                    assert await mode.mode() is wanted

    @on_bench
    async def test_a_mode_that_there_is_not_is_refused(
        self, bench: Bench, clock: Clock, microscope: Microscope
    ) -> None:
        mode = _part(microscope)
        before = await mode.mode()
        for missing in set(OpticalMode) - set(mode.facts.modes):
            with pytest.raises(DeviceError, match="nothing was changed"):
                await mode.set_mode(missing)
        assert await mode.mode() is before

    @on_bench
    async def test_a_magnification_is_kept(self, bench: Bench, clock: Clock, microscope: Microscope) -> None:
        async with _put_back(microscope) as mode:
            for image_mode, steps in mode.facts.magnifications.items():
                await mode.set_mode(image_mode)
                before = await mode.magnification()
                for step in steps[:2]:
                    await mode.set_magnification(step)
                    assert await mode.magnification() == step
                if before in steps:
                    await mode.set_magnification(before)

    @on_bench
    async def test_a_camera_length_is_kept(self, bench: Bench, clock: Clock, microscope: Microscope) -> None:
        async with _put_back(microscope) as mode:
            if not (steps := mode.facts.camera_lengths_mm):
                pytest.skip("which camera lengths there are is not known")
            await mode.set_mode(OpticalMode.DIFFRACTION)
            before_mm = await mode.camera_length_mm()
            for step_mm in steps[:2]:
                await mode.set_camera_length_mm(step_mm)
                assert await mode.camera_length_mm() == step_mm
            if before_mm in steps:
                await mode.set_camera_length_mm(before_mm)

    @on_bench
    async def test_a_step_that_there_is_not_is_refused(
        self, bench: Bench, clock: Clock, microscope: Microscope
    ) -> None:
        async with _put_back(microscope) as mode:
            for wanted in mode.facts.modes:
                await mode.set_mode(wanted)
                diffraction = wanted is OpticalMode.DIFFRACTION
                read = mode.camera_length_mm if diffraction else mode.magnification
                change = mode.set_camera_length_mm if diffraction else mode.set_magnification
                before = await read()
                with pytest.raises(DeviceError, match="nothing was changed"):
                    await change(before + 0.123)
                assert await read() == before

    @on_bench
    async def test_what_belongs_to_another_mode_is_refused(
        self, bench: Bench, clock: Clock, microscope: Microscope
    ) -> None:
        async with _put_back(microscope) as mode:
            for wanted in mode.facts.modes:
                await mode.set_mode(wanted)
                diffraction = wanted is OpticalMode.DIFFRACTION
                read = mode.magnification if diffraction else mode.camera_length_mm
                change = mode.set_magnification if diffraction else mode.set_camera_length_mm
                with pytest.raises(DeviceError, match=f"is in {wanted} mode.*nothing was read"):
                    await read()
                with pytest.raises(DeviceError, match=f"is in {wanted} mode.*nothing was changed"):
                    await change(1000.0)

    @on_bench
    async def test_a_cancelled_call_leaves_the_mode_usable(
        self, bench: Bench, clock: Clock, microscope: Microscope
    ) -> None:
        async with _put_back(microscope) as mode:
            for wanted in mode.facts.modes:
                await cancelled_soon(mode.set_mode(wanted))
                await cancelled_soon(mode.mode())
                await mode.set_mode(wanted)
                assert await mode.mode() is wanted

    @on_bench
    async def test_no_call_to_the_mode_blocks_the_event_loop(
        self, bench: Bench, clock: Clock, microscope: Microscope
    ) -> None:
        async with _put_back(microscope) as mode:
            first, last = mode.facts.modes[0], mode.facts.modes[-1]
            calls = {
                "mode.mode": mode.mode,
                "mode.set_mode": lambda: mode.set_mode(first),
                "mode.set_mode back": lambda: mode.set_mode(last),
            }
            await assert_responsive(clock, calls)


def _part(microscope: Microscope) -> Mode:
    assert microscope.mode is not None, "this instrument has no mode"
    return microscope.mode


@asynccontextmanager
async def _put_back(microscope: Microscope) -> AsyncIterator[Mode]:
    mode = _part(microscope)
    found = await mode.mode()
    try:
        yield mode
    finally:
        await mode.set_mode(found)
