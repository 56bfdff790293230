"""`credline zones`: the words that its users type."""

import csv
import json
from pathlib import Path

import h5py
import pytest

from tests.cli.commandline import command


@pytest.fixture(scope="module")
def patterns(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of 500 patterns of a cell of 500 A^3."""
    path = tmp_path_factory.mktemp("zones") / "patterns.h5"
    done = command("zones", "simulate", "--volume", "500", "--patterns", "500", "--seed", "4", "--out", str(path))
    assert done.returncode == 0, done.stderr
    assert "2DZone: " in done.stdout
    return path


@pytest.fixture(scope="module")
def labels(patterns: Path) -> Path:
    """A table of their labels, as geometry sorts them."""
    path = patterns.with_name("sorted.csv")
    done = command("zones", "classify", str(patterns), "--method", "geometry", "--out", str(path), "--json")
    assert done.returncode == 0, done.stderr
    path.with_suffix(".json").write_text(done.stdout)
    return path


@pytest.mark.long
def test_from_simulated_patterns_to_the_cell(patterns: Path, labels: Path, tmp_path: Path) -> None:
    counts = json.loads(labels.with_suffix(".json").read_text())
    assert counts["patterns"] == 500
    with labels.open() as file:
        rows = list(csv.DictReader(file))
    assert sum(row["label"] == "2DZone" for row in rows) == counts["2DZone"] > 10

    done = command("zones", "cell", str(patterns), "--sorted", str(labels), "--out", str(tmp_path), "--json")
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["determined"] is True
    assert answer["candidates"][0]["volume_A3"] == pytest.approx(500, rel=0.01)
    assert "against the cell in patterns.h5: lengths within 0.0" in done.stderr
    folder = Path(answer["folder"])
    assert (folder / "cell.png").read_bytes().startswith(b"\x89PNG")
    assert json.loads((folder / "cell.json").read_text())["candidates"] == answer["candidates"]


@pytest.mark.long
def test_a_forgotten_voltage_is_said_and_no_zones_are_explained(tmp_path: Path) -> None:
    path, pictures = tmp_path / "p.h5", tmp_path / "png"
    words = ("--volume", "500", "--patterns", "60", "--voltage", "300", "--png", str(pictures), "--out", str(path))
    assert command("zones", "simulate", *words).returncode == 0
    assert "wavelength 0.01969 A" in command("zones", "classify", str(path), "--method", "geometry").stderr
    assert "200 kV taken" in command("zones", "classify", str(pictures), "--method", "geometry").stderr
    done = command("zones", "classify", str(path), "--method", "geometry", "--voltage", "80")
    assert "its own wavelength of 0.01969 A is overruled" in done.stderr
    assert "2DZone: 0" in done.stdout
    assert "--voltage or --excitation" in done.stderr


def test_the_hybrids_of_a_sorted_file_are_taken_when_asked_for(patterns: Path, labels: Path, tmp_path: Path) -> None:
    with labels.open() as file:
        called = [row["label"] for row in csv.DictReader(file)]
    words = ("cell", str(patterns), "--out", str(tmp_path), "--hybrids", "--sorted")
    zones, hybrids = called.count("2DZone"), called.count("hybrid")
    assert hybrids > 3
    assert f"{zones + hybrids} zonal patterns among" in command("zones", *words, str(labels)).stderr
    others = tmp_path / "others.csv"
    others.write_text("name,label,confidence,reason\na,3DLaueIntersections,0.1,none\n")
    done = command("zones", *words, str(others))
    assert done.returncode == 2
    assert "calls no pattern 2DZone or hybrid" in done.stderr


def test_patterns_of_several_crystals_and_of_none_are_simulated_and_found(tmp_path: Path) -> None:
    path, table = tmp_path / "p.h5", tmp_path / "sorted.csv"
    words = ("--volume", "500", "--patterns", "100", "--several", "0.3", "--no-hits", "0.3", "--out", str(path))
    done = command("zones", "simulate", *words)
    assert done.returncode == 0, done.stderr
    assert "severalCrystals: " in done.stdout
    done = command("zones", "classify", str(path), "--method", "geometry", "--out", str(table))
    assert done.returncode == 0, done.stderr
    assert "severalCrystals found " in done.stdout
    with h5py.File(path) as file, table.open() as rows:
        true = file["truth/label"][()]
        called = [row["label"] for row in csv.DictReader(rows)]
    assert [label == "noHit" for label in called] == (true == 4).tolist()
    assert sum(label == "severalCrystals" for label in called) == pytest.approx((true == 3).sum(), abs=2)


def test_random_intensities_make_a_darker_picture(patterns: Path, tmp_path: Path) -> None:
    out = tmp_path / "weak.h5"
    words = ["--volume", "500", "--patterns", "20", "--seed", "4", "--intensities", "--out", str(out)]
    assert command("zones", "simulate", *words).returncode == 0
    with h5py.File(out) as weak, h5py.File(patterns) as white:
        assert weak["images"][:].mean() < 0.8 * white["images"][:20].mean()


def test_the_same_seed_gives_the_same_file(tmp_path: Path) -> None:
    for name in ("one.h5", "two.h5"):
        done = command("zones", "simulate", "--patterns", "50", "--seed", "9", "--out", str(tmp_path / name))
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "one.h5").read_bytes() == (tmp_path / "two.h5").read_bytes()


@pytest.mark.long
def test_a_mixture_is_parted_and_every_pattern_told_whose_it_is(tmp_path: Path) -> None:
    path = tmp_path / "mixed.h5"
    words = ("--cell", "5.9 6.8 7.4 82 97 105", "--with", "6.3 7.0 8.1 95 101 92", "--thickness", "10 20")
    done = command("zones", "simulate", *words, "--patterns", "300", "--seed", "3", "--out", str(path))
    assert done.returncode == 0, done.stderr
    assert "mixed with: a 6.3" in done.stdout

    done = command("zones", "cell", str(path), "--thickness", "10 20", "--out", str(tmp_path / "cells"), "--json")
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert len(answer["phases"]) == 2
    assert done.stderr.count("lengths within 0.0") == 2
    assert sum(phase["share"] for phase in answer["phases"]) == pytest.approx(1)
    assert answer["phases"][0]["share"] == pytest.approx(0.5, abs=0.1)
    assert [Path(phase["folder"]).name for phase in answer["phases"]] == ["cell_001", "cell_002"]
    for phase in answer["phases"]:
        assert json.loads((Path(phase["folder"]) / "cell.json").read_text())["determined"]
    with h5py.File(path) as file:
        true = file["truth/phase"][:]
    with (Path(answer["folder"]) / "patterns.csv").open() as file:
        rows = list(csv.DictReader(file))
    asked = [row["phase"] for row in rows if row["phase"]]
    assert len(rows) == 300
    assert asked == sorted(asked)
    assert asked.count("0") == answer["patterns_fit_none"] <= 0.1 * answer["patterns_asked"]
    called = {int(row["name"].rpartition("#")[2]): int(row["phase"]) for row in rows if row["phase"] not in ("", "0")}
    pairs = {(phase, int(true[number])) for number, phase in called.items()}
    assert len(pairs) == 2


@pytest.mark.long
def test_one_phase_is_told_without_a_mixture(patterns: Path, labels: Path, tmp_path: Path) -> None:
    words = ("cell", str(patterns), "--sorted", str(labels), "--out", str(tmp_path), "--json", "--phases")
    several, one = (json.loads(command("zones", *words, number).stdout) for number in ("3", "1"))
    assert len(several["phases"]) == 1
    assert several["candidates"] == one["candidates"]


WRONG = {
    "no such file": (["classify", "none.h5"], "no such file"),
    "an odd space group": (["simulate", "--space-group", "Q 7"], "unknown"),
    "a cell that cannot be": (["simulate", "--cell", "5 5 5 120 120 130"], "no crystal has that cell"),
    "five numbers": (["simulate", "--cell", "5 5 5 90 90"], "are needed"),
    "an odd system": (["simulate", "--system", "round"], "not one of"),
    "too small a volume": (["simulate", "--volume", "3"], "no triclinic cell"),
    "a CIF that is none": (["simulate", "--cif", "none.cif"], "no such file"),
    "no model": (["classify", "p.csv", "--model", "nowhere"], "no model of credline"),
    "a peak list without a net": (["cell", "p.csv"], "not determined"),
    "a place for the beam": (["cell", "p.csv", "--beam", "120"], "column and row"),
    "a peak list in pixels": (["classify", "pixels.csv", "--method", "geometry"], "are the positions in 1/A?"),
    "a peak list with a word": (["classify", "word.csv", "--method", "geometry"], "line 3 has no two numbers"),
    "a place for the beam as in a plan": (["cell", "none.h5", "--beam", "[258.3, 260.1]"], "none.h5: no such file"),
    "a voltage in V": (
        ["simulate", "--voltage", "200000"],
        "If 200000 V was meant, write --voltage 200.",
    ),
    "a voltage in MV": (["classify", "none.h5", "--voltage", "0.3"], "If 0.3 MV was meant, write --voltage 300."),
    "a scale in 1/nm": (["cell", "none.h5", "--per-px", "0.0833"], "If 0.0833 1/nm was meant, write --per-px 0.00833."),
    "a scale of pixels": (
        ["cell", "none.h5", "--per-px", "55"],
        "a pixel of a pattern is 1e-06 to 1 1/A.",
    ),
    "a thickness in A": (["classify", "p.csv", "--method", "geometry", "--thickness", "100 500"], "1 to 100 nm"),
    "two words for one thing": (
        ["cell", "p.csv", "--thickness", "10 50", "--excitation", "0.02"],
        "say the same in two ways",
    ),
    "a second phase that is none": (["simulate", "--with", "5 5"], "are needed"),
    "words for a distortion": (["cell", "p.csv", "--distortion", "much"], "are needed"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_input_gets_one_clear_line(case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("p.csv").write_text("name,x_per_A,y_per_A\na,0.1,0.2\na,0.3,0.1\n")
    Path("pixels.csv").write_text("name; x_per_A; y_per_A\na;120;200\n", encoding="utf-8-sig")
    Path("word.csv").write_text("name,x_per_A,y_per_A\na,0.1,0.2\na,x,0.1\n")
    words, cause = WRONG[case]
    done = command("zones", *words)
    assert done.returncode == (1 if "not determined" in cause else 0 if "positions in 1/A?" in cause else 2)
    assert cause in done.stderr + done.stdout
    assert "Traceback" not in done.stderr
    assert "internal error" not in done.stderr


def test_nothing_is_overwritten(patterns: Path) -> None:
    before = patterns.read_bytes()
    done = command("zones", "simulate", "--out", str(patterns))
    assert done.returncode == 2
    assert "exists and is kept" in done.stderr
    assert patterns.read_bytes() == before
