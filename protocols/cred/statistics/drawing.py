"""Pictures of many runs, as in Cichocka et al. (2018): the histogram of rotation ranges with and without tracking (Fig.
4), and the scale of each frame, run by run (Fig. 7).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from engine.errors import StorageError
from protocols.cred.statistics.histogram import BIN_DEG, bins_of
from protocols.cred.statistics.row import RunRow
from protocols.cred.statistics.scales import RunScale
from protocols.products.scale import smoothed

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INK, ACCENT = "#3b6ea5", "#d98032"
WIDTH_IN, HEIGHT_IN, DPI = 7.0, 3.6, 110
ACROSS, PANEL_IN = 2, 1.7
"""Runs beside each other, and how high each is."""
MOST_PANELS = 40
HIGHEST = 4.0
"""Of the axis of scales; a bright zone goes beyond it."""


def draw_ranges(runs: Sequence[RunRow], path: Path) -> None:
    """Write the histogram; the format by the ending of its name. Raises StorageError."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH_IN, HEIGHT_IN), dpi=DPI, layout="constrained")
    axes = figure.add_subplot()
    count = len(bins_of(runs))
    edges = np.arange(count + 1) * BIN_DEG
    groups = {
        "with tracking": [run.range_deg for run in runs if run.tracking != "off"],
        "without": [run.range_deg for run in runs if run.tracking == "off"],
    }
    there = {name: ranges for name, ranges in groups.items() if ranges}
    colours = {"with tracking": INK, "without": ACCENT}
    axes.hist(
        list(there.values()),
        bins=edges.tolist(),
        stacked=True,
        color=[colours[name] for name in there],
        label=[f"{name} ({len(ranges)})" for name, ranges in there.items()],
        edgecolor="white",
        linewidth=0.6,
    )
    axes.set_xlabel("rotation range (deg)")
    axes.set_ylabel("runs")
    axes.set_xlim(0, edges[-1])
    axes.spines[["top", "right"]].set_visible(False)
    if there:
        axes.legend(frameon=False)
    _save(figure, path)


def draw_scales(scales: Sequence[RunScale], path: Path) -> None:
    """Write a panel for each of at most `MOST_PANELS` runs, the last ones; the format by the ending of its name. Raises
    StorageError.
    """
    from matplotlib.figure import Figure

    drawn = scales[-MOST_PANELS:]
    down = -(-len(drawn) // ACROSS)
    figure = Figure(figsize=(WIDTH_IN, PANEL_IN * down + 0.4), dpi=DPI, layout="constrained")
    panels = figure.subplots(down, ACROSS, squeeze=False).ravel()
    for axes, told in zip(panels, drawn, strict=False):
        axes.plot(told.slots, told.scale, ".", color=ACCENT, markersize=2)
        if len(told.scale):
            axes.plot(told.slots, smoothed(told.scale), "-", color=INK, linewidth=1.2)
        axes.set_ylim(0.0, HIGHEST)
        axes.set_title(told.run, fontsize=8, loc="left")
        axes.tick_params(labelsize=7)
        axes.spines[["top", "right"]].set_visible(False)
    for axes in panels[len(drawn) :]:
        axes.set_visible(False)
    figure.supxlabel("slot", fontsize=8)
    figure.supylabel("counts in spots, over the run's median", fontsize=8)
    _save(figure, path)


def _save(figure: "Figure", path: Path) -> None:
    try:
        figure.savefig(path)
    except (OSError, ValueError) as error:
        raise StorageError(
            f"{path}: the picture cannot be written ({error}). Give a name that ends with .png, .svg or .pdf, in a "
            "folder that you can write to."
        ) from error
