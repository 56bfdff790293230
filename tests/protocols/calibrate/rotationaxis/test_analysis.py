"""From the command to the stored axis: of a hidden instrument, by one run, with the camera length of the same
crystal.
"""

import json
from pathlib import Path

import pytest

from drivers.calibration.instrumentfile import read_instrument
from engine.errors import DataError
from engine.record.document import RunDocument
from engine.run.registry import experiment_type
from protocols.calibrate.calibrations import CALIBRATIONS
from protocols.calibrate.rotationaxis.analysis import KnownTo, analyse
from protocols.lattice.rotationfit import UNKNOWN_ELLIPSE
from protocols.products.source import open_run
from tests.cli.commandline import command
from tests.protocols.calibrate.cameralength.powders import devices, performed

SEED = "31"


@pytest.mark.long
def test_by_one_run_of_any_crystal_axis_lean_and_camera_length_are_told(tmp_path: Path) -> None:
    named = str(devices(tmp_path, instrument="sim.toml"))
    words = ("calibrate", "rotation-axis", "--devices", named, "--clock", "virtual", "--seed", SEED, "--json")
    done = command(*words, "--out", str(tmp_path / "runs"), "--set", "range_deg=40", "--set", "snapshot_interval=0")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    values, truth = told["values"], told["truth"]
    assert set(values) == {"rotation_axis_deg", "rotation_axis_tilt_deg", "beam_fast_px", "beam_slow_px"} == set(truth)
    off_deg = (values["rotation_axis_deg"]["value"] - truth["rotation_axis_deg"] + 180) % 360 - 180
    assert abs(off_deg) < 4 * values["rotation_axis_deg"]["sigma"] < 0.5
    lean = values["rotation_axis_tilt_deg"]
    assert lean["value"] == pytest.approx(truth["rotation_axis_tilt_deg"], abs=4 * lean["sigma"])
    assert "hand told" in done.stderr
    assert "ellipse known not at all" in done.stderr
    folder = Path(told["run_dir"])
    assert (folder / "report" / "rotation-axis.png").stat().st_size > 10_000
    stored = {each.name: each for each in read_instrument(tmp_path / "sim.toml").values}
    assert stored["rotation_axis_tilt_deg"].value == lean["value"]
    assert stored["rotation_axis_deg"].camera_length_mm == 250.0

    (tmp_path / "sim.toml").unlink()  # the same from the page of the console
    kept = experiment_type("cred").kept(folder, RunDocument.read(folder))
    assert kept is not None
    assert any("rotation_axis_deg" in line for line in kept.lines)
    assert "sim.toml" in kept.store()
    renewed = {each.name: each.value for each in read_instrument(tmp_path / "sim.toml").values}
    assert renewed["rotation_axis_deg"] == stored["rotation_axis_deg"].value

    cell = ("calibrate", "camera-length", "--devices", named, "--from", str(folder), "--json")
    unknown = command(*cell)
    assert unknown.returncode != 0
    assert "--set cell=[a,b,c,alpha,beta,gamma]" in unknown.stderr
    other = command(*cell, "--set", "cell=[5.64, 5.64, 5.64, 90, 90, 90]", "--set", "centring=F")
    assert other.returncode != 0
    assert "of another cell or centring" in other.stderr
    right = command(*cell, "--set", "cell=[18.11, 20.53, 7.528, 90, 90, 90]", "--set", "centring=C")
    assert right.returncode == 0, right.stderr
    by_cell = json.loads(right.stdout.splitlines()[-1])
    length = by_cell["values"]["camera_length_mm"]
    assert abs(length["value"] - by_cell["truth"]["camera_length_mm"]) < 3 * length["sigma"]
    assert length["sigma"] < 0.0025 * length["value"]

    planned = command("plan", "cred", "--full", "--devices", named)
    assert planned.returncode == 0, planned.stderr
    assert "rotation_axis_tilt_deg" in planned.stdout
    again = command("run", "cred", "--devices", named, "--clock", "virtual", "--seed", SEED, "--json", "--out",
                    str(tmp_path / "runs"), "--set", "range_deg=3", "--set", "formats=[]")  # fmt: skip
    assert again.returncode == 0, again.stderr
    with open_run(Path(json.loads(again.stdout.splitlines()[-1])["run_dir"])) as source:
        info = source.info
    assert info.rotation_axis_tilt_deg == lean["value"]
    assert info.origins["rotation_axis_deg"] == "calibrated"
    known = KnownTo.of(info)
    assert known.length == pytest.approx(length["sigma"] / length["value"])
    assert known.ellipse < UNKNOWN_ELLIPSE


def test_a_run_of_something_else_is_refused(tmp_path: Path) -> None:
    report = performed(tmp_path, 1)
    with pytest.raises(DataError, match="is a run of camera-length, not of cred"):
        analyse(report.folder)


def test_what_a_config_file_says_goes_before_the_settings_of_the_command(tmp_path: Path) -> None:
    calibration = next(each for each in CALIBRATIONS if each.what == "rotation-axis")
    kind = calibration.load_kind()
    config = tmp_path / "plan.toml"
    config.write_text('sample = "ours"\nrange_deg = 70.0\n')
    plan = calibration.plan(kind, config, ["range_deg=80"]).model_dump()
    assert (plan["sample"], plan["range_deg"], plan["truth"]) == ("ours", 80.0, True)
    assert kind.device_options(calibration.plan(kind, None, []))["hidden"] is True
