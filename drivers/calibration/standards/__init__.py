"""Powders whose lattice is known, for the camera length: their structures as CIF, and how well a film has that
lattice.
"""

from dataclasses import dataclass
from pathlib import Path

OTHER_KNOWN_TO_PERCENT = 0.2


@dataclass(frozen=True, slots=True)
class Standard:
    """A powder standard. cif: its structure. known_to_percent: standard deviation of the lattice of a film of it from
    that, in percent of its lengths: evaporated metals are strained by 0.1 to 0.3 %, thallium chloride by less.
    """

    name: str
    cif: Path
    known_to_percent: float


STANDARDS = {
    name: Standard(name, Path(__file__).with_name(f"{name}.cif"), percent)
    for name, percent in (("Au", 0.2), ("Al", 0.2), ("TlCl", 0.1))
}


def standard(words: str) -> Standard:
    """A standard by its name, or the CIF at this path (which need not be there)."""
    known = STANDARDS.get(words)
    return known or Standard(Path(words).stem, Path(words), OTHER_KNOWN_TO_PERCENT)
