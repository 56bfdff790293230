"""XDS.INP, dials.sh, 1.ed3d, pets.pts2, cRED_log.txt: the same slots, the same angles, the same axis in all."""

import math
import os
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from protocols.products.cred_log import cred_log
from protocols.products.dials import dials_scripts
from protocols.products.metadata import run_header
from protocols.products.pets import pts2
from protocols.products.redp import ed3d
from protocols.products.rotation import rotation
from protocols.products.source import RunInfo, open_run
from protocols.products.xds import xds_inp
from tests.protocols.products.runs import write_run

BEAM = (250.25, 263.5)


def info_of(tmp_path: Path, **options: object) -> RunInfo:
    with open_run(write_run(tmp_path / "mordenite_001", **options)) as source:  # type: ignore[arg-type]
        return source.info


def xds(text: str, key: str) -> list[str]:
    return re.findall(rf"^{re.escape(key)}= *(.*?) *(?:!.*)?$", text, re.MULTILINE)


def matrix(axis: tuple[float, float, float], angle_deg: float) -> np.ndarray:
    x, y, z = axis
    k = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    t = math.radians(angle_deg)
    return np.asarray(np.eye(3) + math.sin(t) * k + (1 - math.cos(t)) * k @ k)


@pytest.mark.parametrize("oscillation_deg", [0.2314, -0.2314])
def test_axis_and_angles_together_are_the_stage_s_rotation(tmp_path: Path, oscillation_deg: float) -> None:
    info = info_of(tmp_path, oscillation_deg=oscillation_deg, start_deg=12.0)
    turn = rotation(info)
    assert turn.width_deg > 0
    w = math.radians(-38.505)
    for slot in (1, 7, 23):
        stage = matrix((math.cos(w), math.sin(w), 0.0), info.slot_start_deg(slot))
        np.testing.assert_allclose(matrix(turn.axis, turn.slot_start_deg(slot)), stage, atol=1e-12)
    # XDS' frame is DIALS' turned by 180 deg about x.
    flip = np.diag([1.0, -1.0, -1.0])
    np.testing.assert_allclose(
        flip @ matrix(turn.xds_axis, turn.slot_start_deg(5)) @ flip, matrix(turn.axis, turn.slot_start_deg(5))
    )


@pytest.mark.parametrize(("lost", "told"), [((), "1 10"), ((1, 2), "3 12"), ((1, 5), "2 4")])
def test_the_background_is_taken_from_the_first_frames_that_lie_together(
    tmp_path: Path, lost: tuple[int, ...], told: str
) -> None:
    info = info_of(tmp_path, slots=23, interval=0, lost=lost)
    assert xds(xds_inp(info, run_header(info, BEAM), corrected_distortion=False), "BACKGROUND_RANGE") == [told]


def test_xds_inp_of_a_rising_run(tmp_path: Path) -> None:
    info = info_of(tmp_path, slots=23, interval=10, lost=[5, 6])
    text = xds_inp(info, run_header(info, BEAM), corrected_distortion=False)
    assert xds(text, "DATA_RANGE") == ["1 23"]
    assert xds(text, "EXCLUDE_DATA_RANGE") == ["5 6", "10 10", "20 20"]
    assert xds(text, "BACKGROUND_RANGE") == ["1 4"]  # frames that are there, in one piece
    assert xds(text, "SPOT_RANGE") == ["1 23"]
    assert xds(text, "NAME_TEMPLATE_OF_DATA_FRAMES") == ["data/?????.img  SMV"]
    assert [float(v) for v in xds(text, "ROTATION_AXIS")[0].split()] == pytest.approx([0.782554, 0.622583, 0], abs=1e-6)
    assert float(xds(text, "STARTING_ANGLE")[0]) == pytest.approx(-5.0)
    assert float(xds(text, "OSCILLATION_RANGE")[0]) == pytest.approx(0.2314)
    # 1-based, and a pixel's centre is a whole number there.
    assert "ORGX= 250.7500 ORGY= 264.0000" in text
    assert "\nNX= 516 NY= 516\nQX= 0.055 QY= 0.055\n" in text
    assert xds(text, "SPACE_GROUP_NUMBER") == ["0"]
    assert "UNIT_CELL_CONSTANTS" in text
    assert xds(text, "UNIT_CELL_CONSTANTS") == []
    assert xds(text, "UNTRUSTED_RECTANGLE") == ["255 262 0 517", "0 517 255 262"]
    assert xds(text, "OVERLOAD") == ["11809"]  # the largest count that is right
    assert xds(text, "INCLUDE_RESOLUTION_RANGE") == ["20 0.8"]
    assert "GEO_CORR" not in text


def test_xds_inp_of_a_falling_run_turns_axis_and_angles(tmp_path: Path) -> None:
    info = info_of(tmp_path, oscillation_deg=-0.2314, start_deg=60.0)
    text = xds_inp(info, run_header(info, BEAM), corrected_distortion=True)
    assert [float(v) for v in xds(text, "ROTATION_AXIS")[0].split()] == pytest.approx(
        [-0.782554, -0.622583, 0], abs=1e-6
    )
    assert float(xds(text, "STARTING_ANGLE")[0]) == pytest.approx(-60.0)
    assert float(xds(text, "OSCILLATION_RANGE")[0]) == pytest.approx(0.2314)
    assert xds(text, "X-GEO_CORR") == ["XCORR.cbf"]
    assert xds(text, "DETECTOR") == ["PILATUS"]


def test_no_cross_in_a_picture_without_one(tmp_path: Path) -> None:
    info = info_of(tmp_path, slots=4, shape=(64, 128), wide_cross=False, interval=0)
    header = run_header(info, (60.0, 30.0))
    text = xds_inp(info, header, corrected_distortion=False)
    assert "UNTRUSTED_RECTANGLE" not in text
    assert "NX= 128 NY= 64" in text
    assert "EXCLUDE" not in text
    script = dials_scripts(info, header).sh
    assert "mask" not in script
    assert "exclude.phil" not in script
    assert "GAPS" not in script
    assert "geometry.detector.panel.trusted_range=-1,11809" in script


@pytest.mark.parametrize("oscillation_deg", [0.2314, -0.2314])
def test_redp_and_pets_get_the_middle_of_each_exposure(tmp_path: Path, oscillation_deg: float) -> None:
    info = info_of(tmp_path, slots=23, interval=10, oscillation_deg=oscillation_deg, start_deg=3.0)
    header = run_header(info, BEAM)
    exposed = 0.5 / 0.512
    wanted = [3.0 + oscillation_deg * (k - 1 + exposed / 2) for k in info.slot.tolist()]
    red = re.findall(r"^FILE (\d{5})\.mrc +(\S+) +0 +(\S+)$", ed3d(info, header), re.MULTILINE)
    assert [int(k) for k, _, _ in red] == info.slot.tolist()
    np.testing.assert_allclose([float(a) for _, a, _ in red], wanted, atol=6e-5)
    pets = re.findall(r"^tiff/(\d{5})\.tiff (\S+) 0\.00$", pts2(info, header), re.MULTILINE)
    assert [int(k) for k, _ in pets] == info.slot.tolist()
    np.testing.assert_allclose([float(a) for _, a in pets], wanted, atol=6e-5)


def test_redp_and_pets_know_the_geometry(tmp_path: Path) -> None:
    info = info_of(tmp_path, slots=12)
    header = run_header(info, BEAM)
    red, pets = ed3d(info, header), pts2(info, header)
    assert "ROTATIONAXIS    -38.50500" in red  # -180 .. 180
    assert "CCDPIXELSIZE    0.00877193" in red
    assert "omega 321.4950" in pets  # 0 .. 360
    assert "lambda 0.0250800" in pets
    assert "aperpixel 0.00877193" in pets
    assert f"phi {0.2314 * 0.5 / 0.512 / 2:.6f}" in pets
    assert "center 250.25 263.50" in pets


def test_dials_sh_knows_the_gaps(tmp_path: Path) -> None:
    info = info_of(tmp_path, slots=23, interval=10, lost=[11])
    scripts = dials_scripts(info, run_header(info, BEAM))
    for text in (scripts.sh, scripts.bat):
        assert re.search(r"GAPS='?10-11 20", text)
        assert "geometry.goniometer.axes=0.782554,-0.622583,0.000000" in text
        for program in ("import", "find_spots", "index", "refine", "integrate", "symmetry", "scale", "export"):
            assert f"dials.{program}" in text
        for kept in ("scan_range=1,9", "scan_range=12,19", "scan_range=21,23"):
            assert kept in text


def test_frames_in_a_shadow_are_measured_by_nobody(tmp_path: Path) -> None:
    info = info_of(tmp_path, slots=23, interval=10)
    run = run_header(info, BEAM, shadowed=(1, 2, 3, 19, 21, 22, 23))
    text = xds_inp(info, run, corrected_distortion=False)
    assert xds(text, "EXCLUDE_DATA_RANGE") == ["1 3", "10 10", "19 23"]
    assert xds(text, "BACKGROUND_RANGE") == ["4 9"]
    script = dials_scripts(info, run).sh
    assert "GAPS='1-3 10 19-23'" in script
    assert re.findall(r"scan_range=\d+,\d+", script) == ["scan_range=4,9", "scan_range=11,18"]
    assert "Frames in a shadow" in cred_log(info, run)


def test_dials_sh_is_a_shell_script(tmp_path: Path) -> None:
    info = info_of(tmp_path, slots=23)
    path = tmp_path / "dials.sh"
    path.write_text(dials_scripts(info, run_header(info, BEAM)).sh)
    subprocess.run(["sh", "-n", path], check=True)


# Whether dials.import is there, and what is said of what is not.
MISSING = {
    "DIALS": (False, "DIALS is not installed, or not on the PATH"),
    "its Python": (True, "found no Python that has DIALS"),
}


@pytest.mark.parametrize(("has_import", "says"), MISSING.values(), ids=MISSING)
def test_dials_sh_says_what_is_missing(tmp_path: Path, has_import: bool, says: str) -> None:
    path = tmp_path / "dials.sh"
    path.write_text(dials_scripts(info := info_of(tmp_path, slots=23), run_header(info, BEAM)).sh)
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("dirname", "sed"):
        (tools / name).symlink_to(str(shutil.which(name)))
    if has_import:
        (tools / "dials.import").write_text("#!/bin/sh\nexit 0\n")
        (tools / "dials.import").chmod(0o755)
    shell = str(shutil.which("sh"))
    done = subprocess.run([shell, path], env={"PATH": str(tools)}, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert says in done.stderr
    assert "nothing was done" in done.stderr
    assert not (tmp_path / "dials").exists()


def test_dials_sh_says_which_step_failed(tmp_path: Path) -> None:
    path = tmp_path / "dials.sh"
    path.write_text(dials_scripts(info := info_of(tmp_path, slots=23), run_header(info, BEAM)).sh)
    tools = tmp_path / "tools"
    tools.mkdir()
    for name, code in (("dials.import", 0), ("dials.version", 0), ("dials.generate_mask", 3), ("dials.python", 0)):
        (tools / name).write_text(f"#!/bin/sh\nexit {code}\n")
        (tools / name).chmod(0o755)
    environment = {**os.environ, "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(["sh", path], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "this step failed: dials.generate_mask" in done.stderr
    assert "no step after it" in done.stderr
    assert "apply_mask" not in done.stdout


def test_the_log_is_for_people_and_names_every_frame(tmp_path: Path) -> None:
    info = info_of(
        tmp_path,
        slots=23,
        lost=[7],
        geometry={"distortion_amplitude_percent": 2.43, "distortion_azimuth_deg": 83.37},
    )
    text = cred_log(info, run_header(info, BEAM))
    assert re.search(r"Distortion amplitude: +2\.430 %", text)
    assert re.search(r"Distortion azimuth: +83\.370 deg", text)
    assert re.search(r"Physical pixel size: +0\.0550 mm", text)
    assert re.search(r"Begin: +2026-11-21T01:02:03\.456\+01:00", text)
    assert re.search(r"Gaps in the numbering: +7, 10, 20$", text, re.MULTILINE)
    assert re.search(r"^Number of frames: +20$", text, re.MULTILINE)
    assert len(re.findall(r"^ +\d+ +\d+\.\d{6} ", text, re.MULTILINE)) == 20
