"""Crystals known again by their constellation: shifted, some missing, others new; and sure only where one may be."""

from collections.abc import Sequence

import numpy as np
import pytest

from protocols.serialed.recall.matching import Known, matched

VIEW = (-3000.0, 3000.0, -3000.0, 3000.0)
SIGMA_NM = 1000.0


def constellation(seed: int, count: int) -> list[Known]:
    """The recalled one in the middle, others around it at least 400 nm apart."""
    rng = np.random.default_rng(seed)
    places = [(0.0, 0.0)]
    while len(places) < count:
        place = rng.uniform(-2800, 2800, 2)
        if min(np.hypot(*(place - each)) for each in places) > 400:
            places.append((float(place[0]), float(place[1])))
    return [Known(x, y, float(rng.lognormal(6.3, 0.45))) for x, y in places]


def seen_again(
    table: Sequence[Known], shift: tuple[float, float], seed: int = 0, missing: Sequence[int] = (), new: int = 0
) -> list[Known]:
    """What an image shows of them after the stage has landed elsewhere."""
    rng = np.random.default_rng(1000 + seed)
    found = [
        Known(each.x_nm + shift[0] + rng.normal(0, 15), each.y_nm + shift[1] + rng.normal(0, 15),
              each.length_nm * rng.normal(1, 0.05))
        for number, each in enumerate(table)
        if number not in missing
    ]  # fmt: skip
    found += [Known(float(x), float(y), 500.0) for x, y in rng.uniform(-2800, 2800, (new, 2))]
    return [found[k] for k in rng.permutation(len(found))]


@pytest.mark.parametrize("seed", range(20))
def test_a_shifted_constellation_is_found_and_sure(seed: int) -> None:
    table = constellation(seed, 6)
    x, y = np.random.default_rng(seed).normal(0, 700, 2)
    shift = float(x), float(y)
    found = seen_again(table, shift, seed, new=1)
    match = matched(found, table, VIEW, SIGMA_NM)
    assert match is not None
    assert match.off_nm == pytest.approx(shift, abs=60)
    assert match.target is not None
    assert (found[match.target].x_nm, found[match.target].y_nm) == pytest.approx(shift, abs=60)
    assert match.sure > 0.99


def test_the_nearest_is_not_taken_where_the_neighbours_say_otherwise() -> None:
    """After a shift by 900 nm a neighbour lies exactly where the crystal had been."""
    table = [Known(0, 0, 500), Known(-900, 0, 500), Known(1500, 1200, 700), Known(-1800, -700, 400)]
    found = seen_again(table, (900.0, 0.0))
    match = matched(found, table, VIEW, SIGMA_NM)
    assert match is not None
    assert match.target is not None
    assert found[match.target].x_nm == pytest.approx(900, abs=60)


def test_a_crystal_that_the_finder_misses_is_placed_by_its_neighbours() -> None:
    table = constellation(3, 7)
    match = matched(seen_again(table, (400.0, -600.0), missing=[0]), table, VIEW, SIGMA_NM)
    assert match is not None
    assert match.target is None
    assert match.off_nm == pytest.approx((400, -600), abs=60)
    assert (match.matched, match.expected) == (6, 7)


def test_two_alike_without_neighbours_are_not_sure() -> None:
    found = [Known(-400.0, 0, 500), Known(500.0, 0, 500)]
    match = matched(found, [Known(0, 0, 500)], VIEW, SIGMA_NM)
    assert match is not None
    assert match.sure < 0.7


def test_one_alone_where_one_was_is_taken_with_what_doubt_is_left() -> None:
    match = matched([Known(300.0, -200, 510)], [Known(0, 0, 500)], VIEW, SIGMA_NM)
    assert match is not None
    assert match.target == 0
    assert 0.9 < match.sure < 1


@pytest.mark.parametrize("seed", range(30))
def test_another_place_altogether_is_not_taken_for_it(seed: int) -> None:
    """None of these crystals was there before: one in thirty may look alike, not more."""
    table = constellation(seed, 6)
    match = matched(seen_again(constellation(500 + seed, 6), (0.0, 0.0), seed), table, VIEW, SIGMA_NM)
    assert match is None or match.sure < 0.95 or match.matched >= 4


def test_a_stage_that_lands_farther_than_it_ever_does_is_not_believed() -> None:
    table = constellation(5, 6)
    far = [Known(each.x_nm + 9000, each.y_nm, each.length_nm) for each in table]
    match = matched(far, table, (6000.0, 12000.0, -3000.0, 3000.0), SIGMA_NM)
    assert match is None or match.sure < 0.9


@pytest.mark.parametrize("found", [[], [Known(0, 0, 500)]])
def test_nothing_seen_or_nothing_known_matches_nothing(found: list[Known]) -> None:
    assert matched(found, [] if found else constellation(1, 3), VIEW, SIGMA_NM) is None


def test_lengths_that_nobody_knows_do_no_harm() -> None:
    table = [Known(each.x_nm, each.y_nm, float("nan")) for each in constellation(8, 6)]
    match = matched(seen_again(table, (100.0, 100.0)), table, VIEW, SIGMA_NM)
    assert match is not None
    assert match.sure > 0.99


def test_sixty_neighbours_and_a_hundred_crystals_take_a_moment() -> None:
    table = constellation(9, 40)
    match = matched(seen_again(table, (700.0, 300.0), new=60), table, VIEW, SIGMA_NM)
    assert match is not None
    assert match.off_nm == pytest.approx((700, 300), abs=60)
