"""What the geometry of an instrument means for a pattern: wavelength and voltage, 1/A of a pixel, resolution.

Pure arithmetic, for drivers that know their high tension, for plans, and for the files of a run. Nothing here judges
a number: what a microscope can have is said elsewhere. All functions want positive finite numbers.
"""

import math
from dataclasses import dataclass

# CODATA 2018, SI.
PLANCK, CHARGE, MASS, LIGHT = 6.62607015e-34, 1.602176634e-19, 9.1093837015e-31, 299792458.0
ANGSTROM_SQRT_V = 1e10 * PLANCK / math.sqrt(2 * MASS * CHARGE)
PER_V = CHARGE / (2 * MASS * LIGHT**2)


def wavelength_A(high_tension_v: float) -> float:
    """Relativistic de Broglie wavelength of electrons in Angstrom: 0.025079 at 200 kV."""
    return ANGSTROM_SQRT_V / math.sqrt(high_tension_v * (1 + PER_V * high_tension_v))


def high_tension_v(wavelength_A: float) -> float:
    """The voltage in V that gives electrons this wavelength in Angstrom."""
    squared = (ANGSTROM_SQRT_V / wavelength_A) ** 2
    # The root of V (1 + B V) = squared, in the form that loses no digits for long waves.
    return 2 * squared / (1 + math.sqrt(1 + 4 * PER_V * squared))


def per_px_A(pixel_size_mm: float, camera_length_mm: float, wavelength_A: float) -> float:
    """1/A of one pixel beside the primary beam."""
    return pixel_size_mm / (camera_length_mm * wavelength_A)


def d_A(radius_mm: float, camera_length_mm: float, wavelength_A: float) -> float:
    """The spacing in Angstrom of a spot this far from the primary beam on a flat detector across the beam.

    lambda / (2 sin theta) with tan(2 theta) = radius / camera length; infinite in the beam itself.
    """
    half_sine = math.sin(math.atan2(radius_mm, camera_length_mm) / 2)
    return wavelength_A / (2 * half_sine) if half_sine > 0 else math.inf


@dataclass(frozen=True, slots=True)
class Resolution:
    """The smallest spacings that a detector sees, in Angstrom.

    edge_A: at the nearest edge, so on the largest whole circle about the beam; infinite where the beam is not on the
        detector. corner_A: in the farthest corner.
    """

    edge_A: float
    corner_A: float


def resolution(
    shape: tuple[int, int],
    beam_fast_px: float,
    beam_slow_px: float,
    pixel_size_mm: float,
    camera_length_mm: float,
    wavelength_A: float,
) -> Resolution:
    """What a detector of `shape` (rows, columns) of equal pixels sees. The beam: pixel i covers [i, i + 1)."""
    rows, columns = shape
    across, down = (beam_fast_px, columns - beam_fast_px), (beam_slow_px, rows - beam_slow_px)
    edge_px = max(0.0, min(*across, *down))
    corner_px = math.hypot(max(across), max(down))
    return Resolution(
        edge_A=d_A(edge_px * pixel_size_mm, camera_length_mm, wavelength_A),
        corner_A=d_A(corner_px * pixel_size_mm, camera_length_mm, wavelength_A),
    )
