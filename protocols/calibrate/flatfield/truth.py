"""How far a flatfield is off what the simulated camera really is, for judging the calibration."""

from pathlib import Path

import h5py
import numpy as np

from drivers.calibration.calibrationarrays import CameraArrays
from protocols.calibrate.truth import truth_of


def flatfield_truth(folder: Path, found: CameraArrays) -> dict[str, float]:
    """The true values by their names, from truth.h5 of a run folder; empty where there is none, on a real instrument.

    flatfield_accuracy: what the response is really off by, rms over good pixels. bad_pixels_missed, bad_pixels_false:
    how many were not found, and how many are none.
    """
    path = folder / "truth.h5"
    if not path.exists():
        return {}
    with h5py.File(path, "r") as file:
        response, bad = np.asarray(file["flatfield"][()], np.float64), np.asarray(file["bad"][()], bool)
    single = truth_of(folder)
    good = ~bad & ~found.bad
    ratio = found.flatfield[good] / response[good]
    return {
        **{name: float(np.asarray(single[name])) for name in ("gain_counts_per_electron", "dark_counts_s")},
        "bad_pixels": float(np.count_nonzero(bad)),
        "bad_pixels_missed": float(np.count_nonzero(bad & ~found.bad)),
        "bad_pixels_false": float(np.count_nonzero(found.bad & ~bad)),
        "flatfield_accuracy": float(np.std(ratio / ratio.mean())),
    }
