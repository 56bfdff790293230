"""A rotation is integrated to the intensities of its crystal, within what is said, whole or cut by gaps."""

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.madecrystals import made
from protocols.integration.observing import RECORDED, Fate, Observations, observe
from protocols.integration.prediction import Widths
from tests.protocols.integration.turned import Turned, true_intensity, turned


def integrated(rotation: Turned) -> Observations:
    return observe(rotation.series, rotation.crystal.ub, rotation.geometry, 0.9, Widths(0.12, 1e-4))


@pytest.fixture(scope="module")
def both_ways(tmp_path_factory: pytest.TempPathFactory) -> dict[bool, tuple[Turned, Observations]]:
    cif = made("triclinic1").write(tmp_path_factory.mktemp("made") / "made.cif")
    found = {}
    for falling in (False, True):
        rotation = turned(20.0, falling=falling, cif=cif)
        found[falling] = rotation, integrated(rotation)
    return found


@pytest.mark.parametrize("falling", [False, True])
def test_intensities_are_those_of_the_crystal_within_their_sigmas(
    both_ways: dict[bool, tuple[Turned, Observations]], falling: bool
) -> None:
    rotation, seen = both_ways[falling]
    true, kept = true_intensity(rotation.crystal, seen), seen.kept
    scale = seen.intensity[kept].sum() / true[kept].sum()
    value, sigma = seen.intensity / scale, seen.sigma / scale
    assert kept.sum() > 350
    assert np.corrcoef(value[kept], true[kept])[0, 1] > 0.995
    cut = kept & (seen.recorded < 0.9)
    for which, sure in ((cut, 0.35), (kept & ~cut, 0.2)):
        pull = (value - true)[which] / np.hypot(sigma[which], 0.02 * true[which])
        assert which.sum() > 50
        assert np.median(pull) == pytest.approx(0.0, abs=0.15)
        assert 1.4826 * np.median(np.abs(pull)) == pytest.approx(1.0, abs=sure)


def test_widths_in_angle_and_on_the_camera_are_found(both_ways: dict[bool, tuple[Turned, Observations]]) -> None:
    _, seen = both_ways[False]
    distance = np.array([0.6, 1.0])
    true = Widths(0.08, 2e-4).deg(distance, distance)
    assert seen.widths.deg(distance, distance) == pytest.approx(true, rel=0.1)
    assert seen.spot_px == pytest.approx(0.9, abs=0.1)


def test_reflections_of_which_a_gap_has_the_larger_part_are_rejected_and_counted(
    both_ways: dict[bool, tuple[Turned, Observations]],
) -> None:
    rotation, seen = both_ways[False]
    missing = [k for k in range(int(rotation.series.slot[-1])) if k not in rotation.series.slot]
    middles = np.array([-10 + (k + 0.5) * 0.23 for k in missing])
    narrow = seen.widths.deg(seen.passages.d_star, seen.passages.speed_per_A) < 0.1
    inside = np.abs(seen.passages.angle_deg[:, None] - middles).min(axis=1) < 0.03
    inside &= (seen.passages.angle_deg > -9.5) & (seen.passages.angle_deg < 9)
    assert inside.sum() > 10
    assert set(seen.fate[inside & narrow].tolist()) <= {Fate.PARTIAL, Fate.BLIND, Fate.OVERLAPPED}
    assert np.all(seen.recorded[seen.kept] >= RECORDED)


def test_without_gaps_hardly_any_is_rejected_as_partial() -> None:
    seen = integrated(turned(6.0, gap_every=0))
    inner = (seen.passages.angle_deg > -9.5) & (seen.passages.angle_deg < -4.5)
    assert (seen.fate[inner] == Fate.PARTIAL).mean() < 0.02


def test_saturated_reflections_are_rejected() -> None:
    rotation = turned(5.0)
    low = Turned(replace(rotation.series, saturation=60.0), rotation.crystal, rotation.geometry)
    seen = integrated(low)
    assert (seen.fate == Fate.SATURATED).sum() > 5
    true = true_intensity(rotation.crystal, seen)
    assert true[seen.fate == Fate.SATURATED].mean() > 3 * true[seen.kept].mean()


def test_what_passes_in_a_shadow_is_not_measured_as_weak() -> None:
    rotation = turned(20.0)
    dark_from = 0.7 * len(rotation.series)
    counts = rotation.series.counts
    shadow = replace(rotation.series, counts=lambda k: counts(k) if k < dark_from else counts(k) // 50)
    seen = integrated(Turned(shadow, rotation.crystal, rotation.geometry))
    true, kept = true_intensity(rotation.crystal, seen), seen.kept
    assert kept.sum() > 1000
    assert seen.frame[kept].max() < dark_from
    assert np.corrcoef(seen.intensity[kept], true[kept])[0, 1] > 0.985


def test_frames_keep_their_numbers_when_some_before_them_lie_in_a_shadow() -> None:
    rotation = turned(20.0)
    counts, light_from = rotation.series.counts, 0.3 * len(rotation.series)
    shadow = replace(rotation.series, counts=lambda k: counts(k) if k > light_from else counts(k) // 50)
    seen = integrated(Turned(shadow, rotation.crystal, rotation.geometry))
    begin, end = (rotation.series.start_deg[seen.frame], rotation.series.end_deg[seen.frame])
    inside = seen.kept & (seen.recorded > 0.95)
    assert seen.frame[seen.kept].min() > light_from
    assert (
        np.mean((seen.passages.angle_deg > begin - 0.05) & (seen.passages.angle_deg < end + 0.05), where=inside) > 0.9
    )
