"""The plots of the report as PNG files in memory: rotation, timing, primary beam, scale. One axis of slots for all."""

from collections.abc import Sequence
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from protocols.products.metadata import RunHeader
from protocols.products.scale import SMOOTHED_FRAMES, brightness_of, scale_of, smoothed
from protocols.products.source import RunInfo
from protocols.products.survey import FrameSurvey

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, ACCENT, FAINT, LOST = "#1b1b1b", "#b5482a", "#9a9a9a", "#ee6677"
LOWEST_SCALE = 1 / 64
"""Where the axis of scales ends; what is lower stands on its lower edge."""
SMALLEST_MS = 0.1
"""Half of the shortest axis of lateness: nothing is made larger than it is."""


def angle_residuals_deg(info: RunInfo) -> NDArray[np.float64]:
    """(n,) how far the begin of each frame lies from its slot's place in an even rotation."""
    return info.frame_start_deg - (info.start_deg + (info.slot - 1) * info.oscillation_deg)


def rotation_plot(info: RunInfo) -> bytes:
    """Angles of frames above; below, how far the stage readings and the frames' own times are off an even rotation."""
    figure, (above, below) = panels(info, 2)
    above.plot(info.slot, info.frame_start_deg, ".", color=INK, markersize=2)
    above.set_ylabel("stage angle (deg)")
    below.plot(info.slot, 1000 * angle_residuals_deg(info), ".", color=INK, markersize=2, label="frame starts")
    if info.stage_readings:
        began, ended, residual_deg = np.array(info.stage_readings, np.float64).T
        period_ns = info.period_s * 1e9
        slots = 1 + ((began + ended) / 2 - (info.frame_start_ns[0] - (info.slot[0] - 1) * period_ns)) / period_ns
        # Each reading was true at some instant of its interval: the bar is what the stage turned in half of it.
        open_mdeg = 1000 * abs(info.oscillation_deg) * np.maximum(ended - began, 0) / period_ns / 2
        below.errorbar(
            slots, 1000 * residual_deg, open_mdeg, fmt=".", color=ACCENT, linewidth=1, label="stage readings"
        )
    legend_above(below)
    below.set_ylabel("off an even rotation (mdeg)")
    return png(figure)


def timing_plot(info: RunInfo) -> bytes:
    """How late each frame began, and the time from one to the next against whole periods."""
    figure, (above, below) = panels(info, 2)
    late_ms = info.frame_late_ns / 1e6
    above.plot(info.slot, late_ms, ".", color=ACCENT, markersize=2)
    above.set_ylabel("late by (ms)")
    error_ms = np.zeros(0)
    if len(info.slot) > 1:
        steps = np.diff(info.slot)
        error_ms = np.diff(info.frame_start_ns) / 1e6 - steps * info.period_s * 1e3
        for what, chosen, colour in (("next slot", steps == 1, INK), ("across a gap", steps > 1, ACCENT)):
            if chosen.any():
                below.plot(info.slot[1:][chosen], error_ms[chosen], ".", color=colour, markersize=3, label=what)
        legend_above(below)
    below.set_ylabel("step - whole periods (ms)")
    for axes, values in ((above, late_ms), (below, error_ms)):
        reach = max(SMALLEST_MS, 1.1 * float(np.abs(values).max(initial=0.0)))
        axes.set_ylim(-reach, reach)
    return png(figure)


def beam_plot(info: RunInfo, surveys: Sequence[FrameSurvey], run: RunHeader) -> bytes:
    """Where the primary beam is in each frame, against the place that stands in all files."""
    figure, (axes,) = panels(info, 1)
    slots = np.array([s.slot for s in surveys])
    surely = np.array([s.slot in run.frame_beams for s in surveys])
    for name, colour, off_px in (
        ("fast", INK, np.array([s.beam_fast_px - run.beam_fast_px for s in surveys])),
        ("slow", ACCENT, np.array([s.beam_slow_px - run.beam_slow_px for s in surveys])),
    ):
        for chosen, mark, label in ((surely, ".", name), (~surely, "x", f"{name}, not surely")):
            if chosen.any():
                axes.plot(slots[chosen], off_px[chosen], mark, color=colour, markersize=3, label=label)
    axes.set_ylabel("from that in the files (px)")
    legend_above(axes)
    return png(figure)


def scale_plot(info: RunInfo, surveys: list[FrameSurvey]) -> bytes:
    """Counts in spots, frame by frame and smoothed, on a logarithmic axis: a crystal that leaves is seen as well as a
    bright zone.
    """
    figure, (axes,) = panels(info, 1)
    slots, scale = [s.slot for s in surveys], scale_of(surveys)
    seen = np.maximum(scale, LOWEST_SCALE)
    axes.plot(
        slots, np.maximum(brightness_of(surveys), LOWEST_SCALE), "-", color=FAINT, linewidth=1, label="all counts"
    )
    axes.plot(slots, seen, ".", color=ACCENT, markersize=3, label="counts in spots")
    below = scale < LOWEST_SCALE
    axes.plot(np.array(slots)[below], seen[below], "v", color=ACCENT, markersize=5, clip_on=False)
    label = f"running median of {SMOOTHED_FRAMES}"
    axes.plot(slots, np.maximum(smoothed(scale), LOWEST_SCALE), "-", color=INK, linewidth=1.5, label=label)
    axes.set_yscale("log", base=2)
    highest = float(np.nanmax(seen)) if np.isfinite(seen).any() else 1.0
    axes.set_ylim(LOWEST_SCALE, 2.0 ** np.ceil(np.log2(max(highest, 4.0))))
    ticks = [2.0**k for k in range(-6, 1 + int(np.log2(axes.get_ylim()[1])))]
    axes.set_yticks(ticks, [f"1/{round(1 / tick)}" if tick < 1 else f"{tick:.0f}" for tick in ticks])
    axes.axhline(1, color=FAINT, linewidth=0.5)
    axes.set_ylabel("relative scale")
    legend_above(axes)
    return png(figure)


def panels(info: RunInfo, n: int) -> "tuple[Figure, tuple[Axes, ...]]":
    """Axes one above the other, n of them, over the slots of the run; lost slots are red lines."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 1.2 + 1.9 * n), layout="constrained")
    made: Any = figure.subplots(n, 1, sharex=True, squeeze=False)
    axes = tuple(made[:, 0])
    axes[-1].locator_params(axis="x", integer=True)
    axes[-1].set_xlabel("slot")
    margin = 0.02 * info.slots + 0.5
    axes[-1].set_xlim(1 - margin, info.slots + margin)
    for a in axes:
        a.spines[["top", "right"]].set_visible(False)
        a.vlines(info.lost_slots, 0, 1, transform=a.get_xaxis_transform(), colors=LOST, linewidth=0.8, zorder=0)
    return figure, axes


def legend_above(axes: "Axes") -> None:
    """Above the axes, off the data."""
    axes.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=4, frameon=False, fontsize=8, borderaxespad=0.1)


def legend_below(figure: "Figure") -> None:
    """Below all axes of a figure, in as many columns as fit into its width."""
    for columns in range(5, 0, -1):
        legend = figure.legend(loc="outside lower center", ncols=columns, frameon=False, fontsize=8)
        if columns == 1 or legend.get_window_extent().width <= figure.bbox.width:
            return
        legend.remove()


def png(figure: "Figure") -> bytes:
    """The picture as a file in memory, the same bytes for the same run."""
    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=110, metadata={"Software": None})
    return buffer.getvalue()
