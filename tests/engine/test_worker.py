"""No process is left behind by a program that is killed."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

PROGRAM = """
import os, sys, time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from engine.worker import begin_worker

if __name__ == "__main__":
    pool = ProcessPoolExecutor(1, mp_context=get_context("spawn"), initializer=begin_worker)
    print(pool.submit(os.getpid).result(), flush=True)
    sys.stdin.read()
"""


def alive(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False


@pytest.mark.realtime
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="kill -9 and /proc as on Linux")
def test_a_pools_process_ends_when_its_program_is_killed(tmp_path: Path) -> None:
    script = tmp_path / "program.py"
    script.write_text(PROGRAM)
    program = subprocess.Popen(
        [sys.executable, str(script)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    with program:
        assert program.stdout is not None
        worker = int(program.stdout.readline())
        os.kill(worker, signal.SIGINT)  # Ctrl-C reaches all processes of a terminal; this one leaves it to the program
        assert alive(worker)
        program.kill()
    overdue = time.monotonic() + 60
    while alive(worker) and time.monotonic() < overdue:
        time.sleep(0.02)
    assert not alive(worker)
