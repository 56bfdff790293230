"""From a whole virtual run with pictures to its axis: every step between the camera and the number."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.madecrystals import made
from benchmarks.rotation_axis import Case, make
from protocols.calibrate.rotationaxis.axisfit import rotation_axis
from protocols.calibrate.runreflections import observed, run_reflections
from protocols.lattice.cell import Cell, lattice_difference


@pytest.mark.long
@pytest.mark.parametrize("range_deg", [40.0, -40.0])
def test_a_run_of_an_unknown_crystal_about_a_hidden_axis(range_deg: float, tmp_path: Path) -> None:
    crystal = made("monoclinic1")
    case = Case(0, crystal, 117.3, -0.7, 1.0, (258.4, 257.2), range_deg)
    run = run_reflections(make(case, tmp_path))
    assert run.geometry.beam_fast_px == pytest.approx(258.4, abs=0.2)
    assert run.geometry.beam_slow_px == pytest.approx(257.2, abs=0.2)
    assert run.reflections.cut.mean() > 0.1  # snapshots
    whole = run.whole
    assert len(whole) > 200
    assert np.ptp(whole.angle_deg) > 35
    found = rotation_axis(observed(whole), whole.intensity, replace(run.geometry, axis_deg=-20.0))
    assert found.hand_told
    assert abs(found.rotation_axis_deg - 117.3) < min(0.15, 4 * found.sigma_deg)
    assert abs(found.out_of_plane_deg + 0.7) < min(0.1, 4 * found.out_of_plane_sigma_deg)
    assert found.share > 0.9
    length, angle_deg = lattice_difference(found.cell, Cell(*crystal.cell))
    assert length < 0.01
    assert angle_deg < 0.5
