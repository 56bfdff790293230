"""What a simulated instrument truly is, from truth.h5 of a run folder, for judging a calibration."""

from pathlib import Path

import h5py
import numpy as np

from drivers.calibration.calibratedvalue import Matrix


def truth_of(folder: Path) -> dict[str, float | Matrix]:
    """The true values by their names; empty where there are none, as of a real instrument."""
    path = folder / "truth.h5"
    if not path.exists():
        return {}
    with h5py.File(path, "r") as file:
        numbers = {name: value for name, value in file.attrs.items() if not isinstance(value, str)}
        return {name: _number(value) for name, value in numbers.items()}


def _number(value: object) -> float | Matrix:
    numbers = np.asarray(value, np.float64)
    if numbers.ndim == 0:
        return float(numbers)
    a, b, c, d = numbers.tolist()
    return a, b, c, d
