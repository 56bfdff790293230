"""The files of a serial run, read back by others than who wrote them: csv, h5py, numpy; DIALS where it is installed."""

import csv
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from engine.errors import DataError, Refused
from protocols.products.cross import cross_mask
from protocols.products.distortion import distortion_matrix
from protocols.serialed.results.csvfiles import read_crystals
from protocols.serialed.results.export import FORMATS, export_serial
from protocols.serialed.results.source import open_serial
from tests.protocols.serialed.results.serialruns import BEAM, PATTERN_PX, Crystal, Made, some_fields, write_run
from tests.quickly import quick

FIELDS = {
    1: [Crystal(40, 30, 0.97), Crystal(90, 70, 0.02), Crystal(30, 100, None), Crystal(100, 20, visited=False)],
    2: [],
    3: [Crystal(60.5, 61.25, 0.88, neighbour_nm=400.0), Crystal(20, 90, 0.99)],
}


@pytest.fixture(autouse=True)
def no_strip(monkeypatch: pytest.MonkeyPatch) -> None:
    """A timing strip takes seconds; the engine's own tests draw it."""

    def draw(*_: object) -> None:
        raise DataError("none in these tests")

    monkeypatch.setattr("protocols.serialed.results.report.draw_strip", draw)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    made = write_run(tmp_path_factory.mktemp("serial") / "grid_001", FIELDS, left_out={4: "bar", 5: "stage"})
    export_serial(made.folder, ("csv", "cxi", "nexus"))
    return made


def test_crystals_csv_holds_everything_and_reads_back_as_it_was(made: Made) -> None:
    rows = read_crystals(made.folder / "crystals.csv")
    with open_serial(made.folder) as source:
        known = source.tables.crystals
    assert [(r.number, r.field, r.crystal, r.pattern, r.is_isolated, r.said, r.why_not) for r in rows] == [
        (r.number, r.field, r.crystal, r.pattern, r.is_isolated, r.said, r.why_not) for r in known
    ]
    for name, within in (("x_nm", 0.05), ("length_nm", 0.05), ("fast_px", 0.005), ("score_good", 5e-5)):
        got, wanted = ([getattr(row, name) for row in some] for some in (rows, known))
        np.testing.assert_allclose(
            [np.nan if x is None else x for x in got], [np.nan if x is None else x for x in wanted], atol=within
        )


def test_the_papers_list_has_the_isolated_and_good_ones_best_first(made: Made) -> None:
    """Seven columns without a first line, as Instamatic unpacks them."""
    with (made.folder / "serialed.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    for path, frame, number, prediction, size, x, y in rows:
        assert Path(path) == made.folder / "frames.h5"
        assert float(prediction) > 0.5
        assert float(size) == pytest.approx(32 * 0.046**2, abs=1e-4)
        assert (float(x), float(y)) == pytest.approx(made.places_nm[int(frame), int(number)], abs=0.1)
    assert [(int(row[1]), int(row[2])) for row in rows] == [(3, 2), (1, 1)]


def test_nexus_links_to_patterns_and_images_and_holds_both_tables(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")
    with h5py.File(made.folder / "frames.h5") as raw, h5py.File(made.folder / "serialed.nxs") as file:
        np.testing.assert_array_equal(file["entry/data/data"][()], raw["pattern/data"][()])
        np.testing.assert_array_equal(file["entry/images/data"][2], raw["image/data"][2])
        assert file["entry/definition"].asstr()[()] == "NXmx"
        crystals = file["entry/crystals"]
        assert crystals["score_good"][()] == pytest.approx([0.97, 0.02, np.nan, np.nan, 0.88, 0.99], nan_ok=True)
        assert crystals["x_nm"].attrs["units"] == "nm"
        assert crystals["why_not"].asstr()[3] == "no pattern was taken of it"
        of = file["entry/patterns/crystal_row"][()]
        np.testing.assert_array_equal(crystals["pattern"][()][of], np.arange(5))
        assert file["entry/fields/how"].asstr()[1] == "no crystals"
        detector = file["entry/instrument/detector"]
        assert (detector["beam_center_x"][()], detector["beam_center_y"][()]) == pytest.approx(BEAM, abs=0.1)


def geometry(folder: Path) -> dict[str, str]:
    """The keys of a geometry file, as its manual has them: comments behind a semicolon, `key = value`."""
    lines = (line.partition(";")[0] for line in (folder / "patterns.geom").read_text().splitlines())
    return {key.strip(): value.strip() for key, mark, value in (line.partition("=") for line in lines) if mark}


def vector(text: str) -> np.ndarray:
    """`-1.0x +0.5y` as (x, y)."""
    x, _, y = text.replace("x", "x ").partition("x ")
    return np.array([float(x), float(y.replace("y", "").replace(" ", ""))])


def test_the_geometry_puts_the_beam_at_the_origin_and_undoes_the_ellipse(made: Made) -> None:
    told = geometry(made.folder)
    fs, ss = vector(told["p0/fs"]), vector(told["p0/ss"])
    corner = np.array([float(told["p0/corner_x"]), float(told["p0/corner_y"])])

    def lab(fast: float, slow: float) -> np.ndarray:
        return corner + fast * fs + slow * ss

    np.testing.assert_allclose(lab(*BEAM), 0, atol=0.1)
    # A ring that the lens has drawn out is round again, seen from the detector: fast to -x, slow to -y.
    angle = np.linspace(0, 2 * np.pi, 12, endpoint=False)
    true = 30 * np.array([np.cos(angle), np.sin(angle)])
    for offset, wanted in zip((distortion_matrix(2.43, 83.37) @ true).T, true.T, strict=True):
        np.testing.assert_allclose(lab(*(np.array(BEAM) + offset)), -wanted, atol=0.1)
    assert told["clen"] == "0.250000 m"
    assert told["wavelength"] == "0.025080 A"
    assert float(told["res"]) == pytest.approx(1000 / 0.055)
    assert (told["p0/max_fs"], told["p0/max_ss"]) == (str(PATTERN_PX - 1), str(PATTERN_PX - 1))


def test_the_cxi_file_holds_what_its_geometry_names(made: Made) -> None:
    told = geometry(made.folder)
    with h5py.File(made.folder / "patterns.cxi") as file, h5py.File(made.folder / "frames.h5") as raw:
        assert file["cxi_version"][()] == 160
        np.testing.assert_array_equal(file[told["data"]][()], raw["pattern/data"][()])
        assert file[told["mask"]].shape == (PATTERN_PX, PATTERN_PX)
        for axis in "xy":
            place, unit = told[f"detector_shift_{axis}"].split()
            assert unit == "mm"
            assert np.abs(file[place][()]).max() < 0.01
        assert file["entry_1/shots/field"][()].tolist() == [1, 1, 1, 3, 3]
        assert file["entry_1/instrument_1/source_1/energy"][()] == pytest.approx(200e3 * 1.602e-19, rel=1e-3)


def test_spots_are_those_of_the_good_patterns_in_indices_of_pixels(made: Made) -> None:
    """CrystFEL adds half a pixel; the lattice that was drawn has its corners at 11 px."""
    with h5py.File(made.folder / "patterns.cxi") as file:
        peaks = file["entry_1/result_1"]
        counts = peaks["nPeaks"][()]
        assert (counts > 0).tolist() == [True, False, False, True, True]
        x = peaks["peakXPosRaw"][0, : counts[0]] + 0.5 - BEAM[0]
        y = peaks["peakYPosRaw"][0, : counts[0]] + 0.5 - BEAM[1]
        off = np.hypot(x - 11 * np.rint(x / 11), y - 11 * np.rint(y / 11))
        assert np.median(off) < 0.3


def test_events_are_counted_from_0_and_the_good_ones_have_a_list_of_their_own(made: Made) -> None:
    assert (made.folder / "events.lst").read_text() == "".join(f"patterns.cxi //{n}\n" for n in range(5))
    assert (made.folder / "events_good.lst").read_text() == "".join(f"patterns.cxi //{n}\n" for n in (0, 3, 4))


def test_a_beam_that_wanders_is_told_pattern_by_pattern(tmp_path: Path) -> None:
    """A detector that is shifted so has the beam of its pattern at the origin again."""
    made = write_run(tmp_path / "grid_001", {1: [Crystal(40, 30, 0.9), Crystal(90, 70, 0.9), Crystal(50, 99, 0.9)]})
    with h5py.File(made.folder / "frames.h5", "r+") as file:
        moved = np.roll(file["pattern/data"][2], (2, -3), (0, 1))
        file["pattern/data"][2] = moved
    export_serial(made.folder, ("cxi",))
    told = geometry(made.folder)
    fs, ss = vector(told["p0/fs"]), vector(told["p0/ss"])
    corner = np.array([float(told["p0/corner_x"]), float(told["p0/corner_y"])])
    with h5py.File(made.folder / "patterns.cxi") as file:
        shift_mm = np.array([file[f"entry_1/shots/shift_{axis}_mm"][2] for axis in "xy"])
    place = corner + (BEAM[0] - 3) * fs + (BEAM[1] + 2) * ss + shift_mm / 0.055
    np.testing.assert_allclose(place, 0, atol=0.1)
    assert np.hypot(*shift_mm) == pytest.approx(0.055 * np.hypot(2, 3), rel=0.05)


def test_a_wide_cross_is_widened_and_masked(tmp_path: Path) -> None:
    made = write_run(tmp_path / "grid_001", {1: [Crystal(40, 30, 0.9)]}, changes={"detector.wide_cross": True})
    export_serial(made.folder, ("cxi", "nexus"))
    with h5py.File(made.folder / "patterns.cxi") as file, h5py.File(made.folder / "frames.h5") as raw:
        data, mask = file["entry_1/data_1/data"][0], file["entry_1/data_1/mask"][()]
        assert data.shape == (PATTERN_PX + 4, PATTERN_PX + 4)
        np.testing.assert_array_equal(data[:40, :40], raw["pattern/data"][0, :40, :40])
        np.testing.assert_array_equal(data[60:, 60:], raw["pattern/data"][0, 56:, 56:])
        np.testing.assert_array_equal(mask != 0, cross_mask((PATTERN_PX, PATTERN_PX)))


HONEST: dict[str, tuple[dict[int, list[Crystal]], dict[str, Any], str]] = {
    "no crystals": ({1: [], 2: []}, {}, "0 crystals found"),
    "no fields at all": ({}, {}, "0 crystals found"),
    "nothing scored": ({1: [Crystal(40, 30, None)]}, {}, "1 isolated ones have no score"),
    "no images": ({1: [Crystal(40, 30, 0.9)]}, {"without_images": True}, "1 of these good"),
    "the finder was late": ({1: [Crystal(40, 30, 0.9)]}, {"drop": ["find"]}, "1 of these good"),
    "the scores were late": ({1: [Crystal(40, 30, 0.9)]}, {"drop": ["screen"]}, "1 isolated ones have no score"),
    "a geometry that cannot be": (
        {1: [Crystal(40, 30, 0.9)]},
        {"changes": {"geometry.wavelength_A": -1.0}},
        "no patterns.cxi",
    ),
    "a geometry that is lost": ({1: [Crystal(40, 30, 0.9)]}, {"changes": {"geometry": {}}}, "no patterns.cxi"),
}


@pytest.mark.parametrize("case", quick(4, HONEST))
def test_whatever_is_missing_the_files_are_whole_and_say_so(tmp_path: Path, case: str) -> None:
    fields, how, said = HONEST[case]
    made = write_run(tmp_path / "grid_001", fields, **how)
    lines = export_serial(made.folder)
    assert said in " ".join(lines)
    assert (made.folder / "crystals.csv").read_text().startswith("number,field")
    with h5py.File(made.folder / "serialed.nxs") as file:
        assert "entry/crystals/number" in file
    page = (made.folder / "report" / "index.html").read_text()
    assert page.rstrip().endswith("</html>")
    assert not list(made.folder.rglob(".*part*"))


def test_a_run_that_was_killed_is_refused_with_the_remedy(tmp_path: Path) -> None:
    made = write_run(tmp_path / "grid_001", FIELDS, changes={"status": "running"})
    with pytest.raises(DataError, match="credline recover"):
        export_serial(made.folder)
    assert not (made.folder / "crystals.csv").exists()


def test_a_damaged_pattern_costs_itself_and_is_named(tmp_path: Path) -> None:
    made = write_run(tmp_path / "grid_001", FIELDS)
    with h5py.File(made.folder / "frames.h5", "r+") as file:
        file["pattern/data"].id.write_direct_chunk((1, 0, 0), b"no chunk")
    lines = export_serial(made.folder)
    assert any("NOT READ: 1 of 5 patterns" in line for line in lines)
    assert len(read_crystals(made.folder / "crystals.csv")) == 6


def test_a_trace_that_was_cut_off_leaves_what_is_before_it(tmp_path: Path) -> None:
    made = write_run(tmp_path / "grid_001", FIELDS)
    path = made.folder / "trace.jsonl"
    text = path.read_text().splitlines()
    path.write_text("\n".join(text[: len(text) // 2]) + '\n{"seq": 99, "t')
    export_serial(made.folder)
    rows = read_crystals(made.folder / "crystals.csv")
    assert sum(row.pattern >= 0 for row in rows) == 5
    assert "not readable: trace.jsonl" in (made.folder / "report" / "index.html").read_text()


def test_an_unknown_format_is_refused_before_anything_is_written(made: Made, tmp_path: Path) -> None:
    with pytest.raises(Refused, match="'smv' is none of csv, cxi"):
        export_serial(made.folder, ("csv", "smv"))


def test_a_full_disk_leaves_the_files_of_before(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    before = {path.name: path.read_bytes() for path in made.folder.iterdir() if path.is_file()}

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("engine.record.folder.Path.replace", full)
    with pytest.raises(Exception, match="No space left"):
        export_serial(made.folder, ("csv", "cxi"))
    monkeypatch.undo()
    assert {path.name: path.read_bytes() for path in made.folder.iterdir() if path.is_file()} == before


def test_an_export_may_be_repeated_and_gives_the_same_tables(made: Made, tmp_path: Path) -> None:
    folder = tmp_path / "again"
    shutil.copytree(made.folder, folder)
    export_serial(folder, ("csv", "overview"))
    assert (folder / "crystals.csv").read_bytes() == (made.folder / "crystals.csv").read_bytes()
    first = (folder / "report" / "overview.png").read_bytes()
    export_serial(folder, ("overview",))
    assert (folder / "report" / "overview.png").read_bytes() == first


def test_the_report_tells_what_went_wrong_first(tmp_path: Path) -> None:
    made = write_run(
        tmp_path / "grid_001", some_fields(3, 4, 5), left_out={5: "stage"}, changes={"warnings": ["the beam wanders"]}
    )
    export_serial(made.folder, FORMATS, told=(("images", "4 of 5"),))
    page = (made.folder / "report" / "index.html").read_text()
    assert page.index("WARNING: the beam wanders") < page.index("The run")
    assert "1 fields were left out: stage" in page
    for heading in ("The grid", "Crystals", "Time"):
        assert f"<h2>{heading}</h2>" in page


@pytest.mark.dials
@pytest.mark.long
def test_dials_imports_stills_with_the_beam_where_it_is(made: Made, tmp_path: Path) -> None:
    if shutil.which("dials.import") is None:
        if os.environ.get("CREDLINE_REQUIRE_DIALS") == "1":
            pytest.fail("dials.import is not installed")
        pytest.skip("dials.import is not installed")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    file, imported = made.folder / "serialed.nxs", tmp_path / "imported.expt"
    words = ["dials.import", str(file), f"output.experiments={imported}", f"output.log={tmp_path / 'log'}"]
    subprocess.run(words, check=True, capture_output=True, env=environment, timeout=300)
    told = json.loads(imported.read_text())
    assert len(told["experiment"]) == 5
    assert not told["scan"]
    assert not told["goniometer"]
    origin = told["detector"][0]["panels"][0]["origin"]
    assert origin == pytest.approx([-BEAM[0] * 0.055, BEAM[1] * 0.055, -250], abs=0.01)
