"""What a calibration has measured, as its command shows it and as the instrument file keeps it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import cast

import numpy as np
from numpy.typing import NDArray

from drivers.calibration.calibratedvalue import Matrix
from drivers.calibration.calibrationarrays import CameraArrays


@dataclass(frozen=True, slots=True)
class Measured:
    """A value with its standard uncertainty. unit: as `drivers.calibration.calibratedvalue.KINDS` has it.

    Of a matrix four numbers with a sigma each, and the covariance of the four, (4, 4). camera_length_mm, magnification:
    the nominal setting that it holds for, where that is not the one that was looked at before the run. spot_size,
    brightness: of what holds for the illumination.
    """

    value: float | Matrix
    sigma: float | Matrix
    unit: str
    covariance: tuple[Matrix, Matrix, Matrix, Matrix] | None = None
    camera_length_mm: float | None = None
    magnification: float | None = None
    spot_size: int | None = None
    brightness: float | None = None

    @property
    def number(self) -> float:
        """The value of what is no matrix. Raises TypeError for a matrix."""
        if isinstance(self.value, tuple):
            raise TypeError("a matrix is four numbers")
        return self.value


@dataclass(frozen=True, slots=True, eq=False)
class Analysed:
    """The result of a calibration. values: by their names (`named`). lines: what was made and seen, for a person.
    arrays: of the camera, where it measures those. truth: by the same names, on a simulation.
    """

    values: Mapping[str, Measured]
    lines: tuple[str, ...]
    arrays: CameraArrays | None = None
    truth: Mapping[str, float | Matrix] = field(default_factory=dict)


def matrix_of(matrix: NDArray[np.float64], covariance: NDArray[np.float64], unit: str) -> Measured:
    """A matrix (2, 2) with the covariance (4, 4) of its numbers row by row, as a value."""
    a, b, c, d = (_four(row) for row in covariance)
    return Measured(_four(matrix.ravel()), _four(np.sqrt(np.diag(covariance))), unit, (a, b, c, d))


def _four(numbers: NDArray[np.float64]) -> Matrix:
    a, b, c, d = numbers.tolist()
    return a, b, c, d


def named(name: str, camera_length_mm: float | None = None, magnification: float | None = None) -> str:
    """The name of a value where a run has measured it at several settings: `camera_length_mm at 250 mm`."""
    if camera_length_mm is not None:
        return f"{name} at {camera_length_mm:g} mm"
    return name if magnification is None else f"{name} at {magnification:g}x"


def kind_of(name: str) -> str:
    """The name in `KINDS` of what `named` has named."""
    return name.partition(" at ")[0]


def rows_of(values: Mapping[str, Measured]) -> list[str]:
    """The values for a person, a matrix as its rows."""
    rows = []
    for name, measured in values.items():
        if isinstance(measured.value, tuple):
            pairs = zip(measured.value, cast("tuple[float, ...]", measured.sigma), strict=True)
            a, b, c, d = (f"{value:.4g} +- {sigma:.1g}" for value, sigma in pairs)
            rows.append(f"{name} = [[{a}, {b}], [{c}, {d}]] {measured.unit}")
        else:
            rows.append(f"{name} = {measured.value:.6g} +- {measured.sigma:.2g} {measured.unit}")
    return rows
