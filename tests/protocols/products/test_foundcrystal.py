"""What a rotation told of its crystal, in the files for other programs and in the report; nothing typed is replaced."""

import json
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.errors import DataError
from protocols.products.crystalreport import bravais_words, with_sigma
from protocols.products.export import export_run
from protocols.products.foundcrystal import CRYSTAL_FILE, SCHEMA, FoundCrystal, asked_of, found_crystal
from protocols.products.metadata import run_header
from protocols.products.reciprocalplot import brightness, reach_per_A
from protocols.products.refinedgeometry import geometry_questions
from protocols.products.source import open_run
from tests.protocols.products.readers import keywords
from tests.protocols.products.runs import AT_THE_BEAM, write_run
from tests.protocols.products.test_report import images_of, page_of, warnings_of

pytestmark = pytest.mark.long

CUBIC = 8.2
TRICLINIC_UB = np.array([[0.14, 0.01, 0.02], [0.0, 0.11, -0.02], [0.0, 0.0, 0.09]])
FITTED = {
    "rotation_axis_deg": (-38.50, 0.03),
    "rotation_axis_tilt_deg": (0.02, 0.03),
    "beam_fast_px": (240.25, 0.01),
    "beam_slow_px": (230.75, 0.01),
    "camera_length_mm": (252.5, 1.0),
    "distortion_amplitude_percent": (0.05, 0.05),
    "distortion_azimuth_deg": (12.0, 40.0),
}


def kept(folder: Path, ub: Any = None, fitted: dict[str, tuple[float, float]] | None = None, **changes: Any) -> None:
    """Write crystal.json of a run: cubic where no other lattice is given."""
    ub = np.eye(3) / CUBIC if ub is None else ub
    real = np.linalg.inv(ub)
    lengths = np.linalg.norm(real, axis=1)
    cosines = [real[i] @ real[j] / lengths[i] / lengths[j] for i, j in ((1, 2), (0, 2), (0, 1))]
    cell = [*lengths.tolist(), *np.degrees(np.arccos(cosines)).tolist()]
    hkl = np.indices((5, 5, 5)).reshape(3, -1).T - 2
    points = [[*place, 1.0 + 10 * number, 1] for number, place in enumerate((hkl @ ub.T).tolist())]
    points.append([0.3, 0.31, 0.05, 500.0, 0])
    with open_run(folder) as source:
        asked = asked_of(source.info)
    told = {
        "schema": SCHEMA, "asked": asked, "deg": 30.0, "determined": True, "reasons": [], "reflections": 126,
        "indexed": 0.992, "resolution_A": 0.91, "cell": cell, "cell_sigma": [0.02, 0.02, 0.02, 0, 0, 0],
        "bravais": "cP", "primitive": cell, "primitive_sigma": [0.02, 0.02, 0.02, 0.03, 0.03, 0.03],
        "camera_length_sigma": 0.004, "orientation": ub.tolist(), "orientation_as_told": ub.tolist(),
        "axes": ub.tolist(), "words": ["cell: as above", "mosaicity: 0.07 <deg>"], "points": points,
        "fitted": {name: {"value": v, "sigma": s} for name, (v, s) in (FITTED | (fitted or {})).items()},
    }  # fmt: skip
    (folder / CRYSTAL_FILE).write_text(json.dumps(told | changes))


@pytest.fixture
def run(tmp_path: Path) -> Path:
    flat = np.ones((512, 512), dtype=np.float32)
    return write_run(tmp_path / "run", slots=6, interval=0, flatfield=flat, geometry=AT_THE_BEAM)


def read(folder: Path) -> FoundCrystal | None:
    with open_run(folder) as source:
        return found_crystal(source.info)


def test_xds_gets_the_lattice_as_a_triclinic_one_that_goes_with_its_own_camera_length(run: Path) -> None:
    kept(run)
    export_run(run, ["xds"], 1)
    found = keywords(run / "SMV" / "XDS.INP")
    assert found["SPACE_GROUP_NUMBER"] == ["1"]
    # The reflections were seen with 252.5 mm, the file has 250 mm: a cell of 8.2 A is one of 8.119 A there.
    assert found["UNIT_CELL_CONSTANTS"] == ["8.119 8.119 8.119 90.000 90.000 90.000"]
    assert found["DETECTOR_DISTANCE"] == ["250.0000"]
    text = (run / "SMV" / "XDS.INP").read_text()
    assert "of type cP: 8.119 8.119 8.119 90.000 90.000 90.000, space group 195 or higher" in text
    assert "0.0200 0.0200 0.0200 0.0300 0.0300 0.0300 uncertain" in text
    assert all(len(line) <= 120 for line in text.splitlines())


def test_xds_gets_no_cell_where_none_is_determined(run: Path) -> None:
    kept(run, determined=False, reasons=["only 9 reflections are of it"])
    export_run(run, ["xds", "pets", "dials"], 1)
    found = keywords(run / "SMV" / "XDS.INP")
    assert found["SPACE_GROUP_NUMBER"] == ["0"]
    assert "UNIT_CELL_CONSTANTS" not in found
    assert "referencecell" not in (run / "pets.pts2").read_text()
    assert "LATTICE" not in (run / "SMV" / "dials.sh").read_text()


def test_pets_gets_the_conventional_cell_to_compare_its_own_with(run: Path) -> None:
    kept(run, bravais="mC")
    export_run(run, ["pets"], 1)
    lines = (run / "pets.pts2").read_text().splitlines()
    assert "referencecell 8.1188 8.1188 8.1188 90.0000 90.0000 90.0000 1" in lines
    assert lines.index("imagelist") > lines.index("# mC, as 30.0 deg of these frames have it (crystal.json)")


def test_dials_begins_with_the_lattice_and_may_be_told_to_look_for_one(run: Path) -> None:
    kept(run, TRICLINIC_UB)
    export_run(run, ["dials"], 1)
    script, batch = (run / "SMV" / name for name in ("dials.sh", "dials.bat"))
    numbers = "0.140000,0.010000,0.020000,0.000000,0.110000,-0.020000,0.000000,0.000000,0.090000"
    assert f"LATTICE=${{LATTICE:-{numbers}}}" in script.read_text()
    assert f"if not defined LATTICE set LATTICE={numbers}" in batch.read_text()
    for path in (script, batch):
        words = re.sub(r"[\\^]\s+", "", path.read_text())
        assert re.search(r"dials_between\.py lattice masked\.expt \"[$%]LATTICE%?\"", words)
        assert "dials.index known.expt strong.refl" in words
    subprocess.run([str(shutil.which("sh")), "-n", script], check=True)


OFF = {
    "axis": ({"rotation_axis_deg": (-37.5, 0.03)}, "rotation axis", "geometry.rotation_axis_deg=-37.50"),
    "lean": ({"rotation_axis_tilt_deg": (0.5, 0.1)}, "lean of the", "geometry.rotation_axis_tilt_deg=0.50"),
    "beam": ({"beam_fast_px": (243.0, 0.1)}, "primary beam", "beam=[243.00, 230.75]"),
    "length": ({"camera_length_mm": (255.0, 1.0)}, "camera length", "geometry.camera_length_mm=255.00"),
    "ellipse": (
        {"distortion_amplitude_percent": (2.0, 0.1)}, "ellipse", "geometry.distortion_amplitude_percent=2.000",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", OFF)
def test_a_geometry_that_the_reflections_contradict_is_asked_about_and_stays(run: Path, what: str) -> None:
    fitted, name, setting = OFF[what]
    kept(run, fitted=fitted)
    before = (run / "run.json").read_bytes()
    summary = export_run(run, ["xds", "report"], 1)
    asked = [line for line in summary.warnings if line.startswith(name)]
    assert len(asked) == 1
    assert setting in asked[0]
    assert "which is right?" in asked[0]
    assert len(warnings_of(page_of(run))) == 1
    found = keywords(run / "SMV" / "XDS.INP")
    assert found["DETECTOR_DISTANCE"] == ["250.0000"]
    assert [float(x) for x in found["ROTATION_AXIS"][0].split()] == pytest.approx([0.782554, 0.622583, 0], abs=1e-5)
    assert float(found["ORGX"][0]) == pytest.approx(240.75, abs=0.05)
    assert (run / "run.json").read_bytes() == before


def test_what_is_off_by_less_than_it_is_uncertain_is_not_asked_about(run: Path) -> None:
    fitted = {"rotation_axis_deg": (-37.5, 0.4), "camera_length_mm": (255.0, 2.0), "beam_fast_px": (240.9, 0.01)}
    kept(run, fitted=fitted)
    assert export_run(run, ["report"], 1).warnings == ()


@pytest.mark.parametrize(("sigma_deg", "asked"), [(0.5, 0), (0.1, 1)])
def test_how_sure_a_calibrated_figure_is_counts_as_well(run: Path, sigma_deg: float, asked: int) -> None:
    kept(run, fitted={"rotation_axis_deg": (-37.5, 0.03)})
    with open_run(run) as source:
        info = replace(source.info, calibrated={"rotation_axis_deg": {"sigma": sigma_deg}})
    crystal = found_crystal(info)
    assert crystal is not None
    assert len(list(geometry_questions(info, run_header(info, (240.25, 230.75)), crystal))) == asked


def test_a_crystal_of_another_geometry_is_none(run: Path) -> None:
    kept(run)
    assert read(run) is not None
    told = json.loads((run / "run.json").read_text())
    told["geometry"]["rotation_axis_deg"] = -30.0
    (run / "run.json").write_text(json.dumps(told))
    assert read(run) is None


BROKEN: dict[str, Any] = {
    "no JSON": None,
    "a word for a number": {"deg": "thirty"},
    "a flat lattice": {"orientation": [[1, 0, 0], [0, 1, 0], [1, 1, 0]]},
    "no figure": {"camera_length_sigma": None},
    "an infinite place": {"points": [[float("inf"), 0, 0, 1, 1]]},
    "a newer file": {"schema": 99},
    "a list": [],
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_damaged_file_stops_no_export_and_says_what_to_do(run: Path, what: str) -> None:
    kept(run)
    if isinstance(BROKEN[what], dict):
        kept(run, **BROKEN[what])
    else:
        (run / CRYSTAL_FILE).write_text("[]" if what == "a list" else "{")
    with pytest.raises(DataError, match="credline live"):
        read(run)
    summary = export_run(run, ["xds", "report"], 1)
    assert any("crystal.json" in line and "credline live" in line for line in summary.warnings)
    assert keywords(run / "SMV" / "XDS.INP")["SPACE_GROUP_NUMBER"] == ["0"]
    assert "<h2>The crystal</h2>" not in page_of(run)


def test_the_report_has_the_crystal_in_words_and_reciprocal_space_to_turn(run: Path) -> None:
    kept(run, TRICLINIC_UB, bravais="aP")
    export_run(run, ["report"], 1)
    page = page_of(run)
    assert "<p>Triclinic, primitive (aP): a 7." in page
    assert "99.2% of 126 reflections lie on it" in page
    assert "<li>mosaicity: 0.07 &lt;deg&gt;</li>" in page
    assert "reflections are seen to 0.91 A" in page
    assert "252.50 +- 1.00 mm" in page
    assert images_of(page)["Reciprocal space"].width > 800
    assert page.count('<canvas id="space"') == 1
    assert not re.findall(r"(?:src|href)=\"(?!data:)", page)
    assert not re.findall(r"https?://|import\(|fetch\(", page)


def test_without_a_lattice_the_report_says_why_and_shows_the_reflections(run: Path) -> None:
    kept(run, determined=False, reasons=["chance may have made it <9 of 30>"], bravais=None)
    export_run(run, ["report"], 1)
    page = page_of(run)
    assert "No cell is determined after 30.0 deg: chance may have made it &lt;9 of 30&gt;." in page
    assert "along x</button>" in page
    assert "Reciprocal space" in images_of(page)
    kept(run, determined=False, reasons=["no reflections were seen"], points=[], reflections=0)
    export_run(run, ["report"], 1)
    assert "Reciprocal space" not in images_of(page_of(run))


SCRIPT_IS_RUN_BY = """
const drawn = [], handlers = {}, elements = {};
const pen = new Proxy({}, {get: (_, name) => (...all) => { drawn.push([name, ...all]); }, set: () => true});
const made = id => ({clientWidth: 900, clientHeight: 480, checked: true, getContext: () => pen, focus() {},
  setPointerCapture() {}, addEventListener: (name, act) => { handlers[id + ":" + name] = act; }});
globalThis.document = {getElementById: id => elements[id] ??= made(id)};
globalThis.window = {devicePixelRatio: 1, addEventListener() {}};
%s
const event = told => ({preventDefault() {}, ...told});
const dots = () => drawn.filter(each => each[0] === "arc").map(each => each.slice(1, 3));
const after = (...acts) => { acts.forEach(act => { drawn.length = 0; act(); }); return dots(); };
const key = name => () => handlers["space:keydown"](event({key: name}));
const along = after(() => handlers["space-a:click"]());
const turned = after(key("ArrowLeft")), back = after(key("ArrowRight"));
const near = after(key("+"));
elements["space-others"].checked = false;
const fewer = after(() => handlers["space-others:change"]());
console.log(JSON.stringify({along, turned, back, near, fewer}));
"""


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed: the script of the page is not run")
def test_the_picture_turns_and_zooms_by_keys_and_leaves_out_what_is_not_of_the_lattice(run: Path) -> None:
    kept(run)
    export_run(run, ["report"], 1)
    script = next(s for s in re.findall(r"<script>(.*?)</script>", page_of(run), re.DOTALL) if "space =>" in s)
    done = subprocess.run(
        [str(shutil.which("node")), "-"], input=SCRIPT_IS_RUN_BY % script, capture_output=True, text=True, check=True
    )
    drawn = {name: np.array(dots) for name, dots in json.loads(done.stdout).items()}
    assert len(drawn["along"]) == 126
    # Along an axis of a cubic lattice of 5 x 5 x 5 rows lie behind each other: 25 places, and that of the other one.
    assert len(np.unique(drawn["along"].round(3), axis=0)) == 26
    assert len(np.unique(drawn["turned"].round(3), axis=0)) > 60
    np.testing.assert_allclose(np.sort(drawn["back"], axis=0), np.sort(drawn["along"], axis=0), atol=1e-6)
    assert np.ptp(drawn["near"], axis=0) == pytest.approx(1.2 * np.ptp(drawn["back"], axis=0))
    assert len(drawn["fewer"]) == 125


def test_a_wrong_reflection_far_away_does_not_make_the_others_small(run: Path) -> None:
    kept(run)
    crystal = read(run)
    assert crystal is not None
    far = replace(crystal, points=np.vstack([crystal.points, [[9.0, 0, 0, 3, 0]]]))
    assert reach_per_A(far) == pytest.approx(reach_per_A(crystal), rel=0.1)


def test_the_brightest_are_bright_and_the_dimmest_still_seen() -> None:
    light = brightness(np.array([1.0, 10.0, 100.0, 1000.0, 1e9]))
    assert (np.diff(light) >= 0).all()
    assert (light[0], light[-1]) == (0.15, 1.0)
    assert brightness(np.zeros(0)).size == 0


@pytest.mark.parametrize(
    ("value", "sigma", "words"),
    [
        (18.1628, 0.0271, "18.163(27)"),
        (20.5848, 0.0335, "20.58(3)"),
        (90.0, 0.0, "90"),
        (7.0, 0.5, "7.0(5)"),
        (7.0, 4, "7(4)"),
    ],
)
def test_uncertainties_stand_in_brackets_in_units_of_the_last_digit(value: float, sigma: float, words: str) -> None:
    assert with_sigma(value, sigma) == words


def test_types_of_lattices_have_names() -> None:
    assert bravais_words("oC") == "orthorhombic, C-centred (oC)"
    assert bravais_words("hR") == "rhombohedral (hR)"
    assert bravais_words(None) == "type not known yet"
