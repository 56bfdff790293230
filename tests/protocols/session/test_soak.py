"""A few nights of `credline soak session`: whatever befalls them, their rules hold."""

import pytest

from engine.testing.soak import draw, try_case
from protocols.session.experiment import SESSION


@pytest.mark.long
@pytest.mark.parametrize("seed", range(5001, 5006))
def test_a_night_with_troubles_keeps_its_rules(seed: int) -> None:
    verdict = try_case(SESSION, draw(SESSION, seed))
    assert verdict.broken == ()
    assert verdict.checks > 30  # one that the operator ends early has fewer
