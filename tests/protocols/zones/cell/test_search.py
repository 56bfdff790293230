"""Cells from zones: perfect ones, distorted, false, too few, symmetric; and plain answers to wrong use."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from engine.errors import Refused
from protocols.lattice.cell import Cell, lattice_difference
from protocols.zones.cell.ellipse import strain_of
from protocols.zones.cell.search import Answer, find_cell
from protocols.zones.patterns.randomcells import random_cell
from protocols.zones.patterns.simulation import simulate
from protocols.zones.sorting.geometric import find_zone
from protocols.zones.sorting.labels import LABELS, ZONE
from protocols.zones.sorting.zone import Zone
from tests.protocols.zones.madezones import zone_of, zones_of

pytestmark = pytest.mark.long

CELL = Cell(7.1, 9.3, 11.2, 82.0, 97.0, 105.0)
OTHERS = [Cell(6.0 + n, 13.3 - n / 2, 8.7 + n / 3, 93 + n, 101 - n, 96 + 2 * n) for n in range(8)]


def is_right(answer: Answer, cell: Cell, limit: float = 1.0) -> bool:
    """Lengths within `limit` percent and angles within as many degrees."""
    if not answer.candidates:
        return False
    length, angle = lattice_difference(answer.candidates[0].cell, cell)
    return 100 * length < limit and angle < limit


def simulated(
    cell: Cell, space_group: str = "P 1", count: int = 24, seed: int = 0, orientations: int = 1000
) -> list[Zone]:
    """Zones found in strictly zonal patterns of this crystal."""
    rng = np.random.default_rng(seed)
    patterns = simulate(cell, orientations, rng, space_group=space_group)
    zonal = rng.permutation(np.flatnonzero(patterns.label == LABELS.index(LABELS[ZONE])))[:count]
    found = [find_zone(patterns.spots(int(n)), name=str(n)) for n in zonal]
    return [zone for zone in found if zone is not None]


def test_a_cell_from_ten_zones() -> None:
    answer = find_cell(zones_of(CELL))
    assert is_right(answer, CELL, 0.05)
    assert answer.determined
    assert answer.reason == ""
    best = answer.candidates[0]
    assert best.zones_explained == best.nets_explained == 10
    assert best.lattice.symbol == "aP"
    assert answer.votes.max() >= 4
    # Several votes lead to the same cell; which of them is reached first differs by the rounding of the processor.
    assert answer.votes[int(answer.voted_deg / 0.5)] >= 2


def test_assigned_hkl_index_the_basis_of_every_zone() -> None:
    zones = zones_of(CELL, 10, seed=2)
    zones[4] = replace(zones[4], basis=zones[4].basis[::-1] * np.array([[1], [-1]]))
    best = find_cell(zones).candidates[0]
    for zone, hkl in zip(zones, best.assigned, strict=True):
        assert hkl is not None
        gram = hkl @ best.cell.reciprocal_metric @ hkl.T
        np.testing.assert_allclose([gram[0, 0], gram[1, 1], gram[0, 1]], zone.gram(), rtol=2e-3, atol=2e-5)


@pytest.mark.parametrize(("amplitude", "azimuth"), [(1.0, 30.0), (2.4, -80.0)])
def test_a_distortion_is_estimated(amplitude: float, azimuth: float) -> None:
    strain = strain_of(amplitude, azimuth)
    zones = zones_of(CELL, 16, seed=3, strain=(float(strain[0]), float(strain[1])))
    answer = find_cell(zones)
    assert is_right(answer, CELL, 0.05)
    assert answer.distortion is not None
    assert (answer.distortion.amplitude_percent, answer.distortion.azimuth_deg) == pytest.approx(
        (amplitude, azimuth), rel=0.03
    )
    given = find_cell(zones, distortion=(amplitude, azimuth))
    assert is_right(given, CELL, 0.05)
    ignored = find_cell(zones, distortion=None)
    assert not (ignored.determined and not is_right(ignored, CELL))


def test_false_zones_are_left_out() -> None:
    zones = zones_of(CELL, 10) + [zones_of(other, 3, seed=n)[2] for n, other in enumerate(OTHERS[:4])]
    answer = find_cell(zones)
    assert is_right(answer, CELL, 0.05)
    assert answer.determined
    assert answer.candidates[0].assigned[10:] == (None,) * 4


@pytest.mark.long
def test_noise_widens_the_uncertainties_as_it_should() -> None:
    inside = []
    for seed in range(6):
        best = find_cell(zones_of(CELL, 15, seed=seed, sd=1e-3), distortion=None).candidates[0]
        true = CELL.reduced().parameters
        if lattice_difference(best.cell, CELL)[0] < 0.01:
            error = np.abs(np.array(sorted(best.cell.parameters[:3])) - sorted(true[:3]))
            inside.append(error < 3 * np.array(best.sigma[:3]).max())
    assert len(inside) == 6
    assert np.mean(inside) > 0.9


@pytest.mark.parametrize(
    ("symbol", "conventional", "space_group"),
    [
        ("oC", Cell(18.11, 20.53, 7.528, 90, 90, 90), "C m c m"),
        ("hP", Cell(9, 9, 11, 90, 90, 120), "P 63/m m c"),
        ("mP", Cell(8, 10, 9, 90, 110, 90), "P 1 21/c 1"),
        ("cF", Cell(11, 11, 11, 90, 90, 90), "F m -3 m"),
        ("cF", Cell(10.3, 10.3, 10.3, 90, 90, 90), "F d -3 m"),
    ],
    ids=["mordenite", "hexagonal", "monoclinic with glide", "cubic F", "diamond"],
)
def test_symmetric_lattices_and_absences(symbol: str, conventional: Cell, space_group: str) -> None:
    answer = find_cell(simulated(conventional, space_group))
    assert answer.determined
    best = answer.candidates[0].lattice
    assert best.symbol == symbol
    assert best.cell.parameters == pytest.approx(conventional.parameters, rel=1e-3)
    sigma = answer.candidates[0].lattice_sigma
    assert all(x > 0 for x in sigma[:3])
    assert [x > 0 for x in sigma[3:]] == [x not in (90, 120) for x in conventional.parameters[3:]]


@pytest.mark.parametrize("volume", [500, 1000])
def test_random_cells_from_spots(volume: int) -> None:
    cell = random_cell(np.random.default_rng(volume), "triclinic", volume, 6.0)
    answer = find_cell(simulated(cell, seed=volume))
    assert is_right(answer, cell, 0.03)
    assert answer.determined


@pytest.mark.parametrize(
    ("zones", "words"),
    [
        ([], "no zones"),
        (zones_of(CELL, 1), "one zone"),
        ([zone_of(CELL, (1, 0, 0), (0, 1, 0), turn) for turn in (0.0, 50.0, 100.0)], "the same"),
        (zones_of(CELL, 2), "2 distinct zones; at least 5"),
        (zones_of(CELL, 3), "3 distinct zones; at least 5"),
        (zones_of(CELL, 4), "4 distinct zones; at least 5"),
    ],
    ids=["none", "one", "one thrice", "two", "three", "four"],
)
def test_too_few_zones_do_not_determine_a_cell(zones: list[Zone], words: str) -> None:
    answer = find_cell(zones)
    assert not answer.determined
    assert words in answer.reason
    assert all(candidate.figure_of_merit < 0.9 for candidate in answer.candidates)


def test_zones_of_different_crystals_determine_nothing() -> None:
    zones = [zones_of(other, 5, seed=n)[k] for n, other in enumerate(OTHERS) for k in (1, 4)]
    answer = find_cell(zones)
    assert not answer.determined
    assert answer.reason


@pytest.mark.parametrize(
    "change",
    [
        {"basis": np.array([[np.nan, 0.1], [0.1, 0.0]])},
        {"tilt": np.array([np.inf, 0.0])},
        {"basis": np.array([[0.1, 0.1], [0.2, 0.2]])},
        {"basis": np.zeros((2, 2))},
        {"covariance": -np.eye(4)},
    ],
    ids=["not a number", "infinite tilt", "a row", "nothing", "impossible covariance"],
)
def test_a_broken_zone_is_refused_by_name(change: dict[str, Any]) -> None:
    zones = zones_of(CELL, 6)
    zones[3] = replace(zones[3], name="frame 17", **change)
    with pytest.raises(Refused, match="frame 17"):
        find_cell(zones)


def test_the_same_zones_give_the_same_answer_in_any_order() -> None:
    zones = zones_of(CELL, 12, seed=8, sd=2e-4)
    one, again, other = find_cell(zones), find_cell(zones), find_cell(zones[::-1])
    assert one.candidates[0].cell == again.candidates[0].cell
    assert lattice_difference(one.candidates[0].cell, other.candidates[0].cell)[0] < 1e-4


def wrong_and_high(cases: int, count: int, false: int) -> tuple[int, int]:
    """Of random cells from few zones and false ones: how many came out wrong, and how many of these are high."""
    wrong = high = 0
    for seed in range(cases):
        rng = np.random.default_rng([99, seed])
        cell = random_cell(rng, "triclinic", float(rng.choice([500, 700, 1000])), 6.0)
        zones = simulated(cell, count=count, seed=seed, orientations=400)
        for n in range(false):
            zones += simulated(
                random_cell(rng, "triclinic", 700.0, 6.0), count=1, seed=seed + 100 * n, orientations=100
            )
        answer = find_cell(zones)
        if not is_right(answer, cell):
            wrong += 1
            high += answer.determined
    return wrong, high


def test_wrong_cells_are_not_high() -> None:
    wrong, high = wrong_and_high(4, 3, 3)
    assert wrong > 0
    assert high == 0


@pytest.mark.long
@pytest.mark.parametrize(("count", "false"), [(4, 0), (5, 5), (0, 12)])
def test_wrong_cells_are_hardly_ever_high(count: int, false: int) -> None:
    wrong, high = wrong_and_high(40, count, false)
    assert high <= 0.05 * wrong
