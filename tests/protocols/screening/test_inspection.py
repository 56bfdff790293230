"""What is made of a frame is the same to the last bit in all eight ways in which it can lie; and of many as of one."""

import numpy as np
import pytest

from protocols.screening.evidence import told
from protocols.screening.generation import CameraKind, generate
from protocols.screening.inspection import Inspected, inspected, upright
from protocols.screening.views import turned

WAYS = range(1, 8)


def same(one: Inspected, other: Inspected) -> bool:
    return bool((one.picture == other.picture).all() and (told(one.spots) == told(other.spots)).all())


@pytest.mark.parametrize(("camera", "shape"), [(CameraKind.COUNTING, (127, 150)), (CameraKind.INTEGRATING, (256, 256))])
def test_it_does_not_matter_how_a_frame_lies(camera: CameraKind, shape: tuple[int, int]) -> None:
    """Of both cameras; as wide as high or not, of even and of odd numbers of pixels."""
    spots = 0
    for made in generate(31, 16, 8, camera, shape):
        (first,) = inspected(made.counts[None], made.inverse_A_per_px)
        spots += len(first.spots)
        for way in WAYS:
            (other,) = inspected(turned(made.counts[None], way), made.inverse_A_per_px)
            assert same(first, other)
    assert spots > 20


@pytest.mark.parametrize("bad", [np.nan, np.inf, 2.0**32 - 1])
def test_nor_does_it_with_pixels_that_are_no_counts(bad: float) -> None:
    frame = np.random.default_rng(4).poisson(3.0, (64, 50)).astype(np.float32)
    frame[:5, 7] = bad
    for way in WAYS:
        assert np.array_equal(upright(turned(frame[None], way)[0]), upright(frame), equal_nan=True)


def test_frames_together_are_as_each_alone() -> None:
    """Also of several scales, and with some in which nothing is seen between them."""
    made = list(generate(32, 0, 11))
    frames = np.stack([one.counts for one in made])
    frames[[2, 10]] = 0
    per_px = np.array([one.inverse_A_per_px for one in made])
    together = list(inspected(frames, per_px))
    alone = [next(inspected(frame[None], scale)) for frame, scale in zip(frames, per_px, strict=True)]
    assert len(together[2].spots) == 0
    assert sum(len(one.spots) for one in together) > 50
    for one, other in zip(together, alone, strict=True):
        assert told(one.spots) == pytest.approx(told(other.spots), abs=1e-3)
