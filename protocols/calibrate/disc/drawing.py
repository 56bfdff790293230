"""Pictures of what was made of the disc, that one can judge by eye."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from protocols.calibrate.disc.discfit import Disc
from protocols.products.atomic import make_folder, replacing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from protocols.calibrate.disc.snapshot import Moved

RED, BLUE = "#b5482a", "#2a6db5"


def figure_of(width_in: float, height_in: float) -> "Figure":
    """An empty figure."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width_in, height_in), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def saved(figure: "Figure", path: Path) -> None:
    """Write a figure as PNG. Raises StorageError."""
    make_folder(path.parent)
    with replacing(path) as part:
        figure.savefig(part, format="png")


def draw_disc(axes: "Axes", disc: Disc) -> None:
    """The edge of a disc in a picture whose pixel i is drawn from i - 0.5 to i + 0.5."""
    turn = np.linspace(0, 2 * np.pi, 200)
    axes.plot(
        disc.fast_px + disc.radius_px * np.cos(turn) - 0.5,
        disc.slow_px + disc.radius_px * np.sin(turn) - 0.5,
        "-", color=RED, linewidth=0.8,
    )  # fmt: skip
    reach = 1.25 * disc.radius_px
    axes.set_xlim(disc.fast_px - reach, disc.fast_px + reach)
    axes.set_ylim(disc.slow_px + reach, disc.slow_px - reach)


def draw_moves(path: Path, sides: Sequence["Moved"]) -> None:
    """For each defocus: what moved, with the places found and those that the fit says, and what is left of them."""
    figure = figure_of(12.5, 4.2 * len(sides))
    for row, side in zip(figure.subplots(len(sides), 3, squeeze=False), sides, strict=True):
        first, second, third = row
        first.imshow(side.shadows.still, cmap="gray", extent=side.window.extent_px)
        draw_disc(first, side.disc)
        first.set_title(f"defocus {side.defocus:g}: what stands still, and the disc")
        second.imshow(side.shadows.darkest, cmap="gray", extent=side.window.extent_px, vmin=0, vmax=1.2)
        draw_disc(second, side.disc)
        fitted = side.fit.offset_px + side.moved_nm @ side.fit.matrix.T
        second.plot(fitted[:, 0] - 0.5, fitted[:, 1] - 0.5, "+", color=BLUE, markersize=7)
        second.plot(*(side.places_px.T - 0.5), ".", color=RED, markersize=3)
        for name, column in zip("xy", side.fit.matrix.T, strict=True):
            to = side.fit.offset_px + column / np.hypot(*column) * 0.8 * side.disc.radius_px - 0.5
            arrow = {"arrowstyle": "->", "color": BLUE}
            second.annotate("", to, side.fit.offset_px - 0.5, arrowprops=arrow)
            second.annotate(name, to, color=BLUE, fontsize=12)
        second.set_title("darkest of all; found (red), by the matrix (blue)")
        third.plot(*side.fit.left_px.T, ".", color=RED)
        third.set_aspect("equal", adjustable="datalim")
        third.set_xlabel("left along fast (px)")
        third.set_ylabel("left along slow (px)")
        third.set_title(f"{side.fit.repeat_nm:.0f} nm along each axis of the stage")
    saved(figure, path)
