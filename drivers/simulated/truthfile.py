"""Writes `truth.h5`: what the simulation knows of a run, for checking what is derived from its pictures."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from drivers.simulated.crystal import Crystal


def write_truth(path: Path, crystal: Crystal, slots: Sequence[int], frame_angle_deg: NDArray[np.float64]) -> None:
    """Write cell (6), orientation (3, 3), frame_angle_deg (n, 2: start, end), slot (n), hkl (m, 3), intensity (m).

    `frame_angle_deg` are the true stage angles of the kept frames and `slots` their slot numbers. Raises ValueError
    (nothing written) when the two differ in length, FileExistsError when the file exists.
    """
    angles = np.asarray(frame_angle_deg, dtype=np.float64).reshape(-1, 2)
    if len(slots) != len(angles):
        raise ValueError(f"{len(slots)} slots but {len(angles)} pairs of angles; truth.h5 not written")
    with h5py.File(path, "x") as file:
        file.attrs["crystal"] = crystal.name
        file.attrs["d_min_A"] = crystal.d_min_A
        file.attrs["size_nm"] = crystal.size_nm
        for name, values, units, meaning in (
            ("cell", np.array(crystal.cell), "A, A, A, deg, deg, deg", "a b c alpha beta gamma"),
            ("orientation", crystal.orientation, "1", "U at stage angle 0: crystal (a || x, c* || z) to lab frame"),
            ("frame_angle_deg", angles, "deg", "true stage angle at start and end of each kept frame"),
            ("slot", np.asarray(slots, dtype=np.int64), "1", "slot number of each kept frame"),
            ("hkl", crystal.hkl, "1", "Miller indices, all equivalents to d_min_A"),
            ("intensity", crystal.intensity, "A^2", "kinematic |F|^2 of the unit cell for electrons"),
        ):
            dataset = file.create_dataset(name, data=values)
            dataset.attrs["units"] = units
            dataset.attrs["meaning"] = meaning


def add_hidden(path: Path, values: Mapping[str, float | Sequence[float]]) -> None:
    """Add what an instrument hides as attributes; the file is made where there is none."""
    with h5py.File(path, "a") as file:
        file.attrs.update(values)
