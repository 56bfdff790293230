"""Writes `truth.h5`: what the simulation knows of a run, for checking what is derived from its pictures."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from drivers.simulated.crystal import Crystal
from drivers.simulated.fate import lit_share
from drivers.simulated.picturesettings import PictureSettings


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


def add_fate(
    path: Path,
    crystal: Crystal,
    irradiated_s: NDArray[np.float64],
    axis_deg: float,
    settings: PictureSettings,
) -> None:
    """Add what became of the crystal: dose_e_A2 (n, 2: start, end of each kept frame), lit_share (n), and as
    attributes the flux and by what doses the beam halves intensities.

    irradiated_s: (n, 2) seconds of that flux. axis_deg: of the tilt axis in the picture.
    """
    with h5py.File(path, "a") as file:
        file.attrs["flux_e_A2_s"] = settings.flux_e_A2_s
        file.attrs["half_dose_e_A2"] = settings.half_dose_e_A2
        file.attrs["half_dose_power"] = settings.half_dose_power
        file.attrs["height_off_nm"] = settings.height_off_nm
        middle_deg = file["frame_angle_deg"][:].mean(axis=1)
        lit = [lit_share(crystal, angle_deg, axis_deg, settings) for angle_deg in middle_deg.tolist()]
        for name, values, units, meaning in (
            (
                "dose_e_A2",
                irradiated_s * settings.flux_e_A2_s,
                "1/A^2",
                "electrons that the crystal has had at start and end of each kept frame; a reflection of spacing d (A) "
                "is halved by every half_dose_e_A2 * d^half_dose_power of them, where that is not 0",
            ),
            ("lit_share", np.array(lit, np.float64), "1", "share of the crystal in the aperture in each kept frame"),
        ):
            dataset = file.create_dataset(name, data=values)
            dataset.attrs["units"] = units
            dataset.attrs["meaning"] = meaning


def add_hidden(path: Path, values: Mapping[str, float | Sequence[float]]) -> None:
    """Add what an instrument hides as attributes; the file is made where there is none."""
    with h5py.File(path, "a") as file:
        file.attrs.update(values)
