"""The camera length from a cRED run of a crystal whose cell is known: by how much its lattice comes out too large.

Lattice, axis, beam and ellipse are fitted as for the rotation axis, and once more with the camera length that follows,
until it does not change: the bend of the Ewald sphere goes with it.
"""

import math
from dataclasses import replace
from pathlib import Path

from engine.errors import DataError
from protocols.calibrate.cameralength.ellipse import polar
from protocols.calibrate.cameralength.plan import CameraLengthPlan
from protocols.calibrate.measured import Analysed, Measured
from protocols.calibrate.rotationaxis.analysis import BEAM_PX, KnownTo, axis_of
from protocols.calibrate.rotationaxis.drawing import draw
from protocols.calibrate.runreflections import RunReflections, observed, reflections_of
from protocols.calibrate.truth import truth_of
from protocols.lattice.cell import Cell, lattice_difference
from protocols.lattice.rotationfit import RotationFit, fit_rotation
from protocols.products.source import open_run

MOST_OFF = 0.33
NEAR_LENGTH, NEAR_DEG = 0.02, 2.0
"""A lattice that comes out so far from the cell, its size apart, is another one's."""
ROUNDS, STILL = 5, 1e-5


def of_crystal(folder: Path, plan: CameraLengthPlan) -> Analysed:
    """Values from the run folder of a cRED run. Raises DataError, nothing is stored then."""
    if plan.cell is None:
        raise DataError(
            f"{folder}: is a run of cred, which tells a camera length only where the cell of its crystal is known; "
            "nothing was stored. Say it: --set cell=[a,b,c,alpha,beta,gamma] (A, deg), and --set centring=C where "
            "it is not P"
        )
    with open_run(folder) as source:
        seen, known = reflections_of(source), KnownTo.of(source.info)
        pixel_mm = source.info.pixel_size_mm
    try:
        found = axis_of(seen, known)
        fit, primitive = with_cell(seen, known, found.fit, Cell(*plan.cell).reduced(plan.centring))
    except DataError as error:
        raise DataError(f"{folder}: {error}") from error
    geometry, known_to = fit.geometry, plan.cell_known_to_percent / 100
    length_mm = geometry.camera_length_px * pixel_mm
    numbers = {
        "camera_length_mm": (length_mm, length_mm * math.hypot(fit.size_sigma, known_to), "mm"),
        "beam_fast_px": (geometry.beam_fast_px, math.hypot(fit.sigma("beam_fast_px"), BEAM_PX), "px"),
        "beam_slow_px": (geometry.beam_slow_px, math.hypot(fit.sigma("beam_slow_px"), BEAM_PX), "px"),
        **polar(geometry.strain, geometry.shear, fit.covariance[4:6, 4:6]),
    }
    values = {name: Measured(*each) for name, each in numbers.items()}
    picture = folder / "report" / "camera-length.png"
    draw(picture, seen, replace(found, fit=fit))
    told = truth_of(folder)
    return Analysed(
        values,
        (
            f"{picture}: reciprocal space along the axis, and what is left",
            f"{int(fit.used.sum())} reflections; cell {primitive} as it is known, reduced; camera length to "
            f"{fit.size_sigma:.3%} by the reflections, {known_to:.2%} by the cell",
        ),
        truth={name: told[name] for name in values if name in told},
    )


def with_cell(seen: RunReflections, known: KnownTo, begun: RotationFit, cell: Cell) -> tuple[RotationFit, Cell]:
    """The fit at the camera length that gives the lattice the size of this primitive cell. Raises DataError."""
    fit, spots = begun, observed(seen.sure)
    for _ in range(ROUNDS):
        lattice = Cell.from_reciprocal_metric(fit.ub.T @ fit.ub)
        share = (cell.volume_A3 / lattice.volume_A3) ** (1 / 3)
        length_px = fit.geometry.camera_length_px * share
        if abs(length_px / seen.geometry.camera_length_px - 1) > MOST_OFF:
            raise DataError(
                f"camera length: the lattice of the reflections has {lattice.volume_A3:.0f} A^3, the cell "
                f"{cell.volume_A3:.0f} A^3 (both primitive): the crystal is of another cell or centring. "
                "Nothing was stored"
            )
        geometry = replace(
            fit.geometry, camera_length_px=length_px, strain=seen.geometry.strain, shear=seen.geometry.shear
        )
        again = fit_rotation(spots, geometry, fit.ub / share, known.ellipse)
        if again is None:
            raise DataError("camera length: with that cell the reflections are of no lattice. Nothing was stored")
        fit = again
        if abs(share - 1) < STILL:
            break
    lattice = Cell.from_reciprocal_metric(fit.ub.T @ fit.ub)
    length, angle_deg = lattice_difference(lattice, cell)
    if not (length < NEAR_LENGTH and angle_deg < NEAR_DEG):
        raise DataError(
            f"camera length: the lattice of the reflections ({lattice}) is not that of the cell ({cell}), whatever "
            "the camera length. Nothing was stored. Check cell and centring"
        )
    return fit, cell
