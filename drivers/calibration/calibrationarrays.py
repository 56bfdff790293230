"""The pictures of a camera's calibration, in one HDF5 file beside the instrument file: response, dark, bad pixels.

All arrays of one file are of one camera at one high tension and from one set of data; a newer set replaces the file as
a whole. Read when an instrument is put together, written by a calibration.
"""

from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.errors import DataError, StorageError, shown
from engine.record.folder import replacing

FORMAT = "credline camera calibration 1"


@dataclass(frozen=True, slots=True, eq=False)
class CameraArrays:
    """The arrays, (rows, columns) each, of raw pixels.

    flatfield: relative response, mean 1 over the good pixels; a pixel of a wide cross has 3, or 9, for its area.
    sigma: its standard uncertainty. dark_counts_s: counts per second without light. bad: pixels whose counts tell
    nothing. accuracy: median relative uncertainty of the response. high_tension_kV: that it holds for.
    """

    flatfield: NDArray[np.float32]
    sigma: NDArray[np.float32]
    dark_counts_s: NDArray[np.float32]
    bad: NDArray[np.bool_]
    high_tension_kV: float
    accuracy: float
    made_on: date
    data: str
    program: str

    @property
    def response(self) -> NDArray[np.float32]:
        """The response as `Detector.flatfield` gives it: 0 where a pixel is bad, so that products replace it."""
        return np.where(self.bad, np.float32(0), self.flatfield)


ARRAYS = {"flatfield": np.float32, "sigma": np.float32, "dark_counts_s": np.float32, "bad": np.bool_}


def read_arrays(path: Path) -> CameraArrays | None:
    """The arrays of a file; None where there is none. Raises DataError for a file that is damaged or something else."""
    import h5py

    if not path.exists():
        return None
    try:
        with h5py.File(path, "r") as file:
            if file.attrs.get("format") != FORMAT:
                raise ValueError("it is no camera calibration of this version")
            arrays: dict[str, NDArray[Any]] = {
                name: np.asarray(file[name][()], dtype) for name, dtype in ARRAYS.items()
            }
            if len({array.shape for array in arrays.values()}) != 1 or arrays["bad"].ndim != 2:
                raise ValueError("its arrays are not of one shape")
            told = dict(file.attrs)
            return CameraArrays(
                **arrays,
                high_tension_kV=float(told["high_tension_kV"]),
                accuracy=float(told["accuracy"]),
                made_on=date.fromisoformat(str(told["date"])),
                data=str(told["data"]),
                program=str(told["program"]),
            )
    except (OSError, KeyError, ValueError, TypeError, RuntimeError) as error:
        raise DataError(
            f"{path}: cannot be read as arrays of a camera's calibration ({shown(error)}); nothing was done. Take a "
            "copy of it, or calibrate again: credline calibrate flatfield."
        ) from error


def write_arrays(path: Path, arrays: CameraArrays) -> None:
    """Replace the file as a whole. Raises StorageError; the earlier file is left as it was then."""
    import h5py

    try:
        with replacing(path) as place, h5py.File(place, "w") as file:
            for name in ARRAYS:
                file.create_dataset(name, data=getattr(arrays, name), compression="gzip", shuffle=True)
            file.attrs["format"] = FORMAT
            file.attrs["date"] = arrays.made_on.isoformat()
            for name in ("high_tension_kV", "accuracy", "data", "program"):
                file.attrs[name] = getattr(arrays, name)
    except OSError as error:
        raise StorageError(
            f"{path}: cannot be written ({error}); what was there before is as it was, the run folder is whole. Free "
            "some space or choose another place."
        ) from error
