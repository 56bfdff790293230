"""Soak and export on a cluster of Dask, a real scheduler with two workers, come to what they come to on this machine;
and what is said when scheduler or workers are not what they should be, or go away.
"""

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from shutil import copytree, ignore_patterns, rmtree
from threading import Event
from time import monotonic

import pytest

from engine.errors import CredlineError
from engine.executor import executor_of
from tests.cli.smallruns import small_runs
from tests.daskcluster import cluster, credline_with_dask, scheduler, with_dask, worker
from tests.drivers.counterparts import program, running

pytestmark = [pytest.mark.long, pytest.mark.counterpart]

SOAK = ("soak", "cred", "--seeds", "55", "--first", "7000")
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs with small pictures, without files."""
    return small_runs(tmp_path_factory.mktemp("made"), 2)


def digests(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_two_workers_soak_and_export_as_this_machine_does(tmp_path: Path, runs: Path) -> None:
    place = tmp_path / "runs"

    def exported(*options: str) -> tuple[list[str], dict[str, str]]:
        copytree(runs, place)
        done = credline_with_dask("export", place, "--formats", "xds,dials", *options)
        assert done.returncode == 0, done.stderr
        files = digests(place)
        rmtree(place)
        return sorted(done.stdout.splitlines()), files

    def soaked(*options: str) -> str:
        done = credline_with_dask(*SOAK, *options)
        assert done.returncode == 0, done.stderr
        return done.stdout.rpartition(";")[0]

    with cluster(tmp_path, workers=2) as address:
        on_cluster = soaked("--scheduler", address), exported("--scheduler", address)
    here = soaked("--jobs", "1"), exported("--jobs", "1")
    assert here[0].startswith("55 runs (")
    assert len(here[1][0]) == 2
    assert any(name.endswith("XDS.INP") for name in here[1][1])
    assert on_cluster == here


def test_a_worker_begun_by_a_nanny_computes_too(tmp_path: Path) -> None:
    with scheduler(tmp_path) as (address, _), worker(tmp_path / "worker", address, "--nanny"):
        done = credline_with_dask("soak", "cred", "--seeds", "5", "--scheduler", address)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("5 runs (")


@pytest.mark.parametrize("words", [SOAK, ("export", "{runs}"), ("live", "{runs}"), ("session", "merge", "{runs}")])
def test_an_address_where_no_scheduler_answers_is_refused_in_one_line(runs: Path, words: tuple[str, ...]) -> None:
    here = [word.format(runs=runs) for word in words]
    done = credline_with_dask(*here, "--scheduler", "tcp://127.0.0.1:1")
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert "--scheduler tcp://127.0.0.1:1: no scheduler of Dask answers there" in line
    assert "nothing was computed" in line


@pytest.fixture
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """What computes finds this test as well."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


def waited(told: Path) -> str:
    """For a worker: until a file NAME.go is there; NAME.begun says that it waits."""
    told.with_suffix(".begun").touch()
    while not told.with_suffix(".go").exists():
        Event().wait(0.05)
    return told.name


def main() -> None:
    """A program that has two things computed by the scheduler of the first word, one after the other."""
    address, folder = sys.argv[1], Path(sys.argv[2])
    try:
        for name in executor_of(0, address, [folder]).each(waited, [folder / "first", folder / "second"]):
            print(name, flush=True)
    except CredlineError as error:
        sys.exit(f"status {error.exit_status}: {error}")


@contextmanager
def waiting(folder: Path, address: str) -> Iterator["subprocess.Popen[str]"]:
    """The program, while a worker is at one of its two things."""
    words = with_dask("from tests.engine.test_cluster import main", address, folder)
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as program:
        try:
            until(lambda: len(begun(folder)) == 1)
            yield program
        finally:
            program.kill()


def begun(folder: Path) -> list[str]:
    return sorted(path.stem for path in folder.glob("*.begun"))


def until(holds: Callable[[], bool]) -> None:
    overdue = monotonic() + 120
    while not holds():
        assert monotonic() < overdue
        Event().wait(0.05)


def go(folder: Path) -> None:
    for name in ("first", "second"):
        (folder / f"{name}.go").touch()


@pytest.mark.usefixtures("importable")
def test_a_worker_that_dies_is_replaced_by_another_and_nothing_is_lost(tmp_path: Path) -> None:
    with scheduler(tmp_path) as (address, _), worker(tmp_path / "w1", address) as first:
        with waiting(tmp_path, address) as program:
            first.kill()
            go(tmp_path)
            with worker(tmp_path / "w2", address):
                out, err = program.communicate(timeout=120)
    assert (program.returncode, err) == (0, "")
    assert sorted(out.split()) == ["first", "second"]


@pytest.mark.usefixtures("importable")
def test_a_scheduler_that_goes_away_is_one_line(tmp_path: Path) -> None:
    with scheduler(tmp_path) as (address, process), worker(tmp_path / "w1", address):
        with waiting(tmp_path, address) as program:
            process.kill()
            out, err = program.communicate(timeout=120)
    (line,) = err.splitlines()
    assert (program.returncode, out) == (1, "")
    assert line.startswith(f"status 1: --scheduler {address}: the scheduler of Dask went away; 0 of 2 were computed")


@pytest.mark.usefixtures("importable")
def test_ctrl_c_cancels_what_no_worker_has_begun(tmp_path: Path) -> None:
    with scheduler(tmp_path) as (address, _), worker(tmp_path / "w1", address):
        with waiting(tmp_path, address) as program:
            only = begun(tmp_path)
            program.send_signal(signal.SIGINT)
            _, err = program.communicate(timeout=120)
            assert err.splitlines()[-1] == "KeyboardInterrupt"
        go(tmp_path)  # for the other thing there is time now, if it is still wanted
        done = credline_with_dask("soak", "cred", "--seeds", "1", "--scheduler", address)
    assert done.returncode == 0, done.stderr
    assert begun(tmp_path) == only


def test_a_worker_with_another_credline_is_refused_in_one_line(tmp_path: Path) -> None:
    for package in ("engine", "drivers", "protocols"):
        copytree(ROOT / package, tmp_path / "older" / package, ignore=ignore_patterns("__pycache__", "*.npz"))
    with (tmp_path / "older" / "engine" / "frame.py").open("a", encoding="utf-8") as file:
        file.write("# another line\n")
    older = {"PYTHONPATH": str(tmp_path / "older")}
    with scheduler(tmp_path) as (address, _), worker(tmp_path / "w1", address, env=older):
        done = credline_with_dask(*SOAK, "--scheduler", address)
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert "has another credline (" in line
    assert "0 of 3 were computed" in line


def test_a_worker_without_credline_is_refused_in_one_line(tmp_path: Path) -> None:
    own = [str(program("python")), "-m", "distributed.cli.dask_worker"]
    place = ("--no-nanny", "--nthreads", "1", "--local-directory", str(tmp_path / "w1"))
    with scheduler(tmp_path) as (address, _):
        words = [*own, address, "--no-dashboard", *place]
        env = {"PYTHONPATH": ""}
        with running(words, ready=(tmp_path / "w1" / "dask-scratch-space").exists, cwd=tmp_path, env=env):
            done = credline_with_dask(*SOAK, "--scheduler", address)
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert "the worker tcp://" in line
    assert "has no credline (" in line
    assert "nothing was computed" in line
