"""The whole way, from cells nobody has seen to the same cells again, and the figures that judge it."""

import numpy as np
import pytest

from protocols.lattice.cell import Cell
from protocols.zones.evaluation import GROUPS, Group, Mixture, Outcome, evaluate, figures_of, summary
from protocols.zones.sorting.method import Method
from protocols.zones.sorting.network import tensorflow

SMALL = Group("small", 400.0, 1.5)


@pytest.fixture(scope="module")
def outcomes() -> list[Outcome]:
    """Two cells by geometry alone."""
    return evaluate(3, None, 2, 300, [SMALL], Method.GEOMETRY)


@pytest.mark.long
def test_cells_come_out_as_they_went_in(outcomes: list[Outcome]) -> None:
    assert [outcome.right for outcome in outcomes] == [True, True]
    assert all(outcome.answer.determined for outcome in outcomes)
    result = summary(outcomes)
    assert result["cells"] == result["cells_right"] == 2
    assert result["recall"] > 0.95
    assert result["precision"] > 0.95
    assert result["patterns"] == 600


@pytest.mark.long
def test_patterns_of_several_crystals_and_of_none_are_told_and_the_cells_still_found() -> None:
    mixed = evaluate(5, None, 1, 300, [SMALL], Method.GEOMETRY, shares=Mixture(several=0.2, no_hits=0.2))
    result = summary(mixed)
    assert result["cells_right"] == 1
    assert result["no_hit_recall"] == 1.0
    assert result["called_no_hit_wrongly"] == 0.0
    assert result["several_crystals_recall"] > 0.8
    assert result["called_several_crystals_wrongly"] < 0.05
    assert result["precision"] > 0.95


@pytest.mark.long
def test_another_lattice_is_wrong_however_certain(outcomes: list[Outcome]) -> None:
    from dataclasses import replace

    cell = outcomes[0].cell
    other = replace(outcomes[0], cell=Cell(cell.a_A * 1.02, *cell.parameters[1:]))
    assert not other.right
    result = summary([other])
    assert result["cells_right"] == 0
    assert result["cells_wrong_but_certain"] == 1
    assert result["median_length_error_percent"] is None


@pytest.mark.long
@pytest.mark.long
def test_the_same_seed_gives_the_same_figures(outcomes: list[Outcome]) -> None:
    (again,) = evaluate(3, None, 1, 300, [SMALL], Method.GEOMETRY)
    assert again.cell == outcomes[0].cell
    assert again.errors == outcomes[0].errors
    assert figures_of([again]) == figures_of(outcomes[:1])


@pytest.mark.long
def test_the_shipped_network_meets_its_figures_on_cells_it_has_not_seen() -> None:
    """The aims of recall, precision and balanced accuracy hold for all groups together, from a seed never used."""
    pytest.importorskip("tensorflow")
    assert tensorflow()
    result = summary(evaluate(20_261_121, None, 2, 1000, GROUPS))
    assert result["balanced_accuracy"] >= 0.99
    assert result["recall"] >= 0.98
    assert result["precision_with_hybrids"] >= 0.95
    assert result["auc"] >= 0.999
    assert result["cells_right"] >= 15
    assert result["cells_wrong_but_certain"] == 0
    assert np.isfinite(result["patterns_per_s"])
