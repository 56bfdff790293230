"""Places on the corrected grid and in the pixels that the camera gave."""

import numpy as np
import pytest

from protocols.products.cross import corrected_place, expand_cross, raw_place


@pytest.mark.parametrize("place_px", np.linspace(-1.0, 12.0, 53).tolist())
def test_there_and_back_again(place_px):
    assert raw_place(corrected_place(place_px, 8), 8) == pytest.approx(place_px)


@pytest.mark.parametrize("raw_px", range(8))
def test_the_middle_of_a_pixel_lies_where_its_counts_go(raw_px):
    counts = np.zeros((8, 8), np.int64)
    counts[0, raw_px] = 9
    corrected = expand_cross(counts)[0]
    centre_px = float((corrected * np.arange(12)).sum() / corrected.sum())
    assert corrected_place(raw_px, 8) == pytest.approx(centre_px)
