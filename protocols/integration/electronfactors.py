"""Scattering factors of atoms for electrons as SHELX takes them: four Gaussians and a constant, for each element.

gemmi has five Gaussians for neutral atoms (International Tables C, table 4.3.2.2). Four are fitted to them over all
angles that a structure is refined to, to some thousandths of the factor at 0.
"""

import re
from functools import cache

import numpy as np
from numpy.typing import NDArray

from engine.errors import Refused, shown

Array = NDArray[np.float64]

S_MAX_PER_A = 1.0
"""sin(theta) / wavelength up to which they are fitted: a spacing of 0.5 A."""
VOLUME_OF_ATOM_A3 = 18.0
"""Of each atom but hydrogen, by which the number of formula units in a cell is guessed."""


def read_composition(text: str) -> dict[str, float]:
    """Elements and numbers of a formula such as 'C9 H8 O4' or 'SiO2'. Refused for one that is none."""
    import gemmi

    words = re.findall(r"([A-Z][a-z]?)(\d+(?:\.\d+)?)?", text)
    if not words or re.sub(r"[A-Z][a-z]?(\d+(?:\.\d+)?)?|\s", "", text):
        raise Refused(f"live: --composition {shown(text)!r} is no formula; nothing was done. Write it as 'C9 H8 O4'.")
    found: dict[str, float] = {}
    for name, count in words:
        if gemmi.Element(name).name != name or gemmi.Element(name).c4322.get_coefs()[0] == 0.0:
            raise Refused(f"live: --composition: {name!r} is no element whose factors are known; nothing was done.")
        found[name] = found.get(name, 0.0) + float(count or 1)
    return found


def formula_units(composition: dict[str, float], volume_A3: float) -> int:
    """How many there likely are in a cell, by its volume."""
    atoms = sum(count for name, count in composition.items() if name not in ("H", "D"))
    return max(1, round(volume_A3 / (VOLUME_OF_ATOM_A3 * max(atoms, 1.0))))


@cache
def four_gaussians(element: str) -> tuple[tuple[float, float], ...]:
    """Four pairs (a in A, b in A^2): f(s) is the sum of a exp(-b s^2), s = sin(theta) / wavelength."""
    import gemmi
    from scipy.optimize import least_squares

    five = gemmi.Element(element).c4322
    a, b = np.array(five.a), np.array(five.b)
    s2 = np.linspace(0, S_MAX_PER_A, 101) ** 2
    wanted = np.exp(-np.outer(s2, b)) @ a

    def off(x: Array) -> Array:
        return np.asarray(np.exp(-np.outer(s2, np.exp(x[4:]))) @ np.exp(x[:4]) / wanted - 1)

    order = np.argsort(b)
    begin = np.log(np.concatenate([np.maximum(a[order][1:], 0.01), np.maximum(b[order][1:], 0.01)]))
    found = least_squares(off, begin, max_nfev=400)
    return tuple((float(np.exp(x)), float(np.exp(y))) for x, y in zip(found.x[:4], found.x[4:], strict=True))


def shelx_line(element: str) -> str:
    """SFAC with factors of its own: label, a1 b1 .. a4 b4, c, f', f'', mu, bond radius, atomic weight."""
    import gemmi

    told = gemmi.Element(element)
    pairs = " ".join(f"{a:.4f} {b:.4f}" for a, b in four_gaussians(element))
    return f"SFAC {element} {pairs} =\n     0.0000 0.0000 0.0000 0.0000 {told.covalent_r:.2f} {told.weight:.3f}"
