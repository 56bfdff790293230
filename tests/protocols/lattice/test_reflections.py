"""All reflections inside the sphere, but those that the space group forbids."""

from pathlib import Path

import gemmi
import numpy as np
import pytest

from drivers.simulated.crystal import MORDENITE_CIF
from engine.errors import Refused
from protocols.lattice.cell import Cell
from protocols.lattice.reflections import allowed_reflections, cif_reflections
from protocols.zones.patterns.randomcells import PAPER_CELLS

OBLIQUE = Cell(5.6786, 10.4648, 20.4682, 109.7914, 106.5805, 105.8206)
ORTHORHOMBIC = Cell(18.11, 20.53, 7.528, 90.0, 90.0, 90.0)


def test_no_reflection_of_an_oblique_cell_is_cut_off() -> None:
    hkl = allowed_reflections(OBLIQUE, 1.0)
    # |h| <= d*_max / a*, as often written, misses some of these.
    theirs = gemmi.make_miller_array(gemmi.UnitCell(*OBLIQUE.parameters), gemmi.SpaceGroup("P 1"), 1.0, unique=False)
    assert len(hkl) == pytest.approx(2 * len(theirs), abs=2) or len(hkl) == len(theirs)
    assert len(hkl) == pytest.approx(4 / 3 * np.pi * OBLIQUE.volume_A3, rel=0.02)
    assert set(map(tuple, hkl)) == set(map(tuple, -hkl))


@pytest.mark.parametrize(
    ("cell", "space_group", "absent", "present"),
    [
        (PAPER_CELLS["monoclinic 3.8155"][0], "P 1 21 1", [(0, 1, 0), (0, 3, 0)], [(0, 2, 0), (1, 1, 0), (0, 1, 1)]),
        (ORTHORHOMBIC, "C m c m", [(1, 0, 0), (1, 2, 0), (0, 0, 1), (2, 0, 1)], [(1, 1, 0), (2, 0, 0), (1, 1, 1)]),
        (Cell(10, 10, 10, 90, 90, 90), "F m -3 m", [(1, 0, 0), (1, 1, 0)], [(1, 1, 1), (2, 0, 0)]),
    ],
)
def test_a_space_group_forbids(
    cell: Cell, space_group: str, absent: list[tuple[int, ...]], present: list[tuple[int, ...]]
) -> None:
    hkl = set(map(tuple, allowed_reflections(cell, 1.0, space_group).tolist()))
    assert not hkl & set(absent)
    assert set(present) <= hkl


@pytest.mark.parametrize(("space_group", "cause"), [("P 99", "unknown"), ("C m c m", "does not fit")])
def test_an_impossible_space_group_is_refused(space_group: str, cause: str) -> None:
    with pytest.raises(Refused, match=cause):
        allowed_reflections(OBLIQUE, 1.0, space_group)


def test_a_cif_gives_cell_reflections_and_intensities() -> None:
    cell, hkl, intensity = cif_reflections(MORDENITE_CIF, 1.0)
    assert cell.parameters == pytest.approx((18.11, 20.53, 7.528, 90, 90, 90), abs=0.05)
    assert np.array_equal(hkl, allowed_reflections(cell, 1.0, "C m c m"))
    assert len(intensity) == len(hkl)
    assert intensity.max() > 0


def test_a_file_that_is_no_cif_is_refused(tmp_path: Path) -> None:
    (tmp_path / "no.cif").write_text("nothing")
    with pytest.raises(Refused, match=r"no\.cif"):
        cif_reflections(tmp_path / "no.cif", 1.0)
