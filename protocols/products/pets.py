"""A project for PETS2 (Palatinus et al., Acta Cryst. B75, 2019): the TIFF pictures with their angles.

alpha is the goniometer's angle in the middle of each exposure and phi half of what an exposure covers, so a frame
is alpha - phi to alpha + phi. omega is the tilt axis from the picture's horizontal, counter-clockwise, 0 .. 360.
"""

import numpy as np

from protocols.products.foundcrystal import FoundCrystal
from protocols.products.metadata import RunHeader
from protocols.products.redp import middle_deg
from protocols.products.source import RunInfo

D_MIN_A = 0.8


def pts2(info: RunInfo, run: RunHeader, crystal: FoundCrystal | None = None) -> str:
    """The text of pets.pts2, to stand in the run folder beside `tiff`. crystal: what was found of it, if anything."""
    phi_deg = float(np.median(np.abs(info.frame_end_deg - info.frame_start_deg))) / 2
    lines = [
        f"# {run.program}: run {run.run_id}, sample {run.sample}",
        "geometry continuous",
        f"lambda {run.wavelength_A:.7f}",
        f"aperpixel {run.angstrom_per_px:.8f}",
        f"phi {phi_deg:.6f}",
        f"omega {info.rotation_axis_deg % 360:.4f}",
        "bin 1",
        "reflectionsize 8",
        "noiseparameters 1 0",
        f"dstarmax {1 / D_MIN_A:.3f}",
        f"saturationlimit {info.overload - 1}",
        f"center {run.beam_fast_px:.2f} {run.beam_slow_px:.2f}",
        *_cell(run, crystal),
        "",
        "imagelist",
    ]
    for slot, angle in zip(info.slot, middle_deg(info), strict=True):
        if slot in run.shadowed:
            continue
        lines.append(f"tiff/{slot:05d}.tiff {angle:.4f} 0.00")
    lines.append("endimagelist")
    return "\n".join(lines) + "\n"


def _cell(run: RunHeader, crystal: FoundCrystal | None) -> list[str]:
    """The cell that PETS2 compares with those that it finds itself, with the camera length of this file."""
    if crystal is None or not crystal.determined:
        return []
    numbers = " ".join(f"{x:.4f}" for x in crystal.scaled_to(run.camera_length_mm, crystal.cell))
    return [
        f"# {crystal.bravais or 'type not known'}, as {crystal.deg:.1f} deg of these frames have it (crystal.json)",
        f"referencecell {numbers} 1",
    ]
