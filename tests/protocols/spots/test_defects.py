"""Groups of hot pixels that all frames have are found; what a crystal or the beam makes is not taken for one."""

from collections.abc import Callable
from functools import cache

import numpy as np
import pytest

from engine.errors import DataError
from protocols.spots.defects import FEWEST, common_defects
from protocols.spots.peaks import find_peaks
from tests.protocols.spots.test_badpixels import lattice
from tests.protocols.spots.test_cameras import camera_frame

HOT = {
    "2 x 2": [(90, 333), (90, 334), (91, 333), (91, 334)],
    "a bar": [(400, 100 + k) for k in range(4)],
    "3 x 3": [(130 + i, 60 + j) for i in range(3) for j in range(3)],
}
EDGES = np.array([[333.0, 90.0], [100.0, 400.0], [60.0, 130.0]])


def net(turn_deg: float) -> np.ndarray:
    """The spots of a crystal that lies another way."""
    turn = np.deg2rad(turn_deg)
    matrix = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    spots = (lattice() - [250.3, 261.8]) @ matrix + [250.3, 261.8]
    return spots[((spots > 8) & (spots < 504)).all(axis=1)]


@cache
def series(turn_deg: float, count: int = 9, hot: bool = True, background: float = 3.0) -> tuple[np.ndarray, ...]:
    """Frames of crystals that are turned by so much from frame to frame."""
    rng = np.random.default_rng(3)
    frames = []
    for number in range(count):
        picture = camera_frame(512, 1.2, 800.0, spots=net(turn_deg * number), background=background, seed=number)
        for group in HOT.values() if hot else ():
            for row, column in group:
                picture[row, column] += rng.poisson(400)
        frames.append(picture)
    return tuple(frames)


def expected() -> np.ndarray:
    mask = np.zeros((512, 512), dtype=bool)
    mask[tuple(np.array([place for group in HOT.values() for place in group]).T)] = True
    return mask


# (turned from frame to frame in deg, background)
SETS = {"serial": (17.0, 3.0), "one crystal": (0.0, 3.0), "without background": (17.0, 0.02), "bright": (17.0, 60.0)}


@pytest.mark.parametrize("case", SETS)
def test_hot_groups_of_all_frames_are_found_and_nothing_else(case: str) -> None:
    turn_deg, background = SETS[case]
    frames = series(turn_deg, background=background)
    found = common_defects(lambda i: frames[i], len(frames))
    assert found is not None
    assert np.array_equal(found, expected())


@pytest.mark.parametrize("turn_deg", [0.0, 17.0])
def test_neither_the_beam_nor_the_spots_of_one_crystal_in_all_frames_are_defects(turn_deg: float) -> None:
    frames = series(turn_deg, hot=False)
    assert common_defects(lambda i: frames[i], len(frames)) is None


def test_they_make_no_spots_any_more() -> None:
    frames = series(17.0)
    bad = common_defects(lambda i: frames[i], len(frames))

    def at_hot_ones(**told: np.ndarray | None) -> int:
        found = find_peaks(frames[2], **told).xy_px  # type: ignore[arg-type]
        return int((np.hypot(*(EDGES[:, None] - found[None]).transpose(2, 0, 1)).min(axis=1) < 4).sum())

    assert at_hot_ones() == 3
    assert at_hot_ones(bad=bad) == 0


def damaged(frames: tuple[np.ndarray, ...]) -> Callable[[int], np.ndarray]:
    def picture(i: int) -> np.ndarray:
        if i == 4:
            raise DataError("damaged")
        return frames[i] if i != 6 else frames[i][:100, :100]

    return picture


def test_a_damaged_picture_and_one_of_another_size_are_passed_over() -> None:
    found = common_defects(damaged(series(17.0)), 9)
    assert found is not None
    assert np.array_equal(found, expected())


def test_one_that_blinks_is_a_defect_and_few_frames_tell_nothing() -> None:
    frames = [one.copy() for one in series(17.0)]
    for row, column in HOT["2 x 2"]:
        frames[5][row, column] = 3
    found = common_defects(lambda i: frames[i], len(frames))
    assert found is not None
    assert np.array_equal(found, expected())
    assert common_defects(lambda i: frames[i], FEWEST - 1) is None


def test_drawings_are_not_looked_at() -> None:
    drawing = np.zeros((254, 254), dtype=np.uint8)
    drawing[20:22, 30:32] = 255
    assert common_defects(lambda i: drawing, 20) is None
