"""Pictures of a camera length that one can judge by eye: rings on the pattern, the profile, what is left."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from protocols.calibrate.cameralength.ringfit import SECTORS, corrected
from protocols.products.atomic import make_folder, replacing

if TYPE_CHECKING:
    from protocols.calibrate.cameralength.analysis import Powder

RING, DARK = "#b5482a", "#1b1b1b"
MOST_DRAWN = 6


def draw(path: Path, found: "Sequence[Powder]", standard: str) -> None:
    """Write the picture as PNG, a row for each camera length. Raises StorageError."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    shown = found[:MOST_DRAWN]
    figure = Figure(figsize=(15, 5 * len(shown)), dpi=80, layout="constrained")
    FigureCanvasAgg(figure)
    for (first, second, third), each in zip(figure.subplots(len(shown), 3, squeeze=False), shown, strict=True):
        shape, seen = each.fit.shape, each.fit.observations
        counts = np.where(each.pattern.good, each.pattern.counts, 0.0)
        first.imshow(np.sqrt(counts), cmap="gray_r", vmax=np.sqrt(np.percentile(counts, 99.7)), extent=_extent(counts))
        azimuth = np.linspace(0, 2 * np.pi, 200)
        for group in seen.groups:
            for ring in group:
                fast, slow = shape.seen(float(seen.radius_px[ring]), azimuth[:100])  # half of it, to compare
                first.plot(fast, slow, color=RING, linewidth=0.6)
        first.plot(shape.fast_px, shape.slow_px, "+", color=RING)
        last = seen.radius_px[max(max(group) for group in seen.groups)] * 1.08
        first.set_xlim(shape.fast_px - last, shape.fast_px + last)
        first.set_ylim(shape.slow_px + last, shape.slow_px - last)
        nominal = "" if each.nominal_mm is None else f"{each.nominal_mm:g} mm: "
        first.set_title(f"{nominal}{each.length_mm:.2f} mm by {standard}, ellipse {shape.amplitude_percent:.2f} %")
        true_px, _ = corrected(each.pattern, shape)
        for ideal, colour, label in (
            (true_px, DARK, "without the ellipse"),
            (_plain(each.pattern.counts.shape, shape.fast_px, shape.slow_px), "#9a9a9a", "as seen"),
        ):
            place = (ideal[each.pattern.good] / 0.5).astype(np.intp)
            number = np.bincount(place)
            profile = np.bincount(place, each.pattern.counts[each.pattern.good]) / np.maximum(number, 1)
            radius = (np.arange(len(profile)) + 0.5) * 0.5
            near = (radius > 0.6 * seen.radius_px[0]) & (radius < last)
            second.plot(radius[near], profile[near], color=colour, linewidth=0.9, label=label)
        for group in seen.groups:
            for ring in group:
                second.axvline(seen.radius_px[ring], color=RING, linewidth=0.5)
        second.set_yscale("log")
        second.set_xlabel("from the beam (px)")
        second.set_ylabel("mean counts")
        second.legend(fontsize=8)
        second.set_title("mean around the beam; lines: where rings should be")
        middle = (np.arange(SECTORS) + 0.5) * 360 / SECTORS
        for index, group in enumerate(seen.groups):
            used = each.fit.used[index]
            name = each.rings.name[group[0]]
            third.plot(middle[used], each.fit.left_px[index][used], ".", markersize=4, label=name)
        third.axhline(0, color=DARK, linewidth=0.5)
        third.set_xlabel("direction, from fast towards slow (deg)")
        third.set_ylabel("what is left (px)")
        third.legend(fontsize=7, ncols=3)
        third.set_title(f"rings against the fit, rms {np.std(each.fit.left_px[each.fit.used]):.3f} px")
    make_folder(path.parent)
    with replacing(path) as part:
        figure.savefig(part, format="png")


def _extent(counts: "np.ndarray[tuple[int, ...], np.dtype[np.float64]]") -> tuple[float, float, float, float]:
    rows, columns = counts.shape
    return 0.0, float(columns), float(rows), 0.0


def _plain(
    shape: tuple[int, ...], fast_px: float, slow_px: float
) -> "np.ndarray[tuple[int, ...], np.dtype[np.float64]]":
    rows, columns = shape
    x, y = np.meshgrid(np.arange(columns) + 0.5 - fast_px, np.arange(rows) + 0.5 - slow_px)
    return np.asarray(np.hypot(x, y))
