"""What was found of a crystal stays in the run folder, goes to the files, and is made anew when it no longer holds."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from engine.record.lock import alone_in
from engine.run.correcting import correct
from protocols.cred import CRED
from protocols.lattice.cell import Cell, lattice_difference
from protocols.live.command import live_app
from protocols.live.frames import open_frames
from protocols.live.keeping import keep_crystal
from protocols.live.lookedframes import LookedFrames
from protocols.products.foundcrystal import CRYSTAL_FILE, found_crystal
from protocols.products.source import open_run
from tests.protocols.products.crystals import GEOMETRY, crystal_run
from tests.protocols.products.readers import keywords

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eleven degrees of mordenite, whose plan does not ask for a look."""
    folder = tmp_path_factory.mktemp("kept") / "run"
    return crystal_run(folder, slots=48, start_deg=-20.0, orientation_seed=4)[0]


@pytest.fixture(autouse=True)
def nothing_kept(run: Path) -> None:
    (run / CRYSTAL_FILE).unlink(missing_ok=True)


def export(folder: Path) -> list[str]:
    return list(CRED.export(folder, ("xds",), lambda done, total: None))


def with_plan(folder: Path, **keys: object) -> None:
    told = json.loads((folder / "run.json").read_text())
    told["plan"] = {"exposure_s": 0.5, **keys}
    (folder / "run.json").write_text(json.dumps(told))


def test_a_look_at_a_run_folder_is_kept_and_goes_to_its_files(run: Path) -> None:
    export(run)
    assert not (run / CRYSTAL_FILE).exists()
    assert keywords(run / "SMV" / "XDS.INP")["SPACE_GROUP_NUMBER"] == ["0"]
    assert CliRunner().invoke(live_app, [str(run), "--every-deg", "20"]).exit_code == 0
    with open_run(run) as source:
        crystal = found_crystal(source.info)
    assert crystal is not None
    assert crystal.determined
    assert crystal.cell[:3] == pytest.approx((18.11, 20.53, 7.528), rel=0.02)
    # With the camera length that is told, and was true, the lengths are right.
    assert crystal.scaled_to(250.0, crystal.cell)[:3] == pytest.approx((18.11, 20.53, 7.528), rel=3e-3)
    assert crystal.fitted["rotation_axis_deg"].value == pytest.approx(GEOMETRY.rotation_axis_deg, abs=0.5)
    assert len(crystal.points) == crystal.reflections
    assert crystal.points[:, 4].mean() == pytest.approx(crystal.indexed, abs=1e-3)
    assert (run / CRYSTAL_FILE).stat().st_size < 100_000
    export(run)
    cell = Cell(*map(float, keywords(run / "SMV" / "XDS.INP")["UNIT_CELL_CONSTANTS"][0].split()))
    assert cell.parameters == pytest.approx(cell.reduced().parameters, abs=1e-3)
    length, angle_deg = lattice_difference(cell, Cell(18.11, 20.53, 7.528, 90, 90, 90).reduced("C m c m"))
    assert length < 5e-3
    assert angle_deg < 0.3


def test_a_look_at_a_part_is_not_kept(run: Path) -> None:
    CliRunner().invoke(live_app, [str(run), "--until-deg", "6"])
    assert not (run / CRYSTAL_FILE).exists()


def test_a_run_that_others_work_on_is_looked_at_and_nothing_is_kept(run: Path) -> None:
    with alone_in(run):
        done = CliRunner().invoke(live_app, [str(run), "--every-deg", "20"])
    assert done.exit_code == 0
    assert "not kept" in done.stderr
    assert not (run / CRYSTAL_FILE).exists()


def test_a_plan_that_wants_it_has_it_before_its_files_and_once(run: Path) -> None:
    with_plan(run, live=True)
    export(run)
    first = (run / CRYSTAL_FILE).stat().st_mtime_ns
    assert keywords(run / "SMV" / "XDS.INP")["SPACE_GROUP_NUMBER"] == ["1"]
    export(run)
    assert (run / CRYSTAL_FILE).stat().st_mtime_ns == first
    with_plan(run)


def test_with_another_geometry_and_when_damaged_it_is_made_anew(run: Path) -> None:
    (run / CRYSTAL_FILE).write_text("{")
    export(run)
    before = json.loads((run / CRYSTAL_FILE).read_text())
    correct(CRED, run, ["geometry.camera_length_mm=255"])
    try:
        export(run)
        after = json.loads((run / CRYSTAL_FILE).read_text())
        found = keywords(run / "SMV" / "XDS.INP")
    finally:
        correct(CRED, run, ["geometry.camera_length_mm=250"])
    assert after["asked"]["camera_length_mm"] == 255
    assert after["orientation"] != before["orientation"]
    assert found["DETECTOR_DISTANCE"] == ["255.0000"]
    cells = [float(x) for x in found["UNIT_CELL_CONSTANTS"][0].split()[:3]]
    assert cells == pytest.approx([7.528 * 1.02, 13.69 * 1.02, 13.69 * 1.02], rel=5e-3)


def test_of_a_lattice_that_is_not_determined_nothing_is_kept_but_the_reason_and_the_reflections(run: Path) -> None:
    with open_frames(run, None) as frames:
        looked = LookedFrames(frames)
        for index in range(8):
            looked.add(index, frames.counts(index))
        keep_crystal(run, frames, looked.reflections, looked.look())
    told = json.loads((run / CRYSTAL_FILE).read_text())
    assert told["reasons"]
    assert "fitted" not in told
    with open_run(run) as source:
        crystal = found_crystal(source.info)
    assert crystal is not None
    assert not crystal.determined
    assert len(crystal.points) > 5
    assert not crystal.points[:, 4].any()
