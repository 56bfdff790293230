"""A run of timing alone, and the program beside which pictures are made, do not load what computes pictures."""

import subprocess
import sys

import pytest

IMPORTED = """
import sys
import {module}
print(sorted({{"scipy.special", "gemmi", "drivers.simulated.pictures"}} & sys.modules.keys()))
"""


@pytest.mark.parametrize("module", ["drivers.simulated.microscope", "drivers.simulated.shots"])
def test_what_computes_pictures_is_loaded_where_they_are_made(module: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", IMPORTED.format(module=module)], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == "[]"
