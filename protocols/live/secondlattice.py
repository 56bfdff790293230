"""A second crystal: a lattice of the reflections that the first one leaves out; and which of two is the first."""

from dataclasses import fields

from protocols.lattice.rotationfit import Observed, RotationFit
from protocols.lattice.rotationgeometry import RotationGeometry
from protocols.lattice.search import find_lattice
from protocols.live.crystal import FEWEST, FoundCrystal, crystal_at, find_crystal, judged
from protocols.live.geometryknown import GeometryKnown

TRUSTED = GeometryKnown(axis_deg=0.05, out_of_plane_deg=0.05, beam_px=0.1, ellipse=1e-4, camera_length=0.001)
"""The first lattice has told the geometry."""
LEAST_SHARE = 0.4
"""Of the reflections left over that are of a second lattice."""

CLEARLY_MORE = 1.2


def lattices(
    observed: Observed, geometry: RotationGeometry, known: GeometryKnown, before: RotationFit | None
) -> tuple[FoundCrystal | None, FoundCrystal | None]:
    """The lattice of most of the reflections, and a second one; see `protocols.live.crystal.find_crystal`.

    That of the look before stays the first until the other has clearly more: two crystals alike would take turns.
    """
    found = find_crystal(observed, geometry, known, before)
    if found is None or not found.determined:
        return found, None
    other = second_lattice(observed, found)
    most = _count(found) * (1.0 if before is None else CLEARLY_MORE)
    if other is None or _count(other) <= most:
        return found, other
    larger = crystal_at(observed, geometry, known, other.fit)
    if larger is None or not larger.determined or _count(larger) <= most:
        return found, other
    return larger, second_lattice(observed, larger)


def _count(found: FoundCrystal) -> int:
    return int(found.fit.used.sum())


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
