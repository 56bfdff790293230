"""Cells from frames of counts, as a serial experiment on a Timepix would give them: unlabelled, noisy, off centre.

    python benchmarks/zonesframes.py [--seed 1] [--frames 400] [--cells 3] [--only NAME ...]

Patterns of a crystal in random orientations become frames of 516 x 516 pixels of 55 um at 250 mm: Gaussian spots as
bright as a power of the kinematic intensity (dynamical diffraction evens them out), an inelastic background, a primary
beam that wanders by three pixels from frame to frame, Poisson noise, 14-bit saturation. They are sorted by geometry,
once more with `--missing` where the first time advises it, and the cell is searched for. Nothing of the truth goes
along.

What is measured: zones found of those there are, others called zones, right cells, and wrong ones that were called
determined, which must not be. Times are of one core, on a machine that may be doing other things.
"""

import argparse
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from drivers.simulated.crystal import MORDENITE_CIF  # noqa: E402
from protocols.lattice.cell import Cell, lattice_difference  # noqa: E402
from protocols.zones.cell.search import find_cell  # noqa: E402
from protocols.zones.patterns import noise  # noqa: E402
from protocols.zones.patterns.randomcells import random_cell  # noqa: E402
from protocols.zones.patterns.simulation import Patterns, simulate, simulate_cif  # noqa: E402
from protocols.zones.patterns.snapshots import Snapshots  # noqa: E402
from protocols.zones.sorting.labels import LABELS, ZONE  # noqa: E402
from protocols.zones.sorting.method import Method  # noqa: E402
from protocols.zones.sorting.sorting import Sorted, check_with, sort_snapshots, weak_spots  # noqa: E402

SIZE_PX, PIXEL_MM, CAMERA_LENGTH_MM, WAVELENGTH_A = 516, 0.055, 250.0, 0.0251
PER_PX = PIXEL_MM / (CAMERA_LENGTH_MM * WAVELENGTH_A)
SPOT_SIGMA_PX, BEAM_SIGMA_PX, BEAM_WANDERS_PX = 1.3, 2.0, 3.0
BACKGROUND, SATURATION = 3.0, 11_810
MOST_ZONES = 60


@dataclass(frozen=True)
class Condition:
    """counts: of the brightest spot of a pattern. power: of its kinematic intensity, as which a spot is bright."""

    crystal: str
    counts: float
    power: float = 0.5


CONDITIONS = {
    "mordenite, bright": Condition("mordenite", 20_000),
    "mordenite": Condition("mordenite", 3_000),
    "mordenite, faint": Condition("mordenite", 800),
    "mordenite, kinematic": Condition("mordenite", 20_000, 1.0),
    "triclinic 700 A^3": Condition("triclinic", 3_000),
    "triclinic 700 A^3, faint": Condition("triclinic", 500),
    "monoclinic P2_1/c 1000 A^3": Condition("monoclinic", 3_000),
}


def crystal(kind: str, frames: int, rng: np.random.Generator) -> tuple[Cell, Patterns]:
    """The primitive cell, and patterns with intensities."""
    if kind == "mordenite":
        cell, patterns = simulate_cif(MORDENITE_CIF, frames, rng)
        return cell.reduced("C m c m"), patterns
    group = {"triclinic": "P 1", "monoclinic": "P 1 21/c 1"}[kind]
    cell = random_cell(rng, kind, 700.0 if kind == "triclinic" else 1000.0, 2.0)
    return cell.reduced(group), noise.with_random_intensities(simulate(cell, frames, rng, space_group=group), rng)


@dataclass(frozen=True)
class Camera:
    """A square camera that sees as much of reciprocal space as the Timepix does, in so many pixels.

    spot_sigma_px, beam_sigma_px: widths. beam: counts of the primary beam's brightest pixel before saturation.
    """

    size_px: int = SIZE_PX
    spot_sigma_px: float = SPOT_SIGMA_PX
    beam_sigma_px: float = BEAM_SIGMA_PX
    beam: float = 30_000
    saturation: int = SATURATION

    @property
    def per_px(self) -> float:
        """1/A a pixel."""
        return PER_PX * SIZE_PX / self.size_px


TIMEPIX = Camera()


def frame_of(
    patterns: Patterns, i: int, condition: Condition, rng: np.random.Generator, camera: Camera = TIMEPIX
) -> NDArray[np.uint16]:
    """(rows, columns) counts of a pattern. The electrons are the same on every camera, on more or fewer pixels."""
    size, zoom, sigma = camera.size_px, camera.size_px / SIZE_PX, camera.spot_sigma_px
    middle = np.arange(size) + 0.5
    beam = size / 2 + rng.normal(0.0, BEAM_WANDERS_PX, 2) * zoom
    radius = np.hypot(middle - beam[0], (middle - beam[1])[:, None])
    mean = BACKGROUND * (0.2 + 2.5 * np.exp(-radius / (60 * zoom))) + 300 * np.exp(-radius / (12 * zoom))
    mean /= zoom**2
    mean += camera.beam * np.exp(-0.5 * np.square(radius / camera.beam_sigma_px))
    own = slice(patterns.start[i], patterns.start[i + 1])
    light = condition.counts * patterns.intensity[own] ** condition.power / (2 * np.pi * sigma**2)
    reach = int(np.ceil(5 * sigma))
    for (x, y), peak in zip(patterns.xy[own] / camera.per_px + beam, light, strict=True):
        if not (-reach < min(x, y) and max(x, y) < size + reach):
            continue
        rows, columns = (slice(max(0, int(at) - reach), min(size, int(at) + reach + 1)) for at in (y, x))
        squared = np.square(middle[columns] - x) + np.square(middle[rows] - y)[:, None]
        mean[rows, columns] += peak * np.exp(-0.5 * squared / sigma**2)
    return rng.poisson(mean).clip(0, camera.saturation).astype(np.uint16)


def frames_of(patterns: Patterns, condition: Condition, rng: np.random.Generator) -> Iterator[NDArray[np.uint16]]:
    """(rows, columns) counts of each pattern."""
    return (frame_of(patterns, i, condition, rng) for i in range(len(patterns)))


def sorted_frames(source: Snapshots) -> tuple[list[Sorted], float]:
    """As a person would sort them who follows the advice; and the --missing that was given."""
    found = list(sort_snapshots(source, Method.GEOMETRY))
    if not (advice := weak_spots(found)):
        return found, 0.0
    missing = float(advice.split()[-1])
    return list(sort_snapshots(source, Method.GEOMETRY, check=check_with(missing=missing))), missing


@dataclass(frozen=True)
class FoundCell:
    """What the search made of sorted frames: how far the best cell is off, and whether it is called determined."""

    length_percent: float
    angle_deg: float
    determined: bool

    @property
    def right(self) -> bool:
        """Within 1 % and 1 deg."""
        return self.length_percent <= 1.0 and self.angle_deg <= 1.0


def found_cell(found: list[Sorted], cell: Cell) -> FoundCell:
    """Search the surest zones for the cell as `credline zones` does, and compare it with the true one."""
    best = sorted((one for one in found if one.label == LABELS[ZONE]), key=lambda one: -one.confidence)[:MOST_ZONES]
    answer = find_cell([one.zone for one in best if one.zone is not None], distortion="estimate")
    length, angle = np.inf, np.inf
    if answer.candidates:
        length, angle = lattice_difference(answer.candidates[0].cell, cell)
    return FoundCell(100 * float(length), float(angle), answer.determined)


def judge(condition: Condition, seed: int, count: int) -> dict[str, Any]:
    """One crystal, from frames to the cell."""
    rng = np.random.default_rng(seed)
    cell, patterns = crystal(condition.crystal, count, rng)
    frames = list(frames_of(patterns, condition, rng))
    begin = time.perf_counter()
    names = [str(i) for i in range(count)]
    found, missing = sorted_frames(Snapshots(names, PER_PX, WAVELENGTH_A, picture=lambda i: frames[i]))
    zonal, called = patterns.label == ZONE, np.array([one.label == LABELS[ZONE] for one in found])
    answer = found_cell(found, cell)
    return {
        "zonal": int(zonal.sum()),
        "found": int((called & zonal).sum()),
        "false": int((called & ~zonal).sum()),
        "missing": missing,
        "right": answer.right,
        "determined": answer.determined,
        "length_percent": answer.length_percent,
        "angle_deg": answer.angle_deg,
        "seconds": time.perf_counter() - begin,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--frames", type=int, default=400)
    parser.add_argument("--cells", type=int, default=3)
    parser.add_argument("--only", nargs="*", choices=list(CONDITIONS), default=list(CONDITIONS))
    arguments = parser.parse_args()
    print("condition | zones found | others called zones | --missing | right | determined | wrong and so | error | s")
    for name in arguments.only:
        rows = [judge(CONDITIONS[name], arguments.seed * 1000 + k, arguments.frames) for k in range(arguments.cells)]
        right = [row for row in rows if row["right"]]
        error = [np.median([row[key] for row in right]) if right else np.nan for key in ("length_percent", "angle_deg")]
        total = {
            key: sum(row[key] for row in rows) for key in ("zonal", "found", "false", "right", "determined", "seconds")
        }
        certain = sum(row["determined"] and not row["right"] for row in rows)
        given = "/".join(f"{row['missing']:g}" for row in rows)
        print(
            f"{name} | {total['found']}/{total['zonal']} | {total['false']} | {given} | {total['right']}/{len(rows)} | "
            f"{total['determined']} | {certain} | {error[0]:.3f} %, {error[1]:.3f} deg | {total['seconds']:.0f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
