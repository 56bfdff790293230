"""The evidence of the spots, and the judge that weighs it."""

import numpy as np
import pytest

from protocols.screening import judge
from protocols.screening.evidence import NAMES, lattices, told
from protocols.screening.seenspots import NOTHING, SeenSpots


def net(turn_deg: float = 0.0, spacing_per_A: float = 0.09, reach_per_A: float = 0.8) -> np.ndarray:
    """(n, 2) spots of a square net, all that are not too near to the beam."""
    index = np.arange(-12, 13)
    points = np.stack(np.meshgrid(index, index), axis=2).reshape(-1, 2) * spacing_per_A
    angle = np.deg2rad(turn_deg)
    points = points @ np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    away = np.hypot(*points.T)
    return points[(away > 0.1) & (away < reach_per_A)]


def spots(xy: np.ndarray, drawn_out: tuple[float, float] = (0.0, 0.0)) -> SeenSpots:
    n = len(xy)
    long = np.broadcast_to(drawn_out, (n, 2))
    return SeenSpots(xy, np.full(n, 20.0), np.full(n, 500.0), np.full(n, 0.5), long, long)


def said(of: SeenSpots) -> dict[str, float]:
    return dict(zip(NAMES, told(of).tolist(), strict=True))


def test_one_net_is_one_lattice_and_two_are_two() -> None:
    rng = np.random.default_rng(1)
    one = net()[rng.permutation(len(net()))[:60]]
    other = net(27.0, 0.11)[rng.permutation(len(net(27.0, 0.11)))[:25]]
    alone, both = said(spots(one)), said(spots(np.concatenate([one, other])))
    assert alone["share on first"] > 0.9
    assert alone["on second"] == 0
    assert both["share on first"] < 0.8
    assert both["on second"] ** 2 > 15
    assert both["on first"] ** 2 == pytest.approx(60, abs=6)


def test_spots_that_are_drawn_out_alike_are_told_from_those_that_are_not() -> None:
    assert said(spots(net()))["drawn out"] == 0
    streaked = said(spots(net(), (0.3, 0.0)))
    assert streaked["drawn out"] == pytest.approx(0.3)
    assert streaked["drawn out surely"] > 2
    assert abs(streaked["radially"]) < 0.1


def test_a_pattern_without_spots_has_evidence_too() -> None:
    assert np.isfinite(told(NOTHING)).all()
    assert told(NOTHING).shape == (len(NAMES),)


@pytest.mark.parametrize("turn", [lambda p: p[:, ::-1], lambda p: p * [-1, 1], lambda p: p[:, ::-1] * [1, -1]])
def test_the_evidence_is_the_same_whichever_way_the_pattern_lies(turn) -> None:
    rng = np.random.default_rng(2)
    xy = net(11.0)[rng.permutation(len(net(11.0)))[:40]] + 0.003 * rng.standard_normal((40, 2))
    assert told(spots(turn(xy))) == pytest.approx(told(spots(xy)), abs=1e-3)


def test_fewer_spots_than_a_lattice_needs_have_none() -> None:
    found = lattices(net()[:5])
    assert found.first is None
    assert not found.on.any()


@pytest.mark.long
def test_the_judge_learns_what_decides_and_the_same_from_the_same_seed() -> None:
    rng = np.random.default_rng(3)
    evidence = rng.standard_normal((300, len(NAMES))).astype(np.float32)
    network = rng.standard_normal((300, 3))
    value = np.stack([evidence[:, 4] + network[:, 0] > 0, evidence[:, 1], evidence[:, 7] > 0], axis=1).astype(float)
    known = np.ones((300, 3))
    weights = judge.learned(network, evidence, value, known, 1)
    assert {name: array.shape for name, array in weights.items()} == judge.shapes()
    out = judge.judged(weights, network, evidence)
    assert np.mean((out[:, 0] > 0) == value[:, 0]) > 0.95
    assert np.corrcoef(out[:, 1], value[:, 1])[0, 1] > 0.9
    again = judge.learned(network, evidence, value, known, 1)
    assert all(np.allclose(weights[name], again[name], atol=1e-5) for name in weights)


@pytest.mark.long
def test_without_a_network_it_hears_the_spots_alone() -> None:
    rng = np.random.default_rng(4)
    evidence = rng.standard_normal((200, len(NAMES))).astype(np.float32)
    value = np.repeat((evidence[:, :1] > 0).astype(float), 3, axis=1)
    weights = judge.learned(None, evidence, value, np.ones((200, 3)), 1)
    assert {name: array.shape for name, array in weights.items()} == judge.shapes(network=False)
    assert np.mean((judge.judged(weights, None, evidence)[:, 0] > 0) == value[:, 0]) > 0.95
