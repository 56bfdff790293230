"""Labelled patterns: what they are made of, labels that keep the rules, and numbers that always give the same."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from protocols.screening.generation import CameraKind, generate
from protocols.screening.generation.cameras import drawn_camera
from protocols.screening.generation.composition import BAD, BORDERLINE, GOOD, drawn
from protocols.screening.generation.patterns import electrons_of
from protocols.screening.generation.scenes import ELECTRONS, scene
from protocols.screening.generation.specimen import PATTERNS_EACH, specimen
from protocols.screening.generation.spotkinds import NO_SPOTS
from protocols.screening.labels import Kind, Verdict

SMALL = 128, 128


def test_the_composition_is_the_one_that_is_stated():
    rng = np.random.Generator(np.random.SFC64(1))
    made = Counter(drawn(rng) for _ in range(40_000))
    verdicts = Counter(verdict for _, verdict in made.elements())
    scored = verdicts[Verdict.GOOD] + verdicts[Verdict.BAD]
    assert verdicts[Verdict.BORDERLINE] / 40_000 == pytest.approx(BORDERLINE, abs=0.01)
    assert BORDERLINE <= 0.1
    assert verdicts[Verdict.GOOD] / scored == pytest.approx(GOOD, abs=0.01)
    assert GOOD == 0.57
    for kind, share in BAD.items():
        assert made[kind, Verdict.BAD] / verdicts[Verdict.BAD] == pytest.approx(share / sum(BAD.values()), abs=0.01)
    assert (BAD[Kind.SEVERAL_CRYSTALS] + BAD[Kind.SPOTTY_RINGS]) / sum(BAD.values()) >= 0.25


@pytest.mark.parametrize("camera", CameraKind)
def test_the_same_seed_and_number_give_the_same_pattern_whatever_else_is_made(camera):
    in_a_row = list(generate(5, 0, 12, camera, SMALL))
    for number in (11, 3):
        (alone,) = generate(5, number, 1, camera, SMALL)
        np.testing.assert_array_equal(alone.counts, in_a_row[number].counts)
        assert alone.label == in_a_row[number].label
    (other,) = generate(6, 3, 1, camera, SMALL)
    assert not np.array_equal(other.counts, in_a_row[3].counts)


def test_patterns_of_one_crystal_stand_together_so_that_training_and_test_can_be_divided():
    crystals = [pattern.label.crystal for pattern in generate(2, PATTERNS_EACH - 2, 4, shape=SMALL)]
    assert crystals == [0, 0, 1, 1]


def shown(label):
    return label.kind, label.verdict


def some(count, camera=CameraKind.COUNTING, seed=9):
    return list(generate(seed, 0, count, camera, SMALL))


def test_good_patterns_reach_far_and_are_of_one_crystal_and_bad_ones_are_not():
    for pattern in some(160):
        label = pattern.label
        if label.verdict is Verdict.GOOD:
            assert label.kind is Kind.ONE_LATTICE
            assert label.lattices == 1
            assert label.d_min_A is not None
            assert label.d_min_A <= 1.5
        if shown(label) == (Kind.SEVERAL_CRYSTALS, Verdict.BAD):
            assert label.lattices >= 2
        if label.kind in (Kind.VACUUM, Kind.BLANK, Kind.EMPTY_FILM, Kind.AMORPHOUS, Kind.POWDER_RINGS):
            assert (label.lattices, label.d_min_A) == (0, None)


def test_a_counting_camera_gives_whole_counts_and_an_integrating_one_offsets_and_signed_numbers():
    counting = some(60)
    assert {pattern.counts.dtype for pattern in counting} == {np.dtype(np.uint16)}
    assert max(int(pattern.counts.max()) for pattern in counting) == 11810  # a Timepix of 14 bits
    integrating = some(60, CameraKind.INTEGRATING)
    assert {str(pattern.counts.dtype) for pattern in integrating} == {"uint16", "int32", "float32"}
    assert min(float(pattern.counts.min()) for pattern in integrating) < 0
    offsets = [float(np.median(pattern.counts)) for pattern in integrating if pattern.counts.dtype == np.uint16]
    assert min(offsets) > 10


def test_exposures_span_three_orders_of_magnitude():
    light = [float(pattern.counts.sum(dtype=np.float64)) for pattern in some(160)]
    assert np.quantile(light, 0.95) / np.quantile(light, 0.1) > 30  # beams saturate, so that counts span less
    assert ELECTRONS[-1] / ELECTRONS[0] == pytest.approx(1000)


def test_beams_are_off_centre_and_some_pixels_tell_nothing():
    patterns = some(200)
    off = np.array([np.hypot(pattern.beam_px[0] - 64, pattern.beam_px[1] - 64) * 516 / 128 for pattern in patterns])
    assert 5 < np.median(off) < 20
    assert 100 < off.max() < 220
    masked = [pattern.mask is not None for pattern in patterns]
    assert 0.35 < np.mean(masked) < 0.65


@pytest.mark.parametrize("shape", [(96, 128), (256, 256), (300, 516)])
def test_shapes_are_along_fast_and_slow(shape):
    for pattern in generate(3, 0, 4, shape=shape):
        assert pattern.counts.shape == (shape[1], shape[0])


def test_a_frame_is_as_wide_in_reciprocal_space_whatever_its_pixels():
    for small, large in zip(generate(4, 0, 6, shape=(128, 128)), generate(4, 0, 6, shape=(256, 256)), strict=True):
        assert small.inverse_A_per_px * 128 == pytest.approx(large.inverse_A_per_px * 256, rel=1e-9)


def test_a_spot_holds_the_light_that_was_asked_where_the_lattice_says():
    rng = np.random.Generator(np.random.SFC64(1))
    camera = drawn_camera(CameraKind.COUNTING, rng)
    made = replace(scene(11, 0, Kind.ONE_LATTICE, Verdict.GOOD, camera, (516, 516), rng), shade=None)
    background = electrons_of(replace(made, spots=NO_SPOTS), (516, 516))
    brightest = np.arange(len(made.spots.share)) == np.argmax(made.spots.share)
    one = made.spots.only(brightest)
    light = electrons_of(replace(made, spots=one), (516, 516)).astype(np.float64) - background
    assert light.sum() == pytest.approx(one.share[0] * made.electrons, rel=0.01)
    row, column = np.indices(light.shape) + 0.5
    assert (light * column).sum() / light.sum() == pytest.approx(one.fast_px[0], abs=0.1)
    assert (light * row).sum() / light.sum() == pytest.approx(one.slow_px[0], abs=0.1)


def test_wilsons_intensities_are_equal_for_friedels_pairs():
    crystal = specimen(3, 5).crystal
    strength = {tuple(hkl): value for hkl, value in zip(crystal.hkl.tolist(), crystal.intensity, strict=True)}
    for hkl, value in strength.items():
        assert strength[tuple(-k for k in hkl)] == pytest.approx(value, rel=1e-9)
    assert 100 <= crystal.volume_A3 <= 4000
