"""Phases told apart by cells: two zeolites, a rare third, near ones, and wrong cells."""

import numpy as np
import pytest

from protocols.lattice.cell import Cell, lattice_difference
from protocols.session.judging.phases import Phase, phases_of, sorted_into, unplaced
from tests.protocols.session.judging.nights import (
    CHABAZITE,
    FERRIERITE,
    MORDENITE,
    SAPO34_LIKE,
    measured,
    night,
)


def cells_in(phase: Phase, true: list[Cell]) -> set[Cell]:
    return {true[each.number - 1] for each in phase.data_sets}


@pytest.mark.parametrize("seed", range(40, 46))
def test_two_zeolites_and_a_rare_third(seed: int) -> None:
    sets, true = night(np.random.default_rng(seed), (MORDENITE, 31), (CHABAZITE, 32), (FERRIERITE, 2))
    phases = phases_of(sets)
    assert sorted(len(each.data_sets) for each in phases) == [2, 31, 32]
    assert all(len(cells_in(each, true)) == 1 for each in phases)
    assert {each.bravais.symbol for each in phases} == {"oC", "hR", "oI"}
    assert unplaced(sets, phases) == {}
    for each in phases:
        assert lattice_difference(each.cell, next(iter(cells_in(each, true))))[0] < 0.012


def test_a_phase_that_was_seen_once_says_so() -> None:
    rng = np.random.default_rng(7)
    sets = [*(measured(MORDENITE, n, rng) for n in range(1, 9)), measured(CHABAZITE, 9, rng)]
    phases = phases_of(sets)
    assert [len(each.data_sets) for each in phases] == [8, 1]
    assert phases[1].doubts == ("its cell was seen once",)
    assert phases[0].doubts == ()


def test_numbers_stay_while_the_night_goes_on() -> None:
    sets, true = night(np.random.default_rng(5), (MORDENITE, 8), (CHABAZITE, 8))
    before = phases_of(sets[:6])
    after = phases_of(sets)
    assert [cells_in(each, true) for each in before] == [cells_in(each, true) for each in after]


@pytest.mark.parametrize("seed", range(3))
def test_cells_three_sigma_apart_are_two(seed: int) -> None:
    """c of one is longer by 1.5 %, and known to 0.5 %."""
    sets, true = night(np.random.default_rng(seed), (CHABAZITE, 20), (SAPO34_LIKE, 20))
    phases = phases_of(sets)
    assert len(phases) == 2
    wrong = sum(
        min(sum(true[d.number - 1] == cell for d in each.data_sets) for cell in (CHABAZITE, SAPO34_LIKE))
        for each in phases
    )
    assert wrong <= 4
    assert any("could be of another phase" in doubt for each in phases for doubt in each.doubts)


@pytest.mark.parametrize("seed", range(6))
def test_one_phase_is_not_made_two(seed: int) -> None:
    sets, _ = night(np.random.default_rng(100 + seed), (CHABAZITE, 30))
    assert len(phases_of(sets)) == 1


@pytest.mark.parametrize(
    "axes",
    [
        pytest.param([[2, 0, 0], [0, 1, 0], [0, 0, 1]], id="twice"),
        pytest.param([[1, 1, 0], [0, 1, 1], [0, 0, 3]], id="three times"),
        pytest.param([[0.5, 0, 0], [0, 1, 0], [0, 0, 1]], id="half"),
    ],
)
def test_a_multiple_or_a_part_of_a_known_cell_is_no_phase(axes: list[list[float]]) -> None:
    rng = np.random.default_rng(9)
    rows = np.array(axes, dtype=float)
    wrong = Cell.from_metric(rows @ MORDENITE.metric @ rows.T).reduced()
    sets = [*(measured(MORDENITE, n, rng) for n in range(1, 7)), measured(wrong, 7, rng)]
    phases = phases_of(sets)
    assert [len(each.data_sets) for each in phases] == [6]
    assert "likely a wrong one" in unplaced(sets, phases)[7]


def test_a_cell_seen_once_with_few_of_its_reflections_is_no_phase() -> None:
    rng = np.random.default_rng(9)
    sets = [*(measured(MORDENITE, n, rng) for n in range(1, 7)), measured(CHABAZITE, 7, rng, indexed=0.4)]
    phases = phases_of(sets)
    assert [len(each.data_sets) for each in phases] == [6]
    assert "only 40%" in unplaced(sets, phases)[7]


def test_a_cell_seen_once_beside_a_second_crystal_is_a_phase() -> None:
    """A neighbour comes into the beam at high tilt: 48 % are on the one lattice and 34 % on the other."""
    rng = np.random.default_rng(9)
    second = {"cell": list(MORDENITE.parameters), "share": 0.34, "same_cell": False}
    both = measured(FERRIERITE, 7, rng, indexed=0.48, lattices=2, second=second)
    sets = [*(measured(MORDENITE, n, rng) for n in range(1, 7)), both]
    assert [len(each.data_sets) for each in phases_of(sets)] == [6, 1]


@pytest.mark.parametrize(("noise", "phases"), [(0.004, 2), (0.016, 1)])
def test_a_cell_seen_once_and_known_badly_is_no_phase(noise: float, phases: int) -> None:
    """After 3 deg of a rotation that failed chabazite was told 2 to 5 % too large, with 1.6 %."""
    rng = np.random.default_rng(9)
    six = np.array(CHABAZITE.parameters) * [1.07, 1.07, 1.07, 1, 1, 1]
    sets = [*(measured(CHABAZITE, n, rng, 0.002) for n in range(1, 7)), measured(Cell(*six.tolist()), 7, rng, noise)]
    found = phases_of(sets)
    assert len(found) == phases
    assert len(unplaced(sets, found)) == 2 - phases
    assert all("seen once, and is known only to 1.6%" in why for why in unplaced(sets, found).values())


def test_no_cell_no_phase() -> None:
    rng = np.random.default_rng(9)
    sets = [measured(MORDENITE, 1, rng), measured(MORDENITE, 2, rng, determined=False, reasons=["too few reflections"])]
    phases = phases_of(sets)
    assert unplaced(sets, phases) == {2: "too few reflections"}
    assert phases_of([]) == []


def test_a_new_data_set_finds_its_phase() -> None:
    rng = np.random.default_rng(2)
    sets, _ = night(rng, (MORDENITE, 5), (CHABAZITE, 5))
    phases = phases_of(sets)
    for cell in (MORDENITE, CHABAZITE):
        found = sorted_into(measured(cell, 11, rng), phases)
        assert found is not None
        assert lattice_difference(found.cell, cell)[0] < 0.01
    assert sorted_into(measured(FERRIERITE, 11, rng), phases) is None
