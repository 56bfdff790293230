"""A flatfield from a hidden camera: as good as counting allows, its defects found; what makes none is refused."""

import json
import re
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from drivers.calibration.instrumentfile import read_camera_arrays, read_instrument
from engine.errors import DataError
from engine.record.document import RunDocument
from engine.record.endings import Status
from engine.replay.replay import replay
from protocols.calibrate.flatfield.analysis import analyse
from protocols.calibrate.flatfield.truth import flatfield_truth
from tests.cli.commandline import command
from tests.protocols.calibrate.flatfield.flatfields import PX, devices, performed

pytestmark = pytest.mark.long

SEEDS = [1, *(pytest.param(seed, marks=pytest.mark.long) for seed in (2, 3, 12))]


@pytest.mark.parametrize("seed", SEEDS)
def test_a_flatfield_is_as_good_as_counting_allows_and_every_defect_is_found(tmp_path: Path, seed: int) -> None:
    report = performed(tmp_path, seed)
    assert report.ending.status is Status.DONE, report.ending.reason
    found = analyse(report.folder)
    assert found.arrays is not None
    truth = flatfield_truth(report.folder, found.arrays)
    assert truth
    good = ~found.arrays.bad
    counting = np.sqrt(np.mean((found.arrays.sigma[good] / found.arrays.flatfield[good]) ** 2))
    assert counting == pytest.approx(0.01, rel=0.2), "as the plan asked for"
    assert truth["flatfield_accuracy"] <= 1.2 * counting
    assert truth["bad_pixels_missed"] <= 0.01 * truth["bad_pixels"]
    assert truth["bad_pixels_false"] <= 1e-5 * PX * PX
    for name, value in found.values.items():
        assert value.number == pytest.approx(truth[name], abs=4 * float(np.max(value.sigma))), name
    assert (report.folder / "report" / "flatfield.png").stat().st_size > 10_000


@pytest.mark.long
def test_a_beam_that_drifts_far_is_told_apart_as_well(tmp_path: Path) -> None:
    report = performed(tmp_path, 2, microscope="pictures.spread_drift = 50.0")
    found = analyse(report.folder)
    assert found.arrays is not None
    truth = flatfield_truth(report.folder, found.arrays)
    assert truth
    assert truth["flatfield_accuracy"] <= 1.2 * found.values["flatfield_accuracy"].number


@pytest.mark.long
def test_without_shifts_uneven_light_stays_in_the_flatfield_and_that_is_said(tmp_path: Path) -> None:
    report = performed(tmp_path, 4, shift_percent=0.0)
    assert "uneven over the camera becomes part of the flatfield" in " ".join(report.document["remarks"])
    found = analyse(report.folder)
    assert found.arrays is not None
    truth = flatfield_truth(report.folder, found.arrays)
    assert truth
    assert truth["bad_pixels_missed"] == 0
    assert truth["flatfield_accuracy"] > 0.02


IMAGING = 'mode.mode = "imaging"\nmode.magnification = 2500.0\n'
CRACKED = 'grid.film = "lacey"\ngrid.bar_nm = 0.0\ngrid.crystals_um2 = 0.0\n'
# The simulated instrument, the plan, and why there is no flatfield.
REFUSED: dict[str, tuple[str, dict[str, Any], str]] = {
    "an empty field": ("pictures.spread_s = 0.0", {}, "the field is empty: a pixel counts 0.0"),
    "too little beam": ("pictures.spread_s = 2.0", {}, "the field is empty"),
    "saturated frames": ("pictures.spread_s = 1e6", {}, "saturated, or nearly: .* 11810 of 11810"),
    "a beam that was not spread": ("spread = false", {}, "of the pixels are full. Spread the beam more"),
    "a film with crystals in the light": (IMAGING, {}, "a specimen in the light: .* changed by [0-9.]+%. Take it out"),
    "a cracked film": (IMAGING + CRACKED, {}, "a specimen in the light"),
    "a stage without room": ("stagexyz.x_limits_nm = [-1000.0, 1000.0]", {}, "no room for the 4 um of stage_um"),
    "more frames than allowed": ("", {"accuracy_percent": 0.1, "most_frames": 100}, "and the plan allows 100"),
}


@pytest.mark.parametrize(("microscope", "plan", "why"), REFUSED.values(), ids=REFUSED)
def test_frames_that_make_no_flatfield_end_the_run_at_its_first_lit_frames(
    tmp_path: Path, microscope: str, plan: dict[str, Any], why: str
) -> None:
    report = performed(tmp_path, 1, microscope=microscope, **plan)
    assert report.ending.status is Status.FAILED
    assert "nothing is stored" in report.ending.reason
    assert re.search(why, report.ending.reason), report.ending.reason
    kinds = report.document["result"]["frames_of_kind"]
    assert (kinds["dark"], kinds["lit"]) == (20, 0)
    assert kinds["tried"] in (2, 4)
    with pytest.raises(DataError, match=r"0 lit .* too few"):
        analyse(report.folder)


def test_a_beam_that_leaves_the_camera_meanwhile_makes_no_flatfield(tmp_path: Path) -> None:
    report = performed(tmp_path, 1, microscope="pictures.spread_drift = 300.0")
    with pytest.raises(DataError, match=r"the beam went away|in another way|told apart"):
        analyse(report.folder)


def test_a_run_replays_and_leaves_the_beam_shift_where_it_was(tmp_path: Path) -> None:
    report = performed(tmp_path, 1, accuracy_percent=5.0)
    records = [json.loads(line) for line in (report.folder / "trace.jsonl").read_text().splitlines()]
    again = replay(records)
    assert [record["kind"] for record in again] == [record["kind"] for record in records]
    shifts = [r["args"] for r in records if r["kind"] == "call" and r["name"] == "deflectors.set"]
    assert shifts[-1] == ["beam_shift", 32768, 32768]
    assert len({tuple(shift) for shift in shifts}) == 7


def test_by_commands_alone_a_flatfield_is_stored_and_a_run_of_that_camera_has_it(tmp_path: Path) -> None:
    named = str(devices(tmp_path, instrument="sim.toml", microscope="hidden = true"))
    words = ("calibrate", "flatfield", "--devices", named, "--out", str(tmp_path / "runs"), "--clock", "virtual")
    dry = command(*words, "--dry-run", "--json")
    assert json.loads(dry.stdout.splitlines()[-1]) == {
        "what": "flatfield", "values": {}, "stored": None, "run_dir": None
    }  # fmt: skip
    assert not (tmp_path / "runs").exists()
    done = command(*words, "--seed", "7", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["what"] == "flatfield"
    assert told["stored"] == str(tmp_path / "sim.toml")
    assert set(told["values"]) <= set(told["truth"])
    stored = {value.name: value for value in read_instrument(tmp_path / "sim.toml").values}
    assert stored["gain_counts_per_electron"].value == told["values"]["gain_counts_per_electron"]["value"]
    assert stored["gain_counts_per_electron"].data == Path(told["run_dir"]).name == "flatfield_001"
    arrays = read_camera_arrays(tmp_path / "sim.toml")
    assert arrays is not None
    planned = command("plan", "cred", "--full", "--devices", named)
    assert "calibrated, sim.toml" in planned.stdout
    assert "flatfield yes +- 0.01" in planned.stdout
    run = ("run", "cred", "--devices", named, "--out", str(tmp_path / "runs"), "--clock", "virtual", "--seed", "7")
    ran = command(*run, "--set", "range_deg=2", "--json")
    assert ran.returncode == 0, ran.stderr
    folder = Path(json.loads(ran.stdout.splitlines()[-1])["run_dir"])
    with h5py.File(folder / "frames.h5") as file:
        assert np.array_equal(file["flatfield"][()], arrays.response)
    assert (
        RunDocument.read(folder).instrument["calibration"]["figures"]["detector.flatfield"]["data"] == "flatfield_001"
    )


def test_a_calibration_that_failed_stores_nothing_and_says_why(tmp_path: Path) -> None:
    named = str(devices(tmp_path, instrument="sim.toml", microscope="pictures.spread_s = 0.0"))
    done = command(
        "calibrate", "flatfield", "--devices", named, "--out", str(tmp_path / "runs"), "--clock", "virtual", "--json"
    )
    assert done.returncode != 0
    assert "the field is empty" in done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["stored"] is None
    assert [path.name for path in tmp_path.iterdir() if path.suffix in (".toml", ".h5")] == ["devices.toml"]
