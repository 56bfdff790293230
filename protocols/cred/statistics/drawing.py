"""The histogram of rotation ranges as a picture, as Fig. 4 of Cichocka et al. (2018): with and without tracking."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from engine.errors import StorageError
from protocols.cred.statistics.histogram import BIN_DEG, bins_of
from protocols.cred.statistics.row import RunRow

INK, ACCENT = "#3b6ea5", "#d98032"
WIDTH_IN, HEIGHT_IN, DPI = 7.0, 3.6, 110


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
    try:
        figure.savefig(path)
    except (OSError, ValueError) as error:
        raise StorageError(
            f"{path}: the histogram cannot be written ({error}). Give a name that ends with .png, .svg or .pdf, in a "
            "folder that you can write to."
        ) from error
