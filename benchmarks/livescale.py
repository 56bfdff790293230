"""Whether the scale between frames helps where a crystal was not equally bright, and does no harm where it was.

.venv/bin/python -m benchmarks.livescale --seed 16 --every 6       # 1 to 2 s of a core for each run

Made-up structures of benchmarks.livecrystals turn by 40 deg on a small camera; which share of the crystal is lit
follows one of SHAPES. Integrated with the true lattice; R_meas, and correlation and R with the true |F|^2 of all
observations alike, without the scale and with it. off: of the logarithm of the factor from the planted one, root mean
square.
"""

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path

import gemmi
import numpy as np
from numpy.typing import NDArray

from benchmarks.livecrystals import Drawn, draw_crystals
from protocols.integration.merging import merge
from protocols.integration.observing import observe
from protocols.integration.prediction import Widths
from protocols.integration.scaling import fitted_scale
from protocols.lattice.cell import Cell
from tests.protocols.integration.turned import true_intensity, turned

Array = NDArray[np.float64]
D_MIN_A, BEGIN = 0.9, Widths(0.12, 1e-4)
SHAPES: dict[str, Callable[[float], float]] = {
    "always alike": lambda angle: 1.0,
    "leaves the beam": lambda angle: 0.15 + 0.85 / (1 + float(np.exp((angle - 8) / 2))),
    "thicker when tilted": lambda angle: 1 / float(np.cos(np.radians(2 * angle))),
    "in and out": lambda angle: 1 + 0.25 * float(np.sin(angle / 4)),
}


def tried(drawn: Drawn, cif: Path, shape: str, range_deg: float) -> str:
    """A line of the table."""
    lit = SHAPES[shape]
    rotation = turned(range_deg, cif=cif, seed=drawn.number + 5, lit=lambda angle: round(lit(angle), 2))
    seen = observe(rotation.series, rotation.crystal.ub, rotation.geometry, D_MIN_A, BEGIN)
    kept = seen.kept
    hkl, angle_deg = seen.passages.hkl[kept], seen.passages.angle_deg[kept]
    true = true_intensity(rotation.crystal, seen)[kept]
    group = gemmi.find_spacegroup_by_name(drawn.crystal.group)

    def figures(intensity: Array, sigma: Array) -> str:
        r_meas = merge(Cell(*drawn.crystal.cell), group, hkl, intensity, sigma, D_MIN_A).whole.r_meas
        even = intensity / ((intensity @ true) / (true @ true))
        told = "" if r_meas is None else f"{r_meas:.3f}"
        return f"{told} | {np.corrcoef(intensity, true)[0, 1]:.4f} | {np.abs(even - true).sum() / true.sum():.3f}"

    measured = seen.intensity[kept], seen.sigma[kept]
    scale = fitted_scale(group, hkl, *measured, angle_deg)
    line = f"| {drawn.crystal.group} | {len(hkl)} | {shape} | {figures(*measured)} | "
    if scale is None:
        return f"{line}no equivalents | | | | |"
    off = np.interp(angle_deg, scale.knots_deg, scale.log) - np.log([lit(each) for each in angle_deg.tolist()])
    after = figures(*scale.apply(angle_deg, *measured)) if scale.used else " | | "
    return f"{line}{'yes' if scale.used else 'no'}, {scale.rms:.3f} to {scale.doubt:.3f} | {off.std():.3f} | {after} |"


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=16)
    parser.add_argument("--every", type=int, default=6, help="of the structures take one of so many")
    parser.add_argument("--first", type=int, default=0, help="begin with this one")
    parser.add_argument("--range-deg", type=float, default=40.0)
    asked = parser.parse_args()
    print("| group | seen | crystal | R_meas | CC | R | scaled, by (log) | off | R_meas | CC | R |")
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for drawn in draw_crystals(asked.seed)[asked.first :: asked.every]:
            cif = drawn.crystal.write(Path(folder) / f"{drawn.number}.cif")
            for shape in SHAPES:
                print(tried(drawn, cif, shape, asked.range_deg), flush=True)


if __name__ == "__main__":
    main()
