"""An earlier snapshot is found again in a later one, foreshortened by the tilt between both, also where it is cut."""

import math

import numpy as np
import pytest

from protocols.tracking.locating import Cells
from protocols.tracking.registration import Moved, moved
from protocols.tracking.snapshotview import view
from tests.protocols.tracking.test_locating import ROUGH, taken

TILTS_DEG = (15.0, 55.0)
RADIUS_NM = 250.0


def found(to_nm, turned_by: str) -> Moved | None:
    """The crystal, in the middle at one tilt and at another place at the other."""
    (first, before), (second, now) = (
        taken(ROUGH, at, tilt_deg, azimuth_deg=75.0, seed=seed)
        for at, tilt_deg, seed in (((0.0, 0.0), TILTS_DEG[0], 1), (to_nm, TILTS_DEG[1], 2))
    )
    earlier, seen = (view(each, now.centre_px, now.radius_px) for each in (first, second))
    cells, cells_before = Cells(seen, now), Cells(earlier, before)
    cosine = math.cos(math.radians(TILTS_DEG[1])) / math.cos(math.radians(TILTS_DEG[0]))
    stretch = {"the tilt": (1.0, cosine), "nothing": (1.0, 1.0), "x for y": (cosine, 1.0)}[turned_by]
    turned = np.linalg.inv(cells.to_nm) @ np.diag(stretch) @ cells_before.to_nm
    answer = moved(
        earlier, cells_before.cells(np.zeros(2)), RADIUS_NM / cells.cell_nm, turned, seen,
        cells.cells(np.array(to_nm)), 15.0,
    )  # fmt: skip
    if answer is not None:
        at_nm = cells.nm(np.array([answer.fast, answer.slow]))
        assert at_nm == pytest.approx(to_nm, abs=60.0)
    return answer


def test_foreshortened_by_the_tilt_it_is_most_alike():
    by_tilt, by_nothing, by_wrong = (
        found((100.0, -50.0), turned_by) for turned_by in ("the tilt", "nothing", "x for y")
    )
    assert by_tilt is not None
    for other in (by_nothing, by_wrong):
        assert other is None or other.alike < by_tilt.alike - 0.02


def test_it_is_found_where_the_aperture_cuts_it():
    assert found((450.0, 0.0), "the tilt") is not None


def test_nothing_like_it_is_not_found():
    picture, optics = taken(ROUGH, (0.0, 0.0))
    other, _ = taken(ROUGH, (5000.0, 0.0))
    earlier, seen = (view(each, optics.centre_px, optics.radius_px) for each in (picture, other))
    assert moved(earlier, np.zeros(2), 12.0, np.eye(2), seen, np.zeros(2), 15.0) is None
