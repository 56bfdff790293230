"""What the beam does to the crystal: damage that grows with the dose, that of fine detail first.

There is none unless `PictureSettings` ask for it. `pictures` weakens the diffraction by it; `truthfile` writes the
dose.
"""

import numpy as np
from numpy.typing import NDArray

from drivers.simulated.picturesettings import PictureSettings

Array = NDArray[np.float64]


def undamaged(d_star: Array, dose_e_A2: float, settings: PictureSettings) -> Array:
    """(n,) share of the intensity that reflections of these |g| (1/A) have left after a dose: exp(-dose / D(g)), with
    D = half_dose_e_A2 / ln 2 * g^-half_dose_power.
    """
    if not settings.half_dose_e_A2:
        return np.ones_like(d_star)
    return np.asarray(np.exp(-np.log(2) * dose_e_A2 * d_star**settings.half_dose_power / settings.half_dose_e_A2))
