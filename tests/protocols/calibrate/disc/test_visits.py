"""How often a crystal is moved about follows from how far off the stage lands, and how sure the matrix is to be."""

from pathlib import Path

import numpy as np
import pytest

from engine.record.endings import Status
from protocols.calibrate.disc.frames import DiscFrames
from protocols.calibrate.disc.movefit import fit_moves
from protocols.calibrate.disc.visits import DIRECTIONS, LEAST_ROUNDS, MOST_ROUNDS, around, rounds_for
from tests.protocols.calibrate.instruments import analysed, performed


def test_so_many_rounds_make_a_matrix_as_sure_as_was_asked() -> None:
    rounds = rounds_for(0.004, radius_nm=300.0, scatter_nm=15.0)
    random, off = np.random.default_rng(5), []
    for _ in range(200):
        moved = np.array([(visit.x_nm, visit.y_nm) for visit in around(1500, 300.0, rounds)])
        landed = moved + random.normal(0.0, 15.0, moved.shape)
        fit = fit_moves(0.1 * landed, moved, np.arange(len(moved), dtype=float))
        off.append(fit.matrix / 0.1 - np.eye(2))
    assert float(np.std(off)) == pytest.approx(0.004, rel=0.1)


def test_there_is_a_least_and_a_most() -> None:
    assert rounds_for(0.01, 300.0, 0.0) == LEAST_ROUNDS
    assert rounds_for(0.0001, 300.0, 30.0) == MOST_ROUNDS


def test_no_place_is_visited_twice_and_a_round_goes_all_around() -> None:
    visits = around(1500, 100.0, 12)
    places = {(round(visit.x_nm, 3), round(visit.y_nm, 3)) for visit in visits}
    assert len(places) == len(visits) == 12 * DIRECTIONS
    for first in range(0, len(visits), DIRECTIONS):
        one = visits[first : first + DIRECTIONS]
        assert np.mean([(v.x_nm, v.y_nm) for v in one], axis=0) == pytest.approx((0.0, 0.0), abs=1e-9)


@pytest.mark.long
def test_a_stage_that_lands_badly_is_sent_more_often(tmp_path: Path) -> None:
    counts = []
    for scatter_nm in (4.0, 16.0):
        folder = tmp_path / f"{scatter_nm:g}"
        folder.mkdir()
        more = f"stagexyz.reproducibility_nm = {scatter_nm}"
        report = performed("snapshot", folder, 3, {"accuracy_percent": 1.0, "opposite": False}, more)
        assert report.ending.status is Status.DONE
        with DiscFrames(report.folder, "snapshot") as frames:
            counts.append(len(list(frames.visits())))
        found = analysed("snapshot", report.folder).values["snapshot"]
        size = np.sqrt(abs(np.linalg.det(np.reshape(found.value, (2, 2)))))
        assert np.max(found.sigma) < 0.014 * size
    assert counts[0] == LEAST_ROUNDS * DIRECTIONS < counts[1]
