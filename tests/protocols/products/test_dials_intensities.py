"""What the written dials.sh makes of crystals that nothing was made for: their intensities against the truth.

A file of its own beside test_dials_processing.py: each takes minutes, and files go to processes whole.
"""

from pathlib import Path

import pytest

from benchmarks.crystals import Case, judged
from benchmarks.crystaltruth import Judged
from benchmarks.madecrystals import made
from tests.protocols.products.processing import need_dials

pytestmark = [pytest.mark.dials, pytest.mark.long]


@pytest.mark.parametrize(
    "case",
    [
        Case(made("triclinic1"), 1),  # measured once or twice: nothing determines a scale
        Case(made("layers"), 1),  # trigonal, of which the default of dials.symmetry sees a part
        Case(made("orthorhombic1"), 1, ellipse=True),  # DIALS gets pictures without it
        Case(made("monoclinic1"), 4, empty=20),  # the scan is trimmed, and the pictures without data are counted anew
    ],
    ids=lambda case: case.name,
)
def test_intensities_are_right_for_a_crystal_that_nothing_was_made_for(tmp_path: Path, case: Case) -> None:
    need_dials()
    result = judged(case, tmp_path)
    print(case.name, result)
    assert isinstance(result, Judged), result
    assert result.indexed_percent >= 95
    assert result.cell_percent <= 0.2
    assert result.laue == "right"
    assert result.cc >= 0.99
    assert result.r <= 0.1
    assert result.kept_percent >= 90
