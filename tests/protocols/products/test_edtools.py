"""edtools' own update_xds on our XDS.INP: what it is told to set is set, and all else stays as it was."""

from pathlib import Path

import fabio
import pytest

from protocols.products.export import export_run
from tests.protocols.products.readers import keywords, performed
from tests.protocols.products.runs import write_run

pytestmark = pytest.mark.counterpart

CELL = "18.256 20.534 7.542 90 90.5 90"
REINDEX = "0 1 0 0 1 0 0 0 0 0 -1 0"
SET: dict[str, tuple[str, dict[str, list[str] | None]]] = {
    "cell and space group": (
        f"-c {CELL} -s 63",
        {"UNIT_CELL_CONSTANTS": ["18.256 20.534 7.542 90.000 90.500 90.000"], "SPACE_GROUP_NUMBER": ["63"]},
    ),
    "the last half of the frames cut": (
        "-f 0.5",
        {"DATA_RANGE": ["1 12"], "SPOT_RANGE": ["1 12"], "BACKGROUND_RANGE": ["1 4"]},
    ),
    "pixel size": ("-px 0.05 0.06", {"QX": ["0.05"], "QY": ["0.06"]}),
    "primary beam": ("-cen 250 260.5", {"ORGX": ["250.00"], "ORGY": ["260.50"]}),
    "rotation axis": ("-ax 1 0 0", {"ROTATION_AXIS": ["1.0 0.0 0.0"]}),
    "camera length": ("-cam 300", {"DETECTOR_DISTANCE": ["300.0"]}),
    "resolution": ("-r 15 1", {"INCLUDE_RESOLUTION_RANGE": ["15.00 1.00"]}),
    "errors of the cell": ("-e 0.1 4", {"MAX_CELL_AXIS_ERROR": ["0.10"], "MAX_CELL_ANGLE_ERROR": ["4.00"]}),
    "overload": ("-o 9000", {"OVERLOAD": ["9000"]}),
    "jobs": ("-j idxref correct", {"JOB": ["IDXREF CORRECT"]}),
    "processors": ("-p 2", {"MAXIMUM_NUMBER_OF_JOBS": ["2"], "MAXIMUM_NUMBER_OF_PROCESSORS": ["2"]}),
    "strong pixels": ("-sp 6", {"STRONG_PIXEL": ["6.0"]}),
    "part of the spots that is indexed": ("-it 0.3", {"MINIMUM_FRACTION_OF_INDEXED_SPOTS": ["0.30"]}),
    "misfits": ("-w 2", {"WFAC1": ["2.0"]}),
    "another setting": (f"-reidx {REINDEX}", {"REIDX": [REINDEX]}),
    "what is refined": (
        "-ridx CELL -rint BEAM -rcorr CELL AXIS",
        {"REFINE(IDXREF)": ["CELL"], "REFINE(INTEGRATE)": ["BEAM"], "REFINE(CORRECT)": ["CELL AXIS"]},
    ),
    "trusted region": ("-tr 0 1.2", {"TRUSTED_REGION": ["0.0 1.2"]}),
    "trusted pixels": ("-tr_pix 6 40000", {"VALUE_RANGE_FOR_TRUSTED_DETECTOR_PIXELS": ["6.0 40000.0"]}),
    "mosaicity": ("-mos 0.05 0.3", {"BEAM_DIVERGENCE_E.S.D.": ["0.050"], "REFLECTING_RANGE_E.S.D.": ["0.30"]}),
    "a line more": ("-a DELPHI=15", {"DELPHI": ["15"]}),
    "the cross trusted": ("-un 1", {"UNTRUSTED_RECTANGLE": None}),
    "the distortion left": ("-co 1", {"X-GEO_CORR": None, "Y-GEO_CORR": None}),
    "the space group forgotten": ("-n", {"SPACE_GROUP_NUMBER": None}),
}


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = write_run(
        tmp_path_factory.mktemp("edtools") / "run",
        slots=23,
        interval=10,
        lost=[8],
        shape=(128, 128),
        geometry={"distortion_amplitude_percent": 2.43, "distortion_azimuth_deg": 83.37},
    )
    export_run(folder, ["xds"])
    return (folder / "SMV" / "XDS.INP").read_text(encoding="ascii")


@pytest.mark.parametrize("case", SET)
def test_update_xds_sets_what_it_is_told_and_nothing_else(tmp_path: Path, exported: str, case: str) -> None:
    words, wanted = SET[case]
    xds_inp = tmp_path / "project" / "mordenite_001" / "SMV" / "XDS.INP"
    xds_inp.parent.mkdir(parents=True)
    xds_inp.write_text(exported)
    before = keywords(xds_inp)
    done = performed(["edtools.update_xds", *words.split()], tmp_path / "project")
    assert done.returncode == 0, done.stderr
    assert "Updated 1 files" in done.stdout
    changed: dict[str, list[str] | None] = {**before, **wanted}
    assert keywords(xds_inp) == {key: values for key, values in changed.items() if values is not None}


def test_a_sample_named_in_another_alphabet_is_no_hindrance(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "project" / "run", slots=12, shape=(128, 128), changes={"sample": "β-Ýttrium"})
    export_run(folder, ["xds"])
    done = performed(["edtools.update_xds", "-s", "63"], tmp_path / "project")
    assert done.returncode == 0, done.stderr
    assert keywords(folder / "SMV" / "XDS.INP")["SPACE_GROUP_NUMBER"] == ["63"]


def test_find_beam_center_reads_the_pictures(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "project" / "run", slots=3, shape=(64, 128), wide_cross=False)
    export_run(folder, ["smv"])
    picture = folder / "SMV" / "data" / "00002.img"
    code = "import sys; from edtools.find_beam_center import read_adsc; data, header = read_adsc(sys.argv[1]); " + (
        "print(data.shape, int(data[0, 0]), int(data.sum()), header['OSC_RANGE'])"
    )
    done = performed(["python", "-P", "-c", code, picture], tmp_path / "project")
    ours = fabio.open(picture).data
    assert done.stdout == f"(64, 128) 2 {ours.sum()} 0.23140000\n", done.stderr


def test_find_rotation_axis_reads_the_geometry(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "project" / "run", slots=12, shape=(128, 128))
    summary = export_run(folder, ["xds"])
    code = (
        "import sys; from edtools.find_rotation_axis import parse_xds_inp; print(*parse_xds_inp(sys.argv[1]), sep='|')"
    )
    done = performed(["python", "-P", "-c", code, folder / "SMV" / "XDS.INP"], tmp_path / "project")
    beam, width_deg, per_px, wavelength, omega_deg = done.stdout.splitlines()[-1].split("|")
    assert [float(c) for c in beam.strip("[]").split()] == pytest.approx([c + 0.5 for c in summary.beam_px], abs=1e-3)
    assert float(width_deg) == pytest.approx(0.2314)
    assert float(per_px) == pytest.approx(0.055 / (250 * 0.02508))
    assert float(wavelength) == pytest.approx(0.02508)
    assert float(omega_deg) == pytest.approx(38.505, abs=1e-3)  # counted downwards there
