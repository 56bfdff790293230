"""What is seen in a picture while somebody focuses and centres, judged by the simulated instrument's truth."""

import asyncio
from typing import Any

import numpy as np
import pytest

from drivers.facts import Geometry
from engine.clock.virtual import VirtualClock, VirtualLoop
from engine.run.contract import Seen
from engine.run.instrument import Instrument
from protocols.view.looks import beam_in, seen, sharpness

UNITS = (-1500, -700, -300, 0, 300, 700, 1500)
FOUND = dict[int, Seen]


@pytest.fixture(scope="module")
def defocused() -> tuple[FOUND, Geometry]:
    """What is seen at these distances from focus."""

    async def pictures() -> tuple[FOUND, Geometry]:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        clock = VirtualClock(loop)
        async with Instrument.open("simulated", clock, 5) as instrument:
            parts: Any = instrument.microscope
            told = {"saturation": parts.detector.facts.saturation, "wide_cross": True}
            await parts.beam.unblank()
            focus = await parts.optics.focus()
            await parts.detector.arm((0.2,))
            frames, found = parts.detector.frames(), {}
            for units in UNITS:
                await parts.optics.set_focus(focus + units)
                await clock.sleep_s(3)
                await parts.detector.start(0.2)
                found[units] = seen((await anext(frames)).counts, told)
            await parts.beam.blank()
            await parts.detector.disarm()
            return found, parts.geometry

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(pictures())


def test_a_pattern_is_sharpest_in_focus_and_the_less_the_farther_from_it(defocused):
    values = [found.followed[1] for found in defocused[0].values()]
    assert values[:4] == sorted(values[:4])
    assert values[3:] == sorted(values[3:], reverse=True)
    assert values[3] > 5 * max(values[0], values[-1])


@pytest.mark.parametrize(("units", "within_px"), [(0, 1.5), (700, 0.5), (-1500, 0.5)])
def test_the_beam_is_found_as_a_spot_and_as_a_disc(defocused, units, within_px):
    found, geometry = defocused
    words = dict(found[units].figures)["beam from the middle"].split()
    right, down = float(words[0]), float(words[3])
    assert right == pytest.approx(geometry.beam_fast_px - 258, abs=within_px)
    assert down == pytest.approx(geometry.beam_slow_px - 258, abs=within_px)
    ((fast, slow, word),) = found[units].crosses
    assert word == "beam"
    assert abs(fast - 257) < 3  # in the pixels of the camera, of which the middle ones are three wide
    assert abs(slow - 254) < 3


def test_an_empty_picture_has_neither_beam_nor_sharpness():
    told = seen(np.zeros((64, 64), "<u2"), {"saturation": None, "wide_cross": False})
    assert told == Seen([("brightest pixel", "0 counts")], [])


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_noise_alone_is_no_beam(seed):
    noise = np.random.default_rng(seed).poisson(3, (128, 128)).astype(np.float64)
    assert beam_in(noise) is None


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("times", [0.3, 4.0])
def test_a_brighter_beam_is_no_sharper_one(seed, times):
    y, x = np.mgrid[:128, :128]
    rng = np.random.default_rng(seed)
    disc = 400.0 * (np.hypot(x - 60, y - 70) < 30)
    one, other = (sharpness(rng.poisson(disc * each).astype(np.float64)) for each in (1.0, times))
    assert other == pytest.approx(one, rel=0.1)


def test_floats_that_are_no_numbers_and_signed_counts_are_looked_at():
    counts = np.full((32, 32), -5.0, np.float32)
    counts[3, 3] = np.nan
    counts[10:20, 12:22] = 500.0
    (place,) = seen(counts, {"saturation": None, "wide_cross": False}).crosses
    assert place[:2] == pytest.approx((16.5, 14.5), abs=0.2)


GEOMETRY = {
    "wavelength_A": 0.02508, "camera_length_mm": 250.0, "pixel_size_mm": 0.055, "beam_fast_px": 30.0,
    "beam_slow_px": 33.0,
}  # fmt: skip
KNOWN = {"geometry": GEOMETRY, "detector": {"shape": [64, 64], "wide_cross": False}}
LOOKED_AT = {"saturation": None, "wide_cross": False, "instrument": KNOWN}


def _ring(told: Seen, words: str) -> float:
    return next(radius for radius, said in told.rings if said == words)


def test_rings_lie_around_the_beam_that_is_seen_or_else_where_the_geometry_has_it():
    counts = np.zeros((64, 64), np.uint16)
    nothing = seen(counts, LOOKED_AT)
    assert nothing.centre_px == (30.0, 33.0)
    assert _ring(nothing, "1 A") == pytest.approx(6.27 / 0.055, rel=1e-3)  # 250 mm * 0.02508 A / 1 A
    counts[10:15, 40:45] = 900
    assert seen(counts, LOOKED_AT).centre_px == pytest.approx((42, 12), abs=0.2)


@pytest.mark.parametrize(
    ("now", "times"),
    [
        ({}, 1.0),  # an instrument that does not tell its mode
        ({"mode": "diffraction", "camera_length_mm": 250.0}, 1.0),
        ({"mode": "diffraction", "camera_length_mm": 400.0}, 1.6),
        ({"mode": "imaging", "camera_length_mm": 250.0}, None),
    ],
)
def test_rings_are_those_of_the_camera_length_now_and_an_image_has_none(now, times):
    told = seen(np.zeros((64, 64), np.uint16), {**LOOKED_AT, "rows": {"now": now}})
    if times is None:
        assert (told.centre_px, told.rings) == (None, ())
    else:
        assert _ring(told, "1 A") == pytest.approx(times * 6.27 / 0.055, rel=1e-3)


def test_a_calibrated_camera_length_holds_for_the_nominal_one_that_it_was_measured_at():
    figure = {"figures": {"geometry.camera_length_mm": {"camera_length_mm": 300.0}}}  # 250 mm measured, 300 by its name
    now = {"mode": "diffraction", "camera_length_mm": 300.0}
    told = seen(
        np.zeros((64, 64), np.uint16),
        {**LOOKED_AT, "instrument": {**KNOWN, "calibration": figure}, "rows": {"now": now}},
    )
    assert _ring(told, "1 A") == pytest.approx(6.27 / 0.055, rel=1e-3)


@pytest.mark.parametrize("wrong", [{}, {"geometry": {}}, {**KNOWN, "geometry": {**GEOMETRY, "camera_length_mm": "x"}}])
def test_an_instrument_whose_geometry_nobody_knows_has_no_rings(wrong):
    assert seen(np.zeros((64, 64), np.uint16), {**LOOKED_AT, "instrument": wrong}).rings == ()


def test_a_dark_picture_of_a_counting_camera_is_not_sharp():
    dark = np.zeros((128, 128))
    dark[[3, 70, 90], [5, 8, 100]] = 1
    assert sharpness(dark) is None


@pytest.mark.parametrize("saturation", [None, 900.0])
def test_of_a_large_picture_the_beam_is_found_as_well(saturation):
    y, x = np.mgrid[:2048, :2048]
    counts = np.random.default_rng(1).poisson(3 + 1500 * np.exp(-((np.hypot(x - 700, y - 1300) / 9) ** 2)))
    told = seen(np.minimum(counts, saturation or 10**6).astype("<u2"), {"saturation": saturation, "wide_cross": False})
    ((fast, slow, _),) = told.crosses
    assert (fast, slow) == pytest.approx((700, 1300), abs=1)
    right, down = (float(part.split()[0]) for part in dict(told.figures)["beam from the middle"].split(","))
    assert (right, down) == pytest.approx((700.5 - 1024, 1300.5 - 1024), abs=1)
    assert told.followed is not None


def test_a_large_dark_picture_is_not_sharp_though_few_of_its_squares_are_dark():
    dark = np.zeros((2048, 2048), "<u2")
    dark.ravel()[np.random.default_rng(1).choice(dark.size, int(0.002 * dark.size), replace=False)] = 1
    assert seen(dark, {"saturation": None, "wide_cross": False}).followed is None
