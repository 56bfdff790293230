"""How often a grid is gone through follows from how sure its matrix is, and how sure it is to be."""

import pytest

from protocols.calibrate.moves.mover import MOVERS
from protocols.calibrate.moves.plan import MOST_ROUNDS, more_visits, visits

STAGE = next(mover for mover in MOVERS if mover.name == "stage")
ROUND = 2 * STAGE.points**2


@pytest.mark.parametrize(
    ("share", "rounds"), [(0.001, 0), (0.0025, 0), (0.003, 1), (0.005, 3), (0.0051, 4), (0.1, MOST_ROUNDS - 1)]
)
def test_visits_go_with_the_square_of_what_is_wanted(share: float, rounds: int) -> None:
    assert len(more_visits(STAGE, share, 0.0025)) == rounds * ROUND


def test_no_place_is_visited_twice_and_rounds_are_counted_on() -> None:
    usual, more = list(visits(STAGE.points, STAGE.rounds)), more_visits(STAGE, 0.005, 0.0025)
    assert {visit.number for visit in more} == set(range(STAGE.rounds, STAGE.rounds + 3))
    places = [(visit.x, visit.y) for visit in (*usual, *more)]
    assert len(set(places)) == len(places)
