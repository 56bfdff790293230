"""What a simulated camera hides: response, gain, dark counts, defects; and the beam that its operator spreads over it.

All of it is drawn from a seed and told to nobody but the truth, for calibrations to be judged by. Pure functions.
"""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from drivers.simulated.latency import generator

Array = NDArray[np.float64]
Generator = np.random.Generator

PIXEL_SIGMA, COLUMN_SIGMA, MODULE_SIGMA = 0.03, 0.01, 0.03
"""By how much pixels, their columns, and the four modules differ in response."""
WEAK, BRIGHT = (0.0, 0.35), (1.8, 3.0)
HOT_S = (20.0, 2000.0)
NOISY = (0.35, 0.8)
"""Of defects: response, false counts per second, and extra noise as a share of the counts."""
PER_PIXELS = 7000
"""One single defect of each kind in so many pixels, and three at least."""


@dataclass(frozen=True, slots=True, eq=False)
class HiddenCamera:
    """(rows, columns) each. response: relative, mean 1 over good pixels of equal area. dark_s: false counts per second.
    noise: extra noise as a share of the counts. bad: pixels with a defect. gain: counts per electron.
    """

    response: Array
    dark_s: Array
    noise: Array
    bad: NDArray[np.bool_]
    gain: float

    @classmethod
    def draw(cls, seed: int, shape: tuple[int, int], dark_s: float) -> "HiddenCamera":
        """The camera of this seed. dark_s: false counts of a good pixel."""
        rng = generator(seed, "hidden camera")
        rows, columns = shape
        response = 1.0 + PIXEL_SIGMA * rng.standard_normal(shape) + COLUMN_SIGMA * rng.standard_normal(columns)
        modules = 1.0 + MODULE_SIGMA * rng.standard_normal((2, 2))
        response *= np.repeat(np.repeat(modules, [rows - rows // 2, rows // 2], 0), [columns - columns // 2] * 2, 1)[
            :, :columns
        ]
        dark, noise, bad = np.full(shape, dark_s), np.zeros(shape), np.zeros(shape, bool)
        singles = max(3, rows * columns // PER_PIXELS)
        for low, high in (WEAK, BRIGHT):
            where = _places(rng, shape, singles)
            response[where] = rng.uniform(low, high, singles)
            bad[where] = True
        response[_places(rng, shape, singles, bad)] = 0.0
        for values, (low, high) in ((dark, HOT_S), (noise, NOISY)):
            where = _places(rng, shape, singles, bad)
            values[where] = np.exp(rng.uniform(math.log(low), math.log(high), singles))
        for height, width in ((3, 3), (5, 4), (rows // 4, 1)):  # groups, and a part of a column
            top, left = int(rng.integers(rows - height)), int(rng.integers(columns - width))
            response[top : top + height, left : left + width] = 0.0
            bad[top : top + height, left : left + width] = True
        response /= response[~bad].mean()
        return cls(response, dark, noise, bad, gain=float(rng.uniform(0.9, 2.5)))

    def detected(self, electrons: Array, exposure_s: float, area: Array, rng: Generator) -> Array:
        """Counts of what falls on the pixels: their response, counting statistics, gain. area: in ordinary pixels."""
        seen = rng.poisson(electrons * self.response).astype(np.float64)
        seen *= np.maximum(1.0 + self.noise * rng.standard_normal(seen.shape), 0.0)
        return np.asarray(np.rint(self.gain * (seen + rng.poisson(self.dark_s * area * exposure_s))))

    def write(self, path: Path, area: Array) -> None:
        """Write it as truth.h5. area: of the raw pixels, in ordinary ones."""
        import h5py

        collected = self.response * area
        with h5py.File(path, "x") as file:
            file["flatfield"] = (collected / collected[~self.bad].mean()).astype(np.float32)
            file["bad"] = self.bad
            file.attrs["gain_counts_per_electron"] = self.gain
            # A good pixel has one false electron now and then, whose counts are rounded.
            file.attrs["dark_counts_s"] = float((np.rint(self.gain) * self.dark_s * area)[~self.bad].mean())


def _places(
    rng: Generator, shape: tuple[int, int], number: int, bad: NDArray[np.bool_] | None = None
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """So many different pixels; marked where `bad` is given."""
    places = rng.choice(shape[0] * shape[1], number, replace=False)
    row, column = np.divmod(places, shape[1])
    if bad is not None:
        bad[row, column] = True
    return row, column


@dataclass(frozen=True, slots=True)
class SpreadState:
    """The spread beam at an instant: time since the instrument was switched on, and where the deflector has moved it,
    in nm along (fast, slow).
    """

    time_s: float
    shift_nm: tuple[float, float]


@dataclass(frozen=True, slots=True)
class SpreadBeam:
    """A beam that an operator has spread over a camera: brightest near its middle, moving and fading slowly.

    Lengths in units of the camera's larger side. centre: of the beam from the camera's middle. curvature: of the
    logarithm of its intensity (xx, xy, yy). skewed: third-order term along x and y. drift_s: per second. fading_s:
    share per second. flicker: share, from exposure to exposure. scale_nm, turned_rad: what the deflector does.
    """

    centre: tuple[float, float]
    curvature: tuple[float, float, float]
    skewed: tuple[float, float]
    drift_s: tuple[float, float]
    fading_s: float
    flicker: float
    scale_nm: float
    turned_rad: float

    @classmethod
    def draw(cls, seed: int) -> "SpreadBeam":
        """The beam of this seed: 10 to 30 % weaker at an edge, drifting by up to 2 % of the camera in 100 s."""
        rng = generator(seed, "spread beam")
        xx, yy = rng.uniform(0.8, 2.4, 2)
        return cls(
            centre=(rng.uniform(-0.2, 0.2), rng.uniform(-0.2, 0.2)),
            curvature=(xx, rng.uniform(-0.3, 0.3), yy),
            skewed=(rng.uniform(-0.2, 0.2), rng.uniform(-0.2, 0.2)),
            drift_s=(rng.uniform(-2e-4, 2e-4), rng.uniform(-2e-4, 2e-4)),
            fading_s=rng.uniform(-1e-4, 1e-4),
            flicker=1e-3,
            scale_nm=rng.uniform(4e-5, 7e-5),
            turned_rad=rng.uniform(-math.pi, math.pi),
        )

    def light(self, x: Array, y: Array, state: SpreadState, rng: Generator, drifting: float = 1.0) -> Array:
        """Relative intensity, 1 in the middle of the beam. x: (columns,), y: (rows,) from the middle of the camera in
        units of its larger side. drifting: how many times as fast as drawn.
        """
        away, turned = self.scale_nm * math.hypot(*state.shift_nm), self.turned_rad
        turned += math.atan2(state.shift_nm[1], state.shift_nm[0])
        moved_x, moved_y = away * math.cos(turned), away * math.sin(turned)
        u = x[None, :] - self.centre[0] - moved_x - drifting * self.drift_s[0] * state.time_s
        v = y[:, None] - self.centre[1] - moved_y - drifting * self.drift_s[1] * state.time_s
        xx, xy, yy = self.curvature
        logarithm = -0.5 * (xx * u * u + 2 * xy * u * v + yy * v * v)
        logarithm = logarithm + self.skewed[0] * u**3 + self.skewed[1] * v**3
        dose = (1.0 + self.fading_s * state.time_s) * (1.0 + self.flicker * rng.standard_normal())
        return np.asarray(dose * np.exp(logarithm))
