"""The overview of a grid: its images where the stage stood, and every crystal in the colour of its score.

x of the stage runs to the right and y upwards. Fields without an image are empty frames, in the colour of why.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from engine.errors import DataError
from protocols.products.plots import png
from protocols.serialed.results.crystaltable import GOOD, CrystalRow, FieldRow
from protocols.serialed.results.selection import selected, selection
from protocols.serialed.results.source import SerialSource

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Array = NDArray[np.float32]
Pair = tuple[float, float]

LONGEST_PX = 1800
"""Of the mosaic."""
SIDE_IN, LEAST_IN, BAR_IN, TITLE_IN, FOOT_IN = 11.0, 7.0, 1.1, 0.6, 0.35
MARGIN = 0.6
"""Around the outermost middles, in sides of a field."""
INK, GREY = "#1b1b1b", "#9a9a9a"
LEFT_OUT = {"bar": "#6b6b6b", "stage": "#cc0000", "lost": "#cc0000"}
"""Colours of fields without an image, by how they ended; others are pale."""
NAMED = 12
"""So many of the best have their numbers beside them."""
STEPS_UM = (0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500)


def overview_png(source: SerialSource, places_nm: Mapping[int, Pair] | None = None) -> bytes:
    """The picture as PNG. places_nm: where fields were to be, by their numbers, for those without an image.

    Images that cannot be read are left out. A run without fields gives a picture that says so.
    """
    from matplotlib.figure import Figure

    tables = source.tables
    known = [row for row in tables.fields if np.isfinite([row.x_nm, row.y_nm, row.nm_per_px]).all()]
    sizes = [_size_nm(source, row) for row in known]
    left_out = {n: place for n, place in (places_nm or {}).items() if n in tables.left_out}
    if not known and not left_out:
        figure = Figure(figsize=(6, 2), layout="constrained")
        figure.text(0.5, 0.5, "no field has an image", ha="center", va="center", color=INK)
        return png(figure)
    side_nm = max((max(size) for size in sizes), default=5000.0)
    centres = np.array([[row.x_nm, row.y_nm] for row in known] + list(left_out.values()))
    low, high = centres.min(axis=0) - MARGIN * side_nm, centres.max(axis=0) + MARGIN * side_nm
    wide, tall = high - low
    size_in = (
        max(LEAST_IN, SIDE_IN * min(1.0, wide / tall) + BAR_IN),
        SIDE_IN * min(1.0, tall / wide) + TITLE_IN + FOOT_IN,
    )
    figure = Figure(figsize=size_in)
    box = (
        0.1 / size_in[0],
        FOOT_IN / size_in[1],
        1 - (BAR_IN + 0.2) / size_in[0],
        1 - (TITLE_IN + FOOT_IN) / size_in[1],
    )
    axes = figure.add_axes(box)
    mosaic = _mosaic(source, known, low, high)
    extent = (low[0] / 1000, high[0] / 1000, low[1] / 1000, high[1] / 1000)
    axes.imshow(mosaic, cmap="gray", extent=extent, origin="lower", vmin=0, vmax=1, interpolation="nearest")
    _frames(axes, tables.left_out, left_out, side_nm)
    colours = _crystals(axes, tables.crystals, side_nm)
    if colours is not None:
        beside = figure.add_axes((1 - 0.95 * BAR_IN / size_in[0], 0.25, 0.18 / size_in[0], 0.5))
        bar = figure.colorbar(colours, cax=beside)
        bar.set_label(f"score (good above {GOOD})")
    _scale_bar(axes, low, wide)
    axes.set(xlim=extent[:2], ylim=extent[2:], xticks=[], yticks=[])
    axes.set_title(_title(source), fontsize=9, loc="left")
    if axes.get_legend_handles_labels()[0]:
        figure.legend(loc="lower left", fontsize=7, frameon=False, ncols=5)
    return png(figure)


def _title(source: SerialSource) -> str:
    tables = source.tables
    left = f", {len(tables.left_out)} without an image" if tables.left_out else ""
    first = f"{source.name}: {len(tables.fields)} fields{left}"
    return f"{first}\n{selection(tables.crystals).words()}"


def _size_nm(source: SerialSource, row: FieldRow) -> Pair:
    shape = source.image_shape or (512, 512)
    return shape[1] * row.nm_per_px, shape[0] * row.nm_per_px


def _mosaic(source: SerialSource, rows: Sequence[FieldRow], low: Any, high: Any) -> NDArray[np.float32]:
    """(rows, columns) from 0 to 1, the lowest y first; NaN where there is no image."""
    step_nm = max(float((high - low).max()) / LONGEST_PX, min((row.nm_per_px for row in rows), default=100.0))
    columns, lines = (max(1, round(float(length) / step_nm)) for length in high - low)
    mosaic = np.full((lines, columns), np.nan, np.float32)
    placing = source.tables.placing
    if placing.middle_px is None:
        return mosaic
    correct = source.correction()
    for row in rows:
        try:
            image = correct.apply(source.image(row.image))[0]
        except DataError:
            continue
        reach = 0.75 * max(_size_nm(source, row))
        left, right = (int(np.clip((row.x_nm + way * reach - low[0]) / step_nm, 0, columns)) for way in (-1, 1))
        bottom, top = (int(np.clip((row.y_nm + way * reach - low[1]) / step_nm, 0, lines)) for way in (-1, 1))
        if left >= right or bottom >= top:
            continue
        x = low[0] + (np.arange(left, right) + 0.5) * step_nm
        y = low[1] + (np.arange(bottom, top) + 0.5) * step_nm
        inverse = np.linalg.inv(np.reshape(placing.matrix, (2, 2))) / row.nm_per_px
        fast = placing.middle_px[0] + inverse[0, 0] * (x - row.x_nm) + inverse[0, 1] * (y - row.y_nm)[:, None]
        slow = placing.middle_px[1] + inverse[1, 0] * (x - row.x_nm) + inverse[1, 1] * (y - row.y_nm)[:, None]
        shrunk = max(1, int(step_nm / row.nm_per_px))
        small = _shrunk(image, shrunk)
        at = [slow / shrunk - 0.5, fast / shrunk - 0.5]
        seen = map_coordinates(small, at, order=1, mode="constant", cval=np.nan)
        part = mosaic[bottom:top, left:right]
        np.copyto(part, seen, where=np.isnan(part) & np.isfinite(seen))
    return _stretched(mosaic)


def _shrunk(image: NDArray[Any], by: int) -> Array:
    """Means of squares of so many pixels; what makes no whole square is left out."""
    rows, columns = (n // by * by for n in image.shape)
    part = np.asarray(image[:rows, :columns], np.float32)
    return np.asarray(part.reshape(rows // by, by, columns // by, by).mean(axis=(1, 3)), np.float32)


def _stretched(mosaic: Array) -> Array:
    """Between the darkest and the brightest hundredth."""
    seen = mosaic[np.isfinite(mosaic)]
    if not len(seen):
        return mosaic
    dark, bright = np.percentile(seen[:: max(1, len(seen) // 200_000)], (0.5, 99.5))
    return np.asarray(np.clip((mosaic - dark) / max(float(bright - dark), 1e-9), 0, 1), np.float32)


def _frames(axes: "Axes", how: Mapping[int, str], places_nm: Mapping[int, Pair], side_nm: float) -> None:
    """Fields without an image."""
    from matplotlib.patches import Rectangle

    named: set[str] = set()
    for number, (x, y) in sorted(places_nm.items()):
        word = how[number] or "no image"
        colour = LEFT_OUT.get(word, "#c8c8c8")
        corner = (x - side_nm / 2) / 1000, (y - side_nm / 2) / 1000
        label = None if word in named else f"left out: {word}"
        named.add(word)
        axes.add_patch(
            Rectangle(corner, side_nm / 1000, side_nm / 1000, fill=False, lw=0.6, ls=":", edgecolor=colour, label=label)
        )


def _crystals(axes: "Axes", rows: Sequence[CrystalRow], side_nm: float) -> Any:
    """Every crystal whose place is known; what colours the scores, None where nothing has one."""
    placed = [row for row in rows if np.isfinite([row.x_nm, row.y_nm]).all()]
    if not placed:
        return None
    points = 9.0 if len(placed) > 300 else 26.0
    colours = None
    groups = (
        ("not visited", [row for row in placed if row.pattern < 0], "."),
        ("no score", [row for row in placed if row.pattern >= 0 and row.score_good is None], "x"),
    )
    for label, some, mark in groups:
        if some:
            axes.scatter(
                [row.x_nm / 1000 for row in some], [row.y_nm / 1000 for row in some], s=points / 2, marker=mark,
                color="#5a7fb0", linewidths=0.7, label=f"{label} ({len(some)})",
            )  # fmt: skip
    for label, isolated, line in (("isolated", True, 0.9), ("not isolated", False, 0.0)):
        some = [row for row in placed if row.score_good is not None and row.is_isolated is isolated]
        if some:
            colours = axes.scatter(
                [row.x_nm / 1000 for row in some], [row.y_nm / 1000 for row in some],
                c=[row.score_good or 0.0 for row in some], cmap="RdYlGn", vmin=0, vmax=1,
                s=points if isolated else points / 2, marker="o" if isolated else "s",
                linewidths=line, edgecolors=INK, label=f"scored, {label} ({len(some)})",
            )  # fmt: skip
    for row in selected(placed)[:NAMED]:
        axes.annotate(
            str(row.number), (row.x_nm / 1000, row.y_nm / 1000), (3, 3), textcoords="offset points", fontsize=6,
            color=INK, bbox={"boxstyle": "round,pad=0.1", "fc": "white", "ec": "none", "alpha": 0.7},
        )  # fmt: skip
    return colours


def _scale_bar(axes: "Axes", low: Any, wide_nm: float) -> None:
    wanted = wide_nm / 1000 / 6
    length = max((step for step in STEPS_UM if step <= wanted), default=STEPS_UM[0])
    x, y = low[0] / 1000 + 0.03 * wide_nm / 1000, low[1] / 1000 + 0.03 * wide_nm / 1000
    axes.plot([x, x + length], [y, y], color="white", lw=5, solid_capstyle="butt")
    axes.plot([x, x + length], [y, y], color=INK, lw=3, solid_capstyle="butt")
    axes.text(
        x + length / 2, y + 0.008 * wide_nm / 1000, f"{length:g} um", ha="center", va="bottom", fontsize=9, color=INK,
        bbox={"boxstyle": "round,pad=0.15", "fc": "white", "ec": "none", "alpha": 0.8},
    )  # fmt: skip
