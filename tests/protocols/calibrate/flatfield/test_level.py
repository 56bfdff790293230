"""What the first lit frames say: how many are needed, or why there is no use."""

from dataclasses import replace

import numpy as np
import pytest

from protocols.calibrate.flatfield.level import Level, frames_for, judged, level

GOOD = Level(counts=200.0, dark=0.0, gain=1.0, saturated=0.0, brightest=260.0, least=0.7)

JUDGED = {
    "good frames": (GOOD, ""),
    "an empty field": (replace(GOOD, counts=0.2), "the field is empty: a pixel counts 0.2"),
    "nothing but noise below zero": (replace(GOOD, counts=-1.0), "the field is empty: a pixel counts 0.0"),
    "full pixels": (replace(GOOD, saturated=0.01), "1.0% of the pixels are full"),
    "nearly full": (replace(GOOD, brightest=9000.0), "the brightest part counts 9000 of 10000"),
    "a part in the shadow": (replace(GOOD, least=0.1), "a part of it gets 10% of the median"),
    "light while the beam is blanked": (replace(GOOD, dark=150.0), "the beam blanker does not blank"),
    "an offset": (replace(GOOD, dark=15.0), ""),
}


@pytest.mark.parametrize(("found", "why"), JUDGED.values(), ids=JUDGED)
def test_frames_are_refused_with_the_reason(found: Level, why: str) -> None:
    assert why in judged(found, 10_000)
    assert bool(judged(found, 10_000)) is bool(why)


# Accuracy in percent, counts of a pixel, gain; frames: 1 / accuracy^2 electrons, in whole rounds of 7 positions.
NUMBERS = [(1.0, 100.0, 1.0, 105), (1.0, 100.0, 2.0, 203), (0.5, 100.0, 1.0, 406), (5.0, 1000.0, 1.0, 56)]


@pytest.mark.parametrize(("accuracy", "counts", "gain", "frames"), NUMBERS)
def test_counting_statistics_say_how_many_frames(accuracy: float, counts: float, gain: float, frames: int) -> None:
    assert frames_for(accuracy, replace(GOOD, counts=counts, gain=gain)) == frames


@pytest.mark.parametrize("gain", [1.0, 3.0])
def test_the_level_is_seen_through_an_offset_and_a_wide_cross(gain: float) -> None:
    rng = np.random.default_rng(1)
    area = np.ones((64, 64))
    area[31:33, :] *= 3
    area[:, 31:33] *= 3
    frames = [np.rint(gain * rng.poisson(150 * area)) + 20 * area for _ in range(2)]
    pictures = [*frames, 20 * area]
    told = level({"lit": [0, 1], "dark": 2, "saturation": 60_000, "wide_cross": True}, lambda index: pictures[index])
    assert told["counts"] == pytest.approx(150 * gain, rel=0.02)
    assert told["dark"] == 20
    assert told["saturated"] == 0
    assert told["least"] == pytest.approx(1.0, abs=0.05)
