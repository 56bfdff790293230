"""credline live: the cell from pictures of any program, rings, known cells, and refusals that say what to do."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from drivers.simulated.crystal import load_crystal
from drivers.simulated.pictures import PictureMaker
from drivers.simulated.picturesettings import PictureSettings
from drivers.simulated.settings import GEOMETRY
from engine.errors import Refused
from protocols.lattice.cell import Cell
from protocols.lattice.rotationgeometry import RotationGeometry
from protocols.live.cellsigma import CellSigma
from protocols.live.command import live_app
from protocols.live.frames import open_frames
from protocols.live.phases import Phase, named, read_phases
from protocols.live.rings import Annuli, rings_of

GEOMETRY_TOML = """
wavelength_A = 0.02508
camera_length_mm = 250.0
pixel_size_mm = 0.055
rotation_axis_deg = -38.505
start_deg = -20.0
oscillation_deg = 0.3
"""


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve degrees of mordenite as TIFF, on a camera without a cross."""
    folder = tmp_path_factory.mktemp("foreign")
    maker = PictureMaker(load_crystal(None, 3), GEOMETRY, PictureSettings(wide_cross=False))
    (folder / "frames").mkdir()
    for number in range(40):
        begin_deg = -20 + 0.3 * number
        counts = maker.diffraction(begin_deg, begin_deg + 0.3, 0.5, noise_seed=number)
        Image.fromarray(counts).save(folder / "frames" / f"{number:05}.tiff")
    (folder / "geometry.toml").write_text(GEOMETRY_TOML)
    (folder / "cells.csv").write_text(
        "name,a,b,c,alpha,beta,gamma,group\nsalt,5.64,5.64,5.64,90,90,90,F m -3 m\n"
        "mordenite,18.11,20.53,7.528,90,90,90,C m c m\n"
    )
    return folder


def test_the_cell_of_a_foreign_folder_is_told_and_named(pictures: Path) -> None:
    words = [
        str(pictures / "frames"),
        "--geometry",
        str(pictures / "geometry.toml"),
        "--cells",
        str(pictures / "cells.csv"),
    ]
    done = CliRunner().invoke(live_app, [*words, "--json"])
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout.strip().splitlines()[-1])
    assert told["cell"][:3] == pytest.approx([18.11, 20.53, 7.528], rel=0.02)
    assert told["bravais"] == "oC"
    assert told["phases"] == ["mordenite"]
    assert told["lattices"] == 1
    assert told["deg"] == pytest.approx(12.0)
    assert 0.1 < told["completeness"] < 0.6
    assert told["resolution_A"] < 1.5
    assert {"indexed", "seconds", "cell_sigma", "completeness_after", "mosaicity"} <= set(told)


def test_structure_factors_are_written_with_the_cell_and_say_what_was_rejected(pictures: Path, tmp_path: Path) -> None:
    words = [str(pictures / "frames"), "--geometry", str(pictures / "geometry.toml"), "--every-deg", "30"]
    words += ["--structure-factors", "--out", str(tmp_path / "made"), "--composition", "Si12 O24", "--d-min", "1.0"]
    done = CliRunner().invoke(live_app, [*words, "--json"])
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout.strip().splitlines()[-1])
    assert [Path(path).suffix for path in told["structure_factors"]] == [".hkl", ".ins", ".cif", ".mtz"]
    assert all(Path(path).parent == tmp_path / "made" for path in told["structure_factors"])
    assert "merged as mmm in C m m m" in done.stderr
    assert "rejected: " in done.stderr
    observed = (tmp_path / "made" / "frames.hkl").read_text().splitlines()
    assert len(observed) > 300
    assert "LATT 7" in (tmp_path / "made" / "frames.ins").read_text()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--structure-factors", "--group", "P 4/m"], "asks for a lattice tP"),
        (["--structure-factors", "--group", "nonsense"], "no space group and no Laue class"),
        (["--structure-factors", "--composition", "water"], "no formula"),
        (["--group", "mmm"], "go with --structure-factors"),
        (["--structure-factors", "--until-deg", "12", "--d-min", "9"], "too few"),
    ],
)
def test_structure_factors_that_cannot_be_are_refused_in_one_line(
    pictures: Path, tmp_path: Path, options: list[str], words: str
) -> None:
    asked = [str(pictures / "frames"), "--geometry", str(pictures / "geometry.toml"), "--every-deg", "30"]
    out = ["--out", str(tmp_path / "made")] if "--structure-factors" in options else []
    done = CliRunner().invoke(live_app, [*asked, *options, *out])
    assert isinstance(done.exception, Refused)
    assert words in str(done.exception)
    assert "\n" not in str(done.exception)
    assert not (tmp_path / "made").exists()


def test_without_a_cell_there_are_no_structure_factors(pictures: Path, tmp_path: Path) -> None:
    words = [str(pictures / "frames"), "--geometry", str(pictures / "geometry.toml"), "--until-deg", "0.6"]
    done = CliRunner().invoke(live_app, [*words, "--structure-factors", "--out", str(tmp_path / "made")])
    assert done.exit_code == 1
    assert not (tmp_path / "made").exists()


def test_after_one_degree_nothing_is_determined_and_the_reason_is_said(pictures: Path) -> None:
    words = [str(pictures / "frames"), "--geometry", str(pictures / "geometry.toml"), "--until-deg", "0.6", "--json"]
    done = CliRunner().invoke(live_app, words)
    assert done.exit_code == 1
    told = json.loads(done.stdout.strip().splitlines()[-1])
    assert told["cell"] is None
    assert told["reasons"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("wavelength_A = 0.025", "lacks camera_length_mm"),
        (GEOMETRY_TOML + "beam_fast_px = 3.0", "one of beam_fast_px and beam_slow_px"),
        (GEOMETRY_TOML + "wave = 3", "unknown key 'wave'"),
        (GEOMETRY_TOML.replace("0.3", "0.0"), "no rotation"),
        (GEOMETRY_TOML.replace("250.0", "-250.0"), "must be above 0"),
        (GEOMETRY_TOML.replace("250.0", "'long'"), "is no number"),
        ("a = [", "cannot be read"),
    ],
)
def test_a_geometry_that_cannot_be_is_refused(pictures: Path, tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "geometry.toml").write_text(text)
    with pytest.raises(Refused, match=words), open_frames(pictures / "frames", tmp_path / "geometry.toml"):
        pass


def test_a_folder_that_is_no_run_needs_a_geometry(pictures: Path, tmp_path: Path) -> None:
    with pytest.raises(Refused, match="--geometry FILE"), open_frames(pictures / "frames", None):
        pass
    with pytest.raises(Refused, match="does not exist"), open_frames(tmp_path / "nothing", None):
        pass


@pytest.mark.parametrize("text", ["name,a\nsalt,5.6\n", "name,a,b,c,alpha,beta,gamma\nsalt,5,5,5,90,90,190\n"])
def test_known_cells_that_are_none_are_refused_by_their_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "cells.csv").write_text(text)
    with pytest.raises(Refused, match="line 2"):
        read_phases(tmp_path / "cells.csv")


def test_a_known_cell_is_named_through_a_wrong_camera_length_but_no_other_one() -> None:
    sigma = CellSigma(np.full(3, 0.01), np.full(3, 0.1), 0.001, 0.01, np.eye(6))
    phases = [Phase("right", Cell(10, 11, 12, 90, 90, 90)), Phase("wrong", Cell(10, 11, 12.2, 90, 90, 90))]
    assert named(Cell(10.2, 11.22, 12.24, 90, 90, 90), sigma, phases) == ["right"]


@pytest.mark.parametrize(("spacings", "ice"), [((), False), ((3.90, 3.67, 3.44, 2.25), True), ((4.2, 2.4), False)])
def test_rings_are_seen_and_ice_by_its_name(spacings: tuple[float, ...], ice: bool) -> None:
    geometry, rng = RotationGeometry.of(GEOMETRY), np.random.default_rng(1)
    slow, fast = np.indices((516, 516)) + 0.5
    radius = np.hypot(fast - geometry.beam_fast_px, slow - geometry.beam_slow_px)
    light = 0.3 + 8 * np.exp(-((radius / 110) ** 2) / 2)
    for spacing in spacings:
        ring_px = geometry.camera_length_px * np.tan(2 * np.arcsin(geometry.wavelength_A / (2 * spacing)))
        light *= 1 + 0.3 * np.exp(-(((radius - ring_px) / 2.0) ** 2) / 2)
    annuli = Annuli((516, 516), None, (geometry.beam_fast_px, geometry.beam_slow_px))
    profile = annuli.profile(rng.poisson(light))
    for _ in range(5):
        profile += annuli.profile(rng.poisson(light))
    rings = rings_of(profile, geometry)
    # At this camera length the three strongest of ice are one.
    assert len(rings.spacings_A) == min(2, len(spacings))
    assert all(min(abs(found / true - 1) for true in spacings) < 0.02 for found in rings.spacings_A)
    assert rings.ice is ice
