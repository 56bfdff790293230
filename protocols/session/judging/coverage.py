"""How much of a phase all its data sets measure together, and how much of it crystals that lie like these can show.

Each crystal's lattice is taken as the phase's own, turned as that crystal lay; what its rotation passes is reckoned by
`protocols.live.coverage`. Crystals with a flat face lie on it: however many are measured, the reflections in a cone
about the normal of that face never pass, because the stage does not tilt so far. How they lie is read from the
orientations of the data sets themselves.
"""

from dataclasses import dataclass
from functools import cached_property
from itertools import product
from math import gcd

import numpy as np
from numpy.typing import NDArray

from protocols.lattice.cell import Cell
from protocols.lattice.rotationgeometry import RotationGeometry
from protocols.live.coverage import coverage
from protocols.session.judging.dataset import DataSet
from protocols.session.judging.phases import Phase
from protocols.spots.shadow import Part

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

FEWEST_FOR_LYING = 5
"""Crystals that tell how they lie."""
SPREADS_DEG = np.arange(2.0, 25.0)
"""Standard deviations, in each of two directions, of crystals that lie on a face."""
SURE = 6.0
"""Logarithm of how many times likelier their orientations have to be than those of crystals that lie anyhow: of some
thirty faces one fits best by chance.
"""
PER_INDEX = 2.0
"""So much likelier, as a logarithm, is a face whose indices sum to one less: crystals grow simple faces."""
LARGEST_INDEX = 2
"""Of a face on which crystals lie."""
TRIED = 40
"""Crystals thought of, to see what many more would show."""
CONE_STEP_DEG, EMPTY_SHARE = 1.0, 0.5


@dataclass(frozen=True, slots=True)
class Stage:
    """geometry, shape (rows, columns): of the camera. tilt_deg: lowest and highest stage angle of a rotation."""

    geometry: RotationGeometry
    shape: tuple[int, int]
    tilt_deg: tuple[float, float]


@dataclass(frozen=True, slots=True, eq=False)
class Lying:
    """How the crystals of a phase lie on the film. normal: (3,) unit vector of the crystal, in the frame of
    `Reach.basis`, that is along the beam at stage angle 0. hkl: that face, conventional indices. spread_deg: standard
    deviation of its angle in each of two directions.
    """

    normal: Array
    hkl: tuple[int, int, int]
    spread_deg: float


@dataclass(frozen=True, slots=True)
class Attainable:
    """share: of all reflections, what as many crystals as one likes would show, 0 to 1. cone_deg: about the normal of
    the face they lie on, where nothing passes; None where there is none. words: in one line.
    """

    share: float
    cone_deg: float | None
    words: str


class Reach:
    """What rotations of a phase's crystals pass, down to d_min_A."""

    def __init__(self, phase: Phase, stage: Stage, d_min_A: float) -> None:
        self.phase, self.stage, self.d_min_A = phase, stage, d_min_A
        back = np.linalg.inv(phase.bravais.reduction.astype(np.float64))
        ideal = Cell.from_metric(back @ phase.bravais.made_symmetric(phase.cell.metric) @ back.T)
        self.basis = ideal.reciprocal_basis
        """(3, 3) columns a*, b*, c* of the primitive lattice in 1/A, as symmetric as its type asks for."""
        self._whole = coverage(self.basis, phase.bravais, stage.geometry, stage.shape, d_min_A)
        self.classes = int(self._whole.unique.max(initial=-1)) + 1

    def rotation_of(self, data: DataSet) -> Array:
        """(3, 3) that turns `basis` as this crystal of the phase lay at stage angle 0."""
        if data.orientation is None:
            raise AssertionError("a data set of a phase has an orientation")
        axes = self.phase.basis[[each.number for each in self.phase.data_sets].index(data.number)]
        left, _, right = np.linalg.svd(
            data.orientation @ np.linalg.inv(axes.astype(np.float64)) @ np.linalg.inv(self.basis)
        )
        return np.asarray(left @ np.diag([1.0, 1.0, np.sign(np.linalg.det(left @ right))]) @ right)

    def passed(self, turned: Array, *parts: Part) -> Mask:
        """(classes,) which classes of equivalents pass with `basis` turned by (3, 3), during these parts of a rotation.
        3 ms for 11 000 reflections.
        """
        seen = np.zeros(self.classes, dtype=bool)
        if parts:
            whole = self._whole.turned(turned @ self.basis, self.stage.geometry, self.stage.shape)
            seen[whole.unique[whole.seen(*parts)]] = True
        return seen

    @cached_property
    def together(self) -> Mask:
        """(classes,) that any of the data sets passes."""
        seen = np.zeros(self.classes, dtype=bool)
        for each in self.phase.data_sets:
            seen |= self.passed(self.rotation_of(each), *each.parts)
        return seen

    def share(self, seen: Mask) -> float:
        """0 to 1."""
        return float(seen.mean()) if len(seen) else 0.0

    @cached_property
    def lying(self) -> Lying | None:
        """On which face the crystals lie; None where they lie anyhow, or are too few to tell."""
        sets = self.phase.data_sets
        if len(sets) < FEWEST_FOR_LYING:
            return None
        up = np.array([self.rotation_of(each)[2] for each in sets])  # what of the crystal is along z
        best = max((_lying(up, self._alike(normal), normal, hkl) for hkl, normal in self._faces()), key=lambda x: x[0])
        return best[1] if best[0] > SURE else None

    @cached_property
    def attainable(self) -> Attainable:
        """What many more crystals that lie like these would show, over the whole tilt: TRIED times `passed` at most."""
        rng = np.random.default_rng(0)
        seen, lying = self.together.copy(), self.lying
        for _ in range(TRIED):
            if seen.all():
                break
            seen |= self.passed(_turned(rng, lying), self.stage.tilt_deg)
        share = self.share(seen)
        if lying is None:
            how = "too few to tell how they lie" if len(self.phase.data_sets) < FEWEST_FOR_LYING else "they lie anyhow"
            return Attainable(share, None, f"{share:.1%} attainable ({how})")
        cone_deg = self._cone_deg(seen, lying)
        face = " ".join(map(str, lying.hkl))
        missing = "" if cone_deg is None else f"; nothing passes within {cone_deg:.0f} deg of its normal"
        words = f"{share:.1%} attainable: they lie on ({face}), +-{lying.spread_deg:.0f} deg{missing}"
        return Attainable(share, cone_deg, words)

    def _faces(self) -> "list[tuple[tuple[int, int, int], Array]]":
        """Conventional indices and (3,) unit normals of the faces of low indices."""
        bravais = self.phase.bravais
        conventional = np.linalg.inv((bravais.basis @ bravais.reduction).astype(np.float64))
        span = range(-LARGEST_INDEX, LARGEST_INDEX + 1)
        found = []
        for h, k, l in product(span, span, span):  # noqa: E741
            if gcd(h, k, l) == 1 and h + k + l >= 0:
                normal = self.basis @ conventional @ np.array([h, k, l])
                found.append(((h, k, l), normal / np.linalg.norm(normal)))
        return sorted(found, key=lambda face: (sum(map(abs, face[0])), -sum(face[0]), face[0]))

    def _alike(self, normal: Array) -> Array:
        """(m, 3) normals of the faces that are equivalent in the lattice."""
        bravais, inverse = self.phase.bravais, np.linalg.inv(self.basis)
        niggli = np.linalg.inv(bravais.reduction.astype(np.float64))
        indices = inverse @ normal @ bravais.reduction.T
        turned = [self.basis @ niggli @ (indices @ rotation) for rotation in bravais.group]
        return np.array(turned)

    def _cone_deg(self, seen: Mask, lying: Lying) -> float | None:
        """The widest cone about the normal of which half is not seen."""
        points = self._whole.hkl @ self.basis.T
        cosine = np.abs(points @ self._alike(lying.normal).T).max(axis=1) / np.linalg.norm(points, axis=1)
        angle = np.degrees(np.arccos(np.clip(cosine, 0, 1)))
        missed = ~seen[self._whole.unique]
        widest = None
        for low in np.arange(0.0, 60.0, CONE_STEP_DEG).tolist():
            ring = (angle >= low) & (angle < low + CONE_STEP_DEG)
            if ring.any() and missed[ring].mean() < EMPTY_SHARE:
                break
            widest = low + CONE_STEP_DEG if ring.any() else widest
        return widest


def union_completeness(phase: Phase, stage: Stage, d_min_A: float) -> float:
    """Share of the classes of equivalents (highest Laue class of the lattice) that any of the data sets passes."""
    reach = Reach(phase, stage, d_min_A)
    return reach.share(reach.together)


def _turned(rng: np.random.Generator, lying: Lying | None) -> Array:
    """(3, 3) a crystal that lies like the others, turned about the beam by chance."""
    from scipy.spatial.transform import Rotation

    if lying is None:
        return np.asarray(Rotation.random(random_state=rng).as_matrix())
    up, _ = Rotation.align_vectors([[0.0, 0.0, 1.0]], [lying.normal])
    about = Rotation.from_euler("z", float(rng.uniform(0, 360)), degrees=True)
    tipped = Rotation.from_rotvec(np.radians([*rng.normal(0, lying.spread_deg, 2), 0.0]))
    return np.asarray((tipped * about * up).as_matrix())


def _lying(up: Array, alike: Array, normal: Array, hkl: tuple[int, int, int]) -> tuple[float, Lying]:
    """How many times likelier directions (n, 3) are about the (m, 3) normals or their opposites than anywhere, as a
    logarithm, with the spread for which that is most.
    """
    away = np.arccos(np.clip(np.abs(up @ alike.T), 0, 1))[None] / np.radians(SPREADS_DEG)[:, None, None]
    density = np.exp(-0.5 * away**2).mean(axis=2) / np.radians(SPREADS_DEG)[:, None] ** 2  # relative to 1 / (4 pi)
    likelier = np.log(np.maximum(density, 1e-300)).sum(axis=1)
    best = int(likelier.argmax())
    return float(likelier[best]) - PER_INDEX * (sum(map(abs, hkl)) - 1), Lying(normal, hkl, float(SPREADS_DEG[best]))
