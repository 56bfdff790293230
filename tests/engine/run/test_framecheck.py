"""What a picture is like: which are dark, which are light, for cameras of which much or little is known."""

import numpy as np
import pytest

from engine.frame import Picture
from engine.run.framecheck import check

SHAPE = (256, 256)


def counting(*beam: float, false: int = 3, hot: int = 0) -> Picture:
    """A camera that counts: a beam of so many counts at its summit, some false counts, some pixels always full."""
    rng = np.random.default_rng(0)
    y, x = np.indices(SHAPE)
    light = sum((top * np.exp(-((x - 130) ** 2 + (y - 120) ** 2) / 8.0) for top in beam), np.zeros(SHAPE))
    counts = rng.poisson(light)
    counts.flat[rng.integers(0, counts.size, false)] += 1
    counts.flat[rng.integers(0, counts.size, hot)] = 4095
    return counts.astype(np.uint16)


def with_offset(*beam: float) -> Picture:
    """A camera with an offset of 100 counts, noise, and a bad column."""
    noise = 100 + 5 * np.random.default_rng(1).standard_normal(SHAPE)
    noise[:, 77] = 300
    return (noise + counting(*beam, false=0)).astype(np.int16)


def look(
    picture: Picture, dark_counts: float | None = None, saturation: int = 4095, words: str = ""
) -> dict[str, object]:
    arguments = {"index": 7, "dark_counts": dark_counts, "saturation": saturation, "words": words}
    return check(arguments, {7: picture}.__getitem__)


@pytest.mark.parametrize(
    ("picture", "dark_counts", "light"),
    [
        (counting(), 0.0, False),
        (counting(), None, False),
        (counting(hot=100), 0.0, False),
        (counting(hot=100), None, False),
        (counting(5000.0), 0.0, True),
        (counting(5000.0), None, True),
        (counting(60.0), None, True),
        (np.full(SHAPE, 40, np.uint16), 0.0, True),  # even light on a camera that counts
        (np.full(SHAPE, 40, np.uint16), None, False),  # which may be the offset of another one
        (np.zeros(SHAPE, np.float32), None, False),
        (np.full(SHAPE, np.nan, np.float32), None, False),
        (with_offset(), None, False),
        (with_offset(500.0), None, True),
    ],
)
def test_light_is_told_from_darkness(picture: Picture, dark_counts: float | None, light: bool) -> None:
    assert look(picture, dark_counts)["light"] is light


def test_an_empty_picture_has_no_noise_and_one_with_an_offset_has() -> None:
    assert look(counting())["noisy"] is False
    assert look(with_offset())["noisy"] is True


def test_the_saturated_share_counts_pixels_at_the_largest_count_and_above() -> None:
    picture = counting(5000.0)
    picture[:16] = 4095
    assert look(picture)["saturated"] == pytest.approx(16 / 256, abs=0.001)


def said_of_it(picture: Picture) -> str:
    return f"{picture.shape[0]} rows."


def test_the_words_of_a_protocol_are_asked_of_pictures_that_are_light() -> None:
    words = f"{__name__}:said_of_it"
    assert look(counting(5000.0), words=words)["words"] == "256 rows."
    assert look(counting(), words=words)["words"] == ""
