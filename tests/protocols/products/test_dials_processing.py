"""DIALS processes what was written, with the written script, and finds the crystal that was simulated: of any kind.

The simulated specimen is the truth: cell, orientation, intensities.
"""

import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from drivers.simulated.picturesettings import PictureSettings
from protocols.products.export import export_run
from tests.protocols.products.crystals import GEOMETRY, crystal_run
from tests.protocols.products.processing import correlation, faults, need_dials, own_python, processed

pytestmark = [pytest.mark.dials, pytest.mark.long]

MORDENITE = (18.11, 20.53, 7.528)

TRICLINIC = """data_triclinic
_cell_length_a 7.1
_cell_length_b 9.3
_cell_length_c 11.2
_cell_angle_alpha 98.0
_cell_angle_beta 105.0
_cell_angle_gamma 84.0
_symmetry_space_group_name_H-M 'P -1'
loop_
_atom_site_label
_atom_site_type_symbol
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
_atom_site_U_iso_or_equiv
_atom_site_occupancy
Fe1 Fe 0.11 0.23 0.31 0.01 1
Si1 Si 0.42 0.65 0.17 0.01 1
O1 O 0.27 0.41 0.86 0.01 1
O2 O 0.73 0.09 0.55 0.01 1
"""
MONOCLINIC = (
    TRICLINIC.replace("triclinic", "monoclinic")
    .replace("alpha 98.0", "alpha 90.0")
    .replace("gamma 84.0", "gamma 90.0")
    .replace("P -1", "P 1 21/c 1")
)


@pytest.mark.parametrize(
    ("name", "cif", "oscillation_deg", "interval", "points"),
    [
        ("falling, every 5", None, -0.2314, 5, 2),
        ("no snapshots", None, 0.2314, 0, 2),
        ("triclinic, every 20", TRICLINIC, 0.2314, 20, 1),
        ("monoclinic", MONOCLINIC, -0.2314, 10, 1),
    ],
)
def test_any_crystal_any_direction_any_interval(
    tmp_path: Path, name: str, cif: str | None, oscillation_deg: float, interval: int, points: int
) -> None:
    need_dials()
    path = None
    if cif is not None:
        path = tmp_path / "crystal.cif"
        path.write_text(cif)
    folder, crystal = crystal_run(
        tmp_path / "run",
        slots=300,
        cif=path,
        oscillation_deg=oscillation_deg,
        interval=interval,
        start_deg=-35.0 if oscillation_deg > 0 else 35.0,
        orientation_seed=4,
    )
    export_run(folder, ["dials"], 2)
    assert faults(folder, crystal, points) == []


def test_a_wide_camera_without_a_cross(tmp_path: Path) -> None:
    need_dials()
    geometry = replace(GEOMETRY, beam_fast_px=500.3, beam_slow_px=250.8)
    settings = PictureSettings(shape=(512, 1024), wide_cross=False)
    folder, crystal = crystal_run(tmp_path / "run", slots=200, geometry=geometry, settings=settings)
    export_run(folder, ["dials"], 2)
    assert faults(folder, crystal, 2) == []


FEW = 'from dials.array_family import flex; flex.reflection_table.from_file("scaled.refl")[:2].as_file("few.refl")'


def of_few_reflections_it_says_so_and_does_not_fail(work: Path) -> None:
    program = shutil.which("dials.import")
    assert program is not None
    words = (
        [*own_python(program), "-c", FEW],
        [*own_python(program), "../dials_between.py", "told", "scaled.expt", "few.refl"],
    )
    done = [subprocess.run(each, cwd=work, capture_output=True, text=True, check=True) for each in words]
    assert "DIALS gives no statistics of them" in done[1].stdout


@pytest.mark.parametrize(("name", "slots", "oscillation_deg"), [("1", 553, 0.2314), ("2", 439, 0.2336)])
def test_the_two_mordenite_data_sets_of_table_1(
    tmp_path: Path, name: str, slots: int, oscillation_deg: float, record_property: Callable[[str, object], None]
) -> None:
    need_dials()
    folder, crystal = crystal_run(
        tmp_path / f"mordenite_{name}",
        slots=slots,
        oscillation_deg=oscillation_deg,
        start_deg=-slots * 0.1157,
        orientation_seed=int(name),
    )
    export_run(folder, ["dials", "nexus"], 2)
    result = processed(folder, crystal)
    cc, reflections = correlation(result.mtz, crystal)
    for key, value in (("result", result), ("cc", cc), ("reflections", reflections)):
        record_property(key, str(value))  # text, for it may have to get to another process
    print(
        f"data set {name}: {result}, CC {cc:.4f} over {reflections} reflections; paper: completeness and R_meas "
        "99.3 % and 33.0 % (1), 93.6 % and 10.8 % (2)"
    )
    assert result.indexed_percent >= 95
    assert max(result.rmsd[:2]) < 0.2
    assert result.rmsd[2] < 0.3
    assert result.space_group.startswith("C ")
    assert sorted(result.cell[:3]) == pytest.approx(sorted(MORDENITE), rel=0.005)
    assert result.cell[3:] == pytest.approx((90, 90, 90), abs=1e-6)
    assert result.lattice.misorientation_deg < 0.06
    assert abs(result.detector_rotation_deg) < 0.5
    assert cc >= 0.97
    assert f"\nspace group: {result.space_group}" in result.said
    told = re.search(r": (\d+) % complete\nR_meas (\S+), CC1/2 [01]\.\d+, mean I/sigma \d", result.said)
    assert told is not None
    assert float(told[1]) == pytest.approx(result.completeness_percent, abs=1.0)
    assert float(told[2]) == pytest.approx(result.r_meas, rel=0.1)
    if name == "2":
        of_few_reflections_it_says_so_and_does_not_fail(folder / "SMV" / "dials")
