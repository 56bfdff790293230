"""Batches with the labels they should have, training that repeats itself, and how well the shipped network sorts."""

from importlib.util import find_spec

import numpy as np
import pytest

from engine.errors import Refused
from protocols.zones.patterns.randomcells import PAPER_CELLS, random_cell
from protocols.zones.patterns.simulation import Patterns, joined, simulate
from protocols.zones.sorting import severaltraining, training
from protocols.zones.sorting.labels import HYBRID, INTERSECTIONS, SEVERAL, ZONE
from protocols.zones.sorting.metrics import figures
from protocols.zones.sorting.network import shipped, shipped_several

needs_tensorflow = pytest.mark.skipif(find_spec("tensorflow") is None, reason="TensorFlow is not installed")


@pytest.fixture(scope="module")
def pool() -> training.Pool:
    return training.make_pool(np.random.default_rng(1), cells=4, orientations=400)


def zone_with_one_spot_outside(radius_per_A: float, copies: int = 200) -> Patterns:
    """A square net within 0.5 1/A, and one reflection of the next layer at this radius."""
    h, k = (axis.ravel() for axis in np.mgrid[-5:6, -5:6])
    net = np.stack([h, k, 0 * h], axis=1)[(h**2 + k**2 <= 25) & ((h != 0) | (k != 0))]
    hkl = np.concatenate([net, [[9, 0, 1]]])
    xy = np.concatenate([net[:, :2] * 0.1, [[radius_per_A, 0.0]]])
    start = np.arange(copies + 1) * len(hkl)
    return Patterns(
        np.tile(xy, (copies, 1)),
        np.tile(hkl, (copies, 1)),
        np.ones(copies * len(hkl)),
        start,
        np.tile(np.eye(3), (copies, 1, 1)),
    )


def test_a_pattern_that_loses_its_odd_spot_by_zooming_is_a_zone_from_then_on() -> None:
    before = zone_with_one_spot_outside(0.95)
    assert (before.label == HYBRID).all()
    after = training.zoomed(before, np.random.default_rng(2))
    farthest = np.array([np.hypot(*after.spots(i).T).max() for i in range(len(after))])
    assert (farthest <= 1.0).all()
    # The net alone reaches 0.5 and, zoomed, 0.6 at most.
    lost = farthest < 0.7
    assert 0.1 < lost.mean() < 0.5
    assert (after.label[lost] == ZONE).all()
    assert (after.label[~lost] == HYBRID).all()


def test_a_zone_that_gets_an_odd_spot_by_zooming_out_is_none_from_then_on() -> None:
    beyond = zone_with_one_spot_outside(1.1)
    after = training.zoomed(beyond, np.random.default_rng(3))
    spots = np.diff(after.start)
    came_in = spots == spots.max()
    assert 0.03 < came_in.mean() < 0.5
    assert (after.label[came_in] == HYBRID).all()
    assert (after.label[~came_in] == ZONE).all()


def test_turning_keeps_every_distance_and_mirrors_half() -> None:
    patterns = simulate(random_cell(np.random.default_rng(4), volume_A3=700.0), 300, np.random.default_rng(4))
    after = training.turned(patterns, np.random.default_rng(5))
    assert np.hypot(*after.xy.T) == pytest.approx(np.hypot(*patterns.xy.T))

    def hand(p: Patterns) -> np.ndarray:
        first, second = p.xy[p.start[:-1]], p.xy[p.start[:-1] + 1]
        return np.sign(first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0])

    assert 0.4 < (hand(after) != hand(patterns)).mean() < 0.6


def test_two_crystals_are_two_and_never_one_twice(pool: training.Pool) -> None:
    both = training.two_crystals(pool.zones, np.random.default_rng(6), 200)
    assert len(both) == 200
    assert not (both.label == ZONE).any()
    for i in range(len(both)):
        assert len(np.unique(both.spots(i).round(9), axis=0)) == len(both.spots(i))


def test_half_of_a_batch_is_zonal_and_the_same_seed_draws_the_same(pool: training.Pool) -> None:
    x, target = training.draw(pool, np.random.default_rng(7))
    assert x.shape == (training.ZONES + training.HYBRIDS + training.OTHERS, 127, 127, 1)
    assert target.sum() == training.ZONES == len(target) / 2
    assert x.min() == 0.0
    assert x.max() == 1.0
    again, _ = training.draw(pool, np.random.default_rng(7))
    other, _ = training.draw(pool, np.random.default_rng(8))
    assert (again == x).all()
    assert (other != x).any()


def test_the_pool_is_sorted_by_what_is_within_the_resolution(pool: training.Pool) -> None:
    for patterns, kind in ((pool.zones, ZONE), (pool.hybrids, HYBRID), (pool.others, INTERSECTIONS)):
        within = patterns.only(np.hypot(*patterns.xy.T) <= training.D_STAR_MAX_PER_A)
        assert len(within)
        assert (within.label == kind).all()
    assert np.hypot(*pool.others.xy.T).max() > 1.1


def test_the_papers_protocol_splits_by_pattern_and_neither_zooms_nor_spoils() -> None:
    patterns, held_out = training.paper_patterns(np.random.default_rng(9))
    assert (len(patterns), len(held_out)) == (3200, 800)
    x, target = training.paper_draw(patterns, np.random.default_rng(9))
    assert x.shape[0] == 64
    assert target.mean() == 0.5


@pytest.mark.parametrize("wrong", [{"protocol": "papers"}, {"steps": 0}, {"cells": 0}])
def test_what_cannot_be_trained_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(Refused, match="Nothing was trained"):
        training.train(1, **wrong)  # type: ignore[arg-type]


@needs_tensorflow
@pytest.mark.long
def test_the_answers_of_a_batch_belong_to_its_pictures(pool: training.Pool) -> None:
    network = shipped()
    paper, _ = training.paper_patterns(np.random.default_rng(10))
    for draw in (lambda rng: training.draw(pool, rng), lambda rng: training.paper_draw(paper, rng)):
        x, target = draw(np.random.default_rng(10))
        called = np.asarray(network._forward(x))[:, 0] > network.threshold
        assert (called == (target == 1)).mean() > 0.9


def test_half_of_a_batch_is_of_several_crystals() -> None:
    pairs = severaltraining.make_pairs(np.random.default_rng(1), 2, 60)
    assert (pairs.several.label == SEVERAL).all()
    x, target = severaltraining.draw(pairs, np.random.default_rng(2))
    assert x.shape == (64, 127, 127, 1)
    assert target.mean() == 0.5
    assert x[target == 1].mean() > 1.5 * x[target == 0].mean()


@pytest.mark.long
@needs_tensorflow
def test_the_shipped_network_tells_several_crystals_of_cells_it_has_not_seen() -> None:
    rng = np.random.default_rng(20261128)
    pairs = severaltraining.make_pairs(rng, 4, 100, 1.0)
    model = shipped_several()
    several, one = (training.pattern_logits(model, of) >= model.threshold for of in (pairs.several, pairs.one))
    assert several.mean() > 0.96
    assert one.mean() < 0.03


@pytest.mark.long
@needs_tensorflow
def test_some_hundred_steps_are_enough_to_see_it_learn() -> None:
    losses: list[float] = []
    model, record = training.train(3, steps=300, cells=20, progress=lambda step, steps, loss: losses.append(loss))
    assert np.mean(losses[-50:]) < 0.6 * np.mean(losses[:50])
    assert record["held_out_figures"]["auc"] > 0.9
    assert model.record == record


@pytest.mark.long
@needs_tensorflow
def test_the_same_seed_gives_the_same_weights() -> None:
    seen: list[tuple[int, int]] = []
    models = [
        training.train(seed, steps=3, cells=2, progress=lambda k, n, loss: seen.append((k, n)))[0]
        for seed in (11, 11, 12)
    ]
    assert seen == [(1, 3), (2, 3), (3, 3)] * 3
    first, second, other = ({k: v.tobytes() for k, v in model.weights.items()} for model in models)
    assert first == second
    assert first != other
    assert models[0].record["steps"] == 3


@pytest.mark.long
@needs_tensorflow
def test_the_shipped_network_sorts_cells_it_has_not_seen() -> None:
    rng = np.random.default_rng(20251121)
    cells = [
        (random_cell(rng, volume_A3=v, anisotropy=a), "P 1") for v, a in ((500.0, 1.5), (700.0, 6.0), (1000.0, 6.0))
    ]
    cells.append(PAPER_CELLS["monoclinic 3.8155"])
    patterns = joined([simulate(cell, 1000, rng, space_group=group) for cell, group in cells])
    model = shipped()
    logits = training.pattern_logits(model, patterns)
    found = figures(patterns.label, logits >= model.threshold, logits)
    assert found.recall.value > 0.98
    assert found.balanced_accuracy > 0.98
    assert found.auc > 0.999
