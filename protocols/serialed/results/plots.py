"""The plots of the report as PNG files in memory: scores, sizes, patterns over time, where the time went."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from protocols.products.plots import ACCENT, FAINT, INK, legend_above, png
from protocols.serialed.results.crystaltable import GOOD, CrystalRow
from protocols.serialed.results.timeuse import TimeUse

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SCORE_BINS = np.linspace(0.0, 1.0, 26)
SIZE_BINS = 30
SIZE_TICKS = [step * 10.0**power for power in range(1, 5) for step in (1, 2, 3, 5)]
LEAST_STATE = 0.002
"""Of the time; a state that took less stands in no bar."""


def crystals_plot(rows: Sequence[CrystalRow]) -> bytes:
    """Left the scores, as the paper's Fig. S1; right the sizes of all crystals, and of the good ones."""
    figure, (left, right) = _beside()
    scores = {kept: [row.score_good for row in rows if row.score_good is not None and row.is_isolated is kept]
              for kept in (True, False)}  # fmt: skip
    left.hist(
        [scores[False], scores[True]], bins=list(SCORE_BINS), stacked=True, color=[FAINT, INK],
        label=["not isolated", "isolated"],
    )  # fmt: skip
    left.axvline(GOOD, color=ACCENT, linewidth=0.8)
    left.set(xlabel="score", ylabel="patterns", xlim=(0, 1))
    legend_above(left)
    sizes = [row.length_nm for row in rows if np.isfinite(row.length_nm) and row.length_nm > 0]
    if sizes:
        bins = np.geomspace(min(sizes), max(max(sizes), 1.01 * min(sizes)), SIZE_BINS)
        for label, some, colour in (
            ("all found", sizes, FAINT),
            ("with a pattern", [row.length_nm for row in rows if row.pattern >= 0], INK),
            ("good", [row.length_nm for row in rows if row.is_good], ACCENT),
        ):
            right.hist([size for size in some if np.isfinite(size)], bins=list(bins), histtype="step", color=colour,
                       linewidth=1.3, label=label)  # fmt: skip
        right.set_xscale("log")
        ticks = [tick for tick in SIZE_TICKS if bins[0] <= tick <= bins[-1]]
        right.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        right.set_xticks([], minor=True)
        legend_above(right)
    right.set(xlabel="length (nm)", ylabel="crystals")
    return png(figure)


def time_plot(use: TimeUse) -> bytes:
    """Left patterns as they came, with their rate over the whole run; right the time in each state."""
    figure, (left, right) = _beside()
    if use.at_hour:
        hours = np.array(use.at_hour)
        left.step(60 * hours, np.arange(1, len(hours) + 1), where="post", color=INK, linewidth=1)
        end = use.elapsed_s / 60
        left.plot([0, end], [0, len(hours)], color=ACCENT, linewidth=0.8,
                  label=f"{use.patterns_per_hour:.0f} patterns per hour")  # fmt: skip
        legend_above(left)
    left.set(xlabel="minutes", ylabel="patterns")
    shown = [(name, took) for name, took in use.in_state_s.items() if took >= LEAST_STATE * max(use.elapsed_s, 1e-9)]
    if shown:
        names, took = zip(*shown, strict=True)
        places = np.arange(len(names))[::-1]
        right.barh(places, took, color=FAINT)
        right.set_yticks(places, [name.replace("_", " ") for name in names])
        for place, value in zip(places, took, strict=True):
            right.text(value, place, f" {value:.0f} s, {value / use.elapsed_s:.0%}", va="center", fontsize=8, color=INK)
        right.set_xlim(0, 1.25 * max(took))
    right.set_xlabel("seconds in the state")
    return png(figure)


def _beside() -> "tuple[Figure, tuple[Axes, Axes]]":
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 3.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    return figure, (left, right)
