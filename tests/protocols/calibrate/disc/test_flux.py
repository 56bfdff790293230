"""Of what the light is measured: beside the crystal, not of its soft edge."""

from pathlib import Path

import numpy as np
import pytest

from engine.record.endings import Status
from tests.protocols.calibrate.instruments import analysed, performed


@pytest.mark.long
def test_a_crystal_in_the_light_takes_nothing_from_the_flux(tmp_path: Path) -> None:
    """The response of a single camera, which nobody knows, makes 0.5 %; a crystal that counts as light 1 % of all."""
    off = []
    for seed in (1, 2):
        folder = tmp_path / str(seed)
        folder.mkdir()
        more = "stagexyz.reproducibility_nm = 0.0"
        report = performed("flux", folder, seed, {"rounds": 4, "spot_sizes": [1]}, more)
        assert report.ending.status is Status.DONE, report.ending.reason
        found = analysed("flux", report.folder)
        off += [value.number / float(np.asarray(found.truth[name])) - 1 for name, value in found.values.items()]
    assert abs(np.mean(off)) < 0.004, off
