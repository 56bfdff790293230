"""1.ed3d for REDp (Wan et al., 2013): the MRC pictures with their angles.

Angles are those of the goniometer in the middle of each exposure. The rotation axis is counted from the picture's
horizontal towards up, in -180 .. 180. Pictures keep their slot numbers; a gap is simply not in the list.
"""

import numpy as np

from protocols.products.metadata import RunHeader
from protocols.products.source import RunInfo


def ed3d(info: RunInfo, run: RunHeader) -> str:
    """The text of 1.ed3d, to stand in the folder of the NNNNN.mrc."""
    omega_deg = (info.rotation_axis_deg + 180) % 360 - 180
    lines = [
        f"WAVELENGTH    {run.wavelength_A:.7f}",
        f"ROTATIONAXIS    {omega_deg:.5f}",
        f"CCDPIXELSIZE    {run.angstrom_per_px:.8f}",
        f"GONIOTILTSTEP    {abs(info.oscillation_deg):.7f}",
        "BEAMTILTSTEP    0",
        "BEAMTILTRANGE    0.000",
        "STRETCHINGMP    0.0",
        "STRETCHINGAZIMUTH    0.0",
        "",
        "FILELIST",
    ]
    for slot, angle in zip(info.slot, middle_deg(info), strict=True):
        if slot in run.shadowed:
            continue
        lines.append(f"FILE {slot:05d}.mrc    {angle:12.4f}    0    {angle:12.4f}")
    lines.append("ENDFILELIST")
    return "\n".join(lines) + "\n"


def middle_deg(info: RunInfo) -> "np.ndarray[tuple[int], np.dtype[np.float64]]":
    """(n,) stage angle in the middle of each kept frame's exposure."""
    return (info.frame_start_deg + info.frame_end_deg) / 2
