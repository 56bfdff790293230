"""Where on the grid what was done: every crystal in its place, the collected ones in the colour of their phase.

x of the stage runs to the right and y upwards.
"""

from typing import TYPE_CHECKING

import numpy as np

from protocols.products.plots import FAINT, INK, LOST, legend_below, png
from protocols.session.night import COLLECTED
from protocols.session.report.source import SessionSource

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PHASES = ("#2a6fb5", "#b5482a", "#3d8b50", "#8d5aa6", "#c49a1d", "#3fa7a3", "#c4588c", "#6b6b6b")
"""Colours of phases, by their numbers."""
NO_PHASE = "#1b1b1b"
LARGEST_IN, LEAST_IN, FOOT_IN = 8.0, 4.5, 0.7
MARGIN = 0.06
NAMED = 120
"""So many data sets have their numbers beside them; more are not read any more."""


def colour_of(phase: int | None) -> str:
    """Of a phase, by its number; None: of no phase."""
    return NO_PHASE if phase is None else PHASES[(phase - 1) % len(PHASES)]


def grid_map(source: SessionSource) -> bytes:
    """As PNG; one that says so where no crystal is known."""
    from matplotlib.figure import Figure

    night = source.night
    if not night.crystals:
        figure = Figure(figsize=(6, 2), layout="constrained")
        figure.text(0.5, 0.5, "no crystal was found", ha="center", va="center", color=INK)
        return png(figure)
    places = np.array([[crystal.x_nm, crystal.y_nm] for crystal in night.crystals]) / 1000
    bars = np.array([[bar.x_nm, bar.y_nm] for bar in night.bars]).reshape(-1, 2) / 1000
    all_of = np.concatenate([places, bars])
    low, high = all_of.min(axis=0), all_of.max(axis=0)
    margin = max(MARGIN * float((high - low).max()), 1.0)
    wide, tall = high - low + 2 * margin
    side = (max(LEAST_IN, LARGEST_IN * min(1.0, wide / tall)), max(LEAST_IN, LARGEST_IN * min(1.0, tall / wide)))
    figure = Figure(figsize=(side[0], side[1] + FOOT_IN), layout="constrained")
    axes = figure.subplots()
    axes.scatter(
        bars[:, 0],
        bars[:, 1],
        marker="s",
        s=30,
        color="#d9d9d9",
        linewidths=0,
        label="bar of the mesh" if len(bars) else "_",
    )
    _seen(axes, source, places)
    _tried(axes, source, places)
    axes.set(xlim=(low[0] - margin, high[0] + margin), ylim=(low[1] - margin, high[1] + margin))
    axes.set(aspect="equal", xlabel="stage x (um)", ylabel="stage y (um)")
    axes.spines[["top", "right"]].set_visible(False)
    legend_below(figure)
    return png(figure)


def _seen(axes: "Axes", source: SessionSource, places: "np.typing.NDArray[np.float64]") -> None:
    """Crystals that were not tried: the better the score the darker."""
    rest = [n for n in range(len(places)) if n + 1 not in source.night.over]
    scores = np.array([source.night.crystals[n].score_good or 0.0 for n in rest])
    shown = axes.scatter(
        places[rest, 0],
        places[rest, 1],
        c=scores,
        cmap="Greys",
        vmin=-0.3,
        vmax=1.0,
        s=12,
        linewidths=0.3,
        edgecolors=FAINT,
        label=f"not tried ({len(rest)}), darker the better its score",
    )
    shown.set_zorder(1)


def _tried(axes: "Axes", source: SessionSource, places: "np.typing.NDArray[np.float64]") -> None:
    night, phase_of = source.night, source.phase_of
    groups: dict[int | None, list[tuple[int, int]]] = {}
    for data in source.sets:
        if 1 <= data.crystal <= len(places):
            groups.setdefault(phase_of.get(data.number), []).append((data.number, data.crystal))
    for phase in sorted(groups, key=lambda each: each or 999):
        crystals = [crystal - 1 for _, crystal in groups[phase]]
        name = f"phase {phase}" if phase is not None else "no phase"
        axes.scatter(
            places[crystals, 0],
            places[crystals, 1],
            s=55,
            color=colour_of(phase),
            edgecolors="white",
            linewidths=0.8,
            zorder=3,
            marker="o" if phase is not None else "D",
            label=f"data sets, {name} ({len(crystals)})",
        )
    aside = [n - 1 for n, over in night.over.items() if over.how != COLLECTED and 1 <= n <= len(places)]
    if aside:
        axes.scatter(
            places[aside, 0],
            places[aside, 1],
            s=40,
            marker="x",
            color=LOST,
            linewidths=1.5,
            zorder=2,
            label=f"set aside ({len(aside)})",
        )
    if len(source.sets) <= NAMED:
        for data in source.sets:
            if 1 <= data.crystal <= len(places):
                x, y = places[data.crystal - 1]
                axes.annotate(
                    str(data.number), (x, y), (4, 4), textcoords="offset points", fontsize=7, color=INK, zorder=4
                )
