"""What lies in the aperture is rigid and turns with the stage; how much of it is lit follows from where it is seen."""

import math

import numpy as np
import pytest

from drivers.simulated.scenedrawing import FEATURES, KINDS, SIZES_NM, draw_scene
from drivers.simulated.snapshotscene import BAR, Body, HalfPlane, SnapshotScene
from engine.errors import Refused

X_NM = np.linspace(-800.0, 800.0, 161)
Y_NM = X_NM[::-1, None]


def brick(middle_nm=(0.0, 0.0, 0.0), edges_nm=(400.0, 240.0, 160.0), path_nm=200.0) -> Body:
    return Body(np.array(middle_nm), np.eye(3), np.array(edges_nm) / 2, path_nm)


def middle_of_shadow(scene: SnapshotScene, tilt_deg: float) -> np.ndarray:
    dark = 1.0 - scene.transmission(X_NM, Y_NM, tilt_deg)
    return np.array([(dark * X_NM).sum(), (dark * Y_NM).sum()]) / dark.sum()


@pytest.mark.parametrize("tilt_deg", [-60.0, -25.0, 0.0, 25.0, 60.0])
def test_what_lies_higher_is_seen_where_the_tilt_takes_it(tilt_deg):
    scene = SnapshotScene((brick((100.0, 150.0, 200.0)),))
    y_nm = 150.0 * math.cos(math.radians(tilt_deg)) - 200.0 * math.sin(math.radians(tilt_deg))
    assert middle_of_shadow(scene, tilt_deg) == pytest.approx([100.0, y_nm], abs=3.0)


@pytest.mark.parametrize(("tilt_deg", "thickness_nm"), [(0.0, 160.0), (45.0, 160.0 * math.sqrt(2)), (90.0, 240.0)])
def test_the_beam_passes_through_more_of_a_crystal_that_is_tilted(tilt_deg, thickness_nm):
    scene = SnapshotScene((brick(),))
    assert scene.transmission(0.0, 0.0, tilt_deg) == pytest.approx(math.exp(-thickness_nm / 200.0), rel=1e-3)


def test_an_outline_is_foreshortened_across_the_tilt_axis_alone():
    scene = SnapshotScene((brick(edges_nm=(400.0, 400.0, 4.0), path_nm=1.0),))
    dark = scene.transmission(X_NM, Y_NM, 60.0) < 0.5
    assert np.ptp(X_NM[dark.any(axis=0)]) == pytest.approx(400.0, abs=20.0)
    assert np.ptp(Y_NM[dark.any(axis=1)]) == pytest.approx(200.0, abs=20.0)


def test_the_film_shows_a_few_percent_of_texture_that_turns_with_it():
    scene = draw_scene("empty", 5)
    flat, tilted = scene.transmission(X_NM, Y_NM, 0.0), scene.transmission(X_NM, Y_NM / 2, 60.0)
    assert 0.005 < flat.std() / flat.mean() < 0.05
    assert tilted / scene.film == pytest.approx(flat, rel=1e-6)  # the beam passes through twice as much of it


@pytest.mark.parametrize("height_nm", [15_000.0, -15_000.0])
def test_a_bar_comes_in_at_the_tilt_that_its_height_and_distance_say(height_nm):
    tilt_deg = math.copysign(math.degrees(math.atan(20.0 / 15.0)), height_nm)
    scene = SnapshotScene((brick(),), bars=(HalfPlane((0.0, 1.0), 20_000.0, height_nm),))
    assert scene.transmission(300.0, 0.0, tilt_deg + math.copysign(1.0, tilt_deg)) == pytest.approx(BAR)
    assert scene.transmission(300.0, 0.0, tilt_deg - math.copysign(1.0, tilt_deg)) == pytest.approx(1.0)
    before, within, behind = (scene.share_lit((0.0, 0.0), sign * tilt_deg, 750.0) for sign in (0.0, 1.0, 1.2))
    assert (before, behind) == (1.0, 0.0)
    assert within == pytest.approx(0.5, abs=0.02)
    assert scene.shares_inside((0.0, 0.0), 1.2 * tilt_deg, 750.0) == pytest.approx([0.0])


@pytest.mark.parametrize(
    ("x_nm", "share"), [(0.0, 1.0), (500.0, 1.0), (750.0, 0.49), (-750.0, 0.49), (1000.0, 0.0), (5000.0, 0.0)]
)
def test_as_much_of_a_crystal_diffracts_as_is_inside_the_aperture(x_nm, share):
    scene = SnapshotScene((brick(),))
    assert scene.shares_inside((x_nm, 0.0), 0.0, 750.0) == pytest.approx([share], abs=0.02)


def test_neighbours_have_shares_of_their_own():
    scene = SnapshotScene((brick(), brick((1500.0, 0.0, 0.0))))
    assert scene.shares_inside((0.0, 0.0), 0.0, 750.0) == pytest.approx([1.0, 0.0])
    assert scene.shares_inside((-1500.0, 0.0), 0.0, 750.0) == pytest.approx([0.0, 1.0])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(5))
def test_a_seed_gives_the_same_scene_again(kind, seed):
    once, again = (draw_scene(kind, seed).transmission(X_NM, Y_NM, 20.0) for _ in range(2))
    assert np.array_equal(once, again)
    assert 0.0 <= once.min() <= once.max() <= 1.0


def test_a_word_more_leaves_the_crystal_as_it_is():
    plain, crowded = draw_scene("plate", 4), draw_scene(f"plate, {', '.join(FEATURES[1:])}", 4)
    assert np.array_equal(plain.bodies[0].half_nm, crowded.bodies[0].half_nm)
    assert len(plain.bodies) == 1 < len(crowded.bodies)
    assert not plain.bars
    assert len(crowded.bars) == 4


def test_crystals_are_of_all_kinds_and_sizes():
    scenes = [draw_scene("any", seed) for seed in range(200)]
    edges_nm = np.array([2 * scene.bodies[0].half_nm.max() for scene in scenes])
    assert edges_nm.min() < 260
    assert 1200 < edges_nm.max() <= SIZES_NM[1]
    assert {len(scene.holes) for scene in scenes} == {0, 1}
    assert draw_scene("needle, 700 nm", 1).bodies[0].half_nm.max() == 350.0


@pytest.mark.parametrize("words", ["", "crystal", "plate neighbours", "plate, 3 um", "plate, 20 nm", "any,, bars"])
def test_words_that_are_none_are_refused(words):
    with pytest.raises(Refused, match=r"crystal\.scene"):
        draw_scene(words, 1)
