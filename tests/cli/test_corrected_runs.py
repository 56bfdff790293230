"""A run that was made with a wrong camera length, or another figure of the geometry, is put right by `credline export
--set`: all its files are made anew, and the folder keeps what it was made with.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from protocols.cred.soak.agreement import check_run
from tests.cli.conftest import Credline

pytestmark = pytest.mark.long

DEVICES = """[microscope]
driver = "simulated"
[microscope.pictures]
shape = [128, 128]
[microscope.geometry]
beam_fast_px = 66.0
beam_slow_px = 66.0
[geometry]
camera_length_mm = {}
"""
RUN = "out/mordenite_001"
RIGHT = ("--set", "geometry.camera_length_mm=250")


def perform(credline: Credline, folder: Path, camera_length_mm: float) -> tuple[int, str]:
    (folder / "lab.toml").write_text(DEVICES.format(camera_length_mm), encoding="utf-8")
    settings = ("range_deg=2", "relax_cycles=0", "snapshot_interval=4", 'formats=["xds", "report"]')
    words = [word for setting in settings for word in ("--set", setting)]
    status, _, err = credline("run", "cred", "--clock", "virtual", "--devices", "lab.toml", "--out", "out", *words)
    return status, err


def document(folder: Path) -> dict[str, Any]:
    told: dict[str, Any] = json.loads((folder / RUN / "run.json").read_text(encoding="utf-8"))
    return told


def test_a_camera_length_that_was_wrong_is_corrected_in_every_file(credline: Credline, tmp_path: Path) -> None:
    assert perform(credline, tmp_path, 2500.0)[0] == 0
    before, trace = document(tmp_path), (tmp_path / RUN / "trace.jsonl").read_bytes()
    status, out, err = credline("export", RUN, *RIGHT)
    assert (status, err) == (0, "")
    assert out.splitlines()[0] == "geometry.camera_length_mm was 2500, is now 250"
    now = document(tmp_path)
    assert now["geometry"] == {**before["geometry"], "camera_length_mm": 250.0}
    assert now["pattern"]["per_px_A"] == pytest.approx(10 * before["pattern"]["per_px_A"])
    assert now["result"] == before["result"]
    (change,) = now["corrections"]
    assert (change["key"], change["was"], change["now"]) == ("geometry.camera_length_mm", 2500.0, 250.0)
    assert change["by"] == "credline export"
    assert (tmp_path / RUN / "trace.jsonl").read_bytes() == trace
    assert "DETECTOR_DISTANCE= 250.0" in (tmp_path / RUN / "SMV" / "XDS.INP").read_text().replace("=  ", "= ")
    page = (tmp_path / RUN / "report" / "index.html").read_text(encoding="utf-8")
    assert "corrected after the run: geometry.camera_length_mm was 2500.0, is now 250.0" in page
    assert check_run(tmp_path / RUN) == []
    credline("export", RUN, *RIGHT)  # again: nothing is new
    assert document(tmp_path) == now


def test_what_was_made_for_a_single_program_is_made_anew_with_the_rest(credline: Credline, tmp_path: Path) -> None:
    assert perform(credline, tmp_path, 2500.0)[0] == 0
    assert credline("export", RUN)[0] == 0
    made_for_one = [tmp_path / RUN / name for name in ("ED", "pyautoprocess")]
    assert not any(folder.exists() for folder in made_for_one)
    assert credline("export", RUN, "--formats", "autoed,pyautoprocess")[0] == 0
    assert credline("export", RUN, *RIGHT)[0] == 0
    told = json.loads((made_for_one[0] / "mordenite_001.json").read_text(encoding="utf-8"))
    assert told["detector_distance"] == 250.0
    (movie,) = made_for_one[1].glob("*.mrc")
    assert movie.name.startswith("mordenite_250.0000_")


SIX_BESIDE = DEVICES.format(250.0) + "beam_fast_px = 60.0\nbeam_slow_px = 66.0\n"


def origin(folder: Path) -> float:
    (line,) = [line for line in (folder / RUN / "SMV" / "XDS.INP").read_text().splitlines() if "ORGX=" in line]
    return float(line.split()[1])


def test_a_beam_that_lies_elsewhere_than_was_said_is_asked_about_and_the_answer_holds(
    credline: Credline, tmp_path: Path
) -> None:
    (tmp_path / "lab.toml").write_text(SIX_BESIDE, encoding="utf-8")
    settings = ("range_deg=2", "snapshot_interval=0", 'formats=["xds", "report"]')
    words = [word for setting in settings for word in ("--set", setting)]
    status, out, _ = credline("run", "cred", "--clock", "virtual", "--devices", "lab.toml", "--out", "out", *words)
    assert status == 0
    assert "the primary beam was found at 6" in out
    assert "px from its nominal place (60.00, 66.00)" in out
    assert f"credline export {RUN} --set beam=nominal" in out
    assert origin(tmp_path) == pytest.approx(66.5, abs=1.5)  # the lens has not forgotten its last setting
    status, out, _ = credline("export", RUN, "--set", "beam=nominal")
    assert status == 0
    assert out.splitlines()[0] == "beam was found, is now nominal"
    assert "60.00, 66.00 px (fast, slow), the nominal one; seen in 9 of 9 frames; drift" in out
    assert origin(tmp_path) == pytest.approx(60.5)
    assert document(tmp_path)["plan"]["beam"] == "nominal"
    page = (tmp_path / RUN / "report" / "index.html").read_text(encoding="utf-8")
    assert "corrected after the run: beam was found, is now nominal" in page
    assert check_run(tmp_path / RUN) == []
    credline("export", RUN, "--set", "beam=[61.25, 64]")
    assert origin(tmp_path) == pytest.approx(61.75)
    credline("export", RUN, "--formats", "xds")  # it stays so
    assert origin(tmp_path) == pytest.approx(61.75)


def test_a_plan_says_what_is_taken_for_the_beam(credline: Credline, tmp_path: Path) -> None:
    (tmp_path / "lab.toml").write_text(SIX_BESIDE, encoding="utf-8")
    settings = ("range_deg=2", "relax_cycles=0", "snapshot_interval=0", 'formats=["xds"]', "beam=nominal")
    words = [word for setting in settings for word in ("--set", setting)]
    assert credline("run", "cred", "--clock", "virtual", "--devices", "lab.toml", "--out", "out", *words)[0] == 0
    assert origin(tmp_path) == pytest.approx(60.5)


@pytest.mark.parametrize("camera_length_mm", [0.0, -250.0, 0.25])
def test_a_run_that_failed_for_its_geometry_is_made_whole(
    credline: Credline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, camera_length_mm: float
) -> None:
    # As runs were made before such a geometry was refused.
    monkeypatch.setattr("drivers.contract.cannot_be", lambda facts: None)
    monkeypatch.setattr("protocols.cred.experiment.words_of", lambda *_: {})
    monkeypatch.setattr("drivers.facts.Facts.questions", ())
    status, err = perform(credline, tmp_path, camera_length_mm)
    assert status == 1
    assert f"geometry.camera_length_mm = {camera_length_mm:g}" in err
    assert document(tmp_path)["status"] == "failed"
    assert credline("export", RUN)[0] == 2
    status, out, err = credline("export", RUN, *RIGHT)
    assert (status, err) == (0, "")
    assert "its status is 'done'" in out
    now = document(tmp_path)
    assert now["status"] == "done"
    assert [each["key"] for each in now["corrections"]] == ["geometry.camera_length_mm", "status", "reason"]
    assert now["corrections"][0]["was"] == camera_length_mm
    assert check_run(tmp_path / RUN) == []
    assert "nothing to recover" in credline("recover", RUN)[1]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--set", "geometry.camera_length_mm=0.25"), "If 0.25 m was meant, write camera_length_mm = 250."),
        (("--set", "geometry.camera_length_mm=far"), "geometry.camera_length_mm = 'far': is not a number"),
        (("--set", "geometry.beam_fast_px=9999"), "the detector has 132 pixels"),
        (("--set", "geometry.camera_length=250"), "cannot be corrected after a run"),
        (("--set", "detector.shape=250"), "cannot be corrected after a run"),
        (("--set", "camera_length_mm=250"), "Did you mean geometry.camera_length_mm?"),
        (("--set", "geometry.camera_length=250"), "Did you mean geometry.camera_length_mm?"),
        (("--set", "exposure_s=0.3"), "Keys are geometry.wavelength_A, geometry.camera_length_mm"),
        (("--set", "geometry.camera_length_mm"), "write key=value"),
        (("--set", "beam=behind"), "--set beam = 'behind': nothing was changed; say found"),
        (("--set", "beam=[1, 2, 3]"), "nothing was changed; say found, nominal, or a place in px"),
        (("--set", "beam=258.3,260.1"), '--set "beam=[258.3, 260.1]"'),
        (("--set", "beam=[9999, 66]"), "the detector has 132 pixels"),
        ((*RIGHT, "--set", "beam=[9999, 66]"), "the detector has 132 pixels"),
        ((*RIGHT, "--formats", "smv"), "leave --formats out"),
    ],
)
def test_a_correction_that_cannot_be_changes_nothing(
    credline: Credline, tmp_path: Path, words: tuple[str, ...], says: str
) -> None:
    folder = tmp_path / RUN
    folder.mkdir(parents=True)
    instrument = {
        "geometry": {"wavelength_A": 0.02508, "camera_length_mm": 2500.0, "pixel_size_mm": 0.055}
        | {"rotation_axis_deg": 0.0, "beam_fast_px": 66.0, "beam_slow_px": 66.0},
        "detector": {"shape": [128, 128], "wide_cross": True},
    }
    (folder / "run.json").write_text(json.dumps({"schema": 2, "protocol": "cred", "status": "done", **instrument}))
    before = (folder / "run.json").read_bytes()
    status, _, err = credline("export", RUN, *words)
    assert status == 2
    assert len(err.splitlines()) == 1
    assert says in err
    assert (folder / "run.json").read_bytes() == before
