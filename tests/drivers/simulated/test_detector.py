"""The camera's timing to the nanosecond, what it sees of the instrument, and what happens when a picture fails."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from drivers.contract import Microscope
from drivers.facts import Geometry
from drivers.simulated.detector import DetectorSettings, Timepix
from drivers.simulated.microscope import SIMULATED, SIMULATED_TIMING
from drivers.simulated.picturesettings import PictureSettings
from drivers.simulated.shots import CrystalSource, Shot
from engine.clock import NS_PER_S, RealClock, ns
from engine.clock.virtual import VirtualClock
from engine.errors import Refused
from engine.frame import Frame, Picture
from tests.engine.virtually import really, virtual

EXPOSURE = (0.5, 0.01)


@dataclass
class Studio:
    """Pictures of one pixel; `fail_at` is the number of the one that cannot be made."""

    fail_at: int = -1
    made: list[tuple[int, int]] = field(default_factory=list)
    clock: VirtualClock | None = None

    async def open(self) -> None: ...

    async def picture(self, shot: Shot) -> NDArray[np.uint16]:
        if shot.number == self.fail_at:
            raise RuntimeError("no picture")
        assert self.clock is not None
        self.made.append((shot.number, self.clock.now_ns()))
        return np.full((1, 1), shot.number, np.uint16)

    def foresee(self, shot: Shot) -> None:
        raise AssertionError("no test looks ahead")

    def show(self, source: CrystalSource) -> None:
        raise AssertionError("no test shows it another crystal")

    def equip(self, geometry: Geometry, settings: PictureSettings) -> None:
        raise AssertionError("no test gives it another camera")

    def close(self) -> None: ...


def look(number: int, begin_ns: int, end_ns: int, exposure_s: float) -> Shot:
    return Shot(number, 0.0, 0.0, exposure_s, 1.0, 0.0, (0.0, 0.0), 0)


def camera(
    clock: VirtualClock, settings: DetectorSettings | None = None, *, seed: int = 1, studio: Studio | None = None
) -> Timepix:
    studio = studio or Studio()
    studio.clock = clock
    return Timepix(clock, seed, settings or DetectorSettings(), studio, look, (1, 1), 11810, True, None)


async def one(detector: Timepix, frames: AsyncIterator[Frame], exposure_s: float = 0.5) -> Frame:
    await detector.start(exposure_s)
    return await anext(frames)


@virtual
async def test_a_frame_is_there_after_exposure_readout_and_overhead(clock: VirtualClock) -> None:
    detector = camera(clock)
    await detector.arm(EXPOSURE)
    frames = detector.frames()
    waits = []
    for _ in range(200):
        began_ns = clock.now_ns()
        frame = await one(detector, frames)
        assert (frame.start_ns, frame.end_ns) == (began_ns, began_ns + ns(0.5))
        waits.append((clock.now_ns() - frame.end_ns) / NS_PER_S)
    assert 0.011 <= min(waits) < 0.0111
    assert 0.0119 < max(waits) <= 0.012


@virtual
async def test_the_cycle_is_the_worst_case(clock: VirtualClock) -> None:
    assert camera(clock).facts.cycle_s(0.5) == pytest.approx(0.512)


@given(exposure_s=st.floats(0.001, 10.0), seed=st.integers(0, 1000))
@virtual
async def test_whatever_the_exposure_the_camera_is_ready_after_its_cycle(
    clock: VirtualClock, exposure_s: float, seed: int
) -> None:
    detector = camera(clock, seed=seed)
    await detector.arm((exposure_s, exposure_s))
    for _ in range(5):
        began_ns = await detector.start(exposure_s)
        await clock.sleep_until(began_ns + ns(detector.facts.cycle_s(exposure_s)))


@virtual
async def test_the_first_frames_after_arming_can_be_slow(clock: VirtualClock) -> None:
    detector = camera(clock, DetectorSettings(overhead_s=(0.003, 0.003), slow_first_s=(0.3, 0.05)))
    for _ in range(2):  # every time it is armed
        await detector.arm(EXPOSURE)
        frames = detector.frames()
        took_ns = []
        for _ in range(3):
            began_ns = clock.now_ns()
            await one(detector, frames)
            took_ns.append(clock.now_ns() - began_ns)
        assert took_ns == [ns(0.811), ns(0.561), ns(0.511)]
        await detector.disarm()


def test_the_same_seed_gives_the_same_overheads() -> None:
    def ends(seed: int) -> list[int]:
        found: list[int] = []

        @virtual
        async def series(clock: VirtualClock) -> None:
            detector = camera(clock, seed=seed)
            await detector.arm(EXPOSURE)
            frames = detector.frames()
            for _ in range(10):
                await one(detector, frames)
                found.append(clock.now_ns())

        series()
        return found

    assert ends(1) == ends(1)
    assert ends(1) != ends(2)


@virtual
async def test_a_picture_is_made_when_its_exposure_is_over(clock: VirtualClock) -> None:
    studio = Studio()
    detector = camera(clock, studio=studio)
    await detector.arm(EXPOSURE)
    frame = await one(detector, detector.frames())
    assert studio.made == [(0, clock.now_ns())]
    assert studio.made[0][1] >= frame.end_ns


@virtual
async def test_a_picture_that_cannot_be_made_is_told_to_the_receiver(clock: VirtualClock) -> None:
    detector = camera(clock, studio=Studio(fail_at=1))
    await detector.arm(EXPOSURE)
    frames = detector.frames()
    assert (await one(detector, frames)).number == 0
    with pytest.raises(RuntimeError, match="no picture"):
        await one(detector, frames)
    assert (await one(detector, detector.frames())).number == 2  # the camera itself is well
    await detector.disarm()


@virtual
async def test_an_exposure_given_up_makes_no_picture(clock: VirtualClock) -> None:
    studio = Studio()
    detector = camera(clock, studio=studio)
    await detector.arm(EXPOSURE)
    await detector.start(0.5)
    await clock.sleep_s(0.25)
    await detector.disarm()
    await clock.sleep_s(1.0)
    assert studio.made == []
    assert asyncio.all_tasks() == {asyncio.current_task()}


# --- as part of a microscope

SMALL = {
    "pictures": {"shape": [128, 128], "wide_cross": False},
    "geometry": {"beam_fast_px": 64.2, "beam_slow_px": 63.7},
    "beam_on": True,
}


@asynccontextmanager
async def armed(clock: VirtualClock) -> AsyncIterator[tuple[Microscope, AsyncIterator[Frame]]]:
    async with SIMULATED.connect(clock, 3, SMALL) as parts:
        microscope = parts.assembled()
        await microscope.detector.arm(EXPOSURE)
        yield microscope, aiter(microscope.detector.frames())


async def total(microscope: Microscope, frames: AsyncIterator[Frame], exposure_s: float = 0.5) -> int:
    await microscope.detector.start(exposure_s)
    return int((await anext(frames)).counts.sum())


@virtual
async def test_a_blanked_beam_leaves_the_picture_dark(clock: VirtualClock) -> None:
    async with armed(clock) as (microscope, frames):
        lit = await total(microscope, frames)
        await microscope.beam.blank()
        assert await total(microscope, frames) < lit / 20
        await microscope.beam.unblank()
        assert await total(microscope, frames) > lit / 2


@virtual
async def test_a_beam_blanked_in_mid_exposure_leaves_its_share(clock: VirtualClock) -> None:
    async with armed(clock) as (microscope, frames):
        lit = await total(microscope, frames)
        await microscope.detector.start(0.5)
        await clock.sleep_s(0.1)
        await microscope.beam.blank()
        partly = int((await anext(frames)).counts.sum())
        assert 0.1 * lit < partly < 0.6 * lit


@virtual
async def test_a_defocused_exposure_shows_another_picture(clock: VirtualClock) -> None:
    async with armed(clock) as (microscope, frames):
        await microscope.detector.start(0.5)
        diffraction = (await anext(frames)).counts.astype(float)
        focus = await microscope.optics.focus()
        await microscope.optics.set_focus(focus + 1500)
        await clock.sleep_s(1.0)
        await microscope.detector.start(0.5)
        snapshot = (await anext(frames)).counts.astype(float)
        # The focused beam is one bright spot, the defocused one an even disc.
        assert snapshot.max() / snapshot.mean() < 0.5 * diffraction.max() / diffraction.mean()


def course(seed: int) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []

    @virtual
    async def run(clock: VirtualClock) -> None:
        async with SIMULATED.connect(clock, seed, SMALL) as parts:
            microscope = parts.assembled()
            await microscope.detector.arm(EXPOSURE)
            frames = aiter(microscope.detector.frames())
            for _ in range(3):
                counts = await total(microscope, frames)
                found.append((clock.now_ns(), counts))

    run()
    return found


def test_the_same_seed_gives_the_same_pictures_at_the_same_instants() -> None:
    assert course(1) == course(1)
    assert course(1) != course(2)


@virtual
async def test_cheap_pictures_bear_their_number(clock: VirtualClock) -> None:
    async with SIMULATED_TIMING.connect(clock, 1, {}) as parts:
        microscope = parts.assembled()
        await microscope.detector.arm(EXPOSURE)
        frames = aiter(microscope.detector.frames())
        for number in range(3):
            await microscope.detector.start(0.01)
            counts = (await anext(frames)).counts
            assert counts.shape == microscope.detector.facts.shape == (32, 32)
            assert (counts[0, 0], counts.sum()) == (number, number)


@pytest.mark.realtime
@really
async def test_on_the_real_clock_another_process_makes_the_same_pictures(clock: RealClock) -> None:
    # The stage stands still, so what the camera sees does not depend on when.
    options = {**SMALL, "detector": {"arm_s": 0.001}}
    expected: list[Picture] = []

    @virtual
    async def virtually(other: VirtualClock) -> None:
        async with SIMULATED.connect(other, 3, options) as parts:
            microscope = parts.assembled()
            await microscope.detector.arm((0.02, 0.02))
            await microscope.detector.start(0.02)
            expected.append((await anext(aiter(microscope.detector.frames()))).counts)

    await asyncio.to_thread(virtually)
    async with SIMULATED.connect(clock, 3, options) as parts:
        microscope = parts.assembled()
        await microscope.detector.arm((0.02, 0.02))
        began_ns = await microscope.detector.start(0.02)
        frame = await anext(aiter(microscope.detector.frames()))
        assert (frame.start_ns, frame.end_ns) == (began_ns, began_ns + ns(0.02))
        assert np.array_equal(frame.counts, expected[0])


@pytest.mark.parametrize(
    ("dtype", "most"), [("|i1", 127), ("|u1", 255), (">i2", 11810), ("<f4", 11810), (">u8", 11810)]
)
@virtual
async def test_counts_come_in_the_type_that_was_asked_for_and_are_clipped_to_it(
    clock: VirtualClock, dtype: str, most: int
) -> None:
    async with SIMULATED.connect(clock, 3, {**SMALL, "detector": {"dtype": dtype}}) as microscope:
        assert microscope.detector is not None
        assert (microscope.detector.facts.dtype, microscope.detector.facts.saturation) == (dtype, most)
        await microscope.detector.arm(EXPOSURE)
        await microscope.detector.start(0.5)
        counts = (await anext(aiter(microscope.detector.frames()))).counts
        assert counts.dtype == np.dtype(dtype)
        assert counts.min() >= 0
        assert counts.max() == most  # the primary beam


@pytest.mark.parametrize("dtype", ["<f8", "uint16", "words", "", 2])
@virtual
async def test_a_type_that_cannot_be_kept_is_refused_before_anything_is_connected(
    clock: VirtualClock, dtype: object
) -> None:
    with pytest.raises(Refused, match=r"dtype = .* nothing was started"):
        async with SIMULATED.connect(clock, 3, {**SMALL, "detector": {"dtype": dtype}}):
            pass
