"""The simulated crystal against an independent direct sum, by its symmetry, and its refusals."""

from itertools import product
from pathlib import Path

import gemmi
import numpy as np
import pytest

from drivers.simulated.crystal import MORDENITE_CIF, Crystal, load_crystal, random_orientation
from engine.errors import Refused

ATOM_LOOP = """loop_
_atom_site_label
_atom_site_type_symbol
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
_atom_site_U_iso_or_equiv
_atom_site_occupancy
"""


def cif_text(cell: str, symmetry: str, atoms: str) -> str:
    keys = ("length_a", "length_b", "length_c", "angle_alpha", "angle_beta", "angle_gamma")
    lines = [f"_cell_{key} {value}" for key, value in zip(keys, cell.split(), strict=True)]
    return "data_test\n" + "\n".join(lines) + f"\n{symmetry}\n{ATOM_LOOP}{atoms}\n"


ATOMS = "Si1 Si 0.10 0.21 0.33 0.015 1\nO1 O 0.42 0.05 0.17 0.03 0.5"
CHABAZITE = """T1 Si 0.9997 0.2264 0.1051 0.015 1
O1 O 0.9020 0.0980 0.1227 0.030 1
O2 O 0.9767 0.3101 0.1667 0.030 1
O3 O 0.1203 0.2405 0.1315 0.030 1
O4 O 0.0000 0.2577 0.0000 0.030 1"""
HM = "_symmetry_space_group_name_H-M "
SYSTEMS = {
    "triclinic": cif_text("5.1 6.2 7.3 81 95 104", HM + "'P -1'", ATOMS),
    "monoclinic": cif_text("7.1 8.2 6.3 90 101 90", HM + "'P 1 21/c 1'", ATOMS),
    "trigonal": cif_text("13.675 13.675 14.767 90 90 120", HM + "'R -3 m'", CHABAZITE),
    "cubic": cif_text("5.64 5.64 5.64 90 90 90", HM + "'F m -3 m'", "Na Na 0 0 0 0.02 1\nCl Cl 0.5 0.5 0.5 0.02 1"),
    "without symmetry": cif_text("5.1 6.2 7.3 81 95 104", "", ATOMS),
    "listed operations": cif_text("5 6 7 90 90 90", "loop_\n_symmetry_equiv_pos_as_xyz\nx,y,z\n-x,-y,z+1/2", ATOMS),
}


@pytest.fixture(scope="module")
def mordenite() -> Crystal:
    return load_crystal(None, orientation_seed=1)


def direct_sum(path: Path, hkl: np.ndarray) -> np.ndarray:
    """|F|^2 summed over every atom of the cell: symmetry, positions and form factors multiplied out by hand."""
    block = gemmi.cif.read(str(path)).sole_block()
    structure = gemmi.make_small_structure_from_block(block)
    operations = [str(x) for x in block.find_loop("_symmetry_equiv_pos_as_xyz")] or [
        op.triplet() for op in (structure.spacegroup or gemmi.SpaceGroup("P 1")).operations()
    ]
    b_matrix = np.array(structure.cell.frac.mat.tolist()).T
    stol2 = (np.linalg.norm(hkl @ b_matrix.T, axis=1) / 2.0) ** 2
    total = np.zeros(len(hkl), dtype=complex)
    for label, symbol, x, y, z, u_iso, occupancy in block.find(
        "_atom_site_", ["label", "type_symbol", "fract_x", "fract_y", "fract_z", "U_iso_or_equiv", "occupancy"]
    ):
        del label
        places: list[np.ndarray] = []
        for triplet in operations:
            place = np.array(gemmi.Op(triplet).apply_to_xyz([float(x), float(y), float(z)])) % 1.0
            if all(np.abs((place - other + 0.5) % 1.0 - 0.5).max() > 1e-3 for other in places):
                places.append(place)
        coefficients = np.array(gemmi.Element(symbol).c4322.get_coefs()).reshape(2, 5)
        form = (coefficients[0] * np.exp(-np.outer(stol2, coefficients[1]))).sum(axis=1)
        form *= float(occupancy) * np.exp(-8.0 * np.pi**2 * float(u_iso) * stol2)
        total += form * np.exp(2j * np.pi * hkl @ np.array(places).T).sum(axis=1)
    return np.abs(total) ** 2


def every_index(crystal: Crystal) -> np.ndarray:
    """All (h, k, l) but the origin within the resolution limit."""
    reach = [range(-n, n + 1) for n in np.ceil(np.array(crystal.cell[:3]) / crystal.d_min_A).astype(int)]
    indices = np.array(list(product(*reach)))
    length = np.linalg.norm(indices @ crystal.ub.T, axis=1)
    return indices[(length > 0) & (length <= 1.0 / crystal.d_min_A)]


def test_mordenite_has_the_published_cell_and_its_volume(mordenite: Crystal) -> None:
    assert mordenite.cell == (18.11, 20.53, 7.528, 90.0, 90.0, 90.0)
    assert mordenite.volume_A3 == pytest.approx(18.11 * 20.53 * 7.528)
    assert mordenite.name == "mordenite"


def test_mordenite_lacks_what_the_centring_and_the_glide_plane_forbid(mordenite: Crystal) -> None:
    h, k, l = every_index(mordenite).T  # noqa: E741
    forbidden = ((h + k) % 2 == 1) | ((k == 0) & (l % 2 == 1))
    present = {tuple(index) for index in mordenite.hkl.tolist()}
    allowed = np.stack([h, k, l], axis=1)[~forbidden]
    assert present == {tuple(index) for index in allowed.tolist()}
    assert len(present) == len(mordenite.hkl)


def test_mordenite_intensities_agree_with_a_direct_sum(mordenite: Crystal) -> None:
    chosen = mordenite.hkl[:: len(mordenite.hkl) // 300]
    expected = direct_sum(MORDENITE_CIF, chosen)
    assert np.allclose(mordenite.intensity[:: len(mordenite.hkl) // 300], expected, rtol=1e-5, atol=1e-5)


def test_equivalents_and_friedel_mates_are_equal_to_the_last_bit(mordenite: Crystal) -> None:
    intensity = {tuple(index): value for index, value in zip(mordenite.hkl.tolist(), mordenite.intensity, strict=True)}
    for signs in product((1, -1), repeat=3):
        mates = [intensity[tuple(index)] for index in (mordenite.hkl * signs).tolist()]
        assert np.array_equal(mates, mordenite.intensity)


@pytest.mark.parametrize("system", SYSTEMS)
def test_any_crystal_system_is_complete_and_agrees_with_a_direct_sum(tmp_path: Path, system: str) -> None:
    path = tmp_path / "any.cif"
    path.write_text(SYSTEMS[system], encoding="utf-8")
    crystal = load_crystal(path, orientation_seed=2, d_min_A=1.2)
    every = every_index(crystal)
    expected = direct_sum(path, every)
    found = {tuple(index): value for index, value in zip(crystal.hkl.tolist(), crystal.intensity, strict=True)}
    assert np.allclose([found.get(tuple(index), 0.0) for index in every.tolist()], expected, rtol=1e-4, atol=5e-3)
    assert len(found) == len(crystal.hkl)
    d_spacing = gemmi.UnitCell(*crystal.cell).calculate_d_array(crystal.hkl)
    assert np.allclose(1.0 / np.linalg.norm(crystal.hkl @ crystal.ub.T, axis=1), d_spacing)


def test_orientation_is_a_rotation_fixed_by_its_seed(mordenite: Crystal) -> None:
    again, other = load_crystal(None, orientation_seed=1), random_orientation(2)
    assert np.array_equal(again.orientation, mordenite.orientation)
    assert not np.allclose(other, mordenite.orientation)
    assert np.allclose(mordenite.orientation @ mordenite.orientation.T, np.eye(3))
    assert np.linalg.det(mordenite.orientation) == pytest.approx(1.0)
    b_matrix = mordenite.orientation.T @ mordenite.ub
    assert np.allclose(b_matrix, np.diag(1.0 / np.array([18.11, 20.53, 7.528])))


def test_orientations_are_uniform_over_all_rotations() -> None:
    # The trace of a uniform rotation is 1 + 2 cos(angle) with mean 0 and mean square 1.
    traces = np.array([np.trace(random_orientation(seed)) for seed in range(1000)])
    assert abs(traces.mean()) < 0.15
    assert (traces**2).mean() == pytest.approx(1.0, abs=0.2)


REFUSALS = {
    "no such file": None,
    "cannot be read as CIF": "this is not a CIF",
    "no unit cell": f"data_x\n_symmetry_space_group_name_H-M 'P 1'\n{ATOM_LOOP}{ATOMS}\n",
    "no atoms": "data_x\n" + SYSTEMS["triclinic"].partition(ATOM_LOOP)[0].removeprefix("data_test\n"),
    "unknown space group 'P 9 9 9'": cif_text("5 6 7 90 90 90", HM + "'P 9 9 9'", ATOMS),
    "the cell does not fit": cif_text("5 6 7 90 90 90", HM + "'P a -3'", ATOMS),
    "atom A1 has no known element": cif_text("5 6 7 90 90 90", HM + "'P 1'", "A1 ? 0 0 0 0.01 1"),
    "no reflection has d": cif_text("0.5 0.5 0.5 90 90 90", HM + "'P 1'", ATOMS),
}


@pytest.mark.parametrize("cause", REFUSALS)
def test_a_bad_cif_is_refused_in_one_line_that_names_key_file_and_cause(tmp_path: Path, cause: str) -> None:
    path = tmp_path / "bad.cif"
    text = REFUSALS[cause]
    if text is not None:
        path.write_text(text, encoding="utf-8")
    with pytest.raises(Refused) as caught:
        load_crystal(path, orientation_seed=1)
    message = str(caught.value)
    assert message.startswith("crystal.cif: ")
    assert str(path) in message
    assert cause in message
    assert "\n" not in message


def test_a_folder_or_a_binary_file_is_refused_too(tmp_path: Path) -> None:
    with pytest.raises(Refused, match=r"^crystal\.cif"):
        load_crystal(tmp_path, orientation_seed=1)
    (tmp_path / "picture.cif").write_bytes(bytes(range(256)) * 20)
    with pytest.raises(Refused, match=r"^crystal\.cif"):
        load_crystal(tmp_path / "picture.cif", orientation_seed=1)
