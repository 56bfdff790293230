"""Structure factors of a run against those that DIALS integrates of the same pictures; cctbx reads our files."""

import json
import shutil
import subprocess
from pathlib import Path

import gemmi
import numpy as np
import pytest
from typer.testing import CliRunner

from benchmarks.crystals import picture_settings
from benchmarks.crystaltruth import Intensities, agreement, unique
from benchmarks.madecrystals import made
from protocols.integration.structurefactors import FOLDER
from protocols.live.command import live_app
from protocols.products.export import export_run
from tests.protocols.products.crystals import crystal_run
from tests.protocols.products.processing import need_dials, own_python, run_script

pytestmark = [pytest.mark.dials, pytest.mark.long]

MADE = made("triclinic1")
GROUP = gemmi.SpaceGroup("P -1")

READ = """
import json, sys
from iotbx import mtz
from iotbx.shelx import hklf
import iotbx.cif
folder = sys.argv[1]
with open(folder + "/run.hkl") as file:
    shelx = hklf.reader(file_object=file)
arrays = mtz.object(folder + "/run.mtz").as_miller_arrays()
of_cif = iotbx.cif.reader(file_path=folder + "/run.cif").as_miller_arrays()
mean = [a for a in arrays if a.info().labels[0] == "IMEAN"][0]
told = [a for a in of_cif if a.is_xray_intensity_array() or "F_squared_meas" in str(a.info().labels)][0]
print(json.dumps({
    "hkl": [list(index) for index in shelx.indices()], "value": list(shelx.data()), "sigma": list(shelx.sigmas()),
    "mtz": [list(index) for index in mean.indices()], "mean": list(mean.data()),
    "cell": list(mean.unit_cell().parameters()),
    "cif": [list(index) for index in told.indices()], "of_cif": list(told.data()),
}))
"""
"""With DIALS' Python: cctbx reads the three formats by its own code."""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """25 deg of a small triclinic cell, with files for DIALS and structure factors of ours."""
    need_dials()
    base = tmp_path_factory.mktemp("both")
    cif = MADE.write(base / "made.cif")
    folder, _ = crystal_run(base / "run", slots=110, cif=cif, settings=picture_settings(cif, beams=False))
    export_run(folder, ["dials"], 2)
    done = CliRunner().invoke(live_app, [str(folder), "--every-deg", "60", "--structure-factors"])
    assert done.exit_code == 0, done.output
    return folder


def by_cctbx(folder: Path) -> dict[str, list]:
    program = shutil.which("dials.import")
    assert program is not None
    words = own_python(program) or ["dials.python"]
    done = subprocess.run([*words, "-c", READ, str(folder / FOLDER)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_cctbx_reads_what_was_written_and_intensities_are_those_of_dials(run: Path) -> None:
    read = by_cctbx(run)
    assert len(read["hkl"]) > 300
    mtz = gemmi.read_mtz_file(str(run / FOLDER / "run.mtz"))
    assert read["mtz"] == mtz.make_miller_array().tolist()
    assert read["mean"] == pytest.approx(np.array(mtz.column_with_label("IMEAN")).tolist(), rel=1e-5)
    assert len(read["cif"]) == len(read["mtz"])
    ours = merged(np.array(read["hkl"]), np.array(read["value"]), np.array(read["sigma"]), read["cell"])
    run_script(run, until="symmetry")
    dials = integrated(run / "SMV" / "dials")
    cc, r, count = agreement(ours, dials)
    print(cc, r, count)
    assert count > 200
    assert cc > 0.99
    assert r < 0.1


def merged(hkl: np.ndarray, value: np.ndarray, sigma: np.ndarray, cell: list[float]) -> Intensities:
    """By the true indices, for each program chooses the axes of a triclinic cell as it likes."""
    found, true = gemmi.UnitCell(*cell), gemmi.UnitCell(*MADE.cell)
    return unique(GROUP, hkl @ basis_of(found, true).T, value, sigma)


def basis_of(found: gemmi.UnitCell, true: gemmi.UnitCell) -> np.ndarray:
    """(3, 3) indices in the true axes from those (columns) in the found ones."""
    from protocols.lattice.cell import Cell, like_basis

    reduced = Cell(*true.parameters)
    like = like_basis(Cell(*found.parameters), reduced)
    assert like is not None
    return np.rint(np.linalg.inv(reduced.reduction()) @ like).astype(int)


def integrated(work: Path) -> Intensities:
    """What dials.integrate has summed, exported as it is."""
    words = ["dials.export", "integrated.expt", "whole.refl", "intensity=sum", "mtz.hklout=sum.mtz"]
    done = subprocess.run(words, cwd=work, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    mtz = gemmi.read_mtz_file(str(work / "sum.mtz"))
    mtz.switch_to_original_hkl()
    table, labels = np.array(mtz.array), mtz.column_labels()
    good = table[:, labels.index("SIGI")] > 0
    found = mtz.cell.parameters
    value, sigma = (table[good, labels.index(name)] for name in ("I", "SIGI"))
    return merged(table[good, :3].astype(int), value, sigma, list(found))
