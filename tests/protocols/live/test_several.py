"""`credline live` of many runs of old data: each to its end, a line each, as of one run alone."""

import json
from pathlib import Path
from shutil import copytree

import pytest

from engine.errors import Refused
from engine.record.document import RunDocument
from protocols.live.several import is_one, rotations_in
from protocols.products.foundcrystal import CRYSTAL_FILE
from tests.cli.commandline import command
from tests.protocols.products.crystals import crystal_run


def run(folder: Path, protocol: str = "cred", hour: int = 1) -> Path:
    folder.mkdir(parents=True)
    RunDocument(protocol=protocol, label="x", created_at=f"2026-01-01T{hour:02d}:00:00+00:00").write(
        folder, durable=False
    )
    return folder


def test_the_rotations_of_a_folder_and_of_a_session_are_its_runs_of_cred(tmp_path: Path) -> None:
    alone, night = run(tmp_path / "mfi_001"), run(tmp_path / "night_001", "session", 2)
    run(night / "1_screening", "serialed", 3)
    child = run(night / "2_crystal", "cred", 4)
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    assert [is_one([path]) for path in (alone, pictures, tmp_path / "p.nxs", night, tmp_path)] == [True] * 3 + [
        False
    ] * 2
    assert rotations_in([tmp_path]) == ([alone, child], 2)
    assert rotations_in([night, alone, alone]) == ([child, alone], 2)
    with pytest.raises(Refused, match="pictures: no run of cRED is there; nothing was done"):
        rotations_in([alone, pictures])


@pytest.mark.parametrize("option", ["--geometry", "--out", "--flux"])
def test_what_goes_with_one_run_is_refused_with_several(tmp_path: Path, option: str) -> None:
    runs = [str(run(tmp_path / name)) for name in ("a", "b")]
    done = command("live", *runs, option, "3", *(["--structure-factors"] if option == "--out" else []))
    assert (done.returncode, done.stdout) == (2, "")
    assert f"{option} goes with one run, and several are given; nothing was done" in done.stderr


@pytest.mark.long
def test_many_runs_tell_what_each_alone_tells_and_a_damaged_one_is_a_line(tmp_path: Path) -> None:
    runs = [
        crystal_run(tmp_path / f"run_{seed}", slots=48, start_deg=-20.0, orientation_seed=seed)[0] for seed in (3, 4)
    ]
    damaged = copytree(runs[0], tmp_path / "damaged")
    (damaged / "frames.h5").write_bytes(b"")
    words = ("--structure-factors", "--d-min", "1.0", "--json")
    alone = []
    for each in runs:
        alone.append(json.loads(command("live", str(each), *words).stdout.splitlines()[-1]))
        (each / CRYSTAL_FILE).unlink()
    done = command("live", *map(str, (*runs, damaged)), *words, "--jobs", "1")
    assert done.returncode == 1
    told = json.loads(done.stdout.splitlines()[-1])["runs"]
    assert [each.pop("run_dir") for each in told] == [str(path) for path in (*runs, damaged)]
    assert "frames.h5" in told[2]["why_not"]
    for one, other in zip(told, alone, strict=False):
        assert one.pop("why_not") is None
        assert len(one["structure_factors"]) >= 3
        assert {**one, "seconds": 0} == {**other, "seconds": 0}
    assert all((each / CRYSTAL_FILE).is_file() for each in runs)
    lines = done.stderr.splitlines()
    assert sum(line.startswith(f"{tmp_path}/run_") and "written: " in line for line in lines) == 2
    assert sum(line.startswith(f"FAILED: {damaged}: ") for line in lines) == 1
    assert lines[-1] == "a cell is determined of 2 of 3 runs"
