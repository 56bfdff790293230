"""The report of a run: one self-contained page (`report/index.html`) and its pictures as PNG files.

For the operator, minutes after the run: did the stage turn evenly, were the frames on time, did the beam stay, did
the crystal stay in the aperture, how do the frames look, and every parameter of the data set.
"""

import base64
import html
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from protocols.products.atomic import make_folder, write_file, write_text
from protocols.products.cred_log import parameters
from protocols.products.metadata import RunHeader
from protocols.products.pictures import run_correction
from protocols.products.source import RunInfo, RunSource
from protocols.products.survey import FrameSurvey, clipped_in

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SAMPLE_FRAMES = 6
INK, ACCENT, FAINT = "#1b1b1b", "#b5482a", "#9a9a9a"

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title><style>
body {{ font: 15px/1.5 system-ui, sans-serif; color: #1b1b1b; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }}
img {{ max-width: 100% }} h2 {{ font-size: 1.1rem; margin: 2rem 0 .3rem }} p {{ margin: .3rem 0 }}
table {{ border-collapse: collapse }} td {{ padding: .15rem 1rem .15rem 0; vertical-align: top }}
td:first-child {{ color: #666 }}
</style></head><body><h1>{title}</h1>
{body}
</body></html>
"""


def write_report(source: RunSource, run: RunHeader, surveys: list[FrameSurvey]) -> int:
    """Write report/index.html and the PNGs beside it; atomic files. Returns their number."""
    info = source.info
    folder = info.folder / "report"
    make_folder(folder)
    plots: list[tuple[str, str, str, Figure]] = [
        (
            "rotation",
            "Rotation",
            "Stage angle of each frame; distance of frames and stage readings from an even rotation.",
            _rotation(info),
        ),
        (
            "frame-timing",
            "Timing",
            "Lateness of each frame's start, and the time from one frame to the next. The whole run: timing.png.",
            _timing(info),
        ),
        ("beam", "Primary beam", "Position in each frame against the run's median.", _beam(surveys, run)),
        (
            "scale",
            "Scale",
            "Mean height of the spots above the background, against its median: a drop is a crystal "
            "that leaves the aperture.",
            _scale(surveys),
        ),
        ("frames", "Frames", "Square root of the counts, after correction.", _frames(source)),
    ]
    body = []
    for name, title, caption, figure in plots:
        png = _png(figure)
        write_file(folder / f"{name}.png", png)
        body.append(
            f"<h2>{html.escape(title)}</h2><p>{html.escape(caption)}</p>"
            f'<img alt="{html.escape(title)}" src="data:image/png;base64,{base64.b64encode(png).decode("ascii")}">'
        )
    told = [*parameters(info, run), ("In 16 bits", str(clipped_in(surveys)))]
    rows = "\n".join(f"<tr><td>{html.escape(k)}</td><td>{html.escape(v)}</td></tr>" for k, v in told)
    body.append(f"<h2>Parameters</h2><table>{rows}</table>")
    title = html.escape(f"{info.sample}: run {info.run_id}")
    write_text(folder / "index.html", PAGE.format(title=title, body="\n".join(body)))
    return len(plots) + 1


def angle_residuals_deg(info: RunInfo) -> NDArray[np.float64]:
    """(n,) how far the begin of each frame lies from its slot's place in an even rotation."""
    return info.frame_start_deg - (info.start_deg + (info.slot - 1) * info.oscillation_deg)


def scale_of(surveys: list[FrameSurvey]) -> NDArray[np.float64]:
    """(n,) mean spot height of each frame over the run's median; NaN where a frame shows no spots."""
    heights = np.array([s.spot_mean if s.spot_pixels else np.nan for s in surveys])
    if np.isnan(heights).all():
        return heights
    return np.asarray(heights / np.nanmedian(heights))


def _rotation(info: RunInfo) -> "Figure":
    """Angles of frames above; below, how far the stage readings and the frames' own times are off an even rotation."""
    figure, (above, below) = _panels(2)
    above.plot(info.slot, info.frame_start_deg, ".", color=INK, markersize=2)
    above.set_ylabel("stage angle (deg)")
    below.plot(info.slot, 1000 * angle_residuals_deg(info), ".", color=INK, markersize=2, label="frame starts")
    if info.stage_readings:
        began, ended, residual_deg = np.array(info.stage_readings, np.float64).T
        period_ns = info.period_s * 1e9
        slots = 1 + ((began + ended) / 2 - (info.frame_start_ns[0] - (info.slot[0] - 1) * period_ns)) / period_ns
        # Each reading was true at some instant of its interval: the bar is what the stage turned in half of it.
        open_mdeg = 1000 * abs(info.oscillation_deg) * (ended - began) / period_ns / 2
        below.errorbar(slots, 1000 * residual_deg, open_mdeg, fmt=".", color=ACCENT, label="stage readings")
    below.legend(loc="upper right", fontsize=8)
    below.set_ylabel("residual (mdeg)")
    return figure


def _timing(info: RunInfo) -> "Figure":
    figure, (above, below) = _panels(2)
    above.plot(info.slot, info.frame_late_ns / 1e6, ".", color=ACCENT, markersize=2)
    above.set_ylabel("late by (ms)")
    if len(info.slot) > 1:
        steps = np.diff(info.slot)
        error_ms = np.diff(info.frame_start_ns) / 1e6 - steps * info.period_s * 1e3
        for what, chosen, colour in (("next slot", steps == 1, INK), ("across a gap", steps > 1, ACCENT)):
            if chosen.any():
                below.plot(info.slot[1:][chosen], error_ms[chosen], ".", color=colour, markersize=3, label=what)
        below.legend(frameon=False, fontsize=8)
    below.set_ylabel("step - whole periods (ms)")
    return figure


def _beam(surveys: list[FrameSurvey], run: RunHeader) -> "Figure":
    figure, (axes,) = _panels(1)
    for name, colour, off_px in (
        ("fast", INK, [s.beam_fast_px - run.beam_fast_px for s in surveys]),
        ("slow", ACCENT, [s.beam_slow_px - run.beam_slow_px for s in surveys]),
    ):
        axes.plot([s.slot for s in surveys], off_px, ".", color=colour, markersize=3, label=name)
    axes.set_ylabel("from the median (px)")
    axes.legend(frameon=False, fontsize=8)
    return figure


def _scale(surveys: list[FrameSurvey]) -> "Figure":
    figure, (axes,) = _panels(1)
    axes.plot([s.slot for s in surveys], scale_of(surveys), ".-", color=INK, markersize=3, linewidth=0.5)
    axes.axhline(1, color=FAINT, linewidth=0.5)
    axes.set_ylabel("relative scale")
    axes.set_ylim(bottom=0)
    return figure


def _frames(source: RunSource) -> "Figure":
    from matplotlib.figure import Figure

    info, correct = source.info, run_correction(source)
    n = min(SAMPLE_FRAMES, len(info.slot))
    chosen = np.unique(np.linspace(0, len(info.slot) - 1, n).astype(int))
    figure = Figure(figsize=(9, 6), layout="constrained")
    for place, index in enumerate(chosen, start=1):
        counts, _ = correct.apply(source.raw(int(index)))
        axes = figure.add_subplot(2, 3, place)
        root = np.sqrt(counts.astype(np.float32))
        axes.imshow(root, cmap="gray_r", vmin=0, vmax=max(1.0, float(np.percentile(root, 99.5))), origin="upper")
        axes.set_title(f"{info.slot[index]:05d}: {info.frame_start_deg[index]:.2f} deg", fontsize=8)
        axes.set_axis_off()
    return figure


def _panels(n: int) -> "tuple[Figure, tuple[Axes, ...]]":
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 1.2 + 1.9 * n), layout="constrained")
    made: Any = figure.subplots(n, 1, sharex=True, squeeze=False)
    axes = tuple(made[:, 0])
    axes[-1].set_xlabel("slot")
    for a in axes:
        a.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _png(figure: "Figure") -> bytes:
    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=110, metadata={"Software": None})
    return buffer.getvalue()
