"""What passed while a crystal was beside the beam is no measurement."""

import numpy as np
import pytest

from benchmarks.madecrystals import made
from protocols.integration.observing import Fate, observe
from protocols.integration.prediction import Widths
from protocols.spots.absent import absences, absent
from tests.protocols.integration.turned import true_intensity, turned


def passages(seed: int, count: int, share: float, outside: tuple[float, float]):
    """Angles, which are seen, so many of those that pass, and which passed outside of the beam, where none is."""
    rng = np.random.default_rng(seed)
    angle_deg = rng.uniform(-50, 50, count)
    beside = (angle_deg > outside[0]) & (angle_deg < outside[1])
    return angle_deg, (rng.uniform(size=count) < share) & ~beside, beside


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("outside", [(-50.0, -37.0), (20.0, 50.0), (-5.0, 9.0), (-50.0, 25.0)], ids=str)
@pytest.mark.parametrize(("count", "share"), [(4000, 0.5), (600, 0.5), (4000, 0.08)])
def test_where_none_is_seen_the_crystal_is_not_there(seed, outside, count, share) -> None:
    angle_deg, seen, beside = passages(seed, count, share, outside)
    found = absent(angle_deg, seen)
    edge_deg = max(4.2, 100 * 2.5 * 15 / (count * share))  # a stretch and its neighbour
    near = np.minimum(*(np.abs(angle_deg - each) for each in outside)) < edge_deg
    assert (found == beside)[~near].all()
    (part,) = absences(angle_deg, seen)
    assert part == pytest.approx(outside, abs=edge_deg)


@pytest.mark.parametrize("seed", range(40))
@pytest.mark.parametrize(("count", "share"), [(4000, 0.5), (300, 0.2), (2000, 0.02), (50, 0.9), (0, 0.5)])
def test_a_crystal_that_is_always_there_loses_nothing(seed: int, count: int, share: float) -> None:
    angle_deg, seen, _ = passages(seed, count, share, (99.0, 100.0))
    assert absences(angle_deg, seen) == []


def test_a_slot_without_a_frame_is_no_absence() -> None:
    """A snapshot in its place, and a large cell of which hundreds pass in a degree."""
    angle_deg, seen, _ = passages(1, 40000, 0.8, (10.0, 10.4))
    assert absences(angle_deg, seen) == []


def test_frames_without_the_crystal_are_not_integrated(tmp_path) -> None:
    cif = made("hexagonal1").write(tmp_path / "made.cif")
    late = turned(40.0, cif=cif, lit=lambda angle_deg: 0.0 if angle_deg < 2 else 1.0)
    seen = observe(late.series, late.crystal.ub, late.geometry, 0.9, Widths(0.08, 2e-4))
    angle_deg = seen.passages.angle_deg
    assert (seen.fate[angle_deg < 0] != Fate.KEPT).all()
    assert (seen.fate == Fate.ABSENT).sum() > 20
    assert (seen.fate[angle_deg > 6] != Fate.ABSENT).all()
    true = true_intensity(late.crystal, seen)[seen.kept]
    assert np.corrcoef(seen.intensity[seen.kept], true)[0, 1] > 0.98
