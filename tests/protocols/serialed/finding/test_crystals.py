from collections.abc import Callable

import numpy as np
import pytest

from protocols.serialed.finding.crystals import Found, find_crystals
from protocols.serialed.finding.settings import FinderSettings
from tests.protocols.serialed.finding.drawnfields import NM_PER_PX, Drawn, DrawnField, scattered

MANY = scattered(7, 14, (12, 40), 0.7)
FEW = (Drawn(100.3, 80.6, 30, 18, 25, 0.6), Drawn(180.0, 170.0, 24, 24, 0, 0.6))


def missed(found: Found, crystals: tuple[Drawn, ...]) -> list[Drawn]:
    return [
        one
        for one in crystals
        if not any(
            np.hypot(each.fast_px - one.fast_px, each.slow_px - one.slow_px) < max(2.0, 0.25 * one.width_px)
            for each in found.crystals
        )
    ]


@pytest.mark.parametrize("vignetting", [0.0, 0.5])
@pytest.mark.parametrize("film", ["continuous", "holey", "lacey"])
def test_all_crystals_and_nothing_else_are_found_on_any_film_and_with_uneven_light(film: str, vignetting: float):
    drawn = DrawnField(film=film, crystals=MANY, vignetting=vignetting, strand_transmission=0.95)
    found = find_crystals(drawn.counts(), NM_PER_PX)
    # What lies half on a strand and half over a hole is as dark on one side as the strand on the other.
    assert len(missed(found, MANY)) <= {"continuous": 0, "holey": 1, "lacey": 2}[film]
    assert len(found.crystals) <= len(MANY) + 1
    assert found.note == ""


def test_place_size_and_turn_of_a_crystal():
    found = find_crystals(DrawnField(256, crystals=FEW[:1]).counts(), NM_PER_PX)
    (crystal,) = found.crystals
    assert (crystal.fast_px, crystal.slow_px) == pytest.approx((100.3, 80.6), abs=0.7)
    assert (crystal.length_px, crystal.width_px) == pytest.approx((30, 18), abs=3.5)
    assert crystal.turned_deg == pytest.approx(25, abs=8)
    assert 0.6 < crystal.contrast / -np.log(0.6) <= 1.0
    assert crystal.area_px == pytest.approx(30 * 18, rel=0.15)
    assert 3 <= len(crystal.outline_px) <= 16


def test_a_crystal_alone_by_the_rule_of_the_paper():
    far, near = Drawn(130, 256, 30, 30), Drawn(380, 256, 30, 30)
    alone = find_crystals(DrawnField(crystals=(far, near)).counts(), NM_PER_PX)
    assert [each.is_isolated for each in alone.crystals] == [True, True]
    # 100 px from edge to edge are 1160 nm.
    beside = find_crystals(DrawnField(crystals=(far, Drawn(260, 256, 30, 30))).counts(), NM_PER_PX)
    assert [each.is_isolated for each in beside.crystals] == [False, False]
    assert beside.crystals[0].neighbour_nm == pytest.approx(100 * NM_PER_PX, abs=40)
    # 22 px from the edge are 255 nm.
    (edge,) = find_crystals(DrawnField(crystals=(Drawn(37, 256, 30, 30),)).counts(), NM_PER_PX).crystals
    assert edge.border_nm == pytest.approx(22 * NM_PER_PX, abs=30)
    assert not edge.is_isolated


def test_crystals_that_touch_are_parted_and_not_alone():
    touching = (Drawn(220, 256, 50, 40), Drawn(268, 270, 44, 44, 45))
    found = find_crystals(DrawnField(crystals=touching).counts(), NM_PER_PX)
    assert len(found.crystals) == 2
    assert missed(found, touching) == [] or max(each.length_px for each in found.crystals) < 70
    assert not any(each.is_isolated for each in found.crystals)


def test_a_crystal_that_overhangs_a_hole_is_found_whole():
    crystal = Drawn(224, 128, 40, 40, 10, 0.55)
    hole = np.hypot(np.arange(256)[None, :] - 275, np.arange(256)[:, None] - 128) < 50
    light = DrawnField(256, crystals=(crystal,)).light() * np.where(hole, 1 / 0.85, 1.0)
    (found,) = find_crystals(np.random.default_rng(1).poisson(light), NM_PER_PX).crystals
    assert (found.fast_px, found.slow_px) == pytest.approx((224, 128), abs=2)


@pytest.mark.parametrize("size_px", [256, 512])
def test_lengths_are_of_the_specimen_not_of_one_camera(size_px: int):
    times = size_px / 256
    crystals = tuple(Drawn(c.fast_px * times, c.slow_px * times, c.length_px * times, c.width_px * times) for c in FEW)
    drawn = DrawnField(size_px, crystals=crystals, nm_per_px=NM_PER_PX / times, electrons=100)
    found = find_crystals(drawn.counts(), NM_PER_PX / times)
    assert len(found.crystals) == 2
    assert sorted(each.length_px * NM_PER_PX / times for each in found.crystals) == pytest.approx(
        [24 * NM_PER_PX, 30 * NM_PER_PX], rel=0.12
    )


COUNTS = DrawnField(256, crystals=FEW).counts()
AS: dict[str, Callable[[], np.ndarray]] = {
    "int16": lambda: COUNTS.astype(np.int16),
    "int32": lambda: COUNTS.astype(np.int32) * 100,
    "float": lambda: COUNTS / 1000.0,
    "dark subtracted": lambda: COUNTS.astype(np.float64) - 20.0,
    "big endian": lambda: COUNTS.astype(">u2"),
    "gaps marked": lambda: with_gap(COUNTS.astype(np.int32)),
    "no numbers": lambda: with_nan(COUNTS.astype(np.float32)),
    "dead and hot pixels": lambda: with_defects(COUNTS),
    "dead line": lambda: with_line(COUNTS),
}


def with_gap(counts: np.ndarray) -> np.ndarray:
    counts[125:131] = -1
    return counts


def with_nan(counts: np.ndarray) -> np.ndarray:
    counts[:, 30:33] = np.nan
    return counts


def with_defects(counts: np.ndarray) -> np.ndarray:
    counts = counts.copy()
    places = np.random.default_rng(3).integers(0, counts.size, 120)
    counts.ravel()[places[:60]], counts.ravel()[places[60:]] = 0, 20000
    return counts


def with_line(counts: np.ndarray) -> np.ndarray:
    counts = counts.copy()
    counts[:, 40], counts[60] = 0, 0
    return counts


@pytest.mark.parametrize("name", AS)
def test_any_type_of_counts_and_a_camera_with_defects(name: str):
    found = find_crystals(AS[name](), NM_PER_PX)
    assert missed(found, FEW) == []
    assert len(found.crystals) == 2


def test_a_negative_is_searched_for_what_is_bright():
    negative = COUNTS.max() - COUNTS
    assert missed(find_crystals(negative, NM_PER_PX, FinderSettings(contrast="bright")), FEW) == []
    assert missed(find_crystals(negative, NM_PER_PX), FEW) == list(FEW)


NOTHING: dict[str, tuple[Callable[[], np.ndarray], str, float]] = {
    "blank": (lambda: np.zeros((256, 256), np.uint16), "no counts", 0.0),
    "all saturated": (lambda: np.full((256, 256), 11800, np.uint16), "saturated", 0.0),
    "all marked": (lambda: np.full((256, 256), np.nan, np.float32), "no pixel", 0.0),
    "behind a bar": (lambda: np.random.default_rng(1).poisson(0.2, (256, 256)), "bar", 0.0),
    "no beam": (lambda: np.random.default_rng(1).poisson(1.0, (256, 256)) * 20, "dark", 0.0),
    "hole": (lambda: np.random.default_rng(1).poisson(200, (256, 256)), "hole", 0.0),
    "tiny": (lambda: np.ones((20, 20), np.uint16), "too few", 0.0),
    "complex": (lambda: np.ones((256, 256), complex), "no counts", 0.0),
    "colours": (lambda: np.ones((256, 256, 3), np.uint8), "too few", 0.0),
    "film alone": (lambda: DrawnField(256).counts(), "", 1.0),
}


@pytest.mark.parametrize("name", NOTHING)
def test_a_field_without_crystals_says_why(name: str):
    image, why, film = NOTHING[name]
    found = find_crystals(image(), NM_PER_PX, FinderSettings(open_counts=200.0, saturation=11800))
    assert found.crystals == ()
    assert why in found.note
    assert found.note or film
    assert found.film == pytest.approx(film, abs=0.01)


def test_a_bar_over_part_of_the_field_is_no_crystal_and_ends_it():
    light = DrawnField(crystals=(Drawn(250, 256, 30, 30),)).light()
    light[:, 300:] *= 1e-3
    found = find_crystals(np.random.default_rng(1).poisson(light), NM_PER_PX)
    (crystal,) = found.crystals
    assert crystal.border_nm == pytest.approx(35 * NM_PER_PX, abs=110)
    assert not crystal.is_isolated
    assert found.film == pytest.approx(300 / 512, abs=0.03)


def test_the_share_of_film_where_holes_stand_out():
    drawn = DrawnField(film="lacey", unevenness=0.0)
    share = float(np.mean(drawn.light() < 0.9 * drawn.electrons))
    assert find_crystals(drawn.counts(), NM_PER_PX).film == pytest.approx(share, abs=0.03)


def test_a_pixel_without_a_size_is_refused():
    with pytest.raises(ValueError, match="nm_per_px"):
        find_crystals(COUNTS, 0.0)


def test_what_is_smaller_or_larger_than_asked_for_is_left_out():
    assert len(find_crystals(COUNTS, NM_PER_PX, FinderSettings(smallest_nm=335)).crystals) == 1
    assert find_crystals(COUNTS, NM_PER_PX, FinderSettings(largest_nm=200)).crystals == ()
