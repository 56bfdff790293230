"""A lattice is found from the first degrees, through wrong reflections and a wrong geometry, and doubted where due."""

from dataclasses import replace

import numpy as np
import pytest

from drivers.facts import Geometry
from protocols.lattice.cell import Cell, lattice_difference
from protocols.lattice.rotationfit import Observed
from protocols.lattice.rotationgeometry import RotationGeometry
from protocols.live import secondlattice
from protocols.live.crystal import FEWEST_SURE, crystal_at, find_crystal, judged, less_of_slow
from protocols.live.generation import generated, least_part
from protocols.live.geometryknown import GeometryKnown, some
from protocols.live.secondlattice import second_lattice
from tests.protocols.lattice.rotations import crystal, geometry_of, observed
from tests.quickly import quick

KNOWN = GeometryKnown()
MORDENITE = Cell(18.11, 20.53, 7.528, 90, 90, 90).reduced("C m c m")


def seen(seed: int = 3, count: int = 120, range_deg: float = 15.0, wrong: float = 0.0) -> tuple[Observed, Geometry]:
    """Reflections of mordenite."""
    geometry = geometry_of(-38.5)
    return observed(crystal(seed), geometry, seed, count=count, range_deg=range_deg, wrong=wrong)[0], geometry


@pytest.mark.parametrize(
    ("wrong", "axis_off_deg", "beam_off_px", "length_off"),
    [(0.0, 0.0, 0.0, 0.0), (0.3, 0.0, 0.0, 0.0), (0.0, 3.0, 0.0, 0.0), (0.0, 0.0, 3.0, 0.0), (0.0, 0.0, 0.0, 0.02)],
)
def test_the_cell_is_found_from_fifteen_degrees(
    wrong: float, axis_off_deg: float, beam_off_px: float, length_off: float
) -> None:
    reflections, geometry = seen(wrong=wrong)
    true = RotationGeometry.of(geometry)
    told = replace(
        true,
        axis_deg=true.axis_deg + axis_off_deg,
        beam_fast_px=true.beam_fast_px + beam_off_px,
        camera_length_px=true.camera_length_px * (1 + length_off),
    )
    found = find_crystal(reflections, told, KNOWN)
    assert found is not None
    assert found.determined, found.reasons
    length, angle_deg = lattice_difference(found.cell, MORDENITE)
    assert length < 0.01 + 2 * found.sigma.camera_length
    assert angle_deg < 0.3
    assert found.share > 0.95 * (1 - wrong)
    assert found.fit.geometry.axis_deg == pytest.approx(true.axis_deg, abs=0.3)
    assert found.fit.geometry.beam_fast_px == pytest.approx(true.beam_fast_px, abs=0.1)


@pytest.mark.long
def test_what_is_said_of_the_camera_length_holds() -> None:
    pulls = []
    for seed in range(10):
        reflections, geometry = seen(seed, count=500, range_deg=30.0)
        true = RotationGeometry.of(geometry)
        told = replace(true, camera_length_px=true.camera_length_px * 1.02)
        found = find_crystal(reflections, told, KNOWN)
        assert found is not None
        pulls.append(
            (found.fit.geometry.camera_length_px - true.camera_length_px) / found.fit.sigma("camera_length_px")
        )
    assert np.sqrt(np.mean(np.square(pulls))) < 1.8
    assert abs(np.mean(pulls)) < 1.0


@pytest.mark.long
def test_reflections_anywhere_are_no_lattice() -> None:
    for seed in range(5):
        reflections, geometry = seen(seed, count=60, wrong=1.0)
        found = find_crystal(reflections, RotationGeometry.of(geometry), KNOWN)
        assert found is None or not found.determined


def test_a_lattice_that_its_reflections_do_not_generate_is_made_smaller_or_doubted() -> None:
    reflections, geometry = seen(count=300, range_deg=40.0)
    true = RotationGeometry.of(geometry)
    whole = find_crystal(reflections, true, KNOWN)
    assert whole is not None
    odd = np.flatnonzero(whole.fit.hkl[:, 0] % 2 != 0)
    for left, factor in ((0, 0.5), (2, None)):
        keep = np.ones(len(reflections), dtype=bool)
        keep[odd[left:]] = False
        few = Observed(*(getattr(reflections, name)[keep] for name in Observed.__dataclass_fields__))
        found = find_crystal(few, true, KNOWN, replace(whole.fit))
        assert found is not None
        if factor is not None:
            assert found.determined
            assert found.cell.volume_A3 == pytest.approx(factor * whole.cell.volume_A3, rel=0.02)
        else:
            assert not found.determined or found.cell.volume_A3 < 0.6 * whole.cell.volume_A3


@pytest.mark.parametrize(
    ("hkl", "outside", "prime", "vector", "remainder"),
    [
        ([[2, 1, 0], [0, 1, 1], [4, 0, 3], [2, 2, 1], [1, 0, 0]], 1, 2, [1, 0, 0], 0),
        ([[0, 5, 1], [3, 1, 0], [1, -2, 3], [2, 0, -5], [1, 4, 3], [0, 0, 5]], 0, 5, [0, 1, 0], 0),
    ],
)
def test_how_many_reflections_lie_outside_of_a_part_of_the_lattice(
    hkl: list[list[int]], outside: int, prime: int, vector: list[int], remainder: int
) -> None:
    indices = np.array(hkl)
    if prime == 5:
        indices[:, 1] *= 5
    part = least_part(indices)
    assert (part.outside, part.prime, part.vector.tolist(), part.remainder) == (outside, prime, vector, remainder)


def test_a_part_need_not_hold_the_origin() -> None:
    random = np.random.default_rng(3)
    hkl = random.integers(-9, 10, (60, 3))
    hkl[:, 2] = 5 * hkl[:, 2] + 2
    part = least_part(hkl)
    assert (part.outside, part.prime, part.vector.tolist(), part.remainder) == (0, 5, [0, 0, 1], 2)


@pytest.mark.parametrize(("larger_by", "beside"), [(2, 0), (3, 0), (5, 0), (7, 0), (5, 2)])
def test_a_lattice_with_too_many_points_is_made_the_one_that_is_seen(larger_by: int, beside: int) -> None:
    """With a beam that is two fifths of a step off, one of five times the points has all beside the multiples of 5."""
    reflections, geometry = seen(count=200)
    told = RotationGeometry.of(geometry)
    found = find_crystal(reflections, told, KNOWN)
    assert found is not None
    step_px = float(np.linalg.norm(found.fit.ub[:, 2])) / larger_by / told.per_px
    off = replace(told, beam_fast_px=told.beam_fast_px + beside * step_px)
    finer = found.fit.ub / np.array([1, 1, larger_by])
    hkl = found.fit.hkl * np.array([1, 1, larger_by]) + np.array([0, 0, beside])
    made = generated(reflections, told, KNOWN, replace(found.fit, geometry=off, ub=finer, hkl=hkl))
    assert abs(1 / np.linalg.det(made.ub)) == pytest.approx(found.cell.volume_A3, rel=0.02)
    assert made.geometry.beam_fast_px == pytest.approx(told.beam_fast_px, abs=0.2)
    doubted = judged(reflections, replace(found.fit, ub=finer, hkl=hkl), told, KNOWN).doubts
    assert any("its volume may be" in words for words in doubted)


def test_so_few_reflections_that_weak_ones_may_be_missing_determine_nothing() -> None:
    reflections, geometry = seen(count=200)
    true = RotationGeometry.of(geometry)
    found = find_crystal(reflections, true, KNOWN)
    assert found is not None
    kept = np.zeros(len(reflections), dtype=bool)
    kept[np.flatnonzero(found.fit.used)[: FEWEST_SURE - 1]] = True
    few = some(reflections, kept)
    fit = KNOWN.fit(few, true, found.fit.ub)
    assert fit is not None
    assert any("larger cell" in words for words in judged(few, fit, true, KNOWN).doubts)


@pytest.mark.parametrize("odd", quick(1, [0, 4, 40]))
def test_a_cell_is_not_told_where_some_reflections_lie_halfway_between_its_points(odd: int) -> None:
    """Few are of the larger cell alone: four are too many for chance, and too few to choose it."""
    reflections, geometry = seen(count=300)
    true = RotationGeometry.of(geometry)
    whole = find_crystal(reflections, true, KNOWN)
    assert whole is not None
    is_odd = whole.fit.hkl[:, 2] % 2 == 1
    kept = whole.fit.used & ~is_odd
    kept[np.flatnonzero(whole.fit.used & is_odd)[:odd]] = True
    found = find_crystal(some(reflections, kept), true, KNOWN)
    assert found is not None
    times = whole.cell.volume_A3 / found.cell.volume_A3
    assert (found.determined, round(times)) == {0: (True, 2), 4: (False, 2), 40: (True, 1)}[odd]
    assert odd != 4 or any("its cell may be larger: 4 of" in words for words in found.doubts)


def test_a_second_crystal_is_seen_and_one_alone_has_no_second() -> None:
    first, geometry = seen(3, count=200)
    other = observed(crystal(8), geometry, 9, count=80, range_deg=15.0)[0]
    both = Observed(
        *(np.concatenate([getattr(first, name), getattr(other, name)]) for name in Observed.__dataclass_fields__)
    )
    true = RotationGeometry.of(geometry)
    alone, found = find_crystal(first, true, KNOWN), find_crystal(both, true, KNOWN)
    assert alone is not None
    assert found is not None
    assert found.determined
    assert second_lattice(first, alone) is None
    second = second_lattice(both, found)
    assert second is not None
    assert lattice_difference(second.cell, MORDENITE)[0] < 0.01


@pytest.mark.parametrize(
    ("others", "goes_on", "is_first"), [(170, False, False), (130, False, True), (150, True, True), (190, True, False)]
)
def test_the_first_lattice_is_that_of_most_reflections_whichever_is_found_first(
    others: int, goes_on: bool, is_first: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a chabazite on a mordenite the search had found the one with 30 % first, and the fit had bent to the other."""
    geometry = geometry_of(-38.5)
    one = observed(crystal(20), geometry, 1, count=140, range_deg=40.0)[0]
    other = observed(crystal(50), geometry, 2, count=others, range_deg=40.0)[0]
    both = Observed(
        *(np.concatenate([getattr(one, name), getattr(other, name)]) for name in Observed.__dataclass_fields__)
    )
    true = RotationGeometry.of(geometry)
    alone = find_crystal(one, true, KNOWN)
    assert alone is not None
    found_first = crystal_at(both, true, KNOWN, alone.fit)
    monkeypatch.setattr(secondlattice, "find_crystal", lambda *_: found_first)
    first, second = secondlattice.lattices(both, true, KNOWN, alone.fit if goes_on else None)
    assert first is not None
    assert second is not None
    assert bool(first.fit.used[:140].mean() > 0.9) is is_first
    assert bool(first.fit.used[140:].mean() > 0.9) is not is_first
    assert first.fit.used.sum() + second.fit.used.sum() > 0.9 * len(both)


def test_angles_of_slow_passages_are_not_trusted_and_those_of_quick_ones_as_they_are() -> None:
    """Beside the axis one reflection comes as several, each at its own angle; they bent axis and camera length."""
    reflections, geometry = seen(count=200)
    true = RotationGeometry.of(geometry)
    lab = true.lab(reflections.fast_px, reflections.slow_px)
    times = np.linalg.norm(lab, axis=1) / np.abs(true.axis[0] * lab[:, 1] - true.axis[1] * lab[:, 0])
    told = less_of_slow(reflections, true)
    slow = times > 3
    assert 5 < slow.sum() < 100
    assert np.array_equal(told.angle_sigma_deg[~slow], reflections.angle_sigma_deg[~slow])
    assert (told.angle_sigma_deg[slow] > 0.4).all()


def test_an_instrument_that_nobody_has_is_a_doubt() -> None:
    reflections, geometry = seen()
    true = RotationGeometry.of(geometry)
    fit = find_crystal(reflections, true, KNOWN)
    assert fit is not None
    far = replace(true, beam_fast_px=true.beam_fast_px + 9)
    told = judged(reflections, fit.fit, far, KNOWN)
    assert any("beam would be 9.0 px off" in words for words in told.doubts)
