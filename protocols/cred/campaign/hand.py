"""A model of the operators of Fig. 4 of Cichocka et al. (2018), who tracked by hand, and of those who did not track.

Every five seconds an operator gets a snapshot. Now and then he does not look; what he sees he sees with an error, and
what is near enough to the middle he leaves there. Else he moves the stage, in steps and with its play, some time later,
and sometimes the wrong way, as novices often do. He ends the run when the crystal is gone, when he has the range that
he wanted, or when the crystal turns out to be a bad one.

Only this model is fitted, and only to what the paper says of its 818 experiments: half of them above 80 deg, about
24 % ended before 20 deg, ranges up to about 140 deg, a spike around 60 deg. Four statements do not determine ten
numbers: those marked fitted were moved until the population of seed 1 said the same (to 2 %), the others are assumed.
A pure function of the experiment and the seed.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from drivers.simulated.latency import generator
from protocols.cred.campaign.population import COLD_DEG, SPEED_DEG_S, Experiment, gone_at

SLOT_S = 1.012
SLOTS = 5
"""From snapshot to snapshot, as in the automatic runs."""
DISC_NM = 750.0
"""Radius of the aperture: the snapshot shows what is inside."""


@dataclass(frozen=True, slots=True)
class HandModel:
    """How the operators are.

    tracks: share of the experiments with tracking; the paper's 766 of 818.
    novices: share of the experiments that are made by them; the paper's 15 operators were novice and experienced.
        Fitted to those who ended before 20 deg.
    wrong_way: share of moves that go the wrong way, of novices and of the experienced. Fitted likewise, and to those
        above 80 deg.
    looks: share of the snapshots at which somebody looks. Assumed.
    sees_nm: error of what is seen, along x and y. Assumed: a tenth of the aperture's radius.
    leaves_nm: nearer to the middle it is left there. Assumed: a third of the aperture's radius.
    delay_s: from the snapshot until the stage has moved. Assumed.
    step_nm: of a move, by buttons or a ball. Assumed.
    play_nm: of the stage, lost when a direction is turned. That of `StageXYZSettings`.
    bad_crystal, bad_deg: share of the experiments that are ended because the crystal is not worth it, and between which
        angles. Fitted to those who ended before 20 deg, but small: the paper says that it usually was the beam.
    wanted_deg: the range that somebody wants, lowest and highest. Fitted to those above 80 deg.
    cold_deg: the range in a holder limited to +-42 deg, and its spread. Fitted to the spike.
    """

    tracks: float = 766 / 818
    novices: float = 0.28
    wrong_way: tuple[float, float] = (0.72, 0.06)
    looks: float = 0.8
    sees_nm: float = 75.0
    leaves_nm: float = 250.0
    delay_s: float = 2.0
    step_nm: float = 100.0
    play_nm: float = 400.0
    bad_crystal: float = 0.08
    bad_deg: tuple[float, float] = (1.0, 20.0)
    wanted_deg: tuple[float, float] = (80.0, 140.0)
    cold_deg: tuple[float, float] = (62.0, 2.0)


@dataclass(frozen=True, slots=True)
class HandRun:
    """How an experiment by hand went. range_deg: without sign. tracked: whether by hand or not at all."""

    tracked: bool
    range_deg: float
    planned_deg: float
    reason: str


def by_hand(seed: int, experiment: Experiment, model: HandModel | None = None) -> HandRun:
    """The experiment with an operator of the seed; some 20 ms."""
    model = model or HandModel()
    rng = generator(seed, f"hand {experiment.number}")
    tracked = bool(rng.random() < model.tracks)
    novice = bool(rng.random() < model.novices)
    planned_deg = _planned_deg(rng, model, experiment)
    bad_deg = float(rng.uniform(*model.bad_deg)) if rng.random() < model.bad_crystal else float("inf")
    count = int(min(planned_deg, bad_deg) / (SPEED_DEG_S * SLOT_S)) + 1
    t_s = [k * SLOT_S for k in range(count)]
    turned_deg = [SPEED_DEG_S * each for each in t_s]
    hand = _Hand(rng, model, novice) if tracked else None
    shares = []
    for k in range(count):
        tilt_deg = experiment.start_deg + experiment.direction * turned_deg[k]
        cos = float(np.cos(np.radians(tilt_deg)))
        x_nm, y_nm = experiment.moved_nm(tilt_deg, t_s[k])
        if hand is not None:
            moved = hand.at(t_s[k])
            x_nm, y_nm = x_nm + moved[0], y_nm + moved[1] * cos
        shares.append(experiment.share((x_nm, y_nm), tilt_deg))
        if hand is not None and k % SLOTS == 0:
            hand.look(t_s[k], np.array([x_nm, y_nm]), cos)
    if (gone_deg := gone_at(turned_deg, t_s, lambda k: shares[k])) is not None:
        return HandRun(tracked, gone_deg, planned_deg, "the crystal was gone")
    if bad_deg < planned_deg:
        return HandRun(tracked, bad_deg, planned_deg, "a bad crystal")
    return HandRun(tracked, planned_deg, planned_deg, "range covered")


def _planned_deg(rng: np.random.Generator, model: HandModel, experiment: Experiment) -> float:
    wanted_deg, cold = float(rng.uniform(*model.wanted_deg)), float(rng.normal(*model.cold_deg))
    return float(min(cold if experiment.limit_deg <= COLD_DEG else wanted_deg, abs(experiment.range_deg)))


class _Hand:
    """At the stage."""

    def __init__(self, rng: np.random.Generator, model: HandModel, novice: bool) -> None:
        self._rng, self._model = rng, model
        self._wrong = model.wrong_way[0 if novice else 1]
        self._now, self._then = np.zeros(2), np.zeros(2)
        self._moves_s = 0.0
        self._turned = np.zeros(2)  # in which direction each axis went last

    def at(self, t_s: float) -> tuple[float, float]:
        """How far the stage has moved."""
        if t_s >= self._moves_s:
            self._now = self._then
        return float(self._now[0]), float(self._now[1])

    def look(self, t_s: float, seen_nm: NDArray[np.float64], cos: float) -> None:
        """At a snapshot with the crystal at seen_nm."""
        model, rng = self._model, self._rng
        looks, wrong = rng.random() < model.looks, rng.random() < self._wrong
        seen_nm = seen_nm + model.sees_nm * rng.standard_normal(2)
        away_nm = float(np.hypot(*seen_nm))
        if not looks or away_nm < model.leaves_nm or away_nm > DISC_NM:
            return
        steps = np.round(-seen_nm / (1.0, max(cos, 0.2)) / model.step_nm) * (-1.0 if wrong else 1.0)
        ways = np.sign(steps)
        turned = (ways != 0.0) & (self._turned != 0.0) & (ways != self._turned)
        lost_nm = np.where(turned, np.minimum(model.play_nm, abs(steps) * model.step_nm), 0.0)
        self._turned = np.where(ways != 0.0, ways, self._turned)
        self._then = self._now + steps * model.step_nm - ways * lost_nm
        self._moves_s = t_s + model.delay_s
