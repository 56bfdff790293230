"""A picture of a rotation axis that one can judge by eye: reciprocal space seen along the axis, and what is left."""

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from protocols.calibrate.rotationaxis.axisfit import RotationAxis
from protocols.calibrate.runreflections import RunReflections, observed
from protocols.lattice.rotationgeometry import RotationGeometry
from protocols.products.atomic import make_folder, replacing

Array = NDArray[np.float64]

DARK, RED = "#1b1b1b", "#b5482a"
SHOWN_PER_A = 0.7


def draw(path: Path, seen: RunReflections, found: RotationAxis) -> None:
    """Write the picture as PNG. Raises StorageError."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(15, 10), dpi=80, layout="constrained")
    FigureCanvasAgg(figure)
    (before, after, rows), (along, across, turned) = figure.subplots(2, 3)
    spots = observed(seen.sure)
    fitted = found.fit.geometry
    for axes, geometry, title in (
        (before, seen.geometry, f"along the axis as the instrument says it, {seen.geometry.axis_deg:.1f} deg"),
        (after, fitted, f"along the axis found, {found.rotation_axis_deg:.2f} deg, lean {found.out_of_plane_deg:+.2f}"),
    ):
        points = spots.crystal(geometry)
        u, v = _across(geometry)
        near = np.linalg.norm(points, axis=1) < SHOWN_PER_A
        axes.plot(points[near] @ u, points[near] @ v, ".", color=DARK, markersize=2)
        axes.set_aspect("equal")
        axes.set_title(title, fontsize=10)
        axes.set_xlabel("1/A")
    points = spots.crystal(fitted)
    _, v = _across(fitted)
    near = np.linalg.norm(points, axis=1) < SHOWN_PER_A
    rows.plot(points[near] @ fitted.axis, points[near] @ v, ".", color=DARK, markersize=2)
    rows.set_aspect("equal")
    rows.set_title("the same from the side: axis to the right", fontsize=10)
    rows.set_xlabel("1/A")
    used, angle = found.fit.used, spots.angle_deg
    for axes, column, what in ((along, 0, "along fast"), (across, 1, "along slow"), (turned, 2, "of the angle")):
        axes.plot(angle[used], found.fit.pulls[used, column], ".", color=DARK, markersize=2)
        axes.plot(*_means(angle[used], found.fit.pulls[used, column]), color=RED)
        axes.set_ylim(-5, 5)
        axes.set_xlabel("stage angle (deg)")
        axes.set_title(f"what is left {what}, in standard deviations", fontsize=10)
    make_folder(path.parent)
    with replacing(path) as part:
        figure.savefig(part, format="png")


def _across(geometry: RotationGeometry) -> tuple[Array, Array]:
    """Two unit vectors across the axis: in the picture, and towards the source."""
    axis = replace(geometry, out_of_plane_deg=0.0).axis
    return np.array([-axis[1], axis[0], 0.0]), np.array([0.0, 0.0, 1.0])


def _means(angle: Array, pulls: Array) -> tuple[Array, Array]:
    """Of twelve parts of the rotation."""
    parts = [part for part in np.array_split(np.argsort(angle), 12) if len(part)]
    return np.array([angle[part].mean() for part in parts]), np.array([pulls[part].mean() for part in parts])
