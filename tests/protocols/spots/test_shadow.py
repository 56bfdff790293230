"""Frames in a shadow, by how much light each has."""

import numpy as np
import pytest

from protocols.spots.shadow import beside_shadows, shadowed, shadows, without

SPOTS_ALONE = np.random.default_rng(3).lognormal(0.0, 0.5, 60)
# The light of the frames, and which of them are in a shadow (0 else).
CASES = {
    "none": ("9 9 8 9 9 10 9", "0 0 0 0 0 0 0"),
    "a bar comes in from the side": ("9 9 9 9 6 3 0 0 0 0", "0 0 0 0 1 1 1 1 1 1"),
    "a bar goes away": ("0 0 0 3 9 9 9 9 9 9", "1 1 1 1 0 0 0 0 0 0"),
    "a bar crosses": ("9 9 9 4 1 0 1 5 9 9", "0 0 0 1 1 1 1 1 0 0"),
    "most of it lies in the dark": ("9 9 9 0 0 0 0 0 0 0", "0 0 0 1 1 1 1 1 1 1"),
    "one dark frame is something else": ("9 9 9 0 9 9 9 0 0 9", "0 0 0 0 0 0 0 0 0 0"),
    "it fades": ("9 8 7 6 5 4 4 3 3 3", "0 0 0 0 0 0 0 0 0 0"),
    "no light at all": ("0 0 0 0", "0 0 0 0"),
    "no frames": ("", ""),
}


@pytest.mark.parametrize(("light", "dark"), CASES.values(), ids=CASES)
def test_frames_in_a_shadow(light: str, dark: str) -> None:
    assert shadowed(np.array(light.split(), float)).tolist() == [each == "1" for each in dark.split()]


def test_light_of_spots_alone_that_comes_and_goes_is_no_shadow() -> None:
    assert not shadowed(SPOTS_ALONE).any()


@pytest.mark.parametrize("way", [1, -1])
def test_what_is_left_of_a_rotation(way: int) -> None:
    starts = way * np.arange(10.0)
    dark = np.isin(np.arange(10), [0, 1, 5, 9])
    parts = shadows(starts, starts + way, dark)
    assert parts == [(0, way * 2), (way * 5, way * 6), (way * 9, way * 10)]
    assert beside_shadows((0, way * 10), parts) == [(way * 2, way * 5), (way * 6, way * 9)]
    assert beside_shadows((0, way * 10), []) == [(0, way * 10)]
    assert beside_shadows((0, way * 10), [(0, way * 10)]) == []


@pytest.mark.parametrize(
    ("gone", "left"),
    [
        ([], [(-30, 0), (10, 40)]),
        ([(-30, -10)], [(-10, 0), (10, 40)]),
        ([(-40, 5)], [(10, 40)]),
        ([(20, 30), (-20, -10)], [(-30, -20), (-10, 0), (10, 20), (30, 40)]),
        ([(-5, 20)], [(-30, -5), (20, 40)]),
        ([(-99, 99)], []),
    ],
    ids=str,
)
@pytest.mark.parametrize("way", [1, -1])
def test_parts_without_others(gone: list, left: list, way: int) -> None:
    parts = [(way * a, way * b) for a, b in [(-30, 0), (10, 40)]]
    assert without(parts, [(way * a, way * b) for a, b in gone]) == [(way * a, way * b) for a, b in left]
