"""Crystal structures made up for benchmarks/crystals.py: cells of all seven systems, atoms drawn from a seed, as CIF.

Nothing here is a real substance. Atoms stand in general positions at a plausible density (18 A^3 each) and distance,
but for the first three cells, which are too small for that and have the atoms of their structure types.
"""

from dataclasses import dataclass
from pathlib import Path

import gemmi
import numpy as np

ATOM_A3 = 18.0
NEAREST_A = 1.5
ELEMENTS = ("Si", "O", "O", "Fe", "C", "N", "O")
U_ISO_A2 = 0.012

Cell = tuple[float, float, float, float, float, float]


@dataclass(frozen=True, slots=True)
class MadeCrystal:
    """A structure. sites: element and place of each atom; none to draw them."""

    name: str
    system: str
    group: str
    cell: Cell
    sites: tuple[tuple[str, float, float, float], ...] = ()

    @property
    def primitive_A3(self) -> float:
        """Volume of the primitive cell."""
        return gemmi.UnitCell(*self.cell).volume / len(self.operations.cen_ops)

    @property
    def operations(self) -> gemmi.GroupOps:
        """Of the space group."""
        return gemmi.SpaceGroup(self.group).operations()

    @property
    def atoms(self) -> int:
        """How many the asymmetric unit has."""
        return len(self._atoms())

    def write(self, path: Path) -> Path:
        """Write the CIF."""
        rows = [f"A{i} {el} {x:.5f} {y:.5f} {z:.5f} {U_ISO_A2} 1" for i, (el, x, y, z) in enumerate(self._atoms())]
        names = ("length_a", "length_b", "length_c", "angle_alpha", "angle_beta", "angle_gamma")
        keys = ("label", "type_symbol", "fract_x", "fract_y", "fract_z", "U_iso_or_equiv", "occupancy")
        path.write_text(
            "\n".join(
                [
                    f"data_{self.name}",
                    *(f"_cell_{name} {value}" for name, value in zip(names, self.cell, strict=True)),
                    f"_symmetry_space_group_name_H-M '{self.group}'",
                    "loop_",
                    *(f"_atom_site_{key}" for key in keys),
                    *rows,
                    "",
                ]
            )
        )
        return path

    def _atoms(self) -> list[tuple[str, float, float, float]]:
        """The asymmetric unit."""
        if self.sites:
            return list(self.sites)
        cell = gemmi.UnitCell(*self.cell)
        operations = self.operations
        random = np.random.Generator(np.random.PCG64(sum(self.name.encode())))
        wanted = max(2, round(cell.volume / ATOM_A3 / len(operations)))
        matrix = np.array(cell.orth.mat.tolist())
        whole: list[np.ndarray] = []
        found: list[tuple[str, float, float, float]] = []
        for _ in range(200 * wanted):
            if len(found) == wanted:
                break
            place = random.random(3)
            images = np.array([operation.apply_to_xyz(place.tolist()) for operation in operations])
            others = np.array([*whole, *images[1:]]).reshape(-1, 3)
            apart = images[0] - others
            apart -= np.rint(apart)
            if np.linalg.norm(apart @ matrix.T, axis=1).min(initial=np.inf) < NEAREST_A:
                continue
            whole.extend(images)
            found.append((ELEMENTS[len(found) % len(ELEMENTS)], *place.tolist()))
        return found


CRYSTALS = (
    MadeCrystal(
        "rocksalt", "cubic", "F m -3 m", (5.64, 5.64, 5.64, 90, 90, 90), (("Na", 0, 0, 0), ("Cl", 0.5, 0.5, 0.5))
    ),
    MadeCrystal(
        "rutile",
        "tetragonal",
        "P 42/m n m",
        (4.594, 4.594, 2.959, 90, 90, 90),
        (("Ti", 0, 0, 0), ("O", 0.305, 0.305, 0)),
    ),
    MadeCrystal(
        "layers",
        "trigonal",
        "P -3 m 1",
        (4.98, 4.98, 7.02, 90, 90, 120),
        (("Cd", 0, 0, 0), ("I", 1 / 3, 2 / 3, 0.25), ("O", 0.17, 0.34, 0.58)),
    ),
    MadeCrystal("triclinic1", "triclinic", "P -1", (7.1, 9.3, 11.2, 98, 105, 84)),
    MadeCrystal("triclinic2", "triclinic", "P -1", (5.2, 6.1, 6.9, 76, 81, 68)),
    MadeCrystal("triclinic3", "triclinic", "P 1", (12.4, 13.1, 14.9, 93, 101, 112)),
    MadeCrystal("monoclinic1", "monoclinic", "P 1 21/c 1", (7.6, 9.9, 12.3, 90, 106.3, 90)),
    MadeCrystal("monoclinic2", "monoclinic", "C 1 2/c 1", (19.2, 8.4, 11.9, 90, 118.2, 90)),
    MadeCrystal("orthorhombic1", "orthorhombic", "P n m a", (8.48, 5.39, 6.96, 90, 90, 90)),
    MadeCrystal("orthorhombic2", "orthorhombic", "C m c m", (14.1, 15.7, 7.5, 90, 90, 90)),
    MadeCrystal("tetragonal1", "tetragonal", "I 41/a", (11.3, 11.3, 9.4, 90, 90, 90)),
    MadeCrystal("tetragonal2", "tetragonal", "P 4/m m m", (9.7, 9.7, 8.1, 90, 90, 90)),
    MadeCrystal("trigonal1", "trigonal", "R -3 c", (11.7, 11.7, 15.2, 90, 90, 120)),
    MadeCrystal("trigonal2", "trigonal", "P -3", (8.9, 8.9, 7.4, 90, 90, 120)),
    MadeCrystal("hexagonal1", "hexagonal", "P 63/m", (9.43, 9.43, 6.88, 90, 90, 120)),
    MadeCrystal("hexagonal2", "hexagonal", "P 6/m m m", (13.2, 13.2, 9.8, 90, 90, 120)),
    MadeCrystal("cubic1", "cubic", "P a -3", (9.8, 9.8, 9.8, 90, 90, 90)),
    MadeCrystal("cubic2", "cubic", "P m -3 m", (15.8, 15.8, 15.8, 90, 90, 90)),
)


def made(name: str) -> MadeCrystal:
    """The one of this name."""
    return next(crystal for crystal in CRYSTALS if crystal.name == name)
