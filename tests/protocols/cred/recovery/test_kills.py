"""kill -9 at random instants of real runs; benchmarks/kills.py says how it is judged, and does two hundred."""

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parents[4] / "benchmarks" / "kills.py"


@pytest.mark.realtime
@pytest.mark.long
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="kill -9 and /proc as on Linux")
def test_runs_killed_at_random_instants_lose_one_frame_at_most_and_get_their_products() -> None:
    words = [sys.executable, str(PROGRAM), "--kills", "10", "--jobs", "2", "--seed", "3"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=1200)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 runs wrong" in done.stdout
