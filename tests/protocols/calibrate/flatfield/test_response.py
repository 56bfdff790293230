"""Defects of made-up cameras, one kind at a time: found singly and in groups, and none where there is none."""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from protocols.calibrate.flatfield.response import Response, dark_of, plainly_bad, response_of

SHAPE, FRAMES, ELECTRONS = (40, 50), 60, 200.0
Mask = NDArray[np.bool_]


def camera(change: Callable[[NDArray[np.float64]], None], noise: float = 0.0, gain: float = 1.0) -> Response:
    """A camera of which `change` alters the response; noise: extra, as a share, of its last row."""
    rng = np.random.default_rng(3)
    response = 1 + 0.03 * rng.standard_normal(SHAPE)
    change(response)
    frames = []
    for _ in range(FRAMES):
        seen = rng.poisson(ELECTRONS * response).astype(float)
        seen[-1] *= 1 + noise * rng.standard_normal(SHAPE[1])
        frames.append(np.rint(gain * seen))
    area = np.ones(SHAPE)
    return response_of(lambda: frames, lambda frame: area, area, np.zeros(SHAPE, bool))


def at(value: float, *places: tuple[slice | int, slice | int]) -> Callable[[NDArray[np.float64]], None]:
    def change(response: NDArray[np.float64]) -> None:
        for place in places:
            response[place] = value

    return change


DEFECTS = {
    "none": (at(1.0), "weak", 0),
    "dead pixels": (at(0.0, (3, 4), (20, 30)), "weak", 2),
    "weak pixels": (at(0.4, (3, 4), (20, 30)), "weak", 2),
    "a dead column": (at(0.0, (slice(None), 17)), "weak", 40),
    "a dead corner": (at(0.0, (slice(8), slice(8))), "weak", 64),
    "bright pixels": (at(1.7, (0, 0), (39, 49)), "bright", 2),
    "pixels just good": (at(0.6, (0, 0)), "weak", 0),
    "pixels just not too bright": (at(1.4, (0, 0)), "bright", 0),
}


@pytest.mark.parametrize(("change", "kind", "number"), DEFECTS.values(), ids=DEFECTS)
def test_pixels_that_answer_too_little_or_too_much_are_bad(
    change: Callable[[NDArray[np.float64]], None], kind: str, number: int
) -> None:
    found = camera(change)
    assert found.kinds[kind] == np.count_nonzero(found.bad) == number
    assert found.flatfield[~found.bad].mean() == pytest.approx(1.0)


@pytest.mark.parametrize(("noise", "number"), [(0.0, 0), (0.03, 0), (0.3, 50)])
def test_pixels_that_scatter_far_more_than_counting_statistics_are_bad(noise: float, number: int) -> None:
    assert camera(at(1.0), noise).kinds["noisy"] == number


@pytest.mark.parametrize("gain", [1.0, 0.993, 1.7, 12.0])
def test_the_gain_follows_from_the_scatter(gain: float) -> None:
    found = camera(at(1.0), gain=gain)
    assert abs(found.gain - gain) <= 4 * found.gain_sigma
    assert found.gain_sigma < 0.02 * gain


DARK = {
    "of a camera that counts single electrons": (0.0, 0.0, 5.0),
    "of a camera with an offset": (100.0, 3.0, 40.0),
}


@pytest.mark.parametrize(("offset", "noise", "hot"), DARK.values(), ids=DARK)
def test_pixels_that_count_without_light_are_hot(offset: float, noise: float, hot: float) -> None:
    rng = np.random.default_rng(5)
    frames = offset + noise * rng.standard_normal((20, *SHAPE)) + rng.poisson(1e-4, (20, *SHAPE))
    frames[:, 7, 9] += hot
    dark = dark_of(frames, 20)
    assert np.argwhere(dark.hot).tolist() == [[7, 9]]
    assert plainly_bad(np.full(SHAPE, 100.0), np.ones(SHAPE), dark.hot).sum() == 1
