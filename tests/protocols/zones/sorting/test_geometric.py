"""Zones, hybrids and intersections are told apart by their spots alone, in patterns whose indices are known."""

from typing import Any

import numpy as np
import pytest

from protocols.spots.peaks import find_peaks
from protocols.zones.patterns.mixture import excitation_ladder
from protocols.zones.patterns.randomcells import PAPER_CELLS, random_cell
from protocols.zones.patterns.render import ImageGeometry, render
from protocols.zones.patterns.simulation import Geometry, Patterns, simulate
from protocols.zones.sorting.geometric import classify_geometry, find_zone
from protocols.zones.sorting.labels import HYBRID, LABELS, NO_HIT, SEVERAL, ZONE

pytestmark = pytest.mark.long

CELLS = [(500, 1.5), (500, 6.0), (700, 6.0), (1000, 1.5), (1000, 6.0), "monoclinic 3.8155", "monoclinic 3.7061"]


def patterns_of(kind: tuple[int, float] | str, count: int, seed: int = 21) -> tuple[np.ndarray, Patterns]:
    """Reciprocal basis of the cell, and its patterns."""
    rng = np.random.default_rng(seed)
    if isinstance(kind, str):
        cell, group = PAPER_CELLS[kind]
    else:
        cell, group = random_cell(rng, volume_A3=kind[0], anisotropy=kind[1]), "P 1"
    return cell.reciprocal_basis, simulate(cell, count, rng, space_group=group)


@pytest.mark.parametrize("kind", CELLS, ids=str)
def test_labels_agree_with_the_indices(kind: tuple[int, float] | str) -> None:
    _, patterns = patterns_of(kind, 250)
    verdicts = [classify_geometry(patterns.spots(i)) for i in range(len(patterns))]
    found = np.array([LABELS.index(verdict.label) for verdict in verdicts])
    zonal = patterns.label == ZONE
    assert zonal.sum() >= 4
    assert (found[zonal] == ZONE).all()
    assert (found[~zonal] != ZONE).all()
    hybrid = patterns.label == HYBRID
    assert (found[hybrid] == HYBRID).sum() >= 0.8 * hybrid.sum()
    score = np.array([verdict.score for verdict in verdicts])
    assert score[zonal].min() > 0.5 > score[~zonal].max()
    assert all((verdict.zone is not None) == (verdict.label in (LABELS[ZONE], LABELS[HYBRID])) for verdict in verdicts)
    assert (found == SEVERAL).mean() <= 0.01  # all are of one crystal


# (how many spots are misplaced, whether they are faint, what the zone is called then)
MISPLACED = [
    (2, False, "hybrid"),
    (2, True, "2DZone"),
    (6, False, "3DLaueIntersections"),
    (25, True, "3DLaueIntersections"),
]


@pytest.mark.parametrize(("number", "is_faint", "label"), MISPLACED)
def test_a_faint_spot_off_the_net_does_not_spoil_a_zone_but_many_do(number: int, is_faint: bool, label: str) -> None:
    _, patterns = patterns_of((1000, 6.0), 300)
    zonal = np.flatnonzero(patterns.label == ZONE)
    xy = patterns.spots(zonal[np.argmax(np.diff(patterns.start)[zonal])]).copy()
    assert len(xy) > 95
    assert classify_geometry(xy).label == "2DZone"
    moved = np.random.default_rng(1).choice(len(xy), number, replace=False)
    xy[moved] += 0.009
    faint = np.isin(np.arange(len(xy)), moved) & is_faint
    assert classify_geometry(xy, faint=faint).label == label


@pytest.mark.parametrize("kind", [(700, 1.5), (1000, 6.0)], ids=str)
def test_zones_from_pictures_have_the_right_lengths(kind: tuple[int, float]) -> None:
    basis, patterns = patterns_of(kind, 400)
    image = ImageGeometry()
    errors = []
    for i in np.flatnonzero(patterns.label == ZONE):
        peaks = find_peaks(render(patterns.take(np.array([i])))[0])
        zone = find_zone(peaks.xy(image.per_px), name=f"p{i}")
        assert zone is not None
        assert zone.name == f"p{i}"
        assert zone.indexed == 1.0
        assert zone.spots == len(peaks.xy_px)
        hkl = patterns.hkl[patterns.start[i] : patterns.start[i + 1]]
        flat = (hkl @ basis.T) @ patterns.orientation[i, :2].T
        index = np.rint(flat @ np.linalg.inv(zone.basis))
        # The reflections that p and q are, from those seen.
        pq = np.linalg.lstsq(index, hkl, rcond=None)[0] @ basis.T
        gram = np.array([pq[0] @ pq[0], pq[1] @ pq[1], pq[0] @ pq[1]])
        errors.append(np.abs(zone.gram() - gram) / np.sqrt(gram[0] * gram[1]))
    assert np.median(errors) < 1e-4
    assert np.quantile(errors, 0.9) < 3e-3


def noisy(xy: np.ndarray, rng: np.random.Generator, sd: float, missing: float, extra: float) -> np.ndarray:
    xy = xy[rng.random(len(xy)) >= missing]
    foreign = rng.uniform(-0.7, 0.7, (rng.binomial(len(xy), extra), 2))
    return np.vstack([xy + rng.normal(0, sd, xy.shape), foreign])


@pytest.mark.long
@pytest.mark.parametrize(
    ("sd", "missing", "extra", "asked"),
    [
        (0.0012, 0.0, 0.0, {}),
        pytest.param(0.0012, 0.03, 0.05, {"allowed_off": 0.15, "missing": 0.03}, marks=pytest.mark.long),
        pytest.param(0.003, 0.0, 0.0, {"tolerance_per_A": 0.016}, marks=pytest.mark.long),
        (0.0, 0.3, 0.0, {"missing": 0.3}),
    ],
)
def test_noise_with_tolerances_to_match(sd: float, missing: float, extra: float, asked: dict[str, Any]) -> None:
    rng = np.random.default_rng(31)
    _, patterns = patterns_of((700, 1.5), 400)
    found = np.array(
        [
            classify_geometry(noisy(patterns.spots(i), rng, sd, missing, extra), **asked).label == LABELS[0]
            for i in range(400)
        ]
    )
    assert found[patterns.label == ZONE].mean() >= 0.9
    # Where foreign spots are allowed, patterns with four to six reflections outside the plane pass as well.
    assert found[patterns.label > HYBRID].mean() < (0.03 if extra else 0.01)


def test_one_foreign_spot_makes_a_hybrid() -> None:
    _, patterns = patterns_of((1000, 1.5), 300)
    xy = patterns.spots(int(np.flatnonzero(patterns.label == ZONE)[0]))
    net = classify_geometry(xy).zone
    assert net is not None
    foreign = xy[0] + 0.5 * net.basis[0]
    for count in (1, 2, 3, 4):
        verdict = classify_geometry(np.vstack([xy, foreign + np.outer(np.arange(count), net.basis[0])]))
        assert verdict.label == (LABELS[HYBRID] if count < 4 else LABELS[2])
        assert verdict.off == count or count == 4
        assert verdict.score < 0.5
    assert classify_geometry(np.vstack([xy, foreign]), allowed_off=1.5 / len(xy)).label == LABELS[ZONE]


@pytest.mark.parametrize(
    ("xy", "said"),
    [
        (np.empty((0, 2)), "too few spots: 0"),
        (np.array([[0.1, 0.2], [0.2, 0.4]]), "too few spots: 2"),
        (np.outer(np.arange(1, 30), [0.03, 0.01]), "no net"),
        (np.zeros((10, 2)), "no net"),
        (np.full((10, 2), np.nan), "too few spots: 0"),
        (np.random.default_rng(1).uniform(-0.9, 0.9, (60, 2)), "no net"),
    ],
)
def test_what_is_no_zone_says_why(xy: np.ndarray, said: str) -> None:
    verdict = classify_geometry(xy)
    assert said in verdict.reason
    label = LABELS[NO_HIT] if "too few" in said else LABELS[2]
    assert (verdict.label, verdict.score, verdict.zone) == (label, 0.0, None)
    assert find_zone(xy) is None


def test_spots_that_the_beam_hides_are_not_missed() -> None:
    _, patterns = patterns_of((700, 1.5), 400)
    zone = np.flatnonzero(patterns.label == ZONE)[0]
    xy = patterns.spots(zone)
    seen = xy[np.hypot(*xy.T) > 0.35]
    assert len(seen) < 0.9 * len(xy)
    unsaid, said = (classify_geometry(seen, d_star_min_per_A=hidden).agreement for hidden in (0.0, 0.35))
    assert unsaid < 0.95 < said


@pytest.mark.parametrize(("thickness_nm", "most"), [(15.0, 1.0), (45.0, 0.8)])
def test_crystals_of_any_thickness_are_sorted_where_the_ladder_has_theirs(thickness_nm: float, most: float) -> None:
    """Thick ones are lost without it."""
    geometry = Geometry(excitation_error_per_A=0.1 / thickness_nm)
    patterns = simulate(random_cell(np.random.default_rng(8), volume_A3=450.0), 150, np.random.default_rng(9), geometry)
    zonal = patterns.label == ZONE
    assert zonal.sum() >= 8
    for errors, least, upper in ((excitation_ladder(10, 50), 0.95, 1.0), (0.01, 0.0, most)):
        called = [classify_geometry(patterns.spots(i), excitation_error_per_A=errors) for i in range(len(patterns))]
        zones = np.array([verdict.label == LABELS[ZONE] for verdict in called])
        assert least <= zones[zonal].mean() <= upper
        assert not zones[~zonal].any()
