"""Real runs stopped in the middle of anything replay; benchmarks/stops.py says how, and does more of them."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


@pytest.mark.realtime
@pytest.mark.long
@pytest.mark.skipif(sys.platform == "win32", reason="there a process cannot send itself SIGTERM and live")
def test_real_runs_that_are_stopped_at_random_instants_replay() -> None:
    words = [sys.executable, "-m", "benchmarks.stops", "--runs", "20", "--load", "1"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=600, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 of 20 runs differ" in done.stdout
