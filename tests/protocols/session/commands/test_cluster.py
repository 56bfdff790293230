"""Runs looked at and merged on a cluster of Dask, a real scheduler with two workers, come to the same as here."""

import json
from pathlib import Path
from shutil import copytree, rmtree
from typing import Any

import pytest

from protocols.products.foundcrystal import CRYSTAL_FILE
from tests.daskcluster import cluster, credline_with_dask
from tests.protocols.products.crystals import crystal_run

pytestmark = [pytest.mark.long, pytest.mark.counterpart]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two crystals of mordenite at which nobody has looked."""
    folder = tmp_path_factory.mktemp("made") / "runs"
    for seed in (5, 6):
        made, _ = crystal_run(folder / f"run_{seed}", slots=48, start_deg=-20.0, orientation_seed=seed)
        (made / CRYSTAL_FILE).unlink(missing_ok=True)
    return folder


def files(folder: Path, *names: str) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for name in names for path in sorted(folder.rglob(name))
    }


def test_looks_and_a_merge_are_the_same_on_two_workers(tmp_path: Path, runs: Path) -> None:
    place = tmp_path / "runs"

    def merged(*options: str) -> tuple[Any, ...]:
        copytree(runs, place)
        done = credline_with_dask(
            "session", "merge", "runs", "--d-min", "1.0", "--json", *options, cwd=tmp_path
        )  # where the workers are not: the path is that of the command
        assert done.returncode == 0, done.stderr
        found = json.loads(done.stdout.splitlines()[-1]), files(place, CRYSTAL_FILE, "*.hkl", "*.npz", "merged.json")
        rmtree(place)
        return found

    def looked(*options: str) -> tuple[Any, ...]:
        copytree(runs, place)
        words = ("live", "runs", "--structure-factors", "--d-min", "1.0", "--json")
        done = credline_with_dask(*words, *options, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        told = json.loads(done.stdout.splitlines()[-1])["runs"]
        found = [{**each, "seconds": 0} for each in told], files(place, CRYSTAL_FILE, "*.hkl", "*.mtz")
        rmtree(place)
        return found

    with cluster(tmp_path, workers=2) as address:
        on_cluster = merged("--scheduler", address), looked("--scheduler", address)
    here = merged("--jobs", "1"), looked("--jobs", "1")
    (told, kept), (one_by_one, written) = here
    assert told["data_sets"] == 2
    assert len(told["phases"][0]["merged"]) == 2
    assert sum(name.endswith(".npz") for name in kept) == 2
    assert len(one_by_one) == 2
    assert sum(name.endswith(".mtz") for name in written) == 2
    assert on_cluster == here
