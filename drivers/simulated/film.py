"""The simulated film of a powder standard: many small grains in the beam, whose spots make rings.

Kinematic theory says how strong a ring is, the number of grains how spotty; a film on carbon has a background of broad
rings of its own. A hidden film has not quite the lattice of its standard. Pure functions.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from drivers.calibration.standards import standard
from drivers.simulated.crystal import load_crystal
from drivers.simulated.latency import generator

Array = NDArray[np.float64]

VACUUM, CRACKED, TEXTURED = "vacuum", "cracked", "textured"
D_MIN_A = 0.7
THICKNESS_A, GRAIN_A = 100.0, 120.0
GRAINS = 15_000
"""In the beam, about: an aperture of 1.5 um and grains of 12 nm."""
MOST_SPOTS = 3000
STRAINED = 1e-3
"""Lattices of single grains differ by this share."""
UNEVEN = 0.3
CARBON = ((0.48, 0.08, 0.025), (0.84, 0.10, 0.015))
"""Rings of the carbon film: 1/A from the beam, width (sigma), share of the beam."""
PIECES = 3
"""Of a cracked film: so many are left, each seen over a fourteenth of the way round."""
LEFT = 0.3
"""Of a film that is cracked or textured: so much of its rings."""


@dataclass(frozen=True, slots=True, eq=False)
class Film:
    """Grains as spots, all (n,): 1/A from the beam, azimuth from fast (+x) towards up in rad, share of the beam.

    width_per_A: of each spot (sigma), by the size of the grains. carbon: its rings, as CARBON. lattice_off_percent:
    by how much its lattice is larger than its standard's.
    """

    d_star_per_A: Array
    azimuth: Array
    share: Array
    width_per_A: float
    carbon: tuple[tuple[float, float, float], ...]
    lattice_off_percent: float


def make_film(words: str, wavelength_A: float, seed: int) -> Film:
    """A film in words: a standard or a CIF, `cracked` or `textured` before it where it is that; or `vacuum`.

    seed: of what is hidden; below 0 the film has its standard's own lattice. Textured: grains lie on their (111) planes
    and turn about the beam, as in films evaporated on a hot support. Raises Refused for a CIF that is none.
    """
    nothing = np.empty(0)
    if words == VACUUM:
        return Film(nothing, nothing, nothing, 1.0, (), 0.0)
    kind, _, name = words.partition(" ") if words.startswith((f"{CRACKED} ", f"{TEXTURED} ")) else ("", "", words)
    of = standard(name)
    off_percent = lattice_off_percent(name, seed)
    crystal = load_crystal(of.cif, orientation_seed=0, d_min_A=D_MIN_A)
    rng = generator(max(seed, 0), f"film {name}")
    hkl, intensity = crystal.hkl, crystal.intensity
    if kind == TEXTURED:
        along = hkl.sum(axis=1) == 0
        hkl, intensity = hkl[along], intensity[along]
    d_star = np.linalg.norm(hkl @ crystal.ub.T, axis=1)
    # Vainshtein (1964): a ring has lambda^2 |F|^2 d t / (4 V^2) of the beam for each of its reflections.
    share = wavelength_A**2 * intensity / crystal.volume_A3**2 * THICKNESS_A / (4 * d_star)
    spots: list[tuple[Array, Array, Array]] = []
    uneven = 1 + UNEVEN * rng.uniform(-1, 1)
    for ring in np.unique(np.round(d_star, 6)):
        of_ring = np.abs(d_star - ring) < 1e-5
        # So many grains have one of its planes within the width of a reflection.
        number = int(min(MOST_SPOTS, max(30, GRAINS * of_ring.sum() / GRAIN_A / ring / 2)))
        azimuth = rng.uniform(-np.pi, np.pi, number)
        if kind == CRACKED:
            azimuth = np.pi * rng.integers(0, PIECES, number) / PIECES * 2 + rng.uniform(-1, 1, number) * np.pi / 14
        strength = rng.exponential(1.0, number)
        strength *= uneven * share[of_ring].sum() / number * (LEFT if kind else 1.0)
        strained = ring * (1 + STRAINED * rng.standard_normal(number)) / (1 + off_percent / 100)
        spots.append((strained, azimuth, strength))
    d_stars, azimuths, shares = (np.concatenate(each) for each in zip(*spots, strict=True))
    return Film(d_stars, azimuths, shares, 0.9 / GRAIN_A / 2.355, CARBON, off_percent)


def lattice_off_percent(words: str, seed: int) -> float:
    """By how much the lattice of a hidden film (in words, as for `make_film`) is larger than its standard's."""
    name = words.removeprefix(f"{CRACKED} ").removeprefix(f"{TEXTURED} ")
    if seed < 0 or words in ("", VACUUM):
        return 0.0
    return standard(name).known_to_percent * float(generator(seed, f"lattice of {name}").standard_normal())
