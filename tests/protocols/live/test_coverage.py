"""Completeness, shells, mosaicity: reckoned against what the simulation itself shows."""

import numpy as np
import pytest

from drivers.simulated.pattern import spots
from protocols.lattice.cell import Cell
from protocols.lattice.rotationfit import RotationFit
from protocols.lattice.rotationgeometry import RotationGeometry
from protocols.lattice.symmetry import bravais
from protocols.live.coverage import coverage, resolution_A, shells
from protocols.live.mosaicity import mosaicity
from protocols.spots.joining import Reflections
from tests.protocols.lattice.rotations import crystal, geometry_of

SHAPE = (516, 516)


def test_what_is_said_to_be_seen_is_what_the_simulation_shows() -> None:
    specimen, geometry = crystal(4, 1.2), geometry_of(-38.5)
    type_ = bravais(Cell(*specimen.cell))
    covered = coverage(specimen.ub, type_, RotationGeometry.of(geometry), SHAPE, 1.2)
    said = {tuple(h) for h in covered.hkl[covered.seen((-20, 15))].tolist()}
    shown = spots(specimen, geometry, -20, 15, 1e-7)
    inside = (np.abs(shown.fast_px - 258) < 254) & (np.abs(shown.slow_px - 258) < 254)
    true = {tuple(h) for h in specimen.hkl[shown.index[inside]].tolist()}
    allowed = {tuple(h) for h in specimen.hkl.tolist()}
    assert len((said & allowed) ^ true) < 0.01 * len(true)


def test_completeness_counts_equivalents_once() -> None:
    specimen, geometry = crystal(4, 1.2), RotationGeometry.of(geometry_of(-38.5))
    orthorhombic = coverage(specimen.ub, bravais(Cell(*specimen.cell)), geometry, SHAPE, 1.2)
    triclinic = coverage(specimen.ub, bravais(Cell(*specimen.cell), 1e-9), geometry, SHAPE, 1.2)
    assert len(np.unique(orthorhombic.unique)) < 0.32 * len(np.unique(triclinic.unique))
    grows = [orthorhombic.completeness((-30, end)) for end in (-20, 0, 30)]
    assert grows == sorted(grows)
    assert orthorhombic.completeness((-30, 30)) == orthorhombic.completeness((30, -30))
    assert orthorhombic.completeness((-90, 90)) > 0.97
    in_parts = orthorhombic.completeness((-30, -20), (0, 10)), orthorhombic.completeness((-30, -20), (-20, 10))
    assert in_parts[0] < in_parts[1] == orthorhombic.completeness((-30, 10))


def test_resolution_is_where_reflections_cease() -> None:
    specimen, geometry = crystal(4, 1.0), RotationGeometry.of(geometry_of(-38.5))
    covered = coverage(specimen.ub, bravais(Cell(*specimen.cell)), geometry, SHAPE, 0.9)
    found = covered.hkl[covered.seen((-20, 20)) & (covered.d_star < 1 / 1.5)]
    told = shells(covered, [(-20, 20)], found, np.full(len(found), 5.0))
    assert resolution_A(told) == pytest.approx(1.5, abs=0.1)
    assert told[0].found == 1.0
    assert resolution_A([]) is None


@pytest.mark.parametrize("parts", [[(-20.0, 25.0)], [(25.0, -20.0)], [(-20.0, 4.0), (8.0, 25.0)]], ids=str)
def test_where_nothing_is_found_the_crystal_was_not_in_the_beam(parts: list) -> None:
    specimen, geometry = crystal(4, 1.0), RotationGeometry.of(geometry_of(-38.5))
    covered = coverage(specimen.ub, bravais(Cell(*specimen.cell)), geometry, SHAPE, 1.0)
    row, column = np.nonzero((covered.angle_deg > -20) & (covered.angle_deg < 25))
    hkl, angle_deg = covered.hkl[row], covered.angle_deg[row, column] + 0.1
    some = np.random.default_rng(1).uniform(size=len(row)) < 0.4
    assert covered.absences(parts, hkl[some], angle_deg[some]) == []
    late = some & (angle_deg > -8)
    (told,) = covered.absences(parts, hkl[late], angle_deg[late])
    assert told == (-20.0, pytest.approx(-8, abs=2.5))
    assert covered.absences(parts, hkl[:0], angle_deg[:0]) == []


@pytest.mark.parametrize("true_deg", [0.01, 0.08, 0.3])
def test_mosaicity_has_a_value_or_a_limit(true_deg: float) -> None:
    rng, frame_deg, n = np.random.default_rng(1), 0.23, 300
    geometry = RotationGeometry.of(geometry_of(0.0))
    fast, slow = rng.uniform(240, 276, n), rng.uniform(30, 200, n)
    lab = geometry.lab(fast, slow)
    moving = np.abs(lab[:, 1])
    width = true_deg * np.linalg.norm(lab, axis=1) / moving
    spread = []
    for each, middle in zip(width, rng.uniform(0, frame_deg, n), strict=True):
        frame = np.floor((middle + each * rng.normal(size=400)) / frame_deg)
        spread.append(frame.std() * frame_deg)
    nothing, strong = np.zeros(n), np.full(n, 4000.0)
    number = np.zeros(n, dtype=np.intp)
    reflections = Reflections(
        fast, slow, nothing, nothing, nothing, strong, np.sqrt(strong), np.array(spread), number, number,
        np.zeros(n, dtype=bool),
    )  # fmt: skip
    unused = np.zeros((9, 9))
    fit = RotationFit(
        geometry, np.eye(3), np.zeros((n, 3), np.int64), np.ones(n, bool), np.zeros((n, 3)), unused[:7, :7], unused,
        0.0, 0.0, (0, 0, 1, 1), 0.0,
    )  # fmt: skip
    told = mosaicity(reflections, fit, frame_deg)
    assert told is not None
    assert told.limit_deg >= 0.95 * true_deg
    if true_deg == 0.01:
        assert told.limit_deg < 0.06
    else:
        assert told.value_deg == pytest.approx(true_deg, rel=0.12)
