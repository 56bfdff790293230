"""`credline soak view`: its operator moves all that can be moved, on bad days, until the very end."""

import pytest

from engine.run.trial import Case
from engine.testing.soak import draw, try_case
from protocols.view.view import VIEW


@pytest.mark.parametrize("seed", [15, 54, *range(1000, 1006)])
def test_bad_days_break_no_rule(seed: int) -> None:
    assert try_case(VIEW, draw(VIEW, seed)).broken == ()


def test_what_is_told_is_drawn_and_heard() -> None:
    told = {words.split(" tell ")[1] for seed in range(100) for words in draw(VIEW, seed).troubles if " tell " in words}
    assert {"unblank", "move x 3", "mode imaging", "stop stage"} <= told


@pytest.mark.parametrize("at_s", [12.0, 12.1, 12.2, 12.5])
@pytest.mark.parametrize("words", ["unblank", "move x -40", "tilt by -5"])
def test_words_at_the_end_of_a_view_leave_it_safe(at_s: float, words: str) -> None:
    case = Case(3, {"lasts_min": 0.2, "exposure_s": 0.2}, (f"operator {at_s} tell {words}",))
    verdict = try_case(VIEW, case)
    assert (verdict.broken, verdict.status) == ((), "done")
