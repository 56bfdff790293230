"""Which crystal comes next: by its pattern, and by what its phase still wants."""

from collections import Counter

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from protocols.session.judging.worth import Candidate, Collected, Wanted, worth
from protocols.session.night import NEW
from tests.protocols.session.judging.nights import CHABAZITE, MORDENITE
from tests.protocols.session.judging.stills import GEOMETRY, reached, seen, zeolite

WANTED = Wanted(d_min_A=1.0)


def candidate(**changed) -> Candidate:
    usual = {"score": 0.8, "several": 0.1, "d_min_A": 1.0, "neighbour_nm": 3000.0, "length_nm": 1000.0}
    return Candidate(**{**usual, **changed})


@pytest.mark.parametrize(
    "worse",
    [
        {"score": 0.6},
        {"several": 0.6},
        {"d_min_A": 1.6},
        {"d_min_A": None},
        {"neighbour_nm": 500.0},
        {"length_nm": 100.0},
        {"length_nm": 20_000.0},
    ],
)
def test_a_worse_crystal_is_worth_less(worse: dict[str, float | None]) -> None:
    nothing = Collected([])
    assert 0 < worth(candidate(**worse), nothing, WANTED)[0] < worth(candidate(), nothing, WANTED)[0] <= 1


def test_what_is_not_known_of_a_crystal_is_no_fault() -> None:
    value, words = worth(candidate(neighbour_nm=np.nan, length_nm=np.nan), Collected([]), WANTED)
    assert value == worth(candidate(), Collected([]), WANTED)[0]
    assert words == "score 0.80, to 1.00 A"


@pytest.fixture(scope="module")
def both() -> Collected:
    return Collected(reached([MORDENITE, CHABAZITE], start_deg=-10.0, end_deg=10.0))


@pytest.mark.parametrize("name", ["mordenite", "chabazite"])
def test_a_pattern_tells_its_phase(name: str, both: Collected) -> None:
    lattice = {"mordenite": "oC", "chabazite": "hR"}[name]
    told: Counter[str] = Counter()
    for seed in range(6):
        found = both.told(seen(zeolite(name, 3000 + seed), np.random.default_rng(seed)))
        told["untold" if found.reach is None else found.reach.phase.bravais.symbol] += 1
        assert not found.new
    assert told[lattice] >= 4
    assert told[lattice] + told["untold"] == 6


def test_a_pattern_tells_how_its_crystal_lies(both: Collected) -> None:
    right = 0
    for seed in range(6):
        crystal = zeolite("mordenite", 4000 + seed)
        found = both.told(seen(crystal, np.random.default_rng(seed)))
        if found.reach is None or found.turned is None:
            continue
        # Each of its axes is a lattice vector of the true crystal: whole indices in its (centred) reciprocal axes.
        indices = np.linalg.inv(crystal.ub) @ found.turned @ found.reach.basis
        right += np.abs(indices - np.rint(indices)).max() < 0.1
    assert right >= 4


def test_what_fits_no_cell_comes_first(both: Collected) -> None:
    only_mordenite = Collected([each for each in both.phases if each.phase.bravais.symbol == "oC"])
    rng = np.random.default_rng(0)
    known = [
        worth(candidate(xy_per_A=seen(zeolite("mordenite", 50 + n), rng)), only_mordenite, WANTED) for n in range(8)
    ]
    new = [worth(candidate(xy_per_A=seen(zeolite("chabazite", 50 + n), rng)), only_mordenite, WANTED) for n in range(8)]
    assert all(value < NEW for value, _ in known)
    assert sum(value >= NEW for value, _ in new) >= 5
    assert any(words.startswith("fits none of the cells found; score") for _, words in new)


def test_a_bad_pattern_that_fits_no_cell_does_not_come_first(both: Collected) -> None:
    anything = np.random.default_rng(0).uniform(-0.9, 0.9, (30, 2))
    assert both.told(anything).new
    assert worth(candidate(xy_per_A=anything, score=0.3), both, WANTED)[0] < NEW
    assert worth(candidate(xy_per_A=anything, several=0.9), both, WANTED)[0] < NEW


def test_few_spots_tell_nothing(both: Collected) -> None:
    for spots in (None, np.zeros((0, 2)), np.array([[0.1, 0.2], [0.3, -0.1]])):
        value, words = worth(candidate(xy_per_A=spots), both, WANTED)
        assert words.startswith("its phase is not known")
        assert 0 < value < worth(candidate(), Collected([]), WANTED)[0]


def test_the_crystal_that_fills_the_missing_wedge_is_worth_more(both: Collected) -> None:
    """One as it was measured, against one on its side: mordenite measured once, over 60 deg."""
    (reach,) = reached([MORDENITE], each=1, start_deg=-30.0, end_deg=30.0)
    (data,) = reach.phase.data_sets
    as_it_was = reach.rotation_of(data)
    across = Rotation.from_rotvec(np.radians(90) * np.array([np.cos(1.0), np.sin(1.0), 0.0])).as_matrix() @ as_it_was
    brings = [reach.share(reach.together | reach.passed(turned, (-30, 30))) for turned in (as_it_was, across)]
    assert brings[0] == pytest.approx(reach.share(reach.together))
    assert brings[1] > brings[0] + 0.1
    collected = Collected([reach])
    values = []
    for turned in (as_it_was, across):
        points = np.indices((25, 25, 25)).reshape(3, -1).T - 12
        places = points @ (turned @ reach.basis).T
        error = np.abs(places[:, 2] - 0.5 * GEOMETRY.wavelength_A * (places**2).sum(axis=1))
        near = (error < 0.004) & (np.hypot(places[:, 0], places[:, 1]) < 0.8) & points.any(axis=1)
        xy = places[near][:, :2] * np.array([1, -1])
        value, words = worth(candidate(xy_per_A=xy, tilt_deg=(-30.0, 30.0)), collected, WANTED)
        assert words.startswith("phase 1, whose completeness it takes from")
        values.append(value)
    assert values[1] > 2 * values[0]


def test_a_phase_that_has_all_wants_hardly_more() -> None:
    (reach,) = reached([MORDENITE], each=6)
    assert reach.share(reach.together) > 0.99
    xy = seen(zeolite("mordenite", 11), np.random.default_rng(3))
    value, words = worth(candidate(xy_per_A=xy), Collected([reach]), Wanted(1.0, 0.95))
    assert "which is complete" in words
    assert 0 < value < 0.1
