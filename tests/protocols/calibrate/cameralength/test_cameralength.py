"""The camera length of a hidden instrument by powder rings: right to its sigma; what makes none is refused with why."""

import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from drivers.calibration.instrumentfile import read_instrument
from engine.errors import DataError, Refused
from engine.record.endings import Status
from engine.replay.replay import replay
from protocols.calibrate.cameralength.analysis import analyse
from protocols.calibrate.cameralength.plan import CameraLengthPlan
from tests.cli.commandline import command
from tests.protocols.calibrate.cameralength.powders import devices, performed

pytestmark = pytest.mark.long

PLAN = CameraLengthPlan()
ELLIPSE = ("amplitude_percent", "azimuth_deg")


def _ellipse(told: dict[str, float]) -> complex:
    """Amplitude in percent, turned by twice the azimuth."""
    return complex(told["amplitude_percent"] * np.exp(2j * math.radians(told["azimuth_deg"])))


@pytest.mark.parametrize(("seed", "standard"), [(11, "Au"), (12, "Al"), (13, "TlCl")])
def test_length_beam_and_ellipse_are_right_to_their_sigmas_whatever_is_nominal(
    tmp_path: Path, seed: int, standard: str
) -> None:
    report = performed(tmp_path, seed, standard=standard)
    assert report.ending.status is Status.DONE, report.ending.reason
    found = analyse(report.folder, PLAN)
    number = {name: each.number for name, each in found.values.items()}
    truth = {name: float(np.asarray(value)) for name, value in found.truth.items()}
    for name in ("camera_length_mm", "beam_fast_px", "beam_slow_px", "distortion_amplitude_percent"):
        assert number[name] == pytest.approx(truth[name], abs=4 * float(np.asarray(found.values[name].sigma))), name
    by_rings = number["camera_length_mm"] * (1 + truth["lattice_off_percent"] / 100) / truth["camera_length_mm"] - 1
    assert abs(by_rings) < 1e-3, "beyond the lattice of the standard"
    away = number["distortion_amplitude_percent"] * np.exp(2j * math.radians(number["distortion_azimuth_deg"]))
    away -= truth["distortion_amplitude_percent"] * np.exp(2j * math.radians(truth["distortion_azimuth_deg"]))
    assert abs(away) < 0.1
    known_to = {"Au": 0.002, "Al": 0.002, "TlCl": 0.001}[standard]
    assert float(np.asarray(found.values["camera_length_mm"].sigma)) >= known_to * number["camera_length_mm"] * 0.999
    assert (report.folder / "report" / "camera-length.png").stat().st_size > 10_000


# The simulated instrument, the plan, and why there is no camera length.
REFUSED: dict[str, tuple[str, dict[str, Any], str]] = {
    "an empty field": ('crystal.film = "vacuum"', {}, "no rings are seen: the field is empty"),
    "a cracked film": ('crystal.film = "cracked Au"', {}, r"over \d+% of the way around the beam: the film is cracked"),
    "missing rings": ('crystal.film = "textured Au"', {}, r"ring \(1, 1, 1\) of the standard is missing"),
    "another standard": ('crystal.film = "Au"', {"standard": "TlCl"}, "of the standard is missing"),
    "another one, of more rings": ('crystal.film = "TlCl"', {"standard": "Au"}, "missing|does not have|beside "
    "its place"),
    "another one, of the same rings": ('crystal.film = "Au"', {"standard": "Al"}, "as bright as those of Au"),
    "saturated rings": ("pictures.flux_s = 3e9", {}, "of the pixels of the rings are saturated"),
    "a beam off the camera": (
        "lens.hysteresis_px = [400.0, 0.0]", {"relax_cycles": 0}, "the primary beam is not seen on the camera"
    ),
    "rings off the camera": (
        "geometry.camera_length_mm = 2000.0", {}, "the strong rings are not on the camera: take a shorter camera length"
    ),
}  # fmt: skip


@pytest.mark.parametrize(("microscope", "plan", "why"), REFUSED.values(), ids=REFUSED)
def test_what_makes_no_camera_length_is_refused_with_the_reason(
    tmp_path: Path, microscope: str, plan: dict[str, Any], why: str
) -> None:
    report = performed(tmp_path, 1, microscope=microscope, **plan)
    with pytest.raises(DataError) as told:
        analyse(report.folder, PLAN)
    assert re.search(why, str(told.value)), told.value
    assert "nothing was stored" in str(told.value)


@pytest.mark.parametrize(
    ("plan", "why"),
    [
        ({"standard": "Fe"}, "standard = 'Fe' is none of Au, Al, TlCl, and there is no CIF"),
        ({"camera_lengths_mm": [250.0, 123.0]}, r"camera length in mm = 123 is none of 150, 200"),
        ({"exposure_s": 30.0}, "exposure_s: the camera cannot expose for 30 s"),
    ],
)
def test_a_plan_that_cannot_be_is_refused_before_anything_moves(tmp_path: Path, plan: dict[str, Any], why: str) -> None:
    with pytest.raises(Refused, match=why):
        performed(tmp_path, 1, **plan)
    assert not (tmp_path / "runs").exists()


def test_outside_diffraction_nothing_is_begun(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="the microscope is in imaging mode"):
        performed(tmp_path, 1, microscope='mode.mode = "imaging"')


def test_by_the_command_several_camera_lengths_are_stored_and_the_one_that_was_set_is_put_back(tmp_path: Path) -> None:
    named = str(devices(tmp_path, instrument="sim.toml"))
    words = [*("calibrate", "camera-length", "--devices", named, "--out", str(tmp_path / "runs")), "--clock", "virtual"]
    words += ["--set", "camera_lengths_mm=[200, 250]", "--set", "frames=2"]
    dry = command(*words, "--dry-run")
    assert "200 mm, 250 mm" in dry.stdout
    assert "0.2 %: the camera length is not known better" in dry.stdout
    done = command(*words, "--seed", "21", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    stored = {(each.name, each.camera_length_mm): each for each in read_instrument(tmp_path / "sim.toml").values}
    ellipses: list[complex] = []
    for nominal_mm in (200.0, 250.0):
        name = f"camera_length_mm at {nominal_mm:g} mm"
        assert told["values"][name]["value"] == stored["camera_length_mm", nominal_mm].value
        off = told["values"][name]["value"] - told["truth"][name]
        assert abs(off) < 4 * told["values"][name]["sigma"]
        found, true = (
            _ellipse({key: number(told[of][f"distortion_{key} at {nominal_mm:g} mm"]) for key in ELLIPSE})
            for of, number in (("values", lambda value: value["value"]), ("truth", float))
        )
        assert abs(found - true) < 0.1
        ellipses.append(true)
    assert abs(ellipses[1] - ellipses[0]) > 0.1, "each camera length has its own"
    assert len(stored) == 10
    planned = command("plan", "cred", "--full", "--devices", named).stdout
    assert f"{stored['camera_length_mm', 250.0].value:.2f}"[:5] in planned
    assert "calibrated, sim.toml" in planned
    trace = [json.loads(line) for line in (Path(told["run_dir"]) / "trace.jsonl").read_text().splitlines()]
    set_to = [each["args"] for each in trace if each["kind"] == "call" and each["name"] == "mode.set_camera_length_mm"]
    assert set_to == [[200.0], [250.0], [250.0]]
    again = replay(trace)
    assert [each["kind"] for each in again] == [each["kind"] for each in trace]
    once_more = command("calibrate", "camera-length", "--devices", named, "--from", told["run_dir"], "--json")
    assert json.loads(once_more.stdout.splitlines()[-1])["values"] == told["values"]
