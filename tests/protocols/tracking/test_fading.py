"""That less of the crystal is in the aperture shows in what is scattered; that it comes and goes by itself does not."""

from dataclasses import replace

import numpy as np
import pytest

from drivers.simulated.crystal import load_crystal
from drivers.simulated.pictures import PictureMaker
from drivers.simulated.picturesettings import PictureSettings
from drivers.simulated.scenedrawing import draw_scene
from drivers.simulated.settings import GEOMETRY
from protocols.tracking.fading import Intensity, fading, intensity

WHOLE = [Intensity(1e6, 1e4 * factor) for factor in (1.0, 1.3, 0.8, 1.1, 0.9, 1.2, 0.7, 1.0, 1.1, 0.9, 1.2, 1.0)]


@pytest.mark.parametrize(
    ("last", "said"),
    [
        ([(1.0, 1.0)] * 4, None),
        ([(1.0, 0.65)] * 4, None),
        ([(1.0, 0.2)] * 4, "scattered has fallen to 20 %"),
        ([(1.0, 1.0), (1.0, 0.1), (1.0, 1.0), (1.0, 1.0)], None),
        ([(0.4, 0.4)] * 4, "shadows"),
        ([(0.5, 1.0)] * 4, "shadows"),
    ],
    ids=["as before", "a weak zone", "the crystal leaves", "one frame", "a bar comes in", "the beam alone"],
)
def test_what_the_last_frames_show_is_said(last, said):
    answer = fading([*WHOLE, *(Intensity(1e6 * beam, 1e4 * scattered) for beam, scattered in last)])
    assert (answer is None) if said is None else (said in str(answer))


def test_what_falls_by_half_and_varies_as_much_is_a_crystal_that_turns():
    turning = [Intensity(1e6, 1e4 * factor) for factor in (1.0, 8.0, 3.0, 0.9, 2.0, 6.0, 4.0, 0.8, 3.0, 5.0, 7.0, 6.0)]
    assert fading([*turning, *[Intensity(1e6, 0.5e4)] * 4]) is None


def test_few_frames_tell_nothing():
    assert fading([Intensity(1e6, 1e4)] * 5 + [Intensity(1e6, 10.0)] * 4) is None


def test_a_beam_that_is_not_seen_tells_nothing():
    assert fading([Intensity(0.0, each.scattered) for each in WHOLE] + [Intensity(0.0, 10.0)] * 4) is None


def test_where_next_to_nothing_is_scattered_its_noise_tells_nothing():
    noise = [Intensity(each.beam, each.scattered - 1e4) for each in WHOLE]
    assert fading([*noise, *[Intensity(1e6, -1e4)] * 4]) is None


def test_the_simulated_crystal_is_seen_to_leave():
    settings = PictureSettings(shape=(128, 128), wide_cross=False)
    geometry = replace(GEOMETRY, beam_fast_px=63.5, beam_slow_px=64.2)
    maker = PictureMaker(load_crystal(None, 1), geometry, settings, scene=draw_scene("brick, 500 nm", 3))
    beam_px = 63.5, 64.2
    frames = []
    for k in range(24):
        at_nm = (0.0 if k < 18 else 1200.0, 0.0)
        picture = maker.diffraction(0.23 * k, 0.23 * k + 0.23, 0.5, noise_seed=k, crystal_nm=at_nm)
        frames.append(intensity(picture, beam_px, 14.0, 0.5))
    said = [fading(frames[:count]) for count in range(1, len(frames) + 1)]
    assert not any(said[:18])
    assert any("leave the aperture" in str(words) for words in said[18:])
    assert np.median([each.scattered for each in frames[:18]]) > 0
