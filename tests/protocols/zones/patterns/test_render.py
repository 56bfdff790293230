"""Disks have their place, size and brightness."""

import numpy as np
import pytest

from protocols.zones.patterns.randomcells import random_cell
from protocols.zones.patterns.render import ImageGeometry, render
from protocols.zones.patterns.simulation import Patterns, simulate


def one_spot(x_px: float, y_px: float, intensity: float = 1.0) -> Patterns:
    """A spot this far from the middle."""
    xy = np.array([[x_px, y_px]]) * ImageGeometry().per_px
    return Patterns(xy, np.array([[1, 0, 0]]), np.array([intensity]), np.array([0, 1]), np.eye(3)[None])


def test_the_beam_is_a_disk_in_the_middle() -> None:
    picture = render(one_spot(50, 50))[0].astype(float) / 255
    beam = picture[120:134, 120:134]
    assert beam.sum() == pytest.approx(np.pi * 1.76**2, rel=0.05)
    assert np.array_equal(beam, beam[::-1, ::-1])


@pytest.mark.parametrize(("x_px", "y_px"), [(30.0, 0.0), (30.5, 10.25), (-40.1, 77.7), (99.9, -99.9)])
def test_a_spot_has_its_area_and_its_centre(x_px: float, y_px: float) -> None:
    picture = render(one_spot(x_px, y_px))[0].astype(float) / 255
    picture[120:134, 120:134] = 0
    row, column = np.indices(picture.shape) + 0.5
    assert picture.sum() == pytest.approx(np.pi, rel=0.12)
    assert (picture * column).sum() / picture.sum() - 127 == pytest.approx(x_px, abs=0.05)
    assert (picture * row).sum() / picture.sum() - 127 == pytest.approx(y_px, abs=0.05)


def test_a_spot_outside_the_picture_is_left_out() -> None:
    picture = render(one_spot(140, 0))[0]
    assert np.array_equal(picture, render(one_spot(0, 0))[0])


def test_overlapping_disks_do_not_add_up() -> None:
    assert render(one_spot(0.0, 0.0)).max() == 255


def test_brightness_follows_the_amplitude_when_asked() -> None:
    assert render(one_spot(30.5, 30.5, 0.25), intensities=True)[0, 150:160, 150:160].max() == 128
    assert render(one_spot(30.5, 30.5, 0.25))[0, 150:160, 150:160].max() == 255


def test_many_patterns_are_rendered_each_for_itself() -> None:
    patterns = simulate(random_cell(np.random.default_rng(1)), 10, np.random.default_rng(2))
    together = render(patterns)
    assert together.shape == (10, 254, 254)
    assert np.array_equal(together[3], render(patterns.take(np.array([3])))[0])
