"""What kinematic theory leaves out of electron diffraction: beams that lose to one another, and scattering twice.

Two models, off by default, to see whether what reads the pictures stands it. Neither is a simulation of dynamical
diffraction, which depends on all beams at once and on the thickness everywhere.

* Two beams: each reflection exchanges with the primary beam alone, in perfect blocks. Its intensity, integrated over
  the rocking curve, is smaller than the kinematic one by Blackman's factor (M. Blackman, Proc. R. Soc. A 173, 68-82,
  1939; also B. K. Vainshtein, Structure Analysis by Electron Diffraction, 1964), which evens strong reflections out.
* Scattered twice: each diffracted beam is a weaker primary beam for the others. A share of all that is diffracted goes
  from beam h to beam g as g - h and the rocking curve of g allow, without interference. So reflections appear that the
  space group forbids.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import itj0y0

from drivers.simulated.crystal import Crystal
from drivers.simulated.pattern import Spots

COMPTON_A = 0.0242631
"""Wavelength of Compton, h/mc: the ratio of it to the beam's wavelength tells the speed of the electrons."""


def two_beam_factor(strength: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n,) Blackman's integrated intensity over the kinematic one: (1/A) times the integral of J0(2x) from 0 to A."""
    strength = np.maximum(strength, 1e-9)
    return np.asarray(0.5 * itj0y0(2.0 * strength)[0] / strength)


def two_beam(crystal: Crystal, wavelength_A: float, blocks_nm: float) -> Crystal:
    """The crystal with the intensities that perfect blocks of this thickness give; 0 leaves it as it is."""
    if not blocks_nm:
        return crystal
    factor = two_beam_factor(blackman_strength(crystal, wavelength_A, blocks_nm))
    return replace(crystal, intensity=crystal.intensity * factor)


def blackman_strength(crystal: Crystal, wavelength_A: float, blocks_nm: float) -> NDArray[np.float64]:
    """(m,) A = gamma * wavelength * thickness * |F| / volume, for F of electrons at rest and their gamma."""
    gamma = float(np.hypot(1.0, COMPTON_A / wavelength_A))
    return np.asarray(gamma * wavelength_A * 10.0 * blocks_nm / crystal.volume_A3 * np.sqrt(crystal.intensity))


class TwiceScattered:
    """Scattering of diffracted beams once more. share: part of all diffracted electrons that this happens to."""

    def __init__(self, crystal: Crystal, share: float) -> None:
        self._share = share
        self._reach = int(np.abs(crystal.hkl).max())
        side = 4 * self._reach + 1  # differences of indices reach twice as far
        self._intensity = np.zeros((side, side, side), np.float32)
        self._intensity[self._places(crystal.hkl)] = crystal.intensity
        every = np.stack(np.meshgrid(*[np.arange(-self._reach, self._reach + 1)] * 3, indexing="ij"), -1).reshape(-1, 3)
        length = np.linalg.norm(every @ crystal.ub.T, axis=1)
        every = every[(length > 0) & (length <= 1.0 / crystal.d_min_A)].astype(np.int32)
        self.points = replace(crystal, hkl=every, intensity=np.ones(len(every)))
        """Every point of the reciprocal lattice, each as strong as the others: what is excited of them is to be given
        to `scattered`."""

    def scattered(self, excited: Spots) -> Spots:
        """The spots with the intensities of the crystal, after scattering once and twice; their sum is that of once."""
        hkl = self.points.hkl[excited.index]
        once = excited.rate * self._intensity[self._places(hkl)]
        between = self._intensity[self._places(hkl[:, None] - hkl[None, :])]
        twice = excited.rate * (between @ once)
        if (total := float(twice.sum())) > 0:
            rate = (1.0 - self._share) * once + twice * (self._share * float(once.sum()) / total)
        else:
            rate = once
        with np.errstate(divide="ignore", invalid="ignore"):
            per_rate = np.where(excited.rate > 0, excited.weight / excited.rate, 0.0)
        return replace(excited, rate=rate, weight=rate * per_rate)

    def _places(self, hkl: NDArray[np.integer]) -> tuple[NDArray[np.integer], ...]:
        return tuple(np.moveaxis(hkl + 2 * self._reach, -1, 0))
