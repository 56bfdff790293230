"""Where tracking saw the crystal in each snapshot, and how far it was brought back, as a picture of the report."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from protocols.products.plots import ACCENT, FAINT, INK, legend_above, panels, png
from protocols.products.source import RunInfo

SIGMAS = 2.0

TEXT = (
    "Place of the crystal in the selected-area aperture in each snapshot, x along the tilt axis and y across it, with "
    "twice its uncertainty; grey lines: it was not found. Below, how far the image shift has brought it, all "
    "corrections together."
)


def tracking_plot(info: RunInfo, told: object) -> bytes | None:
    """told: `tracking` of run.json. None where nothing was tracked; what is not understood of it is left out."""
    found, missed = [], []
    for each in _objects(told, "found"):
        numbers = _numbers(each, ("slot", "x_nm", "y_nm", "sigma_nm"))
        if numbers is not None:
            found.append(numbers)
        elif (slot := _numbers(each, ("slot",))) is not None:
            missed += slot
    if not found and not missed:
        return None
    figure, (above, below) = panels(info, 2)
    above.vlines(missed, 0, 1, transform=above.get_xaxis_transform(), colors=FAINT, linewidth=0.6, zorder=0)
    for column, name, colour in ((1, "x", INK), (2, "y", ACCENT)):
        slots, places, sigmas = ([each[k] for each in found] for k in (0, column, 3))
        bars = [SIGMAS * sigma for sigma in sigmas]
        above.errorbar(slots, places, bars, fmt=".", color=colour, markersize=4, linewidth=0.8, label=name)
    above.axhline(0.0, color=FAINT, linewidth=0.6)
    above.set_ylabel("from the middle (nm)")
    if found:
        legend_above(above)
    rows = [_numbers(each, ("slot", "x_nm", "y_nm")) for each in _objects(told, "corrected")]
    moves = [row for row in rows if row is not None]
    for column, colour in ((1, INK), (2, ACCENT)):
        slots, sums, total = [1.0], [0.0], 0.0
        for row in moves:
            total += row[column]
            slots.append(row[0])
            sums.append(total)
        below.step([*slots, float(info.slots)], [*sums, total], where="post", color=colour, linewidth=1)
    below.set_ylabel("brought back (nm)")
    return png(figure)


def _objects(told: object, key: str) -> Iterator[Mapping[str, Any]]:
    listed = told.get(key) if isinstance(told, Mapping) else None
    yield from (each for each in listed if isinstance(each, Mapping)) if isinstance(listed, list) else ()


def _numbers(told: Mapping[str, Any], keys: Sequence[str]) -> list[float] | None:
    values = [told.get(key) for key in keys]
    if any(isinstance(v, bool) or not isinstance(v, int | float) or not math.isfinite(v) for v in values):
        return None
    return [float(v) for v in values if isinstance(v, int | float)]
