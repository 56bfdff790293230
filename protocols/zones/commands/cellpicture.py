"""A picture of how a cell was found: patterns indexed, votes for the dihedral angle, the cell and its rivals."""

from collections.abc import Sequence
from math import gcd
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from protocols.products.atomic import replacing
from protocols.zones.cell.search import Answer, Candidate
from protocols.zones.sorting.sorting import Sorted

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Indices = NDArray[np.int64]

PATTERNS_SHOWN = 8
EDGE_PER_A = 1.05
CAPTION = (
    f"Zonal patterns to {EDGE_PER_A} 1/A: spots (black), nodes of the net fitted to them (blue), "
    "three times its basis vectors with their hkl in the reduced cell (red)"
)
NODE, VOTED = "tab:blue", "tab:red"


def zone_axis(basis_hkl: Indices) -> tuple[int, int, int]:
    """[uvw] of the zone whose net has these (2, 3) hkl as its basis, primitive, the first index not negative."""
    u, v, w = (int(x) for x in np.cross(basis_hkl[0], basis_hkl[1]))
    divisor = gcd(u, v, w) or 1
    sign = -1 if next((x for x in (u, v, w) if x), 0) < 0 else 1
    return sign * u // divisor, sign * v // divisor, sign * w // divisor


def draw_cell(path: Path, answer: Answer, patterns: Sequence[Sorted]) -> None:
    """Write the picture as a PNG. patterns: those whose zones were given to `find_cell`, in the same order."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 9.5), layout="constrained")
    FigureCanvasAgg(figure)
    grid: Any = figure.add_gridspec(3, 4, height_ratios=[1, 1, 0.9])
    best = answer.candidates[0] if answer.candidates else None
    for place, number in enumerate(_shown(best, patterns)):
        _pattern(figure.add_subplot(grid[place // 4, place % 4]), patterns[number], best, number)
    _votes(figure.add_subplot(grid[2, :2]), answer)
    _words(figure.add_subplot(grid[2, 2:]), answer)
    figure.suptitle(CAPTION, fontsize=9)
    with replacing(path) as part:
        figure.savefig(part, format="png", dpi=110)


def _shown(best: Candidate | None, patterns: Sequence[Sorted]) -> list[int]:
    """Which patterns: one of each zone axis first, then the rest; at the end two that are not explained, if any."""
    seen: set[tuple[int, int, int]] = set()
    first, again, unexplained = [], [], []
    for number in range(len(patterns)):
        hkl = best.assigned[number] if best else None
        if hkl is None:
            unexplained.append(number)
        elif zone_axis(hkl) in seen:
            again.append(number)
        else:
            seen.add(zone_axis(hkl))
            first.append(number)
    explained = [*first, *again]
    return [*explained[: PATTERNS_SHOWN - min(2, len(unexplained))], *unexplained][:PATTERNS_SHOWN]


def _pattern(axes: "Axes", pattern: Sorted, best: Candidate | None, number: int) -> None:
    """Spots as dots, the net's nodes as circles."""
    zone, spots, hkl = pattern.zone, pattern.spots, best.assigned[number] if best else None
    if zone is not None and spots is not None:
        reach = int(EDGE_PER_A / np.linalg.norm(zone.basis[0])) + 1
        m, n = (x.ravel() for x in np.meshgrid(*[np.arange(-reach, reach + 1)] * 2))
        nodes = np.stack([m, n], axis=1) @ zone.basis
        near = np.hypot(nodes[:, 0], nodes[:, 1]) < EDGE_PER_A
        x, y = nodes[near].T
        axes.scatter(x, y, s=16, facecolors="none", edgecolors=NODE, linewidths=0.4, alpha=0.6)
        axes.scatter(spots[:, 0], spots[:, 1], s=4, color="black")
        axes.scatter([0], [0], s=22, color="black")
        for place in range(2):
            _arrow(axes, zone.basis[place], "" if hkl is None else " ".join(map(str, hkl[place])))
    words = "not explained" if hkl is None else "[" + " ".join(map(str, zone_axis(hkl))) + "]"
    axes.set_title(f"{words}   {pattern.name}", fontsize=9, color=VOTED if hkl is None else "black")
    axes.set(xlim=(-EDGE_PER_A, EDGE_PER_A), ylim=(EDGE_PER_A, -EDGE_PER_A), aspect="equal", xticks=[], yticks=[])


def _arrow(axes: "Axes", vector: NDArray[np.float64], words: str) -> None:
    """A basis vector of the net, drawn three times as long so that it can be seen, and its hkl at the end."""
    tip = 3 * vector
    axes.annotate("", (tip[0], tip[1]), (0, 0), arrowprops={"arrowstyle": "->", "color": VOTED, "linewidth": 1})
    box = {"facecolor": "white", "edgecolor": "none", "pad": 0.5, "alpha": 0.7}
    away = tip + 0.07 * tip / np.linalg.norm(tip)
    away = np.clip(away, -0.85 * EDGE_PER_A, 0.85 * EDGE_PER_A)
    axes.text(
        float(away[0]),
        float(away[1]),
        f"({words})" if words else "",
        fontsize=7,
        color=VOTED,
        ha="center",
        va="center",
        bbox=box,
    )


def _votes(axes: "Axes", answer: Answer) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.plot(answer.angle_deg, answer.votes, drawstyle="steps-mid", color=NODE, linewidth=1)
    if np.isfinite(answer.voted_deg):
        axes.axvline(answer.voted_deg, color=VOTED, linewidth=1, linestyle="--")
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set(
        xlabel="dihedral angle between two zones with a common row, deg",
        ylabel="distinct zones",
        xlim=(0, 180),
        title="votes about the row that led to the cell",
    )


def _words(axes: "Axes", answer: Answer) -> None:
    axes.axis("off")
    axes.text(0.0, 1.0, "\n".join(report(answer)), va="top", family="monospace", fontsize=8)


def _conventional(best: Candidate) -> str:
    pairs = zip(best.lattice.cell.parameters, best.lattice_sigma, strict=True)
    a, b, c, alpha, beta, gamma = (with_uncertainty(value, sigma) for value, sigma in pairs)
    return f"a {a}, b {b}, c {c} A, alpha {alpha}, beta {beta}, gamma {gamma} deg"


def with_uncertainty(value: float, sigma: float) -> str:
    """A number with its standard uncertainty in its last digits, as crystallographers write: 18.114(3), 7.5273(12).

    One digit of it, or two up to 19. What is fixed has none.
    """
    if sigma <= 0 or not np.isfinite(sigma):
        return f"{value:.6g}"
    digits = max(0, -int(np.floor(np.log10(sigma / 1.95))))
    return f"{value:.{digits}f}({max(1, round(sigma * 10**digits))})"


def report(answer: Answer) -> list[str]:
    """The answer in lines for a person."""
    if not answer.candidates:
        return [f"not determined: {answer.reason}"]
    best = answer.candidates[0]
    lines = ["cell determined", ""]
    if not answer.determined:
        lines = [f"not determined: {answer.reason}", "", "the best candidate, not to be relied on:"]
    names = ("a", "b", "c", "alpha", "beta", "gamma")
    for name, value, sigma in zip(names, best.cell.parameters, best.sigma, strict=True):
        unit = "A" if len(name) == 1 else "deg"
        lines.append(f"  {name:5} {value:10.4f} +- {sigma:.4f} {unit}")
    lines += [
        f"  V     {best.cell.volume_A3:10.2f} +- {best.volume_sigma_A3:.2f} A^3",
        f"likely {best.lattice.symbol} ({best.lattice.system}), conventional cell",
        f"  {_conventional(best)}",
        f"{best.zones_explained} of {len(best.assigned)} zones explained ({best.nets_explained} distinct), "
        f"residual {best.residual_percent:.3f} %",
    ]
    if answer.distortion is not None and answer.distortion.amplitude_percent:
        found = answer.distortion
        lines.append(f"elliptical distortion {found.amplitude_percent:.2f} % at {found.azimuth_deg:.1f} deg")
    lines += ["", "rank  merit  zones  resid. %     V A^3   a, b, c A; alpha, beta, gamma deg"]
    for rank, one in enumerate(answer.candidates, 1):
        axes = ", ".join(f"{x:.3f}" for x in one.cell.parameters[:3])
        angles = ", ".join(f"{x:.2f}" for x in one.cell.parameters[3:])
        lines.append(
            f"{rank:4}  {one.figure_of_merit:5.3f}  {one.zones_explained:5}  {one.residual_percent:8.3f}  "
            f"{one.cell.volume_A3:8.1f}   {axes}; {angles}"
        )
    return lines
