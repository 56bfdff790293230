"""The wavelength of electrons, for drivers of microscopes that tell their high tension."""

import math

# h / sqrt(2 m e) and e / (2 m c^2), CODATA 2018: lambda = A / sqrt(V (1 + B V)), relativistic.
ANGSTROM_SQRT_V = 12.26426
PER_V = 9.784759e-7


def wavelength_A(high_tension_v: float) -> float:
    """Relativistic de Broglie wavelength in Angstrom: 0.02508 at 200 kV."""
    return ANGSTROM_SQRT_V / math.sqrt(high_tension_v * (1 + PER_V * high_tension_v))
