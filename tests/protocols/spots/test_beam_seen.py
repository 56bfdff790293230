"""A place that is brightest is taken for the primary beam only where it looks like one: on cameras of any size."""

import numpy as np
import pytest

from protocols.spots.beam_centre import filter_px, find_beam
from protocols.spots.beam_seen import Unseen, unseen
from tests.protocols.spots.beams import CLEAN, SEEN, UNSEEN, Scene, draw

SIZES = (256, 512, 1024)
ELSEWHERE_PX = 20.0
"""On a camera of 512: what is brightest there is a reflection, and which frames agree on is for the run to judge."""

REASONS = {
    "behind a rod": {Unseen.CUT, Unseen.HIDDEN},
    "behind a thin rod": {Unseen.CUT, Unseen.HIDDEN},
    "half behind an edge": {Unseen.CUT},
    "halo alone": {Unseen.BROAD},
    "cut by the border": {Unseen.EDGE},
    "one bad pixel": {Unseen.ONE_PIXEL},
    "a handful of counts": {Unseen.FAINT},
    "empty": {Unseen.NOWHERE},
}


def look(scene: Scene, size: int, seed: int = 0) -> tuple[Unseen | None, float]:
    """Why it is not the beam, and how far from the true one the finder's place is."""
    counts, beam = draw(scene, size, seed)
    found = find_beam(counts, filter_px(counts.shape), scene.full)
    if found is None:
        return Unseen.NOWHERE, 0.0
    return unseen(counts, found, scene.full), float(np.hypot(found[0] - beam[0], found[1] - beam[1]))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", SEEN)
def test_a_beam_that_is_whole_is_seen_where_it_is(name: str, size: int) -> None:
    why, off_px = look(SEEN[name], size)
    assert why is None
    assert off_px < 0.2


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", UNSEEN)
def test_what_is_left_of_a_hidden_beam_is_not_taken_for_it(name: str, size: int) -> None:
    for seed in (0, 1):
        why, off_px = look(UNSEEN[name], size, seed)
        assert why is not None or off_px > ELSEWHERE_PX * size / 512


@pytest.mark.parametrize("name", REASONS)
def test_the_reason_is_said(name: str) -> None:
    assert look(UNSEEN[name], 512, 3)[0] in REASONS[name]


def test_a_rod_may_come_from_any_side_and_be_of_any_width() -> None:
    rng = np.random.default_rng(1)
    taken = []
    for seed in range(100):
        rod = rng.uniform(6, 40)
        halo = ((rng.uniform(20, 400), rng.uniform(6, 19)), (rng.uniform(5, 150), rng.uniform(24, 80)), (10.0, 160.0))
        scene = Scene(
            beam=tuple(rng.uniform(0.35, 0.65, 2)),
            halo=halo,
            background=rng.uniform(0, 10),
            rod=rod,
            tip=rng.uniform(6, 60),
            aside=rng.uniform(-0.4, 0.4) * rod,
            turn_deg=rng.uniform(0, 360),
            spots=0,
        )
        why, off_px = look(scene, 320, seed)
        if why is None and off_px > 1:
            taken.append((scene, off_px))
    assert len(taken) <= 1, taken


def test_the_middle_of_a_round_stop_is_dark() -> None:
    scene = UNSEEN["behind a disc"]
    counts, beam = draw(scene, 512)
    assert unseen(counts, beam, scene.full) is Unseen.HIDDEN


@pytest.mark.parametrize(("along", "why"), [(1.0, None), (1.4, None), (2.2, Unseen.LONG)])
def test_a_beam_may_be_an_ellipse_but_not_a_line(along: float, why: Unseen | None) -> None:
    y, x = np.mgrid[:300, :300] + 0.5
    r2 = ((x - 140.3) / along) ** 2 + (y - 160.8) ** 2
    counts = np.random.default_rng(2).poisson(2 + 3000 * np.exp(-r2 / (2 * 4.0**2))).astype(np.uint16)
    found = find_beam(counts)
    assert found == pytest.approx((140.3, 160.8), abs=0.1)
    assert found is not None
    assert unseen(counts, found) is why


@pytest.mark.parametrize(("name", "seen"), [("saturated", True), ("behind a rod that ends far from it", False)])
def test_a_large_camera(name: str, seen: bool) -> None:
    why, off_px = look((SEEN if seen else UNSEEN)[name], 2048)
    assert (why is None) == seen or off_px > 4 * ELSEWHERE_PX


@pytest.mark.parametrize(("rows", "columns"), [(400, 512), (512, 300), (64, 512)])
def test_a_camera_that_is_no_square(rows: int, columns: int) -> None:
    counts, (fast, slow) = draw(CLEAN, 512)
    top, left = max(0, min(512 - rows, 220)), 512 - columns
    part = np.ascontiguousarray(counts[top : top + rows, left:])
    found = find_beam(part, filter_px(part.shape))
    assert found is not None
    assert found == pytest.approx((fast - left, slow - top), abs=0.1)
    assert unseen(part, found, CLEAN.full) is None


def test_any_place_within_a_pixel_is_as_good() -> None:
    rng = np.random.default_rng(5)
    for seed in range(40):
        scene = Scene(beam=tuple(rng.uniform(0.3, 0.7, 2)), sigma=rng.uniform(0.8, 6.0), halo=(), spots=20)
        assert look(scene, 256, seed)[0] is None, scene


def test_the_filter_is_as_wide_as_the_camera_asks() -> None:
    assert filter_px((516, 516)) == pytest.approx(10.0)
    assert [filter_px((n, n)) for n in (64, 8000)] == [4.0, 40.0]
    assert filter_px((2048, 1024)) == filter_px((1024, 4096))
