"""DIALS' own readers see what we meant: one sweep, the beam, the axis, the angles. Import only; a few seconds each."""

import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from protocols.products.dials import import_arguments
from protocols.products.export import export_run
from protocols.products.metadata import run_header
from protocols.products.source import open_run
from tests.protocols.products.processing import need_dials
from tests.protocols.products.runs import disc, write_run

pytestmark = pytest.mark.dials

CASES: dict[str, dict[str, Any]] = {
    "timepix": {"picture": disc((512, 512), 240.25, 275.75)},
    "falling": {"oscillation_deg": -0.2314, "start_deg": 40.0},
    "no snapshots": {"interval": 0},
    "n = 5": {"interval": 5},
    "three slots": {"slots": 3, "interval": 0},
    "non-square": {"shape": (512, 1024), "wide_cross": False, "picture": disc((512, 1024), 600.25, 200.75)},
    "non-square, falling": {
        "shape": (128, 64),
        "wide_cross": False,
        "oscillation_deg": -0.5,
        "picture": disc((128, 64), 20.25, 90.75),
    },
    "non-square with a cross": {"shape": (512, 1024), "picture": disc((512, 1024), 600.25, 200.75)},
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("what", ["smv", "nexus"])
def test_dials_import_sees_one_sweep_with_the_right_models(tmp_path: Path, name: str, what: str) -> None:
    need_dials()
    folder = write_run(tmp_path / "run", **CASES[name])
    summary = export_run(folder, ["dials" if what == "smv" else "nexus"])
    with open_run(folder) as source:
        info = source.info
    if what == "smv":
        arguments = ["template=SMV/data/#####.img", *import_arguments(run_header(info, summary.beam_px))]
    else:
        arguments = ["master.nxs"]
    subprocess.run(["dials.import", *arguments], cwd=folder, check=True, capture_output=True)
    found = json.loads((folder / "imported.expt").read_text())
    assert len(found["experiment"]) == 1
    scan, panel = found["scan"][0], found["detector"][0]["panels"][0]
    assert len(found["detector"][0]["panels"]) == 1
    assert scan["image_range"] == [1, info.last_slot]
    # The stage's rotation: axis times angle, whichever way it turns.
    w = np.radians(info.rotation_axis_deg)
    axis = np.array(found["goniometer"][0]["rotation_axis"])
    start, width = scan["oscillation"]
    np.testing.assert_allclose(axis * start, np.array([np.cos(w), np.sin(w), 0]) * info.start_deg, atol=1e-4)
    np.testing.assert_allclose(axis * width, np.array([np.cos(w), np.sin(w), 0]) * info.oscillation_deg, atol=1e-6)
    assert width > 0
    rows, columns = info.shape
    assert panel["image_size"] == [columns, rows]
    np.testing.assert_allclose(panel["fast_axis"], [1, 0, 0], atol=1e-12)
    np.testing.assert_allclose(panel["slow_axis"], [0, -1, 0], atol=1e-12)
    x, y, z = panel["origin"]
    assert (-x / 0.055, y / 0.055) == pytest.approx(summary.beam_px, abs=2e-4)
    assert z == pytest.approx(-250.0)
    assert panel["gain"] == 1.0
    assert panel["trusted_range"][0] == -1
    assert panel["trusted_range"][1] >= 11810
    assert found["beam"][0]["wavelength"] == pytest.approx(0.02508)
