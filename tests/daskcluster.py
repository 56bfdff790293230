"""A cluster of Dask on this machine: a real scheduler with workers, for commands with --scheduler.

Dask comes along with a counterpart (`tests.drivers.counterparts`). Its packages stand behind our own, so that all of
the rest is what we have.
"""

import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.drivers.counterparts import PROGRAMS, free_port, program, running

WITH_DASK = """import glob, sys; sys.path += glob.glob({folder!r} + '/lib*/python3.*/site-packages')
sys.argv[0] = 'dask'
"""
SCHEDULER = "from distributed.cli.dask_scheduler import main"
WORKER = "from distributed.cli.dask_worker import main"
QUIET = ("--no-dashboard", "--host", "127.0.0.1")
CREDLINE = "from engine.commands.program import main"


@contextmanager
def cluster(folder: Path, workers: int = 1) -> Iterator[str]:
    """Its address, while the body runs; skips the test where there are no counterparts. folder: an empty one."""
    with ExitStack() as stack:
        address, _ = stack.enter_context(scheduler(folder))
        for number in range(1, workers + 1):
            stack.enter_context(worker(folder / f"worker_{number}", address))
        yield address


@contextmanager
def scheduler(folder: Path) -> Iterator[tuple[str, "subprocess.Popen[bytes]"]]:
    """The address of a scheduler without workers, and its process."""
    program("python")
    port = free_port()
    with running(with_dask(SCHEDULER, *QUIET, "--port", str(port)), ready=port, cwd=folder) as process:
        yield f"tcp://127.0.0.1:{port}", process


@contextmanager
def worker(
    folder: Path, address: str, *options: str, env: Mapping[str, str] | None = None
) -> Iterator["subprocess.Popen[bytes]"]:
    """The process of a worker that is up. folder: is made, of its own."""
    folder.mkdir()
    words = (address, *QUIET, *(options or ("--no-nanny",)), "--nthreads", "1", "--local-directory", str(folder))
    up = folder / "dask-scratch-space"
    with running(with_dask(WORKER, *words), ready=up.exists, cwd=folder, env=env) as process:
        yield process


def credline_with_dask(*words: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """A command of credline that finds Dask."""
    return subprocess.run(with_dask(CREDLINE, *words), capture_output=True, text=True, timeout=600, cwd=cwd)


def with_dask(program_of: str, *args: str | Path) -> list[str]:
    """The words that start a program, given as the import of its `main`."""
    code = WITH_DASK.format(folder=str(PROGRAMS.parent)) + f"{program_of}\nif __name__ == '__main__': main()"
    return [sys.executable, "-c", code, *map(str, args)]
