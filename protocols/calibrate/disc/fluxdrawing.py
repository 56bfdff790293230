"""A picture of a flux calibration that one can judge by eye."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from protocols.calibrate.disc.drawing import BLUE, RED, draw_disc, figure_of, saved
from protocols.calibrate.disc.snapshot import Moved
from protocols.calibrate.measured import Measured


def draw_flux(path: Path, moved: Moved, values: Mapping[str, Measured]) -> None:
    """The light of the disc, the crystal's places, and the flux of each setting of the panel."""
    figure = figure_of(13.0, 4.2)
    first, second, third = figure.subplots(1, 3)
    light = moved.disc.light
    shown = first.imshow(moved.shadows.still, cmap="gray", extent=moved.window.extent_px, vmin=0, vmax=1.25 * light)
    draw_disc(first, moved.disc)
    first.set_title(f"light of the disc: {light:.0f} counts of a pixel")
    figure.colorbar(shown, ax=first)
    second.imshow(moved.shadows.darkest, cmap="gray", extent=moved.window.extent_px, vmin=0, vmax=1.2)
    draw_disc(second, moved.disc)
    fitted = moved.fit.offset_px + moved.moved_nm @ moved.fit.matrix.T
    second.plot(fitted[:, 0] - 0.5, fitted[:, 1] - 0.5, "+", color=BLUE, markersize=7)
    second.plot(*(moved.places_px.T - 0.5), ".", color=RED, markersize=3)
    second.set_title("the crystal moved: how much a pixel shows")
    names = [f"{each.spot_size}, {each.brightness:g}" for each in values.values()]
    flux = [each.number for each in values.values()]
    sigma = [float(np.max(each.sigma)) for each in values.values()]
    third.errorbar(range(len(names)), flux, yerr=sigma, fmt="o", color=RED, capsize=3)
    third.set_xticks(range(len(names)), names, rotation=45, ha="right")
    third.set_xlabel("spot size, brightness")
    third.set_ylabel("electrons per A$^2$ and s")
    third.set_ylim(0, 1.15 * max(flux))
    saved(figure, path)
