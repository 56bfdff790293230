"""What a simulated grid knows of a run: where each exposure looked, which crystals it lit, and what these are.

`grid_truth.h5` has three tables of columns of one length each: `exposures`, `lit` and `crystals`.
"""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from drivers.ongrid import LitOnGrid, SeenOnGrid
from drivers.simulated.crystal import Crystal
from drivers.simulated.crystalgrid import CrystalGrid
from drivers.simulated.gridcrystals import CrystalsOfGrid, joined
from drivers.simulated.gridprobe import lit_by
from drivers.simulated.gridsettings import GridSettings
from drivers.simulated.phases import load_phase

COLUMNS = {
    "exposures/begin_ns": "ns, as the trace has it",
    "exposures/end_ns": "ns",
    "exposures/image": "1 of an image, 0 of a diffraction pattern",
    "exposures/beam_nm": "nm, (n, 2): middle of the beam on the grid, x and y",
    "exposures/field_nm": "nm, (n, 2): what is in the middle of an image, on the grid; NaN of patterns",
    "exposures/nm_per_px": "nm on the grid: (n, 4): x of fast, x of slow, y of fast, y of slow; NaN of patterns",
    "exposures/beam_share": "1: share of the exposure with the beam on",
    "lit/exposure": "row of the pattern in exposures",
    "lit/crystal": "number of the particle",
    "lit/of_beam": "1: share of the probe that is on it",
    "lit/of_crystal": "1: share of it that is lit",
    "crystals/number": "number of the particle",
    "crystals/x_nm": "nm: its middle, on the grid",
    "crystals/y_nm": "nm",
    "crystals/length_nm": "nm: longest edge",
    "crystals/width_nm": "nm",
    "crystals/thickness_nm": "nm, along the beam",
    "crystals/turned_rad": "rad: of the longest edge, from x towards y",
    "crystals/phase": "which phase; -1 of an amorphous particle",
    "crystals/orientation": "(n, 3, 3) U at stage angle 0: crystal (a || x, c* || z) to lab frame",
    "crystals/transmission": "1: of its thickest part, in an image",
}


@lru_cache(maxsize=2)
def grid_of(settings: GridSettings) -> CrystalGrid:
    """The grid of these settings."""
    return CrystalGrid(settings)


def write_grid(path: Path, settings: GridSettings, seen: Sequence[SeenOnGrid]) -> None:
    """Write grid_truth.h5. Raises FileExistsError when the file exists."""
    grid = grid_of(settings)
    lit_rows: list[tuple[int, int, float, float]] = []
    found = [grid.crystals_in(np.zeros(2), np.zeros(2))]
    for row, exposure in enumerate(seen):
        if exposure.is_image:
            half = np.abs(np.reshape(exposure.nm_per_px, (2, 2))) @ np.array(exposure.shape_px[::-1]) / 2.0
            middle = np.array(exposure.field_nm)
            found.append(grid.crystals_touching(middle - half, middle + half))
        else:
            lit = lit_by(grid, exposure.beam_nm, settings.probe_nm / 2.0, exposure.tilt_deg)
            found.append(lit.crystals)
            lit_rows.extend(
                (row, number, of_probe, of_crystal)
                for number, of_probe, of_crystal in zip(lit.crystals.number, lit.of_probe, lit.of_crystal, strict=True)
            )
    crystals = joined(found)
    crystals = crystals.chosen(np.unique(crystals.number, return_index=True)[1])
    tables = _exposures(seen) | _lit(lit_rows) | _crystals(crystals)
    with h5py.File(path, "x") as file:
        for name, meaning in COLUMNS.items():
            file.create_dataset(name, data=tables[name]).attrs["meaning"] = meaning
        for number, phase in enumerate(phases_of(settings)):
            group = file.create_group(f"phases/{number}")
            group.attrs["name"], group.attrs["cell"] = phase.name, phase.cell
        for name in GridSettings.__dataclass_fields__:
            file.attrs[name] = getattr(settings, name)


def phases_of(settings: GridSettings) -> list[Crystal]:
    """The phases of a grid; their cells are the truth of a run over it."""
    words = (settings.phase, settings.second_phase) if settings.second_share > 0.0 else (settings.phase,)
    return [load_phase(each, settings.seed, number) for number, each in enumerate(words)]


def lit_on_grid(settings: GridSettings, seen: SeenOnGrid) -> LitOnGrid:
    """See `Truth.lit_on_grid`."""
    lit = lit_by(grid_of(settings), seen.beam_nm, settings.probe_nm / 2.0, seen.tilt_deg)
    away_nm = np.hypot(lit.crystals.x_nm - seen.beam_nm[0], lit.crystals.y_nm - seen.beam_nm[1])
    arrays = (lit.crystals.number, lit.of_probe, lit.of_crystal, lit.crystals.phase, away_nm)
    numbers, of_beam, of_crystal, phases, away = (tuple(each.tolist()) for each in arrays)
    return LitOnGrid(numbers, of_beam, of_crystal, phases, away)


def _exposures(seen: Sequence[SeenOnGrid]) -> dict[str, NDArray[np.generic]]:
    return {
        "exposures/begin_ns": np.array([each.begin_ns for each in seen], np.int64),
        "exposures/end_ns": np.array([each.end_ns for each in seen], np.int64),
        "exposures/image": np.array([each.is_image for each in seen], np.uint8),
        "exposures/beam_nm": np.array([each.beam_nm for each in seen], np.float64).reshape(-1, 2),
        "exposures/field_nm": np.array([each.field_nm for each in seen], np.float64).reshape(-1, 2),
        "exposures/nm_per_px": np.array([each.nm_per_px for each in seen], np.float64).reshape(-1, 4),
        "exposures/beam_share": np.array([each.beam_share for each in seen], np.float64),
    }


def _lit(rows: Sequence[tuple[int, int, float, float]]) -> dict[str, NDArray[np.generic]]:
    exposure, crystal, of_beam, of_crystal = zip(*rows, strict=True) if rows else ((), (), (), ())
    return {
        "lit/exposure": np.array(exposure, np.int64),
        "lit/crystal": np.array(crystal, np.int64),
        "lit/of_beam": np.array(of_beam, np.float64),
        "lit/of_crystal": np.array(of_crystal, np.float64),
    }


def _crystals(crystals: CrystalsOfGrid) -> dict[str, NDArray[np.generic]]:
    names = [name.removeprefix("crystals/") for name in COLUMNS if name.startswith("crystals/")]
    return {f"crystals/{name}": getattr(crystals, name) for name in names}
