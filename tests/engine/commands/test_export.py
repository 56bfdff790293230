"""`credline export` of many runs: a line each, and one that fails does not stop the others."""

from pathlib import Path
from shutil import copytree

import pytest

from tests.cli.commandline import command
from tests.cli.smallruns import small_runs


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with small pictures, and no files yet."""
    return small_runs(tmp_path_factory.mktemp("made"), 1) / "mordenite_001"


@pytest.fixture
def runs(made: Path, tmp_path: Path) -> Path:
    """A folder with it twice, and one whose run.json is damaged."""
    for name in ("mordenite_001", "mordenite_002"):
        copytree(made, tmp_path / name)
    (tmp_path / "mordenite_003").mkdir()
    (tmp_path / "mordenite_003" / "run.json").write_text("{")
    return tmp_path


def test_many_runs_have_a_line_each_and_one_that_fails_does_not_stop_the_others(runs: Path) -> None:
    done = command("export", str(runs), "--formats", "xds", "--jobs", "1")
    assert done.returncode == 1
    exported = done.stdout.splitlines()
    assert sorted(line.partition(": ")[0] for line in exported) == [str(runs / f"mordenite_00{k}") for k in (1, 2)]
    assert all(" files in " in line and "xds from" in line for line in exported)
    failed, end = done.stderr.splitlines()
    assert failed.startswith(f"FAILED: {runs / 'mordenite_003'}: ")
    assert end == "2 of 3 runs exported, 1 failed"
    one = command("export", str(runs / "mordenite_001"), "--formats", "xds")  # the words of one, as ever
    assert (one.returncode, one.stderr) == (0, "")
    assert "; ".join(one.stdout.splitlines()) == exported[0].partition(": ")[2]
    files = [path.relative_to(runs / "mordenite_001") for path in (runs / "mordenite_001" / "SMV").rglob("*.*")]
    assert files
    assert [file for file in files if not (runs / "mordenite_002" / file).exists()] == []


REFUSED = {
    "'smvv' is not one of": ("{0}", "--formats", "xds,smvv"),
    "--set corrects one run at a time": ("{0}/mordenite_001", "{0}/mordenite_002", "--set", "geometry.x=1"),
    "nothing.json": ("{0}/mordenite_001", "{0}/nothing.json"),
    "Dask": ("{0}", "--scheduler", "tcp://127.0.0.1:1"),
}


@pytest.mark.parametrize("why", REFUSED)
def test_what_cannot_be_is_refused_before_anything_is_written(runs: Path, why: str) -> None:
    done = command("export", *(word.format(runs) for word in REFUSED[why]))
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert why in line
    assert not list(runs.glob("*/SMV"))
