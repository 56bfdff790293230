"""The plots of the report as PNG files in memory: histograms, merged statistics, growth, time and dose."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from engine.record.jsonobject import JsonObject
from protocols.products.plots import ACCENT, FAINT, INK, legend_above, png
from protocols.session.night import COLLECTED
from protocols.session.report.gridmap import colour_of
from protocols.session.report.source import SessionSource

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LEAST_STATE = 0.002
"""Of the time; a state that took less stands in no bar."""
BINS = 16
BEAM_KINDS = {
    "serialed": "screening",
    "serialed-recall": "finding again",
    "eucentric-height": "height",
    "cred": "rotation",
}
"""What the children do, by their names in the register."""


def histograms(source: SessionSource) -> bytes:
    """Of the data sets, stacked by phase: resolution, range, minutes, share indexed; and scores of tried crystals."""
    figure, axes = _row(5)
    phases: list[int | None] = [*sorted({int(phase["number"]) for phase in source.phases}), None]
    phase_of = source.phase_of

    def stacked(place: "Axes", values: dict[int, float | None], label: str, least: float | None = None) -> None:
        groups = [
            [v for n, v in values.items() if v is not None and np.isfinite(v) and phase_of.get(n) == phase]
            for phase in phases
        ]
        whole = [value for group in groups for value in group]
        if whole:
            low, high = min(whole), max(whole)
            edges = np.linspace(low if least is None else min(low, least), high + 1e-9 + 0.01 * abs(high), BINS + 1)
            place.hist(groups, bins=list(edges), stacked=True, color=[colour_of(phase) for phase in phases])
        place.set_xlabel(label)

    stacked(axes[0], {each.number: each.d_min_A for each in source.sets}, "resolution (A)")
    stacked(axes[1], {each.number: each.range_deg for each in source.sets}, "range (deg)", 0.0)
    stacked(axes[2], {each.number: source.minutes.get(each.crystal) for each in source.sets}, "minutes a crystal", 0.0)
    stacked(axes[3], {each.number: each.indexed_share for each in source.sets}, "share indexed", 0.0)
    crystals, over = source.night.crystals, source.night.over
    scored = [(each.score_good, each.number) for each in crystals if each.score_good is not None]
    groups = [
        [score for score, number in scored if number not in over],
        [score for score, number in scored if number in over and over[number].how != COLLECTED],
        [score for score, number in scored if number in over and over[number].how == COLLECTED],
    ]
    axes[4].hist(
        groups,
        bins=list(np.linspace(0, 1, BINS + 1)),
        stacked=True,
        color=[FAINT, ACCENT, INK],
        label=["not tried", "set aside", "collected"],
    )
    axes[4].legend(frameon=False, fontsize=7)
    axes[4].set_xlabel("score of the screening")
    axes[0].set_ylabel("data sets")
    axes[4].set_ylabel("crystals")
    return png(figure)


def shells_plot(phases: Sequence[JsonObject]) -> bytes:
    """Of the merged phases by resolution: completeness, CC1/2, R_meas, I / sigma."""
    figure, axes = _row(4)
    names = ("completeness", "cc_half", "r_meas", "i_over_sigma")
    titles = ("completeness", "CC1/2", "R_meas", "I / sigma")
    highest = 0.0
    for phase in phases:
        shells = phase.get("shells") or []
        x = [1 / each["to_A"] ** 2 for each in shells]
        highest = max([highest, *x])
        for place, name in zip(axes, names, strict=True):
            y = [np.nan if each[name] is None else each[name] for each in shells]
            place.plot(
                x,
                y,
                ".-",
                color=colour_of(phase["number"]),
                linewidth=1,
                markersize=4,
                label=f"phase {phase['number']}",
            )
    spacings = [d for d in (2.0, 1.5, 1.2, 1.0, 0.9, 0.8, 0.7, 0.6, 0.5) if 1 / d**2 <= 1.01 * highest]
    for place, title in zip(axes, titles, strict=True):
        place.set_xticks([1 / d**2 for d in spacings], [f"{d:g}" for d in spacings], fontsize=8)
        place.set(xlabel="to (A)", ylabel=title, ylim=(0, 1.03) if title in titles[:2] else (0, None))
    legend_above(axes[0])
    return png(figure)


def growth_plot(source: SessionSource) -> bytes:
    """Left: data sets as they came; right: completeness of each phase while the session went on."""
    figure, (left, right) = _row(2)
    hours = [each.hours for each in source.growth]
    left.step([0.0, *hours], [0, *(each.data_sets for each in source.growth)], where="post", color=INK, linewidth=1)
    left.set(xlabel="hours", ylabel="data sets")
    left.locator_params(axis="y", integer=True)
    for number in sorted({number for each in source.growth for number in each.completeness}):
        points = [(each.hours, each.completeness[number]) for each in source.growth if number in each.completeness]
        x, y = zip(*points, strict=True)
        right.step(x, y, where="post", color=colour_of(number), label=f"phase {number}")
        right.plot(x[-1:], y[-1:], ".", color=colour_of(number))
    right.set(xlabel="hours", ylabel="complete, all together", ylim=(0, 1.03), xlim=left.get_xlim())
    if right.get_legend_handles_labels()[0]:
        legend_above(right)
    return png(figure)


def time_plot(source: SessionSource) -> bytes:
    """Left: hours in each state; right: of which work the beam was on, and for how long."""
    figure, (left, right) = _row(2)
    night = source.night
    whole_s = max(sum(night.in_state_s.values()), 1e-9)
    states = [(name, spent) for name, spent in night.in_state_s.items() if spent >= LEAST_STATE * whole_s]
    _bars(left, states, whole_s, "minutes in the state")
    beam = [(BEAM_KINDS.get(name, name), each.beam_on_s) for name, each in source.tallies.items() if each.beam_on_s > 0]
    _bars(right, beam, max(sum(spent for _, spent in beam), 1e-9), "minutes of beam")
    return png(figure)


def _bars(axes: "Axes", rows: Sequence[tuple[str, float]], whole_s: float, label: str) -> None:
    axes.set_xlabel(label)
    if not rows:
        axes.set_yticks([])
        return
    names, spent = zip(*rows, strict=True)
    places = np.arange(len(names))[::-1]
    minutes = np.array(spent) / 60
    axes.barh(places, minutes, color=FAINT)
    axes.set_yticks(places, list(names))
    for place, value, seconds in zip(places, minutes, spent, strict=True):
        axes.text(value, place, f" {value:.1f} min, {seconds / whole_s:.0%}", va="center", fontsize=8, color=INK)
    axes.set_xlim(0, 1.3 * float(minutes.max()))


def _row(n: int) -> "tuple[Figure, list[Axes]]":
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11.5, 2.9), layout="constrained")
    made = figure.subplots(1, n, squeeze=False)
    axes: list[Axes] = list(made[0])
    for each in axes:
        each.spines[["top", "right"]].set_visible(False)
    return figure, axes
