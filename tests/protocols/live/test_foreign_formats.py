"""credline live on folders of other programs' formats: what a run was exported to gives the cell of the run itself."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from drivers.simulated.picturesettings import PictureSettings
from engine.commands.program import main
from protocols.live.command import live_app
from protocols.products.export import export_run
from protocols.products.foundcrystal import CRYSTAL_FILE
from tests.protocols.products.crystals import GEOMETRY, crystal_run

pytestmark = pytest.mark.long

MORDENITE_A = (18.11, 20.53, 7.528)
SLOTS, START_DEG, OSCILLATION_DEG = 48, -20.0, 0.2314
GEOMETRY_TOML = f"""
wavelength_A = {GEOMETRY.wavelength_A}
camera_length_mm = {GEOMETRY.camera_length_mm}
pixel_size_mm = {GEOMETRY.pixel_size_mm}
rotation_axis_deg = {GEOMETRY.rotation_axis_deg}
start_deg = {START_DEG}
oscillation_deg = {OSCILLATION_DEG}
"""
KEYS = {"deg", "cell", "bravais", "indexed", "lattices", "resolution_A", "completeness", "seconds"}
FORMATS = {"smv": "SMV/data", "tiff": "tiff", "mrc": "RED", "nexus": "master.nxs"}
"""Where the pictures of each format lie in a run folder."""


def live(*words: str | Path) -> Result:
    return CliRunner().invoke(live_app, [*map(str, words), "--json", "--every-deg", "20"])


def last_line(done: Result) -> dict:
    return json.loads(done.stdout.strip().splitlines()[-1])


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eleven degrees of mordenite without snapshots, exported in all formats; a geometry beside it."""
    folder = tmp_path_factory.mktemp("formats") / "run"
    settings = PictureSettings(wide_cross=False)
    crystal_run(folder, slots=SLOTS, interval=0, start_deg=START_DEG, orientation_seed=4, settings=settings)
    export_run(folder, list(FORMATS), 1)
    (folder.parent / "geometry.toml").write_text(GEOMETRY_TOML)
    return folder


@pytest.fixture(scope="module")
def told_of_run(run: Path) -> dict:
    done = live(run)
    assert done.exit_code == 0, done.output
    return last_line(done)


def test_the_last_line_of_a_run_folder_has_the_keys_that_programs_read(run: Path, told_of_run: dict) -> None:
    assert set(told_of_run) >= KEYS
    assert len(told_of_run["cell"]) == 6
    assert told_of_run["cell"][:3] == pytest.approx(MORDENITE_A, rel=0.02)
    assert told_of_run["bravais"] in ("oC", None)
    assert told_of_run["lattices"] == 1
    assert all(isinstance(told_of_run[key], float) for key in KEYS - {"cell", "bravais", "lattices"})
    kept = json.loads((run / CRYSTAL_FILE).read_text())
    assert kept["cell"] == told_of_run["cell"]


@pytest.mark.parametrize("name", FORMATS)
def test_the_pictures_of_each_format_give_the_cell_of_the_run(run: Path, told_of_run: dict, name: str) -> None:
    done = live(run / FORMATS[name], "--geometry", run.parent / "geometry.toml")
    assert done.exit_code == 0, done.output
    told = last_line(done)
    assert set(told) >= KEYS
    # Counts are the same; angles here are those of slots, which are a little wider than exposures.
    assert told["cell"] == pytest.approx(told_of_run["cell"], rel=2e-3)
    assert told["bravais"] == told_of_run["bravais"]
    assert told["indexed"] == pytest.approx(told_of_run["indexed"], abs=0.03)
    assert not list(run.parent.glob(f"**/{FORMATS[name]}/{CRYSTAL_FILE}"))


def test_without_a_cell_the_last_line_has_the_same_keys(run: Path) -> None:
    done = live(run, "--until-deg", "0.7")
    assert done.exit_code == 1
    told = last_line(done)
    assert set(told) >= KEYS
    assert told["cell"] is None
    assert told["bravais"] is None


def without(key: str) -> str:
    return "\n".join(line for line in GEOMETRY_TOML.splitlines() if not line.startswith(key))


WRONG = {
    "no geometry": (None, "tiff", "say --geometry FILE"),
    "a geometry that is not there": ("", "tiff", "cannot be read"),
    "a geometry that lacks a figure": (without("start_deg"), "tiff", "lacks start_deg"),
    "a first row that is none": (GEOMETRY_TOML + 'first_row = "left"', "tiff", "neither"),
    "a figure that no instrument has": (
        GEOMETRY_TOML + f"beam_fast_px = 1{'0' * 400}\nbeam_slow_px = 1",
        "tiff",
        "no number",
    ),
    "no such folder": (GEOMETRY_TOML, "nothing", "does not exist"),
    "a folder without pictures": (GEOMETRY_TOML, "empty", "has no pictures"),
    "pictures of two sizes": (GEOMETRY_TOML, "mixed", "take it away"),
    "a picture that is none": (GEOMETRY_TOML, "damaged", "remove it or give another"),
    "a camera that sees no beam": (GEOMETRY_TOML, "dark", "Say beam_fast_px and beam_slow_px"),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_is_wrong_is_said_in_one_line_with_the_remedy(
    run: Path, tmp_path: Path, what: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text, name, remedy = WRONG[what]
    rng = np.random.default_rng(1)
    for place in ("tiff", "empty", "mixed", "damaged", "dark"):
        (tmp_path / place).mkdir()
    for number in range(3):
        picture = Image.open(run / "tiff" / f"{number + 1:05}.tiff")
        for place in ("tiff", "mixed", "damaged"):
            picture.save(tmp_path / place / f"{number}.tiff")
        Image.fromarray(rng.poisson(0.0, (64, 64)).astype(np.uint16)).save(tmp_path / "dark" / f"{number}.tiff")
    Image.fromarray(np.ones((64, 64), np.uint16)).save(tmp_path / "mixed" / "9.tiff")
    (tmp_path / "damaged" / "9.tiff").write_bytes(b"cut off")
    words = ["credline", "live", str(tmp_path / name)]
    if text is not None:
        words += ["--geometry", str(tmp_path / "geometry.toml")]
        if text:
            (tmp_path / "geometry.toml").write_text(text)
    monkeypatch.setattr("sys.argv", words)
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    said = capsys.readouterr().err.strip().splitlines()
    assert len(said) == 1
    assert remedy in said[0]
