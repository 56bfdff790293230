"""Bad pixels show spots whatever the angle; reflections come and go."""

import numpy as np

from protocols.spots.seriespeaks import FrameSpots
from protocols.spots.standing import without_standing


def spots(*places: tuple[float, float]) -> FrameSpots:
    fast, slow = np.array(places, np.float64).reshape(-1, 2).T
    ones = np.ones(len(fast))
    return FrameSpots(fast, slow, 0.1 * ones, 50 * ones, 5 * ones, ones, 1.0)


HOT, REFLECTION = (40.2, 60.7), (20.5, 30.5)


def test_a_place_with_spots_all_over_the_rotation_is_left_out_and_a_reflection_stays() -> None:
    frames = []
    for number in range(120):
        seen = [HOT] * (number % 10 == 0) + [REFLECTION] * (50 <= number < 53)
        frames.append(spots(*seen))
    kept = without_standing(frames, (100, 100))
    assert [len(each) for each in kept] == [1 if 50 <= number < 53 else 0 for number in range(120)]
    assert kept[51].fast_px.tolist() == [REFLECTION[0]]


def test_a_place_that_another_reflection_meets_again_is_no_bad_pixel() -> None:
    frames = [spots(*([REFLECTION] if number in (10, 60, 110) else [])) for number in range(120)]
    assert sum(map(len, without_standing(frames, (100, 100)))) == 3


def test_a_short_rotation_is_left_as_it_is() -> None:
    frames = [spots(HOT) for _ in range(20)]
    assert sum(map(len, without_standing(frames, (100, 100)))) == 20
