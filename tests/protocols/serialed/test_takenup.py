import pytest

from protocols.serialed.takenup import TakenUp, moved_px

OLD = [(100.0, 100.0), (140.0, 90.0), (220.0, 300.0), (50.0, 400.0)]


def test_crystals_tell_by_how_much_the_stage_came_back_elsewhere() -> None:
    new = [(x + 40.2, y - 25.1) for x, y in OLD[:3]] + [(10.0, 10.0)]  # one left the field, another came
    assert moved_px(OLD, new, 250.0) == pytest.approx((40.2, -25.1))


def test_crystals_that_agree_on_nothing_tell_nothing() -> None:
    assert moved_px(OLD, [(300.0, 20.0), (10.0, 333.0), (480.0, 470.0)], 250.0) is None
    assert moved_px(OLD, [], 250.0) is None


def test_a_run_that_begins_anew_has_nothing_done() -> None:
    assert TakenUp.of(None) == TakenUp()
