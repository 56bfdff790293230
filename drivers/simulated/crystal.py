"""The simulated specimen's crystal: a cell, an orientation, and kinematic electron diffraction intensities.

A CIF is read once, at the start of a run, with gemmi; what comes out is plain numpy and travels to the process
that computes pictures. Reciprocal lengths are 1/A without the factor 2 pi.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from engine.errors import Refused, shown

if TYPE_CHECKING:
    import gemmi

MORDENITE_CIF = Path(__file__).with_name("mordenite.cif")
LETTERS_SHOWN = 300


@dataclass(frozen=True, slots=True, eq=False)
class Crystal:
    """One crystal on the stage, as it lies at stage angle 0.

    cell: a, b, c in A and alpha, beta, gamma in degrees.
    orientation: (3, 3) rotation U from the crystal's Cartesian frame (a along x, b in the xy plane, c* along z;
        the frame of gemmi, PDB and DIALS) into the lab frame (fast = +x, slow = -y, beam towards -z).
    ub: (3, 3) U @ B in 1/A: `ub @ (h, k, l)` is the reciprocal lattice point in the lab at stage angle 0.
    hkl: (m, 3) every reflection with d >= d_min_A: all symmetry equivalents and Friedel mates, none that is
        systematically absent, nor (0, 0, 0). Sorted by h, then k, then l.
    intensity: (m,) |F|^2 in A^2. F is the kinematic structure factor of the unit cell from electron scattering
        factors in A (International Tables C, table 4.3.2.2; five Gaussians per neutral atom) with Debye-Waller
        factors. Equal, to the last bit, for equivalent reflections.
    size_nm: longest edge of the crystal; also its thickness along the beam in the scale of intensities.
    """

    name: str
    cell: tuple[float, float, float, float, float, float]
    orientation: NDArray[np.float64]
    ub: NDArray[np.float64]
    hkl: NDArray[np.int32]
    intensity: NDArray[np.float64]
    d_min_A: float
    size_nm: float

    @property
    def volume_A3(self) -> float:
        """Volume of the unit cell."""
        return float(1.0 / abs(np.linalg.det(self.ub)))


def load_crystal(cif: Path | None, orientation_seed: int, d_min_A: float = 0.8, size_nm: float = 500.0) -> Crystal:
    """Read a CIF (None: mordenite) and place the crystal at a random orientation, uniform over all rotations.

    The same file and seed give the same crystal. Raises Refused, naming the key `crystal.cif`, the cause and the
    remedy, for a file that is missing or is not the CIF of a crystal structure.
    """
    path = MORDENITE_CIF if cif is None else Path(cif)
    structure, group = _read(path)
    hkl, intensity = _reflections(structure, group, d_min_A)
    if not len(hkl):
        raise _refused(path, f"no reflection has d >= {d_min_A} A", "check the cell, or lower d_min")
    orientation = random_orientation(orientation_seed)
    b_matrix = np.array(structure.cell.frac.mat.tolist()).T
    cell = structure.cell.parameters
    return Crystal(
        name=structure.name or path.stem,
        cell=(cell[0], cell[1], cell[2], cell[3], cell[4], cell[5]),
        orientation=orientation,
        ub=orientation @ b_matrix,
        hkl=hkl,
        intensity=intensity,
        d_min_A=d_min_A,
        size_nm=size_nm,
    )


def random_orientation(seed: int) -> NDArray[np.float64]:
    """(3, 3) rotation matrix drawn uniformly over all rotations; the same for the same seed."""
    from scipy.spatial.transform import Rotation

    # Four normal deviates, normalised, are a uniform unit quaternion (Marsaglia 1972).
    quaternion = np.random.Generator(np.random.PCG64(seed)).standard_normal(4)
    return np.asarray(Rotation.from_quat(quaternion).as_matrix(), dtype=np.float64)


def _refused(path: Path, cause: str, remedy: str) -> Refused:
    name, why = shown(path, LETTERS_SHOWN), shown(" ".join(cause.split()), LETTERS_SHOWN)
    return Refused(f"crystal.cif: {name}: {why}; {remedy}. Nothing was started.")


def _read(path: Path) -> "tuple[gemmi.SmallStructure, gemmi.SpaceGroup]":
    """The structure with chemical occupancies made crystallographic, and its space group (P1 if none is given)."""
    import gemmi

    try:
        found = path.is_file()
    except OSError:  # a name that no file can have
        found = False
    if not found:
        raise _refused(path, "no such file", "give the path of an existing CIF file")
    try:
        document = gemmi.cif.read(str(path))
        # A file may hold several blocks (publication data first); the structure is the one that has atoms.
        blocks = [b for b in document if b.find_loop("_atom_site_fract_x")] or list(document)
        if not blocks:
            raise ValueError("no data block")
        structure = gemmi.make_small_structure_from_block(blocks[0])
    except (OSError, ValueError, RuntimeError) as error:
        raise _refused(path, f"cannot be read as CIF ({error})", "give a small-structure CIF file") from error
    if not structure.cell.is_crystal() or structure.cell.volume <= 0.0:
        raise _refused(path, "no unit cell (_cell_length_a ... _cell_angle_gamma)", "add the cell to the file")
    sites = [site for site in structure.sites if np.isfinite(site.fract.tolist()).all()]
    if not sites or len(sites) < len(structure.sites):
        raise _refused(path, "no atoms, or atoms without coordinates", "complete its _atom_site_ loop")
    for site in structure.sites:
        if site.element.name == "X" or site.element.c4322.get_coefs()[0] == 0.0:
            cause = f"atom {site.label} has no known element ('{site.type_symbol}')"
            raise _refused(path, cause, "give _atom_site_type_symbol as Si, O, ...")
    group = _space_group(path, structure)
    structure.change_occupancies_to_crystallographic()
    return structure, group


def _space_group(path: Path, structure: "gemmi.SmallStructure") -> "gemmi.SpaceGroup":
    """The space group that the file names by operations, Hall, Hermann-Mauguin symbol or number, in that order."""
    import gemmi

    hermann_mauguin, hall = structure.spacegroup_hm, structure.spacegroup_hall
    named = structure.symops or hall or hermann_mauguin or structure.spacegroup_number
    if not named:
        structure.spacegroup = gemmi.SpaceGroup("P 1")
        structure.setup_cell_images()
        return structure.spacegroup
    # s = symmetry operations, h = Hall, 1 and 2 = H-M symbol with origin choice, n = number.
    structure.determine_and_set_spacegroup("sh12n")
    group: gemmi.SpaceGroup | None = structure.spacegroup
    if group is None:
        label = hermann_mauguin or hall or f"number {structure.spacegroup_number}"
        remedy = "correct the space group name or the list of symmetry operations"
        raise _refused(path, f"unknown space group '{label}'", remedy)
    if not structure.cell.is_compatible_with_spacegroup(group, 0.01):
        raise _refused(path, f"the cell does not fit the space group '{group.xhm()}'", "correct one of the two")
    return group


def _reflections(
    structure: "gemmi.SmallStructure", group: "gemmi.SpaceGroup", d_min_A: float
) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """Structure factors of the unique reflections, spread over their equivalents by the Laue group."""
    import gemmi

    unique = gemmi.make_miller_array(structure.cell, group, d_min_A)
    calculator = gemmi.StructureFactorCalculatorE(structure.cell)
    factors = [calculator.calculate_sf_from_small_structure(structure, index) for index in unique.tolist()]
    intensity = np.abs(np.array(factors, dtype=np.complex128)) ** 2
    # Integer row-vector action of each rotation: h' = h R. Centring vectors change no index.
    rotations = {str(op.rot): np.array(op.rot) // op.DEN for op in group.operations().sym_ops}.values()
    equivalents = [unique @ (sign * rotation) for rotation in rotations for sign in (1, -1)]
    every, first = np.unique(np.concatenate(equivalents), axis=0, return_index=True)
    return every.astype(np.int32), np.tile(intensity, len(equivalents))[first]
