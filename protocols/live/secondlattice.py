"""A second crystal: a lattice of the reflections that the first one leaves out."""

from dataclasses import fields

from protocols.lattice.rotationfit import Observed
from protocols.lattice.search import find_lattice
from protocols.live.crystal import FEWEST, FoundCrystal, judged
from protocols.live.geometryknown import GeometryKnown

TRUSTED = GeometryKnown(axis_deg=0.05, out_of_plane_deg=0.05, beam_px=0.1, ellipse=1e-4, camera_length=0.001)
"""The first lattice has told the geometry."""
LEAST_SHARE = 0.4
"""Of the reflections left over that are of a second lattice."""


def second_lattice(observed: Observed, first: FoundCrystal) -> FoundCrystal | None:
    """The lattice of what is left over, where one is determined beyond doubt; else None. 0.5 s where much is left."""
    out = ~first.fit.used
    # What lies on the first lattice without being of it (blends, parts cut off) is of no other.
    off = first.fit.pulls
    out &= (abs(off) > 6).any(axis=1)
    if out.sum() < 2 * FEWEST:
        return None
    rest = Observed(*(getattr(observed, field.name)[out] for field in fields(Observed)))
    geometry = first.fit.geometry
    lattice = find_lattice(rest.crystal(geometry))
    if lattice is None:
        return None
    fit = TRUSTED.fit(rest, geometry, lattice.ub)
    if fit is None or fit.used.mean() < LEAST_SHARE:
        return None
    found = judged(rest, fit, geometry, TRUSTED)
    return found if found.determined else None
