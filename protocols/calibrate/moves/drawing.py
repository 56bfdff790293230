"""A picture of a calibration by moves that one can judge by eye: first frame, places, and what is left of them."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from protocols.calibrate.moves.fit import Fit
from protocols.calibrate.moves.mover import Mover
from protocols.calibrate.moves.places import Places
from protocols.products.atomic import make_folder, replacing

Array = NDArray[np.float64]

INK, RED, BLUE = "#1b1b1b", "#b5482a", "#2a6bb5"

SHOWN_SHARE = 0.4
"""Of the picture's side: the longer of the two arrows at most."""


def draw(path: Path, mover: Mover, fit: Fit, visited: Array, side: Array, seen: Places, first: Array) -> None:
    """Write the picture as PNG. side: from where each place was arrived at. Raises StorageError."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(15, 5), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    frame, places, left = figure.subplots(1, 3)
    low, high = np.percentile(first, [1, 99.5])
    frame.imshow(np.clip(first, low, high) ** 0.5, cmap="gray", extent=(0, first.shape[1], first.shape[0], 0))
    middle = np.array([first.shape[1], first.shape[0]]) / 2.0
    ways = fit.matrix * (np.ptp(visited, axis=0) / 2.0)[None, :]
    ways *= min(1.0, SHOWN_SHARE * min(first.shape) / float(np.linalg.norm(ways, axis=0).max()))  # moves may go farther
    for axis, name in ((0, "x"), (1, "y")):
        tip = middle + ways[:, axis]
        frame.annotate("", tip, middle, arrowprops={"arrowstyle": "->", "color": RED, "linewidth": 2})
        frame.text(*tip, f" {name}", color=RED, fontsize=14)
    frame.set_title(f"first frame; how {mover.words} x and y move the {mover.seen}")
    model = seen.at - fit.off_px
    for number, colour, words in ((-1, RED, "from below"), (1, BLUE, "from above")):
        chosen = (side == number) & np.isfinite(model[:, 0])
        places.plot(*model[chosen].T, "+", color=colour, markersize=9, label=f"fitted, {words}")
    places.plot(*seen.at.T, ".", color=INK, markersize=3, label="seen")
    places.set_aspect("equal")
    places.invert_yaxis()
    places.set_xlabel("fast (px)")
    places.set_ylabel("slow (px)")
    places.set_title(f"where the {mover.seen} was")
    left.plot(*fit.off_px.T, "o", color=INK, markersize=3)
    left.plot(*fit.off_px[~fit.used].T, "x", color=RED, label="left out")
    span = max(5.0 * fit.rms_px, 1e-3)
    left.set_xlim(-span, span)
    left.set_ylim(span, -span)
    left.set_aspect("equal")
    left.axhline(0, color="0.8")
    left.axvline(0, color="0.8")
    left.set_xlabel("fast (px)")
    left.set_ylabel("slow (px)")
    left.set_title(f"what is left: {fit.rms_px:.2f} px rms")
    for panel in (places, left):
        if panel.get_legend_handles_labels()[0]:
            panel.legend(loc="upper right", fontsize=8)
    make_folder(path.parent)
    with replacing(path) as part:
        figure.savefig(part, format="png")
