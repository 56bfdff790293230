"""Cells from zonal patterns under many conditions: how many come out right, how exact, how fast, how certain the wrong.

    python benchmarks/zones.py [--seed 1] [--only NAME ...] [--quick] [--json FILE]

Every condition simulates cells, takes strictly zonal patterns (known from their indices), spoils them, draws pictures
of 254 pixels, finds the spots in the pictures, fits nets, and searches for the cell; nothing of the truth goes
along. Right: lengths within 1 %, angles within 1 deg, of some basis of the found lattice (`cell.lattice_difference`).
False zones are nets found in patterns that are not zonal, with the check by the Laue circle switched off; strangers
are zones of as many different crystals, of which nothing can come.

Times are of one core, from the pictures to the cell, on a machine that may be doing other things.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from protocols.lattice.cell import Cell, lattice_difference  # noqa: E402
from protocols.products.distortion import distortion_matrix  # noqa: E402
from protocols.spots.peaks import find_peaks  # noqa: E402
from protocols.zones.cell.search import find_cell  # noqa: E402
from protocols.zones.patterns import noise  # noqa: E402
from protocols.zones.patterns.randomcells import random_cell  # noqa: E402
from protocols.zones.patterns.render import ImageGeometry, render  # noqa: E402
from protocols.zones.patterns.simulation import Patterns, simulate  # noqa: E402
from protocols.zones.sorting.geometric import find_zone  # noqa: E402
from protocols.zones.sorting.labels import INTERSECTIONS, ZONE  # noqa: E402
from protocols.zones.sorting.nets import find_nets, flat_to_sphere  # noqa: E402
from protocols.zones.sorting.zone import Zone  # noqa: E402

ORIENTATIONS = 1000
Spoil = Callable[[Patterns, np.random.Generator], Patterns]


@dataclass(frozen=True)
class Condition:
    """What is asked: cells (of each of three volumes, or of one kind), zonal patterns, and how these are spoilt."""

    patterns: int = 24
    cells: int = 20
    system: str = "triclinic"
    space_group: str = "P 1"
    named: Cell | None = None
    volumes_A3: tuple[float, ...] = (500.0, 700.0, 1000.0)
    spoil: Spoil = lambda patterns, rng: patterns
    false_share: float = 0.0
    strangers: int = 0
    tolerance_per_A: float | None = None
    missing: float = 0.0


def distorted(percent: float) -> Spoil:
    """Stretched along a random azimuth, the same for all patterns of a cell."""
    return lambda patterns, rng: noise.distorted(patterns, distortion_matrix(percent, float(rng.uniform(0, 180))))


MORDENITE = Cell(18.11, 20.53, 7.528, 90.0, 90.0, 90.0)
CONDITIONS = {
    "24 patterns": Condition(),
    "12 patterns": Condition(patterns=12),
    "30 % of spots missing": Condition(spoil=lambda p, rng: noise.thinned(p, rng, 0.3), missing=0.3),
    "positions 0.003 1/A": Condition(spoil=lambda p, rng: noise.displaced(p, rng, 0.003), tolerance_per_A=0.012),
    "30 % false zones": Condition(false_share=0.3),
    "distortion 1 %": Condition(spoil=distorted(1.0)),
    "distortion 2.4 %": Condition(spoil=distorted(2.4)),
    "monoclinic": Condition(system="monoclinic", space_group="P 1 21/c 1", cells=10),
    "mordenite (Cmcm)": Condition(named=MORDENITE, space_group="C m c m", volumes_A3=(2800.0,), cells=10),
    "hexagonal": Condition(system="hexagonal", space_group="P 6", cells=10),
    "cubic F": Condition(system="cubic", space_group="F m -3 m", cells=10),
    "diamond (Fd-3m), 12 patterns": Condition(12, 10, "cubic", "F d -3 m", volumes_A3=(1000.0, 2000.0, 3500.0)),
    "cubic F (Fm-3m), 8 patterns": Condition(8, 10, "cubic", "F m -3 m", volumes_A3=(1000.0, 2000.0, 3500.0)),
    "garnet (Ia-3d), 12 patterns": Condition(12, 10, "cubic", "I a -3 d", volumes_A3=(1000.0, 2000.0, 3500.0)),
    "tetragonal I (I4_1/amd), 12 patterns": Condition(12, 10, "tetragonal", "I 41/a m d"),
    "8 patterns": Condition(patterns=8),
    "5 patterns": Condition(patterns=5),
    "4 patterns": Condition(patterns=4),
    "3 patterns": Condition(patterns=3),
    "3 patterns, 3 false": Condition(patterns=3, false_share=1.0),
    "8 patterns, 8 strangers": Condition(patterns=8, strangers=8),
    "24 strangers": Condition(patterns=0, strangers=24),
}


@dataclass
class Row:
    """Of one condition. certain: called determined; times in s from pictures to cell."""

    condition: str
    cells: int
    right: int
    certain: int
    wrong: int
    wrong_certain: int
    length_percent: float
    angle_deg: float
    seconds_mean: float
    seconds_max: float


def zones_from_pictures(patterns: Patterns, condition: Condition) -> list[Zone]:
    """Drawn, found and fitted, as a user's pictures are."""
    image = ImageGeometry()
    tolerance = {} if condition.tolerance_per_A is None else {"tolerance_per_A": condition.tolerance_per_A}
    zones = []
    for number, picture in enumerate(render(patterns, image)):
        peaks = find_peaks(picture)
        if peaks.reason:
            continue
        zone = find_zone(peaks.xy(image.per_px), missing=condition.missing, name=str(number), **tolerance)
        if zone is not None:
            zones.append(zone)
    return zones


def false_zones(patterns: Patterns, count: int) -> list[Zone]:
    """Nets of patterns that are not zonal, believed without a look at the Laue circle."""
    zones: list[Zone] = []
    for number in np.flatnonzero(patterns.label == INTERSECTIONS):
        if len(zones) == count:
            break
        nets = find_nets(flat_to_sphere(patterns.spots(int(number))), 0.02)
        if nets:
            net = nets[0]
            on = int(net.on.sum())
            zones.append(Zone(net.basis, np.zeros(2), net.covariance, on, on / len(net.on), f"false {number}"))
    return zones


def strangers(rng: np.random.Generator, volume_A3: float, condition: Condition) -> list[Zone]:
    """One zone each of many crystals."""
    zones: list[Zone] = []
    while len(zones) < condition.strangers:
        patterns = simulate(random_cell(rng, "triclinic", volume_A3, 3.0), 100, rng)
        zones += zones_from_pictures(patterns.take(np.flatnonzero(patterns.label == ZONE)[:1]), condition)
    return zones


def judge(name: str, condition: Condition, seed: int, cells: int) -> Row:
    """Run one condition."""
    rng = np.random.default_rng(seed)
    right = certain = wrong_certain = 0
    errors, seconds = [], []
    total = 0
    for volume_A3 in condition.volumes_A3:
        for number in range(cells):
            anisotropy = 1.5 if number < cells / 2 else 6.0
            cell = condition.named or random_cell(rng, condition.system, volume_A3, anisotropy)
            patterns = simulate(cell, ORIENTATIONS, rng, space_group=condition.space_group)
            zonal = rng.permutation(np.flatnonzero(patterns.label == ZONE))[: condition.patterns]
            spoilt = condition.spoil(patterns.take(zonal), rng)
            begin = time.perf_counter()
            zones = zones_from_pictures(spoilt, condition)
            if condition.false_share:
                zones += false_zones(patterns, round(condition.patterns * condition.false_share))
            zones += strangers(rng, volume_A3, condition)
            answer = find_cell(zones)
            seconds.append(time.perf_counter() - begin)
            length, angle = np.inf, np.inf
            if answer.candidates:
                length, angle = lattice_difference(answer.candidates[0].cell, cell.reduced(condition.space_group))
            good = length <= 0.01 and angle <= 1.0
            total += 1
            right += good
            certain += answer.determined
            wrong_certain += answer.determined and not good
            if good:
                errors.append((length, angle))
            else:
                merit = answer.candidates[0].figure_of_merit if answer.candidates else 0.0
                print(f"  {name}: wrong for {cell}; merit {merit:.3f}, {len(zones)} zones, {answer.reason}", flush=True)
    length, angle = np.median(errors, axis=0) if errors else (np.nan, np.nan)
    return Row(
        name, total, right, certain, total - right, wrong_certain, 100 * float(length), float(angle),
        float(np.mean(seconds)), float(np.max(seconds)),
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", nargs="*", choices=list(CONDITIONS), default=list(CONDITIONS))
    parser.add_argument("--quick", action="store_true", help="two cells instead of twenty")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    rows = []
    print("condition | right | determined | wrong and certain | median error | s a cell mean, max")
    for name in arguments.only:
        condition = CONDITIONS[name]
        row = judge(name, condition, arguments.seed, 2 if arguments.quick else condition.cells)
        rows.append(row)
        print(
            f"{row.condition} | {row.right}/{row.cells} | {row.certain} | {row.wrong_certain}/{row.wrong} | "
            f"{row.length_percent:.4f} %, {row.angle_deg:.4f} deg | {row.seconds_mean:.2f}, {row.seconds_max:.2f}",
            flush=True,
        )
    if arguments.json:
        arguments.json.write_text(json.dumps([vars(row) for row in rows], indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
