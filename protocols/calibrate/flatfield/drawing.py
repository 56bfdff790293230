"""A picture of a flatfield that one can judge by eye: response, light, bad pixels, and what is left of the light."""

from pathlib import Path

import numpy as np

from protocols.calibrate.flatfield.illumination import Illumination
from protocols.calibrate.flatfield.response import Dark, Response
from protocols.products.atomic import make_folder, replacing


def draw(path: Path, response: Response, dark: Dark, light: Illumination) -> None:
    """Write the picture as PNG. Raises StorageError."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 9), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    (first, second), (third, fourth) = figure.subplots(2, 2)
    good = ~response.bad
    low, high = np.percentile(response.flatfield[good], [1, 99])
    shown = first.imshow(response.flatfield, vmin=low, vmax=high, cmap="gray")
    first.set_title(f"response ({low:.2f} to {high:.2f})")
    figure.colorbar(shown, ax=first)
    place = np.linspace(-0.5, 0.5, 100)
    lit = second.imshow(light.light(0, place, place), cmap="gray", extent=(-0.5, 0.5, 0.5, -0.5))
    second.set_title("light of the first frame; arrows: the beam shift's steps")
    for x, y in light.moved.T:
        second.annotate("", (x, y), (0, 0), arrowprops={"arrowstyle": "->", "color": "#b5482a"})
    figure.colorbar(lit, ax=second)
    rows, columns = np.nonzero(response.bad)
    third.imshow(np.sqrt(np.maximum(dark.mean, 0)), cmap="gray_r")
    third.plot(columns, rows, "s", color="#b5482a", markersize=3, fillstyle="none")
    third.set_title(f"root of dark counts; {len(rows)} bad pixels marked")
    fourth.plot(light.time_s - light.time_s[0], 100 * light.brightness, ".", color="#1b1b1b", markersize=3)
    fourth.set_xlabel("time (s)")
    fourth.set_ylabel("brightness off its mean (%)")
    fourth.set_title(f"brightness of the beam; residuals {light.misfit:.2f} times what counting makes")
    make_folder(path.parent)
    with replacing(path) as part:
        figure.savefig(part, format="png")
