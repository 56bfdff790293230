"""A cluster of Dask on this machine: a real scheduler with a worker, for commands with --scheduler.

Dask comes along with a counterpart (`tests.drivers.counterparts`). Its packages stand behind our own, so that all of
the rest is what we have.
"""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.drivers.counterparts import PROGRAMS, free_port, program, running

WITH_DASK = """import glob, sys; sys.path += glob.glob({folder!r} + '/lib*/python3.*/site-packages')
sys.argv[0] = 'dask'
"""
SCHEDULER = "from distributed.cli.dask_scheduler import main"
WORKER = "from distributed.cli.dask_worker import main"
CREDLINE = "from engine.commands.program import main"


@contextmanager
def cluster(folder: Path) -> Iterator[str]:
    """Its address, while the body runs; skips the test where there are no counterparts. folder: an empty one."""
    program("python")
    port = free_port()
    address = f"tcp://127.0.0.1:{port}"
    quiet = ("--no-dashboard", "--host", "127.0.0.1")
    with running(with_dask(SCHEDULER, *quiet, "--port", str(port)), ready=port, cwd=folder):
        worker = with_dask(WORKER, address, *quiet, "--no-nanny", "--nthreads", "1", "--local-directory", folder)
        up = folder / "dask-scratch-space"
        with running(worker, ready=up.exists, cwd=folder):
            yield address


def credline_with_dask(*words: str | Path) -> subprocess.CompletedProcess[str]:
    """A command of credline that finds Dask."""
    return subprocess.run(with_dask(CREDLINE, *words), capture_output=True, text=True, timeout=600)


def with_dask(program_of: str, *args: str | Path) -> list[str]:
    """The words that start a program, given as the import of its `main`."""
    code = WITH_DASK.format(folder=str(PROGRAMS.parent)) + f"{program_of}\nif __name__ == '__main__': main()"
    return [sys.executable, "-c", code, *map(str, args)]
