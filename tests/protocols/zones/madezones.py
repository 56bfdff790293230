"""Zones and nets straight from a cell: what a perfect net finder would hand over."""

import numpy as np

from protocols.lattice.cell import Cell
from protocols.zones.cell.merging import Net, merged, triangle
from protocols.zones.sorting.zone import Zone

Triple = tuple[int, int, int]

SPREAD: list[tuple[Triple, Triple]] = [
    ((1, 0, 0), (0, 1, 0)), ((1, 0, 0), (0, 0, 1)), ((0, 1, 0), (0, 0, 1)), ((1, 1, 0), (0, 0, 1)),
    ((1, 0, 0), (0, 1, 1)), ((0, 1, 0), (1, 0, 1)), ((1, -1, 0), (0, 0, 1)), ((1, 0, 0), (0, 1, -1)),
    ((1, 1, 0), (0, 1, 1)), ((1, -1, 0), (0, 1, -1)),
]  # fmt: skip
"""Planes of low index through many different rows."""


def zone_of(
    cell: Cell,
    p: Triple,
    q: Triple,
    turn_deg: float = 0.0,
    tilt: tuple[float, float] = (0.0, 0.0),
    strain: tuple[float, float] = (0.0, 0.0),
    name: str = "made",
) -> Zone:
    """The zone with rows p, q (hkl), turned in the picture, its plane tilted; seen through a lens with e1, e2."""
    gram = np.array([p, q]) @ cell.reciprocal_metric @ np.array([p, q]).T
    flat = np.linalg.cholesky(gram)
    t = np.radians(turn_deg)
    flat = flat @ np.array([[np.cos(t), np.sin(t)], [-np.sin(t), np.cos(t)]])
    # Foreshorten: find the projected basis whose lifted vectors have this Gram.
    slope = np.array(tilt)
    steep = float(np.hypot(*slope))
    if steep:
        along = slope / steep
        flat = flat - np.outer(flat @ along, along) * (1 - 1 / np.sqrt(1 + steep**2))
    e1, e2 = strain
    basis = flat @ np.array([[1 + e1, e2], [e2, 1 - e1]]).T
    return Zone(basis, slope, (2e-5) ** 2 * np.eye(4), 40, 1.0, name)


def net_of(cell: Cell, p: Triple, q: Triple) -> Net:
    """The same as a merged net."""
    return merged([triangle(zone_of(cell, p, q))])[0]


def zones_of(
    cell: Cell, count: int = 10, seed: int = 0, strain: tuple[float, float] = (0.0, 0.0), sd: float = 0.0
) -> list[Zone]:
    """The first planes of SPREAD, at random azimuths, with relative errors of the basis."""
    rng = np.random.default_rng(seed)
    zones = []
    for number in range(count):
        p, q = SPREAD[number % len(SPREAD)]
        made = zone_of(cell, p, q, float(rng.uniform(0, 360)), strain=strain, name=f"{p}{q}")
        basis = made.basis * (1 + sd * rng.standard_normal((2, 2)))
        spread = max(sd, 1e-4) * float(np.abs(basis).max())
        zones.append(Zone(basis, made.tilt, spread**2 * np.eye(4), 40, 1.0, made.name))
    return zones
