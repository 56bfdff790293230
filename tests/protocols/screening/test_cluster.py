"""Frames scored on a cluster of Dask, a real scheduler with a worker, are scored as in processes of this machine."""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from protocols.screening.generation import generate
from protocols.screening.patternfile import write_patterns
from tests.drivers.counterparts import PROGRAMS, free_port, program, running

# Dask comes along with a counterpart. Its packages stand behind our own, so that all of the rest is what we have.
WITH_DASK = """import glob, sys; sys.path += glob.glob({folder!r} + '/lib*/python3.*/site-packages')
sys.argv[0] = 'dask'
"""
SCHEDULER = "from distributed.cli.dask_scheduler import main"
WORKER = "from distributed.cli.dask_worker import main"
CREDLINE = "from engine.commands.program import main"


def with_dask(program_of: str, *args: str | Path) -> list[str]:
    code = WITH_DASK.format(folder=str(PROGRAMS.parent)) + f"{program_of}\nif __name__ == '__main__': main()"
    return [sys.executable, "-c", code, *map(str, args)]


@pytest.mark.long
@pytest.mark.counterpart
def test_a_cluster_gives_the_same_scores_as_this_machine(tmp_path: Path) -> None:
    program("python")  # skips where there are no counterparts
    frames = tmp_path / "p.h5"
    write_patterns(frames, generate(5, 0, 70), 70, (516, 516), {})
    method = "network" if find_spec("tensorflow") else "geometry"

    def predicted(name: str, *options: str) -> list[str]:
        asked: list[str | Path] = [
            "screening",
            "predict",
            frames,
            "--method",
            method,
            "--out",
            tmp_path / name,
            *options,
        ]
        done = subprocess.run(with_dask(CREDLINE, *asked), capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, done.stderr
        return (tmp_path / name / "scores.csv").read_text().splitlines()

    port = free_port()
    address = f"tcp://127.0.0.1:{port}"
    quiet = ("--no-dashboard", "--host", "127.0.0.1")
    with running(with_dask(SCHEDULER, *quiet, "--port", str(port)), ready=port, cwd=tmp_path):
        worker = with_dask(WORKER, address, *quiet, "--no-nanny", "--nthreads", "1", "--local-directory", tmp_path)
        up = tmp_path / "dask-scratch-space"
        with running(worker, ready=up.exists, cwd=tmp_path):
            on_cluster = predicted("cluster", "--scheduler", address)
    here = predicted("here", "--jobs", "1")
    assert len(here) == 71
    assert on_cluster == here
