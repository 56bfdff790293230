"""Reciprocal space of a crystal along a*, b* and c*: the reflections that were found, as a picture in memory."""

from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from protocols.products.foundcrystal import FoundCrystal

if TYPE_CHECKING:
    from matplotlib.axes import Axes

DARK, FAINT = "#10151f", "#8fa3bf"
OF_IT, NOT_OF_IT = (1.0, 1.0, 1.0), (1.0, 0.48, 0.35)
DIMMEST = 0.15
SHOWN_SHARE = 0.99
MOST_LINES = 80
"""With more lines of the lattice along one direction they would fill the picture: they are left out."""


def brightness(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n,) 0.15 to 1 by the logarithm of the counts: the brightest twentieth is white, the dimmest still seen."""
    if not len(counts):
        return np.zeros(0)
    low, high = np.quantile(np.log(np.maximum(counts, 1.0)), (0.02, 0.95))
    share = (np.log(np.maximum(counts, 1.0)) - low) / max(float(high - low), 1e-6)
    return np.asarray(DIMMEST + (1 - DIMMEST) * np.clip(share, 0, 1))


def reach_per_A(crystal: FoundCrystal) -> float:
    """How far from the origin nearly all reflections lie: a wrong one or two far away do not make the rest small."""
    length = np.linalg.norm(crystal.points[:, :3], axis=1)
    return 1.1 * float(np.quantile(length, SHOWN_SHARE)) if len(length) else 1.0


def reciprocal_plot(crystal: FoundCrystal) -> bytes:
    """PNG. Three views where a lattice is known, along its axes, else along those of the crystal at stage angle 0."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 3.9), layout="constrained", facecolor="white")
    panels = figure.subplots(1, 3)
    axes = crystal.axes / np.linalg.norm(crystal.axes, axis=0)
    reach = reach_per_A(crystal)
    for number, panel in enumerate(panels):
        along, across, up = (axes[:, (number + k) % 3] for k in range(3))
        right = across - along * (along @ across)
        right /= np.linalg.norm(right)
        above = np.cross(along, right)
        above *= 1.0 if above @ up >= 0 else -1.0
        onto = np.stack([right, above])
        panel.set_facecolor(DARK)
        if crystal.determined:
            _lattice(panel, onto @ crystal.axes[:, [(number + 1) % 3, (number + 2) % 3]], reach)
        _reflections(panel, crystal, onto)
        names = [f"{'abc'[(number + k) % 3]}*" for k in range(3)] if crystal.determined else ["z", "x", "y"]
        panel.set_title(f"along {names[0]}" if crystal.determined else f"along {'xyz'[number]}", fontsize=10)
        if crystal.determined:
            panel.set_xlabel(f"{names[1]} to the right, {names[2]} up (1/A)", fontsize=8)
        panel.set_xlim(-reach, reach)
        panel.set_ylim(-reach, reach)
        panel.set_aspect("equal")
        panel.tick_params(labelsize=7)
    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=110, metadata={"Software": None})
    return buffer.getvalue()


def _reflections(panel: "Axes", crystal: FoundCrystal, onto: NDArray[np.float64]) -> None:
    light = brightness(crystal.points[:, 3])
    x, y = onto @ crystal.points[:, :3].T
    of_it = crystal.points[:, 4] > 0
    for chosen, colour in ((of_it, OF_IT), (~of_it, NOT_OF_IT)):
        ink = np.column_stack([np.tile(colour, (int(chosen.sum()), 1)), light[chosen]])
        panel.scatter(x[chosen], y[chosen], s=2 + 9 * light[chosen], c=ink, linewidths=0, zorder=2)
    panel.plot(0, 0, "+", color=FAINT, markersize=6)


def _lattice(panel: "Axes", plane: NDArray[np.float64], reach: float) -> None:
    """Lines of the lattice as seen. plane: (2, 2) columns, the two axes that are not looked along."""
    for one, other in ((plane[:, 0], plane[:, 1]), (plane[:, 1], plane[:, 0])):
        way = one / np.linalg.norm(one)
        apart = abs(float(way[0] * other[1] - way[1] * other[0]))
        count = int(2 * reach / max(apart, 1e-9))
        if count > MOST_LINES:
            continue
        for number in range(-count, count + 1):
            begin, end = (number * other + sign * 3 * reach * way for sign in (-1, 1))
            panel.plot([begin[0], end[0]], [begin[1], end[1]], color=FAINT, linewidth=0.3, alpha=0.35, zorder=1)
