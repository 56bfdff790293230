"""Several crystals in one rotation: a path file each, exposed in turns from snapshot to snapshot, a folder each."""

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray

from drivers.facts import Facts
from drivers.simulated.crystalmotion import MotionSettings, moved_nm
from drivers.simulated.scenedrawing import draw_scene
from drivers.simulated.snapshotscene import turn
from engine.errors import DataError, Refused
from engine.replay.replay import first_divergence, load_run, replay
from engine.run.planbasis import declared_basis
from engine.run.planfile import build_plan
from protocols.cred import CRED
from protocols.cred.crystalslots import SEVERAL, crystals_of, slots_of
from protocols.cred.plan import CredPlan
from protocols.products import autoed, source
from tests.protocols.cred.conftest import Finished, Perform
from tests.protocols.cred.test_tracked import PLAN, with_options

HEADER = "angle_deg,x_nm,y_nm,z_nm,sigma_nm"
SCENE, SEED, HOLDER = "brick, neighbours, 500 nm", 8, 3
DEVICES_TWO = with_options(crystal={"scene": SCENE, "orientation_seed": SEED})
FIRST_NM, SECOND_NM = (body.middle_nm for body in draw_scene(SCENE, SEED).bodies)
OFF_NM = 50.0, -40.0
"""By so much the second path is wrong, all along."""
TURNS = {**PLAN, "tracking": "correct"}
Array = NDArray[np.float64]


def path_file(folder: Path, name: str, middle_nm: Array, off_nm: tuple[float, float] = (0.0, 0.0)) -> Path:
    """The true path of what lies there beside the crystal, and off by so much."""
    motion, rows = MotionSettings.drawn(HOLDER, 1.0), [HEADER]
    for angle_deg in np.arange(-50.0, 12.0, 5.0):
        moved = moved_nm(motion, angle_deg, -50.0, (angle_deg + 50.0) / 0.45)
        x_nm, y_nm = (turn(angle_deg) @ middle_nm)[:2] + moved + off_nm
        rows.append(f"{angle_deg},{x_nm},{y_nm},0,60")
    file = folder / name
    file.write_text("\n".join(rows))
    return file


def away_nm(run: Finished, number: int) -> Array:
    """How far a crystal truly was from the middle of the aperture in each frame of its turns."""
    frames = run.frames()
    kept = frames[frames["kept"] > 0]
    with h5py.File(run.folder / "truth.h5") as file:
        first_nm = file["frame_crystal_nm"][:]
    mine = np.isin(kept["slot"], list(slots_of(run.document["result"], number)))
    beside = (FIRST_NM, SECOND_NM)[number - 1]
    turned = [(turn(angle_deg) @ beside)[:2] for angle_deg in kept["start_deg"][mine]]
    return np.asarray(np.hypot(*(first_nm[mine] + turned).T))


def notes_of(run: Finished) -> str:
    return "\n".join(record["text"] for record in run.of("note") if record["name"] == "operator")


def performed(perform: Perform, folder: Path, second: Path, **more: Any) -> Finished:
    return perform(DEVICES_TWO, path=path_file(folder, "a.csv", FIRST_NM), other_paths=[second], **{**TURNS, **more})


def test_each_crystal_is_held_in_its_turns_at_no_cost_of_slots_and_a_replay_is_exact(
    perform: Perform, tmp_path: Path
) -> None:
    run = performed(perform, tmp_path, path_file(tmp_path, "b.csv", SECOND_NM, OFF_NM))
    result = run.document["result"]
    assert (result["snapshot_slots"], result["lost_slots"]) == (1, 0)
    assert [each["path"] for each in result[SEVERAL]] == ["a.csv", "b.csv"]
    for number in (1, 2):
        away = away_nm(run, number)
        assert len(away) >= 100
        assert np.median(away) < 60
        assert away.max() < 350  # of 750
        assert result[SEVERAL][number - 1]["snapshots_found"] >= 12
    assert first_divergence(load_run(run.folder), replay(load_run(run.folder))) is None
    last = {call["args"][0]: call["args"][1:] for call in run.calls("deflectors.set")}
    assert last == {call["args"][0]: call["result"] for call in run.calls("deflectors.read")}
    learned = (run.folder / "snapshots" / "path_2.csv").read_text().splitlines()[1:]
    at_end = [float(cell) for cell in learned[-1].split(",")]
    true_nm = (turn(at_end[0]) @ SECOND_NM)[:2]
    true_nm += moved_nm(MotionSettings.drawn(HOLDER, 1.0), at_end[0], -50.0, (at_end[0] + 50.0) / 0.45)
    assert np.hypot(*(np.array(at_end[1:3]) - true_nm)) < 60


@pytest.mark.long
def test_each_crystal_has_a_run_folder_of_its_own(perform: Perform, tmp_path: Path) -> None:
    second = path_file(tmp_path, "b.csv", SECOND_NM, OFF_NM)
    run = performed(perform, tmp_path, second, range_deg=20.0, formats=("smv", "report"))
    slots: list[int] = []
    with pytest.raises(DataError, match="holds the frames of 2 crystals"):
        source.open_run(run.folder)
    folders = source.data_set_folders(run.folder)
    assert [folder.name for folder in folders] == ["crystal_1", "crystal_2"]
    frames = run.frames()
    for number, folder in enumerate(folders, start=1):
        with source.open_run(folder) as opened, h5py.File(run.folder / "frames.h5") as whole:
            slots += opened.info.slot.tolist()
            assert opened.info.sample == f"mordenite_{number}"
            assert set(opened.info.slot) <= slots_of(run.document["result"], number)
            row = int(np.flatnonzero(frames["slot"] == opened.info.slot[3])[0])
            assert np.array_equal(opened.raw(3), whole["diffraction/data"][row])
        assert (folder / "SMV" / "data").is_dir()
        assert "Not drawn" not in (folder / "report" / "index.html").read_text(encoding="utf-8")
        assert (folder / "frames.h5").stat().st_size < 0.2 * (run.folder / "frames.h5").stat().st_size
    assert sorted(slots) == frames["slot"][frames["kept"] > 0].tolist()
    assert "autoed" not in CRED.usual_formats(run.folder)
    (folders[1] / autoed.FOLDER).mkdir()
    assert "autoed" in CRED.usual_formats(run.folder)  # so that none of its files grows old


@pytest.mark.long
def test_a_crystal_that_is_not_where_its_path_says_is_passed_by_after_three_turns(
    perform: Perform, tmp_path: Path
) -> None:
    nothing = path_file(tmp_path, "b.csv", np.array([2500.0, 2500.0, 0.0]))
    run = performed(perform, tmp_path, nothing)
    assert "crystal 2 is lost: not found in 3 of its turns in a row; it is passed by" in notes_of(run)
    first, second = run.document["result"][SEVERAL]
    assert len(second["slots"]) == 3
    assert first["snapshots_found"] > 20
    assert np.median(away_nm(run, 1)) < 60


def test_a_crystal_out_of_reach_is_passed_by_and_said_once(perform: Perform, tmp_path: Path) -> None:
    far = path_file(tmp_path, "b.csv", np.array([40_000.0, 0.0, 0.0]))
    run = performed(perform, tmp_path, far, range_deg=20.0)
    assert notes_of(run).count("crystal 2 is passed by: it lies 4") == 1
    assert [len(each["slots"]) > 0 for each in run.document["result"][SEVERAL]] == [True, False]


def test_a_plan_says_how_much_of_the_range_each_crystal_has(tmp_path: Path) -> None:
    paths = {"path": path_file(tmp_path, "a.csv", FIRST_NM), "other_paths": [path_file(tmp_path, "b.csv", SECOND_NM)]}
    keys: dict[str, Any] = {"start_deg": -50.0, "range_deg": 60.0, "tracking": "correct", **paths}
    plan = CredPlan(**keys)
    facts = declared_basis("simulated", CRED.device_options(plan)).facts
    assert isinstance(facts, Facts)
    words = CRED.prepare(plan, facts).words
    assert words["crystals"].startswith("2, exposed in turns from snapshot to snapshot: 45 % of the range each")


REFUSED = {
    "no path of the first": (["tracking=correct"], "give the path of the first one"),
    "only shown": (["path=a.csv", "tracking=show"], "set tracking = correct"),
    "a pre-scan": (["path=a.csv", "tracking=correct", "prescan_images=5"], "prescan_images: looks at one crystal"),
    "live": (["path=a.csv", "tracking=correct", "live=true"], "live: looks at one crystal"),
    "a search": (["path=a.csv", "tracking=correct", "crystal_lost=search"], "of several crystals none is searched"),
    "by the stage": (["path=a.csv", "tracking=correct", "track_by=stage"], "track_by = image shift or beam shift"),
}


@pytest.mark.parametrize(("settings", "says"), REFUSED.values(), ids=REFUSED)
def test_what_several_crystals_cannot_have_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: list[str], says: str
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a.csv", "b.csv"):
        path_file(tmp_path, name, FIRST_NM)
    with pytest.raises(Refused, match=says) as refused:
        build_plan(CRED, None, [*settings, "other_paths=b.csv"])
    assert "\n" not in str(refused.value)


def test_turns_tell_the_slots_of_each_crystal() -> None:
    turns = [(0, 1), (10, 2), (20, 3), (30, 1)]
    records = [{"kind": "tracking", "name": "turn", "slot": slot, "crystal": crystal} for slot, crystal in turns]
    found: list[dict[str, Any]] = [
        {"slot": 10, "crystal": 1, "x_nm": 0.0},
        {"slot": 20, "crystal": 2, "reason": "lost"},
    ]
    told = crystals_of(records, ["a", "b", "c"], found, 35, [2, 3, 12, 31, 35])
    assert [each["frames"] for each in told] == [4, 1, 0]
    assert [each["slots"] for each in told] == [[[1, 9], [31, 35]], [[11, 19]], [[21, 29]]]
    assert [each["snapshots_found"] for each in told] == [1, 0, 0]


def test_the_key_by_which_products_know_several_crystals_is_that_of_the_result() -> None:
    assert source.SEVERAL == SEVERAL
