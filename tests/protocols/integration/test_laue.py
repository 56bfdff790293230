"""The symmetry to merge in is the highest that intensities do not speak against, or the one that is asked for."""

from itertools import product

import gemmi
import numpy as np
import pytest
from numpy.typing import NDArray

from engine.errors import Refused
from protocols.integration.laue import Axes, choose, disagreement, rotations
from protocols.lattice.cell import Cell
from protocols.lattice.symmetry import bravais
from tests.quickly import quick

CELLS = {
    "tP": Cell(8.0, 8.0, 11.0, 90, 90, 90),
    "hP": Cell(9.0, 9.0, 7.0, 90, 90, 120),
    "cP": Cell(9.0, 9.0, 9.0, 90, 90, 90),
    "oP": Cell(7.0, 8.5, 11.0, 90, 90, 90),
}
ALL = np.array([h for h in product(range(-5, 6), repeat=3) if any(h)])
ANGLE_DEG = np.random.default_rng(6).uniform(-40, 40, len(ALL))


def types(symbol: str) -> list[Axes]:
    """Of this lattice, and triclinic."""
    cell = CELLS[symbol]
    found = [bravais(cell, width) for width in (0.5, 0.0)]
    found[1] = bravais(Cell(7.1, 8.6, 11.3, 81, 75, 96)) if found[1].symbol != "aP" else found[1]
    return [Axes(found[0], found[0].cell, np.zeros(6)), Axes(found[1], cell, np.zeros(6))]


def intensities(group: str, noise: float = 0.03) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Of ALL, those alike that the group relates, each with an error."""
    operations, asu = gemmi.SpaceGroup(group).operations(), gemmi.ReciprocalAsu(gemmi.SpaceGroup(group))
    rng = np.random.default_rng(4)
    unique: dict[tuple[int, ...], float] = {}
    true = np.array(
        [unique.setdefault(tuple(asu.to_asu(h, operations)[0]), rng.exponential(100.0)) for h in ALL.tolist()]
    )
    sigma = np.hypot(1.0, noise * true)
    return true + sigma * rng.standard_normal(len(true)), sigma


@pytest.mark.parametrize(
    ("symbol", "group", "laue"),
    quick(
        5,
        [
            ("tP", "P 4/m m m", "4/mmm"),
            ("tP", "P 4/m", "4/m"),
            ("hP", "P 6/m m m", "6/mmm"),
            ("hP", "P 6/m", "6/m"),
            ("hP", "P -3 1 m", "-3m"),
            ("hP", "P -3 m 1", "-3m"),
            ("hP", "P -3", "-3"),
            ("cP", "P m -3", "m-3"),
            ("cP", "P m -3 m", "m-3m"),
            ("oP", "P m m m", "mmm"),
            ("oP", "P -1", "-1"),
        ],
    ),
)
def test_the_laue_class_is_that_of_the_intensities(symbol: str, group: str, laue: str) -> None:
    value, sigma = intensities(group)
    found = choose(ALL, value, sigma, ANGLE_DEG, types(symbol), None)
    assert found.laue == laue
    if laue == "-3m":
        assert found.group.xhm() == group
    assert all(off > 0.3 for _, off in found.refused)
    assert found.disagreement is None or found.disagreement < 0.05


@pytest.mark.parametrize(("group", "laue"), [("P 4/m m m", "4/mmm"), ("P 4/m", "4/m"), ("P -1", "-1")])
def test_a_crystal_that_leaves_the_beam_keeps_its_class(group: str, laue: str) -> None:
    value, sigma = intensities(group)
    share = 0.1 + 0.9 / (1 + np.exp(ANGLE_DEG / 6))
    found = choose(ALL, share * value, np.hypot(share * sigma, 1.0), ANGLE_DEG, types("tP"), None)
    assert found.laue == laue
    assert found.disagreement is None or found.disagreement < 0.1


def test_without_equivalents_it_is_the_highest_of_the_lattice() -> None:
    value, sigma = intensities("P -1")
    found = choose(ALL[:5], value[:5], sigma[:5], ANGLE_DEG[:5], types("tP"), None)
    assert (found.laue, found.disagreement) == ("4/mmm", None)


@pytest.mark.parametrize(
    ("wanted", "symbol", "told"),
    [
        ("P 21 21 21", "oP", "P 21 21 21"),
        ("mmm", "oP", "P m m m"),
        ("-1", "oP", "P -1"),
        ("P 42/n", "tP", "P 42/n:2"),
        ("-31m", "hP", "P -3 1 m"),
        ("P 63/m", "hP", "P 63/m"),
    ],
)
def test_a_group_that_is_asked_for_is_taken(wanted: str, symbol: str, told: str) -> None:
    value, sigma = intensities("P -1")
    found = choose(ALL, value, sigma, ANGLE_DEG, types(symbol), wanted)
    assert found.group.xhm() == told
    assert found.given


@pytest.mark.parametrize("wanted", ["nonsense", "P 4/m", "C m c m", "4/mmm", ""])
def test_a_group_that_the_lattice_cannot_have_is_refused_in_one_line(wanted: str) -> None:
    value, sigma = intensities("P -1")
    with pytest.raises(Refused, match="no structure factors were") as refusal:
        choose(ALL, value, sigma, ANGLE_DEG, types("oP"), wanted)
    assert "\n" not in str(refusal.value)


def test_the_axes_of_a_centred_cell_are_conventional() -> None:
    primitive = Cell(18.11, 20.53, 7.528, 90, 90, 90).reduced("C m c m")
    found = bravais(primitive)
    axes = Axes(found, found.cell, np.zeros(6))
    hkl = ALL @ axes.to_conventional.T
    assert found.symbol == "oC"
    assert np.all((hkl[:, 0] + hkl[:, 1]) % 2 == 0)
    lengths = np.einsum("ni,ij,nj->n", ALL, primitive.reciprocal_metric, ALL)
    assert np.einsum("ni,ij,nj->n", hkl, found.cell.reciprocal_metric, hkl) == pytest.approx(lengths, rel=1e-4)


def test_friedel_mates_alone_are_not_asked() -> None:
    value, sigma = intensities("P -1")
    assert disagreement(gemmi.SpaceGroup("P -1"), gemmi.SpaceGroup("P -1"), ALL, value, sigma) is None
    assert len(rotations(gemmi.SpaceGroup("P m -3 m"))) == 48
