"""Every Bravais type is recognised from its reduced cell, also a little off, and its conventional cell comes back."""

import gemmi
import numpy as np
import pytest

from protocols.lattice.cell import Cell
from protocols.lattice.symmetry import bravais

LATTICES = [
    # type, conventional cell, the twofold axes' group order
    ("aP", (7, 8, 9, 80, 85, 75), 1), ("mP", (7, 8, 9, 90, 105, 90), 2), ("mC", (14, 9, 9, 90, 105, 90), 2),
    ("mC", (9, 14, 8, 90, 95, 90), 2), ("oP", (7, 8, 9, 90, 90, 90), 4), ("oC", (18.11, 20.53, 7.528, 90, 90, 90), 4),
    ("oI", (7, 8, 9, 90, 90, 90), 4), ("oF", (10, 12, 15, 90, 90, 90), 4), ("tP", (7, 7, 9, 90, 90, 90), 8),
    ("tI", (7, 7, 12, 90, 90, 90), 8), ("tI", (12, 12, 7, 90, 90, 90), 8), ("hP", (7, 7, 9, 90, 90, 120), 12),
    ("hR", (10, 10, 14, 90, 90, 120), 6), ("hR", (10, 10, 6, 90, 90, 120), 6), ("cP", (7, 7, 7, 90, 90, 90), 24),
    ("cI", (7, 7, 7, 90, 90, 90), 24), ("cF", (7, 7, 7, 90, 90, 90), 24),
]  # fmt: skip


def primitive(cell: tuple[float, ...], centring: str) -> Cell:
    vector = gemmi.GruberVector(gemmi.UnitCell(*cell), centring)
    vector.niggli_reduce()
    return Cell(*vector.get_cell().parameters)


@pytest.mark.parametrize(("symbol", "cell", "rotations"), LATTICES)
@pytest.mark.parametrize("error", [0.0, 2e-4])
def test_bravais_type_and_conventional_cell(symbol: str, cell: tuple[float, ...], rotations: int, error: float) -> None:
    exact = primitive(cell, symbol[1])
    off = Cell(*(np.array(exact.parameters) * (1 + error * np.random.default_rng(1).standard_normal(6))))
    found = bravais(off)
    assert (found.symbol, found.rotations) == (symbol, rotations)
    assert found.cell.parameters == pytest.approx(cell, rel=4 * error + 1e-6)


@pytest.mark.parametrize(("symbol", "cell", "rotations"), LATTICES)
def test_the_conventional_cell_of_another_basis_and_a_slightly_other_metric(
    symbol: str, cell: tuple[float, ...], rotations: int
) -> None:
    lattice = primitive(cell, symbol[1])
    turn = np.array([[1, 1, 0], [0, 1, 0], [1, 0, 1]])
    given = Cell.from_metric(turn @ lattice.metric @ turn.T)
    found = bravais(given)
    assert found.conventional(given.metric).parameters == pytest.approx(found.cell.parameters)
    larger = found.conventional(1.02**2 * given.metric).parameters
    assert larger[:3] == pytest.approx(tuple(1.02 * x for x in found.cell.parameters[:3]))
    sheared = given.metric + 1e-4 * np.array([[0, 1, 2], [1, 0, 3], [2, 3, 0]])
    fixed = [value for value, angle in zip(found.conventional(sheared).parameters[3:], cell[3:], strict=True)
             if angle in (90, 120)]  # fmt: skip
    assert fixed == pytest.approx([angle for angle in cell[3:] if angle in (90, 120)], abs=1e-9)


def test_a_lattice_farther_off_than_allowed_is_not_symmetric() -> None:
    assert bravais(Cell(7, 8, 9, 90.5, 90, 90), obliquity_deg=0.1).symbol == "mP"
    assert bravais(Cell(7, 8, 9, 90.5, 90, 90), obliquity_deg=1.0).symbol == "oP"


def test_the_other_settings_of_a_centred_monoclinic_lattice_are_c() -> None:
    found = bravais(primitive((9, 14, 8, 90, 95, 90), "I"))
    assert found.symbol == "mC"
    assert found.cell.volume_A3 == pytest.approx(Cell(9, 14, 8, 90, 95, 90).volume_A3)


@pytest.mark.parametrize(
    ("system", "free"), [((7, 8, 9, 80, 85, 75), 6), ((7, 7, 7, 90, 90, 90), 1), ((7, 7, 9, 90, 90, 120), 2)]
)
def test_free_parameters(system: tuple[float, ...], free: int) -> None:
    assert bravais(Cell(*system)).free_parameters == free


@pytest.mark.parametrize("seed", range(8))
def test_no_reflection_of_a_rhombohedral_lattice_is_taken_for_absent(seed: int) -> None:
    """Its hexagonal axes are obverse, whatever the axes that were found and their noise."""
    rng = np.random.default_rng(seed)
    axes = np.eye(3, dtype=np.int64)
    for _ in range(4):
        i, j = rng.permutation(3)[:2]
        axes[i] += rng.choice([-1, 1]) * axes[j]
    metric = axes @ Cell(9.3, 9.3, 9.3, 94.6, 94.6, 94.6).metric @ axes.T
    found = Cell(*(np.array(Cell.from_metric(metric).parameters) * (1 + 1e-4 * rng.normal(size=6))).tolist())
    told = bravais(found, 1.0)
    assert told.symbol == "hR"
    points = np.indices((5, 5, 5)).reshape(3, -1).T - 2
    hexagonal = points @ (told.basis @ told.reduction).T
    assert not np.any(gemmi.SpaceGroup("R -3 m:H").operations().systematic_absences(hexagonal.astype(np.int32)))
