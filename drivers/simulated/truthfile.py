"""Writes `truth.h5`: what the simulation knows of a run, for checking what is derived from its pictures."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from drivers.simulated.crystal import Crystal
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


def add_places(path: Path, name: str, crystal_nm: Sequence[tuple[float, float]], share: Sequence[float]) -> None:
    """Add where the crystal was seen and how much of it was lit: NAME_crystal_nm (n, 2), NAME_crystal_share (n)."""
    with h5py.File(path, "a") as file:
        for key, values, units, meaning in (
            ("crystal_nm", np.reshape(crystal_nm, (-1, 2)), "nm", "crystal from the aperture's middle, stage x and y"),
            ("crystal_share", np.asarray(share, np.float64), "1", "share of the crystal that the aperture lights"),
        ):
            dataset = file.create_dataset(f"{name}_{key}", data=values)
            dataset.attrs["units"] = units
            dataset.attrs["meaning"] = meaning


def add_exposures(path: Path, intervals_ns: Sequence[tuple[int, int]], defocus: Sequence[float]) -> None:
    """Add exposure_ns (n, 2: begin, end) and exposure_defocus (n) of all exposures, snapshots among them."""
    with h5py.File(path, "a") as file:
        for key, values, units, meaning in (
            (
                "exposure_ns",
                np.array(intervals_ns, np.int64).reshape(-1, 2),
                "ns",
                "begin and end, as the trace has it",
            ),
            ("exposure_defocus", np.asarray(defocus, np.float64), "1", "how far the lens was from focus, its units"),
        ):
            dataset = file.create_dataset(key, data=values)
            dataset.attrs["units"] = units
            dataset.attrs["meaning"] = meaning


def add_damage(path: Path, irradiated_s: NDArray[np.float64], settings: PictureSettings) -> None:
    """Add dose_e_A2 (n, 2: start, end of each kept frame), and as attributes the flux and by what doses the beam halves
    intensities. irradiated_s: (n, 2) seconds of that flux.
    """
    with h5py.File(path, "a") as file:
        file.attrs["flux_e_A2_s"] = settings.flux_e_A2_s
        file.attrs["half_dose_e_A2"] = settings.half_dose_e_A2
        file.attrs["half_dose_power"] = settings.half_dose_power
        dataset = file.create_dataset("dose_e_A2", data=irradiated_s * settings.flux_e_A2_s)
        dataset.attrs["units"] = "1/A^2"
        dataset.attrs["meaning"] = (
            "electrons that the crystal has had at start and end of each kept frame; a reflection of spacing d (A) is "
            "halved by every half_dose_e_A2 * d^half_dose_power of them, where that is not 0"
        )


def add_hidden(path: Path, values: Mapping[str, float | Sequence[float]]) -> None:
    """Add what an instrument hides as attributes; the file is made where there is none."""
    with h5py.File(path, "a") as file:
        file.attrs.update(values)
