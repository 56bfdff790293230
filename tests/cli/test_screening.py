"""`credline screening`: the words that its users type."""

import json
from importlib.util import find_spec
from pathlib import Path

import h5py
import pytest
from PIL import Image

from protocols.screening.model import SHIPPED
from tests.cli.commandline import command

needs_network = pytest.mark.skipif(
    find_spec("tensorflow") is None or not SHIPPED.is_dir(), reason="no TensorFlow, or no network comes along yet"
)


@pytest.fixture(scope="module")
def patterns(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of 24 patterns."""
    path = tmp_path_factory.mktemp("screening") / "patterns.h5"
    done = command("screening", "simulate", "--patterns", "24", "--seed", "4", "--out", str(path))
    assert done.returncode == 0, done.stderr
    assert "good: " in done.stdout
    return path


def test_patterns_are_scored_by_geometry_into_tables_and_a_contact_sheet(patterns: Path, tmp_path: Path) -> None:
    out = tmp_path / "scores"
    words = ("predict", str(patterns), "--method", "geometry", "--jobs", "2", "--out", str(out), "--json")
    done = command("screening", *words)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout.splitlines()[-1])
    assert answer["frames"] == 24
    assert answer["unread"] == 0
    assert 0 < answer["good"] < 24
    assert len((out / "scores.csv").read_text().splitlines()) == 25
    assert len((out / "instamatic.csv").read_text().splitlines()) == answer["good"]
    assert (out / "contact.png").read_bytes().startswith(b"\x89PNG")
    again = command("screening", *words)
    assert again.returncode == 2
    assert "exists and is kept" in again.stderr


@needs_network
@pytest.mark.long
def test_the_network_that_comes_along_scores_and_a_wrong_one_is_refused(patterns: Path, tmp_path: Path) -> None:
    done = command("screening", "predict", str(patterns), "--jobs", "1", "--json")
    assert done.returncode == 0, done.stderr
    assert 4 < json.loads(done.stdout.splitlines()[-1])["good"] < 20
    done = command("screening", "predict", str(patterns), "--model", str(tmp_path))
    assert done.returncode == 2
    assert "credline screening train" in done.stderr


@needs_network
@pytest.mark.long
def test_a_network_is_trained_by_one_command_and_judged_by_another(tmp_path: Path) -> None:
    done = command("screening", "train", "--quick", "--out", str(tmp_path / "mine"), "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["seed"] == 1
    words = ("--patterns", "64", "--seed", "3", "--model", str(tmp_path / "mine"), "--json")
    done = command("screening", "evaluate", *words)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    keys = {"accuracy", "auc", "ece", "recall", "false_good", "d_min_error", "several_auc"}
    assert set(told) == keys
    assert "several crystals (" in done.stderr
    assert "0.933" in done.stderr


@needs_network
@pytest.mark.long
def test_the_network_that_comes_along_goes_on_with_pictures_of_a_persons_own(patterns: Path, tmp_path: Path) -> None:
    with h5py.File(patterns) as file:
        verdicts = file["truth/verdict"].asstr()[()]
        for number, verdict in enumerate(verdicts):
            folder = tmp_path / "own" / str(verdict)
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(file["images"][number]).save(folder / f"{number}.tif")
    words = ("train", "--quick", "--begin", "credline", "--labelled", str(tmp_path / "own"), "--jobs", "1", "--json")
    done = command("screening", *words, "--out", str(tmp_path / "mine"))
    assert done.returncode == 0, done.stderr
    card = json.loads(done.stdout.splitlines()[-1])
    assert card["own_patterns"] == 24
    assert card["begin"]["seed"] == 1
    done = command("screening", "predict", str(patterns), "--model", str(tmp_path / "mine"), "--jobs", "1", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["unread"] == 0


REFUSED = {
    "peaks.csv: no such file": ("predict", "peaks.csv"),
    "exists and is kept": ("train", "--out", "."),
    "is of no use with --method geometry": ("predict", ".", "--method", "geometry", "--model", "x"),
    "written as HDF5": ("simulate", "--out", "patterns.tif"),
    "Dask": ("predict", "{patterns}", "--scheduler", "tcp://127.0.0.1:1"),
}


@pytest.mark.parametrize("why", REFUSED)
def test_what_cannot_be_is_refused_in_one_line(patterns: Path, why: str) -> None:
    done = command("screening", *(word.format(patterns=patterns) for word in REFUSED[why]))
    assert done.returncode == 2
    assert why in done.stderr
