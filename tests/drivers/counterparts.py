"""Programs that were not written here, started as processes of their own for the drivers to be tried against.

They live in `.counterparts` (`make counterparts`), an environment beside the project's own. Fixtures of driver tests
start them with `running`, which ends them by their own id whatever happens. Where `.counterparts` is missing the tests
are skipped, unless CREDLINE_REQUIRE_COUNTERPARTS=1: then they fail.
"""

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / ".counterparts"
PROGRAMS = FOLDER / ("Scripts" if sys.platform == "win32" else "bin")
LOOK_AGAIN_S = 0.05
ENDS_WITHIN_S = 10.0


def program(name: str) -> Path:
    """The path of a counterpart's program, `python` for the interpreter that has their packages."""
    for path in (PROGRAMS / name, PROGRAMS / f"{name}.exe"):
        if path.exists():
            return path
    missing = f"the counterpart {name} is not installed; `make counterparts` does it"
    if os.environ.get("CREDLINE_REQUIRE_COUNTERPARTS") == "1":
        pytest.fail(missing)
    pytest.skip(missing)


def free_port() -> int:
    """A port of the loopback interface that nobody listened on a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def running(
    args: Sequence[str | Path],
    *,
    ready: Callable[[], bool] | int,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    timeout_s: float = 60,
) -> Iterator[subprocess.Popen[bytes]]:
    """A process that is up while the body runs, ended by its id afterwards.

    ready: a port that must accept a connection, or a function that says so. env: added to this process's own.
    A process that ends early or is not ready in `timeout_s` fails the test with what it printed.
    """
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            [str(word) for word in args],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(env or {})},
            cwd=cwd,
            start_new_session=True,  # a Ctrl-C for the tests is not for it
        )
        try:
            is_ready = ready if callable(ready) else lambda: accepts(ready)
            give_up = time.monotonic() + timeout_s
            while not is_ready():
                if _ends_within(process, LOOK_AGAIN_S):
                    pytest.fail(f"{args[0]} ended with status {process.returncode}: {_printed(output.fileno())}")
                if time.monotonic() > give_up:
                    pytest.fail(f"{args[0]} was not ready in {timeout_s:g} s: {_printed(output.fileno())}")
            yield process
        finally:
            process.terminate()
            if not _ends_within(process, ENDS_WITHIN_S):
                process.kill()
                process.wait()


def accepts(port: int) -> bool:
    """Whether somebody on loopback takes connections on this port."""
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _ends_within(process: subprocess.Popen[bytes], seconds: float) -> bool:
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        return False
    return True


def _printed(fileno: int) -> str:
    size = os.fstat(fileno).st_size
    os.lseek(fileno, max(0, size - 4000), os.SEEK_SET)
    return os.read(fileno, 4000).decode(errors="replace") or "(it printed nothing)"
