"""The texts that CrystFEL needs beside `patterns.cxi`: the geometry and the lists of events.

The frame is CrystFEL's: z along the beam, y up, x to the left as one looks along the beam. Pictures show the specimen
as seen from the source with rows running down, so fast is -x and slow is -y; behind a camera that was measured to be
mirrored fast is +x. The corner is that of the first pixel itself, in pixels. An ellipse of the lens stands in the two
vectors, which are then no longer at right angles, as CrystFEL's page on electrons advises. (Its conventions:
doc/man/crystfel_geometry.5 and doc/articles/electrons of CrystFEL.)
"""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from protocols.products.distortion import distortion_matrix
from protocols.serialed.results.source import Patterns

DATA = "/entry_1/data_1/data"
MASK = "/entry_1/instrument_1/detector_1/mask"
SHOTS = "/entry_1/shots"
PEAKS = "/entry_1/result_1"


def lab_matrix(patterns: Patterns) -> NDArray[np.float64]:
    """(2, 2): lab x, y of a step along fast, slow, in pixels, without the ellipse of the lens."""
    undo = np.linalg.inv(distortion_matrix(patterns.distortion_amplitude_percent, patterns.distortion_azimuth_deg))
    axes = np.diag([1.0 if patterns.camera_hand is not None and patterns.camera_hand < 0 else -1.0, -1.0])
    return np.asarray(axes @ undo)


def detector_shift_mm(
    patterns: Patterns, beam_px: tuple[float, float], seen_px: tuple[float, float]
) -> tuple[float, float]:
    """How far the detector is to be shifted (x, y) so that a beam seen there passes through the origin."""
    off = lab_matrix(patterns) @ np.subtract(beam_px, seen_px) * patterns.pixel_size_mm
    return float(off[0]), float(off[1])


def geometry_text(patterns: Patterns, beam_px: tuple[float, float], beam_told: str, has_peaks: bool) -> str:
    """The geometry file."""
    rows, columns = patterns.shape
    matrix = lab_matrix(patterns)
    corner = matrix @ (-np.asarray(beam_px))
    peaks = f"peak_list = {PEAKS}\npeak_list_type = cxi\n" if has_peaks else ""
    mirrored = patterns.camera_hand is not None and patterns.camera_hand < 0
    hand = (
        "; the camera was measured to be mirrored, so fast is +x: the hand of the crystal is right\n"
        if mirrored
        else "; the camera was measured not to be mirrored: the hand of the crystal is right\n"
        if patterns.camera_hand is not None
        else "; whether the camera is mirrored was not measured: the hand of the crystal is not known\n"
    )
    return (
        "; written by credline for CrystFEL 0.9 and newer\n"
        f"; primary beam at fast {beam_px[0]:.2f}, slow {beam_px[1]:.2f} px: {beam_told}\n"
        f"{hand}"
        f"wavelength = {patterns.wavelength_A:.6f} A\n"
        f"clen = {patterns.camera_length_mm / 1000:.6f} m\n"
        f"res = {1000 / patterns.pixel_size_mm:.4f}\n"
        "adu_per_photon = 1\n"
        f"data = {DATA}\n"
        "dim0 = %\ndim1 = ss\ndim2 = fs\n"
        f"mask = {MASK}\nmask_good = 0x0000\nmask_bad = 0xffff\n"
        f"{peaks}"
        f"detector_shift_x = {SHOTS}/shift_x_mm mm\n"
        f"detector_shift_y = {SHOTS}/shift_y_mm mm\n"
        f"p0/min_fs = 0\np0/max_fs = {columns - 1}\np0/min_ss = 0\np0/max_ss = {rows - 1}\n"
        f"p0/fs = {matrix[0, 0]:+.8f}x {matrix[1, 0]:+.8f}y\n"
        f"p0/ss = {matrix[0, 1]:+.8f}x {matrix[1, 1]:+.8f}y\n"
        f"p0/corner_x = {corner[0]:.4f}\np0/corner_y = {corner[1]:.4f}\n"
    )


def events_text(file: str, numbers: Iterable[int]) -> str:
    """The list of events: a line for each pattern, counted from 0."""
    return "".join(f"{file} //{number}\n" for number in numbers)
