"""The spots of crystals, one or several, bent or full of faults, and of powders with few grains.

Where and how strongly crystals diffract is `drivers.simulated.pattern`: a still, or a turn of half a degree.
Positions are in pixels of the frame, shares those of the electrons of the primary beam.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from drivers.facts import Geometry
from drivers.simulated.pattern import distortion_matrix, spots
from protocols.screening.generation.specimen import Specimen

Array = NDArray[np.float64]

MOST_SCATTERED = 0.4
"""Share of the beam that a crystal diffracts at most."""
FAINTEST = 3e-7
"""Share of the beam that makes a spot worth drawing: at the longest exposure, ten counts."""


@dataclass(frozen=True, slots=True, eq=False)
class SpotList:
    """(n,) places (fast_px, slow_px), shares of the beam, |g| in 1/A and number of the crystal of each spot."""

    fast_px: Array
    slow_px: Array
    share: Array
    d_star_per_A: Array
    lattice: NDArray[np.int64]

    def only(self, keep: NDArray[np.bool_]) -> "SpotList":
        """Some of them."""
        return SpotList(
            self.fast_px[keep], self.slow_px[keep], self.share[keep], self.d_star_per_A[keep], self.lattice[keep]
        )


NO_SPOTS = SpotList(np.empty(0), np.empty(0), np.empty(0), np.empty(0), np.empty(0, np.int64))


def joined(lists: list[SpotList]) -> SpotList:
    """All of them, with the numbers of their crystals as they are."""
    names = SpotList.__slots__
    return SpotList(*(np.concatenate([getattr(one, name) for one in lists]) for name in names))


def crystal_spots(
    of: Specimen,
    geometry: Geometry,
    orientation: Array,
    *,
    strength: float,
    rocking_per_A: float,
    mosaicity_deg: float,
    turn_deg: float = 0.0,
    lattice: int = 0,
) -> SpotList:
    """The spots of a crystal in this (3, 3) orientation; turn_deg about the axis while it is exposed.

    strength: what a crystal in the usual orientation diffracts, as a share of the beam. Near a zone axis it is more,
    up to MOST_SCATTERED.
    """
    crystal = replace(of.crystal, orientation=orientation, ub=orientation @ of.crystal.ub)
    found = spots(crystal, geometry, 0.0, turn_deg, rocking_per_A, mosaicity_deg=mosaicity_deg)
    share = found.rate * (strength / of.usual)
    share *= min(1.0, MOST_SCATTERED / max(float(share.sum()), 1e-9))
    keep = share > FAINTEST
    d_star = np.linalg.norm(crystal.hkl[found.index[keep]] @ crystal.ub.T, axis=1)
    number = np.full(len(d_star), lattice, dtype=np.int64)
    return SpotList(found.fast_px[keep], found.slow_px[keep], share[keep], d_star, number)


def bent(one: SpotList, geometry: Geometry, spread_deg: float, rng: np.random.Generator) -> SpotList:
    """Each spot drawn out along an arc about the beam: blocks of the crystal turned about it by up to spread_deg."""
    beam = np.array([geometry.beam_fast_px, geometry.beam_slow_px])
    away = np.stack([one.fast_px, one.slow_px], axis=1) - beam
    length_px = float(np.hypot(*away.T).max(initial=1.0)) * np.deg2rad(spread_deg)
    pieces = int(np.clip(length_px / 2, 5, 40))
    angle = np.deg2rad(spread_deg) * (np.linspace(-0.5, 0.5, pieces) + 0.2 * rng.standard_normal(pieces) / pieces)
    weight = rng.exponential(1.0, pieces) + 0.5
    ellipse = distortion_matrix(geometry)
    turned = [
        (away @ np.linalg.inv(ellipse).T) @ np.array([[np.cos(a), np.sin(a)], [-np.sin(a), np.cos(a)]]) @ ellipse.T
        for a in angle
    ]
    places = np.concatenate(turned) + beam
    return SpotList(
        places[:, 0],
        places[:, 1],
        np.outer(weight / weight.sum(), one.share).reshape(-1),
        np.tile(one.d_star_per_A, pieces),
        np.tile(one.lattice, pieces),
    )


def streaked(
    one: SpotList, direction: tuple[float, float], length_px: float, in_streaks: float, rng: np.random.Generator
) -> SpotList:
    """Spots with streaks through them, as layers with faults give: in_streaks of each spot's electrons."""
    pieces = int(np.clip(length_px / 2.5, 8, 60))
    along = length_px * (np.arange(pieces) / (pieces - 1) - 0.5)
    weight = 1 / (1 + (along / (0.25 * length_px)) ** 2) * (0.7 + 0.6 * rng.random(pieces))
    streak = np.outer(in_streaks * weight / weight.sum(), one.share)
    return joined(
        [
            replace(one, share=one.share * (1 - in_streaks)),
            SpotList(
                (one.fast_px + direction[0] * along[:, None]).reshape(-1),
                (one.slow_px + direction[1] * along[:, None]).reshape(-1),
                streak.reshape(-1),
                np.tile(one.d_star_per_A, pieces),
                np.tile(one.lattice, pieces),
            ),
        ]
    )


def grains(
    of: Specimen, geometry: Geometry, number: int, strength: float, rocking_per_A: float, rng: np.random.Generator
) -> SpotList:
    """Spots of a powder with so many grains of this cell, each turned at random: spotty rings.

    A reflection of one grain is within two widths of the sphere in 2 * rocking / |g| of all turns; which grain it
    is, nobody can see, so its azimuth and distance from the sphere are drawn for each by itself.
    """
    d_star = np.linalg.norm(of.crystal.hkl @ of.crystal.ub.T, axis=1)
    excited = rng.poisson(number * np.minimum(2 * rocking_per_A / d_star, 1.0))
    which = np.repeat(np.arange(len(d_star)), excited)
    off = rng.uniform(-2.0, 2.0, len(which))
    share = of.crystal.intensity[which] * np.exp(-0.5 * off**2) * rng.gamma(2.0, 0.5, len(which))
    share *= strength / max(float(share.sum()), 1e-9)
    bright = share > FAINTEST
    which, share = which[bright], share[bright]
    azimuth = rng.uniform(0, 2 * np.pi, len(which))
    fast, slow = placed(d_star[which], azimuth, geometry)
    return SpotList(fast, slow, share, d_star[which], np.arange(len(which)) % number)


def placed(d_star_per_A: Array, azimuth: Array, geometry: Geometry) -> tuple[Array, Array]:
    """Pixels (fast, slow) of what is |g| away from the beam in this direction (rad)."""
    theta = np.arcsin(np.minimum(geometry.wavelength_A * d_star_per_A / 2, 0.9))
    away_px = geometry.camera_length_mm / geometry.pixel_size_mm * np.tan(2 * theta)
    ideal = np.stack([away_px * np.cos(azimuth), away_px * np.sin(azimuth)])
    fast, slow = distortion_matrix(geometry) @ ideal
    return fast + geometry.beam_fast_px, slow + geometry.beam_slow_px


def random_turn(rng: np.random.Generator) -> Array:
    """(3, 3) rotation, uniform over all."""
    return np.asarray(Rotation.from_quat(rng.standard_normal(4)).as_matrix())


def zone_turn(of: Specimen, off_deg: float, rng: np.random.Generator) -> Array:
    """(3, 3) orientation with a low zone axis within about off_deg of the beam, and any azimuth."""
    direct = np.linalg.inv(of.crystal.ub)  # rows a, b, c
    uvw = rng.integers(-1, 2, 3)
    axis = (uvw if uvw.any() else np.array([0, 0, 1])) @ direct
    onto, _ = Rotation.align_vectors([[0.0, 0.0, 1.0]], [axis / np.linalg.norm(axis)])
    tilt = Rotation.from_rotvec(np.deg2rad(off_deg) * np.append(rng.standard_normal(2), 0.0))
    azimuth = Rotation.from_euler("z", rng.uniform(0, 2 * np.pi))
    return np.asarray((azimuth * tilt * onto).as_matrix())


def turned_away(orientation: Array, angle_deg: float, rng: np.random.Generator) -> Array:
    """(3, 3) the same orientation turned by exactly this angle about a random axis."""
    axis = rng.standard_normal(3)
    turn = Rotation.from_rotvec(np.deg2rad(angle_deg) * axis / np.linalg.norm(axis))
    return np.asarray(turn.as_matrix() @ orientation)
