"""The rotation ranges by hand and with automatic tracking side by side, as a picture."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from engine.errors import StorageError
from protocols.cred.campaign.campaign import Outcome
from protocols.cred.statistics.drawing import ACCENT, DPI, INK
from protocols.cred.statistics.histogram import BIN_DEG, LEAST_BINS

WIDTH_IN, HEIGHT_IN = 9.0, 3.6


def draw_both(outcomes: Sequence[Outcome], path: Path) -> None:
    """Write the picture; the format by the ending of its name. Raises StorageError."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH_IN, HEIGHT_IN), dpi=DPI, layout="constrained")
    left, right = figure.subplots(1, 2, sharex=True)
    edges = (np.arange(LEAST_BINS + 1) * BIN_DEG).tolist()
    by_hand = [
        [each.hand.range_deg for each in outcomes if each.hand.tracked],
        [each.hand.range_deg for each in outcomes if not each.hand.tracked],
    ]
    labels = [f"tracked by hand ({len(by_hand[0])})", f"not tracked ({len(by_hand[1])})"]
    left.hist(by_hand, bins=edges, stacked=True, color=[INK, ACCENT], label=labels, edgecolor="white", linewidth=0.6)
    ranges = [each.automatic.range_deg for each in outcomes]
    right.hist(ranges, bins=edges, color=INK, label=f"automatic ({len(ranges)})", edgecolor="white", linewidth=0.6)
    allowed = [each.experiment.allowed_deg for each in outcomes]
    right.hist(allowed, bins=edges, histtype="step", color="black", linewidth=0.9, label="holder and grid allow")
    for axes in (left, right):
        axes.set_xlabel("rotation range (deg)")
        axes.set_xlim(0, edges[-1])
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, fontsize=8)
    left.set_ylabel("experiments")
    try:
        figure.savefig(path)
    except (OSError, ValueError) as error:
        raise StorageError(
            f"{path}: the picture cannot be written ({error}). Give a name that ends with .png, .svg or .pdf, in a "
            "folder that you can write to."
        ) from error
