"""Snapshot, flux, lens and rotation from the command to the stored value, on an instrument of which nothing is
known.
"""

import json
from pathlib import Path

import numpy as np
import pytest

from drivers.calibration.instrumentfile import read_instrument
from engine.replay.replay import replay
from tests.cli.commandline import command
from tests.protocols.calibrate.instruments import devices

SETTINGS = {
    "snapshot": ["rounds=4"],
    "flux": ["rounds=3", "spot_sizes=[1, 3]"],
    "lens": ["turns=3", "cycles=4"],
    "rotation": ["spans_deg=[2, 4]", "watch_deg=10"],
}
STORED = {
    "snapshot": {"snapshot", "aperture_nm"},
    "flux": {"flux_e_A2_s"},
    "lens": {
        *("disc_radius_px", "disc_zero_defocus", "lens_time_constant_s", "lens_settling_s"),
        *("lens_hysteresis_px", "lens_hysteresis_left"),
    },
    "rotation": {"rotation_speed_share", "run_in_s", "backlash_deg", "read_delay_s"},
}


@pytest.mark.long
@pytest.mark.parametrize("what", SETTINGS)
def test_by_command_alone_what_is_stored_is_true_and_the_run_replays(tmp_path: Path, what: str) -> None:
    named = str(devices(tmp_path, instrument="sim.toml"))
    settings = [word for setting in SETTINGS[what] for word in ("--set", setting)]
    words = ("calibrate", what, "--devices", named, "--out", str(tmp_path / "runs"), "--clock", "virtual", *settings)
    dry = command(*words, "--dry-run", "--json")
    assert json.loads(dry.stdout.splitlines()[-1]) == {"what": what, "values": {}, "stored": None, "run_dir": None}
    assert "duration: " in dry.stderr
    assert "rotation_axis_deg" not in dry.stderr
    assert not (tmp_path / "runs").exists()

    done = command(*words, "--seed", "7", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["stored"] == str(tmp_path / "sim.toml")
    assert set(told["values"]) == set(told["truth"])
    for name, value in told["values"].items():
        away = np.abs(np.atleast_1d(value["value"]) - np.atleast_1d(told["truth"][name]))
        assert (away <= 4 * np.atleast_1d(value["sigma"])).all(), name
    stored = read_instrument(tmp_path / "sim.toml").values
    assert {value.name for value in stored} == STORED[what]
    assert {value.data for value in stored} == {f"{what}_001"}

    folder = Path(told["run_dir"])
    assert (folder / "report" / f"{what}.png").stat().st_size > 10_000
    records = [json.loads(line) for line in (folder / "trace.jsonl").read_text().splitlines()]
    assert [r["kind"] for r in replay(records)] == [r["kind"] for r in records]
    again = command("calibrate", what, "--devices", named, "--from", str(folder), "--json")
    assert json.loads(again.stdout.splitlines()[-1])["values"] == told["values"]


def test_every_part_is_put_back_as_it_was_found(tmp_path: Path) -> None:
    named = str(devices(tmp_path, microscope="stagexyz.start_nm = [3000.0, -2000.0, 0.0]\nillumination.spot_size = 2"))
    settings = ("--set", "rounds=2", "--set", "spot_sizes=[4]", "--set", "brightnesses=[20000]")
    done = command(
        "calibrate", "flux", "--devices", named, "--out", str(tmp_path / "runs"), "--clock", "virtual", *settings
    )
    assert done.returncode == 0, done.stderr
    records = [json.loads(line) for line in (tmp_path / "runs/flux_001/trace.jsonl").read_text().splitlines()]
    calls = [(r["name"], r["args"]) for r in records if r["kind"] == "call"]
    last = dict(calls)
    assert last["optics.set_focus"] == [31000]
    assert last["stagexyz.move_xy"] == pytest.approx([3000.0, -2000.0], abs=10)
    assert last["illumination.set_spot_size"] == [2]
    assert last["illumination.set_brightness"] == [40000]
    put_back = [name for name, _ in calls].index("illumination.set_brightness", len(calls) - 8)
    assert "beam.blank" in [name for name, _ in calls[:put_back]][-12:]


@pytest.mark.long
def test_a_run_that_fails_says_where_it_lies_and_that_nothing_was_stored_once(tmp_path: Path) -> None:
    named = str(devices(tmp_path, instrument="sim.toml", flux_s=0.0))
    done = command(
        "calibrate", "lens", "--devices", named, "--out", str(tmp_path / "runs"), "--clock", "virtual", "--json"
    )
    assert done.returncode == 1
    told = json.loads(done.stdout.splitlines()[-1])
    assert told == {"what": "lens", "values": {}, "stored": None, "run_dir": str(tmp_path / "runs" / "lens_001")}
    said = done.stderr.splitlines()[-1]
    assert "no beam is seen" in said
    assert said.lower().count("stored") == 1
    assert "?." not in said
    assert not (tmp_path / "sim.toml").exists()
