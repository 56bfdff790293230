"""Matrix, lag and their uncertainties from made-up visits; steps, brightness and places of the grid."""

import math

import numpy as np
import pytest

from drivers.parts import IlluminationFacts
from engine.errors import DataError
from protocols.calibrate.moves.fit import Fit, fitted
from protocols.calibrate.moves.light import LARGEST, SMALLEST, Brightness, judged, room_px
from protocols.calibrate.moves.mover import MOVERS
from protocols.calibrate.moves.places import pairs_of, solved
from protocols.calibrate.moves.plan import visits
from protocols.calibrate.moves.registration import Displacement
from protocols.calibrate.moves.steps import Steps, fitted_steps

MATRIX = np.array([[0.03, -0.05], [0.06, 0.02]])
LAG = 12.0
BEAM, IMAGE, *_ = MOVERS


def made(seed: int, scatter_px: float = 0.1, drift_px: float = 0.5, wrong: int = 0) -> Fit:
    rng = np.random.default_rng(seed)
    places = np.array([(each.x, each.y) for each in visits(3, 2)]) * 300.0 + 32_000
    side = np.array([each.side for each in visits(3, 2)])
    seen = (places + LAG * side[:, None] / 2) @ MATRIX.T + scatter_px * rng.standard_normal(places.shape)
    seen += drift_px * np.linspace(0, 1, len(seen))[:, None]
    seen[:wrong] += 25.0
    return fitted(places, side, seen)


@pytest.mark.long
def test_errors_are_as_large_as_the_covariance_says() -> None:
    chi2, lags = [], []
    for seed in range(300):
        fit = made(seed)
        off = (fit.matrix - MATRIX).ravel()
        chi2.append(off @ np.linalg.solve(fit.covariance, off))
        lags.append((fit.lag - LAG) / fit.lag_sigma)
    assert math.sqrt(np.mean(chi2) / 4) == pytest.approx(1.0, abs=0.1)
    assert np.sqrt(np.mean(np.square(lags))) == pytest.approx(1.0, abs=0.12)


@pytest.mark.parametrize("wrong", [1, 4])
def test_visits_that_were_seen_wrongly_are_left_out(wrong: int) -> None:
    fit = made(1, wrong=wrong)
    assert not fit.used[:wrong].any()
    assert np.allclose(fit.matrix, MATRIX, atol=6 * np.sqrt(np.diag(fit.covariance).max()))


def test_a_drift_is_told_from_the_moves() -> None:
    fit = made(3, scatter_px=0.05, drift_px=8.0)
    assert fit.drift_px == pytest.approx([8.0, 8.0], abs=0.2)
    assert np.allclose(fit.matrix, MATRIX, rtol=0.01)


def test_too_few_visits_are_refused() -> None:
    with pytest.raises(DataError, match="only 4 of 36 visits could be seen"):
        fitted(np.zeros((36, 2)), np.ones(36), np.concatenate([np.ones((4, 2)), np.full((32, 2), np.nan)]))


def test_no_place_is_visited_twice_and_each_from_both_sides() -> None:
    all_visits = list(visits(3, 2))
    assert len({(each.x, each.y) for each in all_visits}) == len(all_visits) == 36
    assert sum(each.side for each in all_visits) == 0
    places = np.array([(each.x, each.y) for each in all_visits])
    assert np.abs(places).max() <= 1.25
    times = np.linspace(-1, 1, 36)
    assert all(abs(np.corrcoef(places[:, axis], times)[0, 1]) < 0.3 for axis in (0, 1)), "a drift looks otherwise"


STEPS = {
    # px per unit, where the part stands, room on the camera; the steps, or why there are none.
    "as large as wanted": ((0.1, 0.0, 0.0, 0.1), (32_768.0, 32_768.0), math.inf, 0.16 * 100 / 0.1 / 1.25),
    "as the camera has room": ((0.1, 0.0, 0.0, 0.1), (32_768.0, 32_768.0), 10.0, 10 / math.sqrt(2) / 0.1 / 1.25),
    "as the range allows": ((0.1, 0.0, 0.0, 0.1), (612.0, 32_768.0), math.inf, 100 / 1.25),
    "too near the end": ((0.1, 0.0, 0.0, 0.1), (520.0, 32_768.0), math.inf, "too near the end of its range"),
    "axes alike": ((0.1, 0.1, 0.1, 0.1), (32_768.0, 32_768.0), math.inf, "move the image the same way"),
}


@pytest.mark.parametrize(("per_unit", "start", "room", "wanted"), STEPS.values(), ids=STEPS)
def test_steps_are(
    per_unit: tuple[float, float, float, float], start: tuple[float, float], room: float, wanted: float | str
) -> None:
    found = fitted_steps(IMAGE, per_unit, start, (512.0, 65_023.0), 100.0, room)
    if isinstance(wanted, str):
        assert isinstance(found, str)
        assert wanted in found
    else:
        assert isinstance(found, Steps)
        assert found.x == pytest.approx(wanted)


@pytest.mark.parametrize("crossover", [29_000.0, 33_000.0, 47_000.0])
@pytest.mark.parametrize("px_per_unit", [0.01, 0.05])
def test_the_brightness_is_found_at_which_the_disc_has_a_good_size(crossover: float, px_per_unit: float) -> None:
    """A camera of 128 px, which sees the edge only of discs that it holds."""
    brightness = 40_000.0
    condenser = Brightness(IlluminationFacts((1,), (0.0, 65_535.0), True), brightness)
    for _ in range(25):
        radius = max(abs(brightness - crossover) * px_per_unit, 0.5) / 128
        if SMALLEST <= radius <= LARGEST:
            return
        answer = condenser.next(1e4 / radius**2, radius if radius < 0.4 else 0.0)
        assert answer is not None
        brightness = answer
    pytest.fail(f"at {brightness} after 25 tries")


def test_a_condenser_that_does_nothing_is_given_up() -> None:
    condenser = Brightness(IlluminationFacts((1,), (0.0, 65_535.0), True), 40_000.0)
    assert condenser.next(100.0, 0.0) is not None
    assert condenser.next(100.0, 0.0) is None


SEEN = {"rows": 100, "columns": 120, "counts": 50.0, "at": [60.0, 50.0], "radius": 15.0}
JUDGED = {
    "a good disc": (SEEN, ""),
    "a dark field": ({**SEEN, "counts": 0.2}, "the field is dark"),
    "no edge": ({**SEEN, "at": None}, "no lit disc lies wholly on the camera"),
    "a disc too large": ({**SEEN, "radius": 30.0}, "radius of 30%"),
    "a disc at the border": ({**SEEN, "at": [25.0, 50.0]}, "at the border"),
}


@pytest.mark.parametrize(("seen", "why"), JUDGED.values(), ids=JUDGED)
def test_first_frames_are_judged(seen: dict[str, object], why: str) -> None:
    assert why in judged(seen, BEAM)
    assert bool(why) is bool(judged(seen, BEAM))
    assert room_px(SEEN) == pytest.approx(50 - 22.5 - 5)


def test_places_follow_from_pairs_and_wrong_pairs_do_not_count() -> None:
    rng = np.random.default_rng(1)
    true = rng.uniform(-40, 40, (30, 2))
    pairs = pairs_of(true, (128, 128), 0.5)
    found = []
    for number, (i, j) in enumerate(pairs):
        moved = true[j] - true[i] + 0.05 * rng.standard_normal(2) + (30.0 if number % 9 == 0 else 0.0)
        found.append((i, j, Displacement(float(moved[0]), float(moved[1]), 0.9)))
    places = solved(30, found, len(pairs))
    assert np.allclose(places.at - (true - true.mean(axis=0)), 0.0, atol=0.15)
    assert len(pairs) - places.kept >= len(pairs) // 9
    assert places.scatter_px == pytest.approx(0.05, rel=0.4)


def test_frames_that_nothing_joins_to_the_others_have_no_place() -> None:
    together = [(i, j, Displacement(float(j - i), 0.0, 0.9)) for i in range(8) for j in range(i + 1, 8)]
    places = solved(10, together, 28)
    assert np.isfinite(places.at[:8]).all()
    assert np.isnan(places.at[8:]).all()
