"""Frames that meet with a fault: lost, late, wrong, of another shape."""

import asyncio
import dataclasses
from typing import Any

import pytest

from drivers.contract import Microscope
from drivers.faults import inject
from drivers.parts import OpticalMode
from engine.clock import ns
from engine.clock.virtual import VirtualClock
from engine.errors import Refused
from engine.run.registry import registered
from tests.drivers.faults.bench import Bench, bench, part
from tests.engine.virtually import virtual


async def numbers(on: Bench, exposures: int = 4) -> list[tuple[int, tuple[int, ...], float]]:
    """Number, shape and moment of every frame that comes of so many exposures, one a second."""
    detector = on.microscope.detector
    await detector.arm((0.1, 0.01))
    frames = detector.frames()
    began_ns = on.clock.now_ns()

    async def collect() -> list[tuple[int, tuple[int, ...], float]]:
        return [
            (frame.number, frame.counts.shape, round((on.clock.now_ns() - began_ns) / 1e9, 1)) async for frame in frames
        ]

    collecting = asyncio.create_task(collect())
    for _ in range(exposures):
        await detector.start(0.1)
        await on.clock.sleep_s(1.0)
    await detector.disarm()
    return await collecting


WHOLE, HALF = (32, 32), (16, 32)


@pytest.mark.parametrize(
    ("words", "came"),
    [
        ("detector.frames 2 drop", [(0, WHOLE, 0.1), (2, WHOLE, 2.1), (3, WHOLE, 3.1)]),
        (
            "detector.frames 2 double",
            [(0, WHOLE, 0.1), (1, WHOLE, 1.1), (1, WHOLE, 1.1), (2, WHOLE, 2.1), (3, WHOLE, 3.1)],
        ),
        ("detector.frames 2 torn", [(0, WHOLE, 0.1), (1, HALF, 1.1), (2, WHOLE, 2.1), (3, WHOLE, 3.1)]),
        ("detector.frames 2 late 0.8", [(0, WHOLE, 0.1), (1, WHOLE, 1.9), (2, WHOLE, 2.1), (3, WHOLE, 3.1)]),
    ],
)
@virtual
async def test_a_frame_meets_its_fault(
    clock: VirtualClock, words: str, came: list[tuple[int, tuple[int, ...], float]]
) -> None:
    async with bench(clock, words) as on:
        assert await numbers(on) == came
        assert on.injected == [words]


@pytest.mark.parametrize("tells", [False, True])
@virtual
async def test_a_shutter_opens_later_than_the_camera_tells_and_its_frame_is_so_much_later(
    clock: VirtualClock, tells: bool
) -> None:
    async with bench(clock, "detector.start 2 shutter 0.3", detector={"tells_instants": tells}) as on:
        detector = on.microscope.detector
        await detector.arm((0.1,))
        came = detector.frames()
        for held_s in (0.0, 0.3, 0.0):
            begun_ns = await detector.start(0.1)
            frame = await anext(came)
            begin_ns, end_ns = on.truth.exposures()[-1]
            assert (begin_ns, end_ns) == (begun_ns + ns(held_s), begun_ns + ns(held_s + 0.1))
            assert clock.now_ns() - end_ns < ns(0.02)
            assert (frame.start_ns, frame.end_ns) == (begun_ns, begun_ns + ns(0.1))
            if tells:  # it does not know better
                assert frame.start_bounds_ns == (begun_ns, begun_ns)
            else:
                open_ns = clock.now_ns() - frame.end_ns
                assert frame.start_bounds_ns == (begun_ns, begun_ns + open_ns)
                assert frame.end_bounds_ns == (frame.end_ns, clock.now_ns())
        assert on.injected == ["detector.start 2 shutter 0.3"]


async def pictures(on: Bench, exposures: int) -> list[Any]:
    """The counts of every frame that comes of so many exposures."""
    detector = on.microscope.detector
    await detector.arm((0.1,))
    came, counts = detector.frames(), []
    for _ in range(exposures):
        await detector.start(0.1)
        counts.append((await anext(came)).counts)
    return counts


@pytest.mark.parametrize(
    ("words", "first_pixels"),
    [
        # The cheap pictures of the simulation hold their number there.
        ("detector.frames 3 dark", [0, 1, 0, 0, 0]),
        ("detector.frames 3 saturated", [0, 1, 65535, 65535, 65535]),
        ("detector.frames 3 same", [0, 1, 2, 2, 2]),
    ],
)
@virtual
async def test_from_some_frame_on_a_camera_sees_nothing_or_too_much_or_nothing_new(
    clock: VirtualClock, words: str, first_pixels: list[int]
) -> None:
    async with bench(clock, words) as on:
        assert [int(counts[0, 0]) for counts in await pictures(on, 5)] == first_pixels
        assert on.injected == [words]


@virtual
async def test_one_frame_is_of_other_counts_than_were_declared(clock: VirtualClock) -> None:
    async with bench(clock, "detector.frames 2 type") as on:
        assert [counts.dtype.str for counts in await pictures(on, 3)] == ["<u2", "<i4", "<u2"]


@virtual
async def test_an_operators_hand_changes_the_mode_and_no_call_shows_it(clock: VirtualClock) -> None:
    async with bench(clock, "mode.changed 2 imaging") as on:
        mode = part(on.microscope.mode)
        assert await mode.mode() is OpticalMode.DIFFRACTION
        await clock.sleep_s(2.0)
        assert await mode.mode() is OpticalMode.IMAGING
        assert on.injected == ["mode.changed 2 imaging"]


@pytest.mark.parametrize(
    ("words", "missing", "says"),
    [
        ("detector.start 1 shutter 0.1", "truth", "only a simulated shutter can be held"),
        ("stage.motion 1 stop", "truth", "only a simulated stage can be disturbed"),
        ("mode.changed 1 imaging", "mode", "only the mode of a simulated instrument can be changed"),
    ],
)
@virtual
async def test_what_only_a_simulation_can_do_is_refused_of_another(
    clock: VirtualClock, words: str, missing: str, says: str
) -> None:
    driver = registered("drivers")["simulated-timing"].load()
    async with driver.connect(clock, 1, {}) as parts:
        microscope: Microscope = dataclasses.replace(parts, **{missing: None}).assembled()
        with pytest.raises(Refused, match=says):
            inject(microscope, clock, [words])
