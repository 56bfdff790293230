"""Experiments of a campaign: the same crystals by hand and with automatic tracking, the same on any executor."""

import math
from collections.abc import Callable, Generator, Sequence
from dataclasses import replace
from typing import Any

import pytest

from engine.executor import LocalExecutor
from protocols.cred.campaign.automatic import automatically
from protocols.cred.campaign.campaign import both, campaign
from protocols.cred.campaign.hand import HandModel, by_hand
from protocols.cred.campaign.population import COLD_DEG, GONE_SHARE, Experiment, experiment, gone_at

pytestmark = pytest.mark.long

SEED = 1


class Here:
    """An executor of this process, in the wrong order."""

    def each(self, work: Callable[[Any], Any], given: Sequence[Any]) -> Generator[Any]:
        yield from (work(each) for each in reversed(given))


@pytest.fixture(scope="module")
def some() -> list[Experiment]:
    return [experiment(SEED, number) for number in range(40)]


def test_an_experiment_begins_where_its_crystal_is_seen_and_ends_within_the_holder(some: list[Experiment]) -> None:
    for each in some:
        end_deg = each.start_deg + each.range_deg
        assert max(abs(each.start_deg), abs(end_deg)) <= each.limit_deg
        assert 0.0 < each.allowed_deg <= abs(each.range_deg)
        assert each.share((0.0, 0.0), each.start_deg) > 0.9
        last_deg = each.start_deg + each.direction * each.allowed_deg
        assert each.share((0.0, 0.0), last_deg) >= GONE_SHARE


def test_holders_and_directions_differ_and_a_number_is_always_the_same_experiment(some: list[Experiment]) -> None:
    assert {each.limit_deg for each in some} == {COLD_DEG, 70.0}
    assert {each.direction for each in some} == {-1, 1}
    assert experiment(SEED, 7) == some[7]
    assert experiment(SEED, 7, worse=2.0) == replace(some[7], worse=2.0)
    assert experiment(SEED + 1, 7) != some[7]


@pytest.mark.parametrize(
    ("shares", "gone"),
    [
        pytest.param([1.0] * 12, None, id="it stays"),
        pytest.param([1.0] * 4 + [0.0] * 8, 4.0, id="it goes"),
        pytest.param([1.0] * 4 + [0.0] * 4 + [0.5] * 4, None, id="it comes back in time"),
        pytest.param([0.0] * 4 + [0.5] + [0.0] * 4, None, id="it comes back and goes again"),
        pytest.param([0.05] * 12, 0.0, id="it never was there"),
    ],
)
def test_a_crystal_is_gone_when_little_of_it_is_lit_for_some_seconds(shares: list[float], gone: float | None) -> None:
    at = [float(k) for k in range(len(shares))]
    assert gone_at(at, at, lambda k: shares[k]) == gone


def test_an_attentive_hand_keeps_crystals_longer_than_nobody_and_a_wrong_one_loses_them(some: list[Experiment]) -> None:
    def mean_deg(**changed: object) -> float:
        model = replace(HandModel(), bad_crystal=0.0, wanted_deg=(130.0, 131.0), **changed)  # type: ignore[arg-type]
        return sum(by_hand(SEED, each, model).range_deg for each in some[:20]) / 20

    nobody = mean_deg(tracks=0.0)
    assert mean_deg(tracks=1.0, novices=0.0, wrong_way=(0.0, 0.0), looks=1.0) > nobody + 20.0
    assert mean_deg(tracks=1.0, novices=1.0, wrong_way=(1.0, 1.0), looks=1.0) < nobody


def test_a_hand_comes_no_farther_than_it_wanted(some: list[Experiment]) -> None:
    for each in some[:10]:
        run = by_hand(SEED, each)
        assert 0.0 <= run.range_deg <= run.planned_deg <= abs(each.range_deg)
        assert run == by_hand(SEED, each)


def test_a_run_of_the_engine_follows_the_crystal_and_is_judged_by_the_truth() -> None:
    drawn = experiment(SEED, 0)
    run = automatically(replace(drawn, worse=0.05, range_deg=drawn.direction * 9.0))
    assert (run.status, run.reason) == ("done", "range covered")
    assert run.range_deg == pytest.approx(9.0, abs=0.6)
    assert run.worst_nm < 200.0
    assert not math.isnan(run.median_nm)


def test_a_run_that_is_refused_came_no_way() -> None:
    run = automatically(replace(experiment(SEED, 0), range_deg=300.0))
    assert (run.status, run.range_deg) == ("refused", 0.0)


def test_a_campaign_is_the_same_in_any_order_and_in_other_processes() -> None:
    told: list[int] = []
    here = campaign(Here(), 2, SEED, 8.0, told.append)
    assert told == [1, 2]
    assert [each.experiment.number for each in here] == [0, 1]
    assert campaign(LocalExecutor(1), 2, SEED, 8.0, told.append) == here
    hand, automatic = both(here)
    assert (hand.runs, automatic.runs) == (2, 2)
