"""What lies in the selected-area aperture as a defocused snapshot shows it: a crystal on its film, neighbours, the edge
of the film, bars of the grid.

All of it is rigid and turns with the stage: outlines are foreshortened, thicknesses along the beam grow, a neighbour
that lies higher comes nearer, and the bars, which are thick, come in at high tilt. Lengths in nm in axes of the stage,
x along the tilt axis, z towards the source, from the crystal's middle. Pure functions of a scene; `scenedrawing` draws
scenes.
"""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from drivers.simulated.specimengrid import between, waves

Array = NDArray[np.float64]

BAR = 1e-3
"""What a bar of the grid lets through."""
SOFT_NM = 20.0
"""Over how far the edges of aperture and bars go from dark to light."""
TEXTURE_PX, SAMPLE_NM = 256, 20.0
"""The film's texture repeats itself after 5 um, more than an aperture shows."""
CONTRAST_PERIODS_DEG = (7.0, 13.0, 29.0)
"""Reflections come and go while a crystal turns, and with them goes how dark it is."""
POINTS = 600
"""So many points of a body tell its share inside of the aperture, to about 1 %."""
EXACT = np.eye(2)
"""Axes of a stage that are as long as they say, at right angles."""


@dataclass(frozen=True, slots=True, eq=False)
class Body:
    """A brick of crystal at stage angle 0.

    middle_nm: (3,). axes: (3, 3), its edges' directions in columns. half_nm: (3,) half its edges. path_nm: thickness
    that lets through 1/e. varies: by how much the contrast changes with the tilt (standard deviation, a share), with
    its phases, one for each of `CONTRAST_PERIODS_DEG`.
    """

    middle_nm: Array
    axes: Array
    half_nm: Array
    path_nm: float
    varies: float = 0.0
    phases: tuple[float, ...] = (0.0, 0.0, 0.0)

    @property
    def reach_nm(self) -> float:
        """No point of it is farther from its middle."""
        return math.hypot(*self.half_nm.tolist())

    @property
    def volume_nm3(self) -> float:
        """Its volume."""
        return float(8.0 * np.prod(self.half_nm))

    def thickness_nm(self, x_nm: Array, y_nm: Array, tilt_deg: float) -> Array:
        """How much of it the beam passes through at places (x, y) that broadcast, seen along the beam."""
        turned = turn(tilt_deg)
        axes, middle = turned @ self.axes, turned @ self.middle_nm
        dx, dy = x_nm - middle[0], y_nm - middle[1]
        enter, leave = np.float64(-np.inf), np.float64(np.inf)
        for (along_x, along_y, along_z), half in zip(axes.T.tolist(), self.half_nm.tolist(), strict=True):
            slope = along_z if abs(along_z) > 1e-4 else 1e-4  # a face along the beam is hit or missed
            at, reach = -(along_x * dx + along_y * dy) / slope, half / abs(slope)
            enter, leave = np.maximum(enter, at - reach), np.minimum(leave, at + reach)
        return np.asarray(np.maximum(leave - enter, 0.0))

    def contrast(self, tilt_deg: float) -> float:
        """How dark it is at a tilt, over the mean."""
        waves = [
            np.sin(np.radians(360.0 / period * tilt_deg) + phase)
            for period, phase in zip(CONTRAST_PERIODS_DEG, self.phases, strict=True)
        ]
        return float(np.exp(self.varies * np.sqrt(2.0 / len(waves)) * sum(waves)))

    def points_nm(self) -> Array:
        """(3, POINTS) spread evenly over it."""
        # Multiples of powers of the plastic number's kin fill a cube evenly whatever their number (Roberts, 2018).
        steps = 1.2207440846057596 ** -np.arange(1.0, 4.0)
        inside = 2.0 * np.mod(0.5 + np.arange(1, POINTS + 1) * steps[:, None], 1.0) - 1.0
        return np.asarray(self.middle_nm[:, None] + self.axes @ (self.half_nm[:, None] * inside))


@dataclass(frozen=True, slots=True)
class HalfPlane:
    """All of the film's plane that lies so far from the crystal and farther: nx x + ny y >= away_nm.

    height_nm: of what stands there, from the film towards the source; 0 of something flat.
    """

    normal: tuple[float, float]
    away_nm: float
    height_nm: float = 0.0

    def is_far(self, reach_nm: float, tilt_deg: float) -> bool:
        """Whether it covers nothing within so many nm of where the crystal's middle is seen."""
        cos, tan = max(math.cos(math.radians(tilt_deg)), 1e-3), math.tan(math.radians(tilt_deg))
        nearer_nm = max(0.0, self.normal[1] * tan * self.height_nm)
        across_nm = reach_nm * math.hypot(self.normal[0], self.normal[1] / cos)
        return (across_nm + nearer_nm - self.away_nm) * cos < -SOFT_NM / 2

    def covers(self, x_nm: Array, y_nm: Array, tilt_deg: float) -> Array:
        """1 where it lies in the way of the beam, 0 where it does not."""
        cos, tan = max(np.cos(np.radians(tilt_deg)), 1e-3), np.tan(np.radians(tilt_deg))
        nearer_nm = max(0.0, self.normal[1] * tan * self.height_nm)
        along_nm = self.normal[0] * x_nm + self.normal[1] / cos * y_nm + (nearer_nm - self.away_nm)
        return np.asarray(np.clip(along_nm * cos / SOFT_NM + 0.5, 0.0, 1.0))


@dataclass(frozen=True, eq=False)
class SnapshotScene:
    """bodies: the crystal first, unless there is none, then those that touch it and its neighbours. is_empty: there is
    no crystal, all bodies are neighbours. film: what it lets through at tilt 0; unevenness: standard deviation of that,
    a share. seed: of its texture. holes: where there is no film. bars: of the grid.
    """

    bodies: tuple[Body, ...]
    film: float = 1.0
    unevenness: float = 0.0
    seed: int = 0
    holes: tuple[HalfPlane, ...] = ()
    bars: tuple[HalfPlane, ...] = ()
    is_empty: bool = False

    @cached_property
    def _texture(self) -> NDArray[np.float32]:
        return waves(
            np.random.Generator(np.random.PCG64([self.seed, 77])), TEXTURE_PX, longest_px=30.0, shortest_px=2.0
        )

    @cached_property
    def _points_nm(self) -> Array:
        """(bodies, 3, POINTS) of all bodies."""
        return np.stack([body.points_nm() for body in self.bodies]) if self.bodies else np.empty((0, 3, POINTS))

    def transmission(self, x_nm: ArrayLike, y_nm: ArrayLike, tilt_deg: float) -> Array:
        """Share of the electrons that passes at places seen along the beam, from where the crystal's middle is seen.

        x_nm, y_nm: arrays that broadcast: (columns,) and (rows, 1), or both (rows, columns); so is what is returned.
        """
        x, y = np.asarray(x_nm, np.float64), np.asarray(y_nm, np.float64)
        cos = max(float(np.cos(np.radians(tilt_deg))), 1e-3)
        passed = np.full(np.broadcast_shapes(x.shape, y.shape), self.film ** (1.0 / cos))
        if self.unevenness > 0.0:
            u, v = np.broadcast_arrays(x / SAMPLE_NM, y / (SAMPLE_NM * cos))
            passed *= 1.0 + self.unevenness * between(self._texture, u, v)
            np.clip(passed, 0.0, 1.0, out=passed)
        reach_nm = math.hypot(float(np.max(np.abs(x))), float(np.max(np.abs(y))))
        for hole in self.holes:
            if not hole.is_far(reach_nm, tilt_deg):
                passed += (1.0 - passed) * hole.covers(x, y, tilt_deg)
        for body in self.bodies:
            middle, far_nm = turn(tilt_deg) @ body.middle_nm, body.reach_nm
            if np.any(abs(x - middle[0]) < far_nm) and np.any(abs(y - middle[1]) < far_nm):
                passed *= np.exp(body.thickness_nm(x, y, tilt_deg) * (-body.contrast(tilt_deg) / body.path_nm))
        for bar in self._bars_within(reach_nm, tilt_deg):
            passed *= 1.0 - (1.0 - BAR) * bar.covers(x, y, tilt_deg)
        return passed

    def shares_inside(
        self, crystal_nm: tuple[float, float], tilt_deg: float, radius_nm: float, axes: Array = EXACT
    ) -> Array:
        """(bodies,) which share of each body's volume is in the aperture's light: inside and behind no bar.

        crystal_nm: where the crystal's middle is seen from that of the aperture, whose radius is radius_nm. axes:
        (2, 2) what a nm of the stage is in the aperture's plane.
        """
        shares = [
            self._share(body, points_nm, crystal_nm, tilt_deg, radius_nm, axes)
            for body, points_nm in zip(self.bodies, self._points_nm, strict=True)
        ]
        return np.array(shares)

    def _share(
        self,
        body: Body,
        points_nm: Array,
        crystal_nm: tuple[float, float],
        tilt_deg: float,
        radius_nm: float,
        axes: Array,
    ) -> float:
        (a, b), (c, d) = axes.tolist()
        middle = turn(tilt_deg) @ body.middle_nm
        x_nm, y_nm = crystal_nm[0] + middle[0], crystal_nm[1] + middle[1]
        away_nm, reach_nm = math.hypot(a * x_nm + b * y_nm, c * x_nm + d * y_nm), _norm(axes) * body.reach_nm
        if away_nm - reach_nm > radius_nm + SOFT_NM:  # most are outside or inside, and need no points
            return 0.0
        bars = self._bars_within(math.hypot(middle[0], middle[1]) + body.reach_nm, tilt_deg)
        if away_nm + reach_nm < radius_nm - SOFT_NM and not bars:
            return 1.0
        seen = turn(tilt_deg)[:2] @ points_nm
        x, y = seen[0] + crystal_nm[0], seen[1] + crystal_nm[1]
        lit = np.clip((radius_nm - np.hypot(a * x + b * y, c * x + d * y)) / SOFT_NM + 0.5, 0.0, 1.0)
        for bar in bars:
            lit *= 1.0 - bar.covers(seen[0], seen[1], tilt_deg)
        return float(lit.mean())

    def _bars_within(self, reach_nm: float, tilt_deg: float) -> list[HalfPlane]:
        return [bar for bar in self.bars if not bar.is_far(reach_nm, tilt_deg)]

    def share_lit(
        self, crystal_nm: tuple[float, float], tilt_deg: float, radius_nm: float, axes: Array = EXACT
    ) -> float:
        """Which share of the aperture no bar of the grid is in front of; arguments as for `shares_inside`."""
        to_stage = np.asarray(np.linalg.inv(axes), np.float64)
        bars = self._bars_within(_norm(to_stage) * radius_nm + math.hypot(*crystal_nm), tilt_deg)
        if not bars:
            return 1.0
        x, y = to_stage @ (radius_nm * np.stack(DISC)) - np.reshape(crystal_nm, (2, 1))
        lit = np.ones(len(DISC[0]))
        for bar in bars:
            lit *= 1.0 - bar.covers(x, y, tilt_deg)
        return float(lit.mean())


def _norm(axes: Array) -> float:
    """Nothing becomes longer by more than this."""
    return math.hypot(*axes.ravel().tolist())


def turn(tilt_deg: float) -> Array:
    """(3, 3) what a stage angle does to a place: y goes to y cos - z sin, seen along the beam."""
    cos, sin = np.cos(np.radians(tilt_deg)), np.sin(np.radians(tilt_deg))
    return np.array([[1.0, 0.0, 0.0], [0.0, cos, -sin], [0.0, sin, cos]])


def _even_disc(points: int) -> tuple[Array, Array]:
    """Places spread evenly over a disc of radius 1: a sunflower."""
    order = np.arange(points) + 0.5
    radius, angle = np.sqrt(order / points), order * (np.pi * (3.0 - np.sqrt(5.0)))
    return radius * np.cos(angle), radius * np.sin(angle)


DISC = _even_disc(400)
