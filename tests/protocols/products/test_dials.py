"""DIALS' own readers see what we meant: one sweep, the beam, the axis, the angles. Import only, all in one process."""

import json
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from protocols.products.dials import import_arguments
from protocols.products.export import export_run
from protocols.products.metadata import run_header
from protocols.products.source import RunInfo, open_run
from tests.protocols.products.processing import import_each, need_dials, trusted_counts
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


WAYS = ("smv", "nexus")
Imported = tuple[RunInfo, tuple[float, float], dict[str, Any]]
"""What the run says of itself, where its beam is in pixels, and what DIALS says of it."""


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], Imported]:
    need_dials()
    runs: dict[tuple[str, str], tuple[Path, RunInfo, tuple[float, float]]] = {}
    folders: dict[Path, list[str]] = {}
    for name, what in product(CASES, WAYS):
        folder = write_run(tmp_path_factory.mktemp("runs") / "run", **CASES[name])
        beam_px = export_run(folder, ["dials" if what == "smv" else "nexus"]).beam_px
        with open_run(folder) as source:
            runs[name, what] = folder, source.info, beam_px
        if what == "smv":
            folders[folder] = ["template=SMV/data/#####.img", *import_arguments(run_header(source.info, beam_px))]
        else:
            folders[folder] = ["master.nxs"]
    import_each(folders)
    return {
        case: (info, beam_px, json.loads((folder / "imported.expt").read_text()))
        for case, (folder, info, beam_px) in runs.items()
    }


@pytest.mark.long
@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("what", WAYS)
def test_dials_import_sees_one_sweep_with_the_right_models(
    imported: dict[tuple[str, str], Imported], name: str, what: str
) -> None:
    info, beam_px, found = imported[name, what]
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
    assert (-x / 0.055, y / 0.055) == pytest.approx(beam_px, abs=2e-4)
    assert z == pytest.approx(-250.0)
    assert panel["gain"] == 1.0
    assert panel["trusted_range"][0] == -1
    assert panel["trusted_range"][1] == 11809  # it saturates at 11810
    assert found["beam"][0]["wavelength"] == pytest.approx(0.02508)


@pytest.mark.long
def test_the_same_counts_are_trusted_in_both(tmp_path: Path) -> None:
    need_dials()
    about_full = [0, 1, 11_807, 11_808, 11_809, 11_810, 11_811, 40_000]  # it saturates at 11810

    def picture(start_deg: float, end_deg: float, slot: int) -> np.ndarray:
        counts = np.full((64, 64), 7, np.uint16)
        counts[20, : len(about_full)] = about_full
        return counts

    folder = write_run(tmp_path / "run", slots=3, interval=0, shape=(64, 64), wide_cross=False, picture=picture)
    beam_px = export_run(folder, ["dials", "nexus"]).beam_px
    with open_run(folder) as source:
        words = import_arguments(run_header(source.info, beam_px))
    experiments = []
    for name, told in (("smv", [f"template={folder}/SMV/data/#####.img", *words]), ("nexus", [f"{folder}/master.nxs"])):
        (tmp_path / name).mkdir()
        import_each({tmp_path / name: told})
        experiments.append(tmp_path / name / "imported.expt")
    smv, nexus = trusted_counts(*experiments)
    assert smv == nexus
    assert {0, 1, 7, 11_807, 11_808} <= set(smv)
    # The largest of the trusted range belongs to it in newer versions of dxtbx, not in those up to 3.11.
    assert set(smv) <= {0, 1, 7, 11_807, 11_808, 11_809}
