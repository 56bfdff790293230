"""Calibrations by moves on hidden instruments: right within what they say; put back; refused with the reason."""

import json
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from drivers.calibration.instrumentfile import read_instrument
from engine.errors import DataError
from engine.record.endings import Status
from engine.replay.replay import replay
from engine.run.perform import Request, execute
from protocols.calibrate.measured import Analysed
from protocols.calibrate.moves.analysis import analyse
from protocols.calibrate.truth import truth_of
from tests.cli.commandline import command
from tests.protocols.calibrate.moves.runs import KINDS, devices, performed
from tests.quickly import quick

NAMES = {
    "beam-shift": {"beam_shift", "beam_shift_hysteresis"},
    "image-shift": {"image_shift", "image_shift_hysteresis"},
    "diffraction-shift": {"diffraction_shift", "diffraction_shift_hysteresis"},
    "stage": {"stage", "stage_backlash_nm", "stage_repeatability_nm", "pixel_size_nm", "camera_hand"},
}


def records_of(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "trace.jsonl").read_text().splitlines()]


Measured = tuple[Path, Analysed]
"""The folder of a run, and what is found in it."""


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, int], Measured]:
    """A calibration with a seed, once for all tests that look at it."""

    @cache
    def perform(what: str, seed: int) -> Measured:
        report = performed(tmp_path_factory.mktemp(what), what, seed)
        assert report.ending.status is Status.DONE, report.ending.reason
        return report.folder, analyse(report.folder)

    return perform


def assert_right(folder: Path, found: Analysed, what: str) -> None:
    """Every value within 4.5 sigma of the truth, a matrix as a whole."""
    assert set(found.values) == set(found.truth) == NAMES[what]
    for name, measured in found.values.items():
        off = np.atleast_1d(np.asarray(measured.value) - np.asarray(found.truth[name]))
        if measured.covariance is not None:
            assert off @ np.linalg.solve(np.asarray(measured.covariance), off) < 4 * 4.5**2, name
            assert np.abs(off).max() < 0.03 * np.abs(found.truth[name]).max(), name
        else:
            assert abs(off[0]) <= 4.5 * float(np.max(measured.sigma)), name
    assert (folder / "report" / f"{what}.png").stat().st_size > 10_000


@pytest.mark.long
@pytest.mark.parametrize("what", KINDS)
@pytest.mark.parametrize("seed", [1, 2])
def test_a_matrix_is_measured_within_what_it_says(
    measured: Callable[[str, int], Measured], what: str, seed: int
) -> None:
    assert_right(*measured(what, seed), what)


@pytest.mark.long
def test_the_stage_tells_whether_the_camera_is_mirrored(measured: Callable[[str, int], Measured]) -> None:
    hands = set()
    for seed in (1, 2):
        folder, found = measured("stage", seed)
        assert found.values["camera_hand"].number == truth_of(folder)["camera_hand"]
        assert any("mirrored" in line for line in found.lines)
        hands.add(found.values["camera_hand"].number)
    assert hands == {-1.0, 1.0}


@pytest.mark.long
def test_at_a_low_magnification_values_are_of_that(tmp_path: Path) -> None:
    report = performed(tmp_path, "image-shift", 3, low_mag=True, magnification=400.0)
    assert report.ending.status is Status.DONE, report.ending.reason
    found = analyse(report.folder)
    assert_right(report.folder, found, "image-shift")
    assert found.values["image_shift"].magnification == 400.0
    set_to = [r["args"] for r in records_of(report.folder) if r.get("name") == "mode.set_magnification"]
    assert set_to == [[400.0], [250.0]]


@pytest.mark.parametrize("what", quick(1, KINDS))
def test_all_is_put_back_and_a_run_replays(measured: Callable[[str, int], Measured], what: str) -> None:
    folder, _ = measured(what, 2)
    records = records_of(folder)
    assert replay(records)[1:] == records[1:]
    calls = [(r["name"], r.get("args"), r.get("result")) for r in records if r["kind"] == "call"]
    for read, write in (
        ("deflectors.read", "deflectors.set"),
        ("illumination.brightness", "illumination.set_brightness"),
        ("mode.mode", "mode.set_mode"),
    ):
        told = [result for name, _, result in calls if name == read]
        set_to = [arguments for name, arguments, _ in calls if name == write]
        if set_to:
            before = told[0] if isinstance(told[0], list) else [told[0]]
            last = set_to[-1] or []
            assert last[-len(before) :] == before, write
    blanked = max(k for k, call in enumerate(calls) if call[0] == "beam.unblank")
    first_back = next(k for k, call in enumerate(calls) if k > blanked and call[0] == "beam.blank")
    later = [name for name, _, _ in calls[first_back:]]
    moves = {"deflectors.set", "stagexyz.move_xy", "mode.set_mode"}
    assert moves & set(later), "what was changed goes back once the beam is off"


EMPTY = "pictures.crystals_um2 = 0.0\npictures.film_unevenness = 0.0"
# What is calibrated, the simulated instrument, the plan, and why there is nothing to store.
REFUSED: dict[str, tuple[str, str, dict[str, Any], str]] = {
    "an empty field": ("image-shift", EMPTY, {}, "nothing in common|did not move"),
    "an empty field under the stage": ("stage", EMPTY, {}, "nothing in common|did not move"),
    "no beam": ("image-shift", "illumination.current_s = 0.0", {}, "the field is dark"),
    "no beam to shift": ("beam-shift", "illumination.current_s = 0.0", {}, "the field is dark"),
    "a closed window of the grid": ("stage", "stagexyz.start_nm = [31000.0, 31000.0, 0.0]", {}, "the field is dark"),
    "a beam beside the camera": (
        "beam-shift",
        "illumination.disc_nm = [9000.0, 0.0]",
        {},
        "the field is dark|no lit disc",
    ),
    "a pattern without its beam": (
        "diffraction-shift",
        "pictures.flux_s = 0.0",
        {},
        "no primary beam is on the camera",
    ),
    "deflectors that do nothing": (
        "image-shift",
        "deflectors.image_shift_nm = [0.0, 0.0, 0.0, 0.0]",
        {},
        "moved to the end of its range and the image did not move",
    ),
    "deflectors that do nothing to the pattern": (
        "diffraction-shift",
        "deflectors.diffraction_shift_px = [0.0, 0.0, 0.0, 0.0]",
        {},
        "moved to the end of its range and the primary beam did not move",
    ),
    "both axes alike": ("image-shift", "deflectors.image_shift_nm = [0.5, 0.5, 0.5, 0.5]", {}, "the same way"),
    "a stage at its end": (
        "stage",
        "stagexyz.x_limits_nm = [-500.0, 800.0]",
        {},
        "near the end of its range|cannot be",
    ),
}


@pytest.mark.parametrize(("what", "microscope", "plan", "why"), REFUSED.values(), ids=REFUSED)
def test_what_tells_no_matrix_ends_the_run_with_its_reason(
    tmp_path: Path, what: str, microscope: str, plan: dict[str, Any], why: str
) -> None:
    report = performed(tmp_path, what, 1, microscope=microscope, **plan)
    assert report.ending.status is Status.FAILED
    assert re.search(why, report.ending.reason), report.ending.reason
    with pytest.raises(DataError, match="too few for a matrix"):
        analyse(report.folder)


def test_a_part_that_does_not_answer_ends_the_run(tmp_path: Path) -> None:
    named = devices(tmp_path, instrument="sim.toml")
    words = ("run", "image-shift", "--devices", str(named), "--out", str(tmp_path / "runs"), "--clock", "virtual")
    done = command(*words, "--fault", "deflectors.set 9 error")
    assert done.returncode == 1
    assert not (tmp_path / "sim.toml").exists()


@pytest.mark.long
def test_by_commands_alone_the_stage_is_calibrated_and_stored(tmp_path: Path) -> None:
    named = str(devices(tmp_path, instrument="sim.toml", microscope="hidden = true"))
    words = ("calibrate", "stage", "--devices", named, "--out", str(tmp_path / "runs"), "--clock", "virtual")
    dry = command(*words, "--dry-run", "--json")
    assert json.loads(dry.stdout.splitlines()[-1]) == {"what": "stage", "values": {}, "stored": None, "run_dir": None}
    assert "film and particles" in dry.stderr
    assert not (tmp_path / "runs").exists()
    done = command(*words, "--seed", "2", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["stored"] == str(tmp_path / "sim.toml")
    assert set(told["values"]) == set(told["truth"]) == NAMES["stage"]
    stored = {value.name: value for value in read_instrument(tmp_path / "sim.toml").values}
    assert set(stored) == NAMES["stage"]
    assert stored["stage"].magnification == stored["pixel_size_nm"].magnification == 5000.0
    assert list(stored["stage"].value) == told["values"]["stage"]["value"]  # type: ignore[arg-type]
    assert stored["stage_backlash_nm"].magnification is None
    again = command(*words, "--from", told["run_dir"], "--json")
    assert json.loads(again.stdout.splitlines()[-1])["values"] == told["values"]


def sides(folder: Path) -> int:
    """How many places were visited, of those that count."""
    return sum(r["kind"] == "frame" and r["name"] == "moved" for r in records_of(folder))


@pytest.mark.long
def test_a_stage_that_lands_badly_is_sent_about_until_its_matrix_is_as_sure_as_was_asked(tmp_path: Path) -> None:
    visited = []
    for scatter_nm in (1.0, 30.0):
        folder = tmp_path / f"{scatter_nm:g}"
        folder.mkdir()
        microscope = f"stagexyz.reproducibility_nm = {scatter_nm}"
        report = performed(folder, "stage", 2, microscope=microscope, rounds=0, accuracy_percent=0.5)
        assert report.ending.status is Status.DONE, report.ending.reason
        assert_right(report.folder, found := analyse(report.folder), "stage")
        matrix = np.reshape(found.values["stage"].value, (2, 2))
        assert np.max(found.values["stage"].sigma) < 1.15 * 0.005 * np.sqrt(abs(np.linalg.det(matrix)))
        visited.append(sides(report.folder))
        records = records_of(report.folder)
        assert replay(records)[1:] == records[1:]
        notes = [r["text"] for r in records if r.get("name") == "operator" and "text" in r]
        assert bool(notes) == (scatter_nm > 10.0)
    assert visited[0] == 72 < visited[1]


@pytest.mark.parametrize("trouble", ["late", pytest.param("dead", marks=pytest.mark.long)])
def test_an_answer_that_does_not_come_costs_no_calibration(tmp_path: Path, trouble: str) -> None:
    kind, named = KINDS["image-shift"], str(devices(tmp_path))
    request = Request(
        *(kind, kind.plan_type(), tmp_path / "runs", named),
        virtual=True,
        seed=2,
        draw=False,
        faults=(f"compute.sure 1 {trouble}",),
    )
    report = execute(request)
    assert report.ending.status is Status.DONE, report.ending.reason
    assert any("was not worked out" in r["text"] for r in records_of(report.folder) if r.get("name") == "operator")
    assert_right(report.folder, analyse(report.folder), "image-shift")
