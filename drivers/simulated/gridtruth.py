"""What a simulated grid knows of a run: where each exposure looked, which crystals it lit, and what these are.

`grid_truth.h5` has three tables of columns of one length each: `exposures`, `lit` and `crystals`. `truth.h5` of a
rotation is of the one crystal that was under the beam.
"""

from collections.abc import Sequence
from dataclasses import replace
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
from drivers.simulated.truthfile import add_places, write_truth

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
            lit = lit_by(grid, exposure.beam_nm, exposure.beam_radius_nm, exposure.tilt_deg)
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


def write_turned(
    path: Path,
    settings: GridSettings,
    slots: Sequence[int],
    frame_angle_deg: NDArray[np.float64],
    intervals_ns: Sequence[tuple[int, int]],
    seen: Sequence[SeenOnGrid],
) -> None:
    """Write truth.h5 of the crystal that most of the beam was on in these frames, with `truthfile.write_truth`'s
    arguments; of none where the beam was on no crystal: then orientation and reflections are those of the first phase.

    As attributes crystal_number (-1 of none), phase, crystal_x_nm, crystal_y_nm on the grid, thickness_nm; as
    frame_crystal_nm and frame_crystal_share where it was from the middle of the beam, seen along it, and its share lit;
    frame_others_share: of the light on crystals in each frame what was on others.
    """
    begun = {each.begin_ns: each for each in seen}
    frames = [begun[begin_ns] for begin_ns, _ in intervals_ns if begin_ns in begun]
    lit = [lit_by(grid_of(settings), each.beam_nm, each.beam_radius_nm, each.tilt_deg) for each in frames]
    light: dict[int, float] = {}
    for each in lit:
        crystals = each.crystals.phase >= 0
        for number, of_probe in zip(each.crystals.number[crystals], each.of_probe[crystals], strict=True):
            light[int(number)] = light.get(int(number), 0.0) + float(of_probe)
    phases = phases_of(settings)
    if not light:
        write_truth(path, phases[0], slots, frame_angle_deg)
        with h5py.File(path, "a") as file:
            file.attrs["crystal_number"] = -1
        return
    number = max(light, key=lambda each: light[each])
    holding = next(each for each in lit if number in each.crystals.number)
    (one,) = np.flatnonzero(holding.crystals.number == number)
    x_nm, y_nm = float(holding.crystals.x_nm[one]), float(holding.crystals.y_nm[one])
    phase, orientation = int(holding.crystals.phase[one]), holding.crystals.orientation[one]
    crystal = replace(phases[phase], orientation=orientation, ub=orientation @ phases[phase].ub)
    write_truth(path, crystal, slots, frame_angle_deg)
    places, shares, others = [], [], []
    for sight, each in zip(frames, lit, strict=True):
        is_it = each.crystals.number == number
        cos = float(np.cos(np.deg2rad(sight.tilt_deg)))
        places.append((x_nm - sight.beam_nm[0], (y_nm - sight.beam_nm[1]) * cos))
        shares.append(float(each.of_crystal[is_it].sum()))
        of_all = float(each.of_probe[each.crystals.phase >= 0].sum())
        others.append(1.0 - float(each.of_probe[is_it].sum()) / of_all if of_all > 0.0 else 0.0)
    add_places(path, "frame", places, shares)
    with h5py.File(path, "a") as file:
        file.attrs.update(
            crystal_number=number,
            phase=phase,
            crystal_x_nm=x_nm,
            crystal_y_nm=y_nm,
            thickness_nm=float(holding.crystals.thickness_nm[one]),
        )
        dataset = file.create_dataset("frame_others_share", data=np.array(others))
        dataset.attrs["units"], dataset.attrs["meaning"] = "1", "of the light on crystals, what was on others"


def phases_of(settings: GridSettings) -> list[Crystal]:
    """The phases of a grid; their cells are the truth of a run over it."""
    return [load_phase(each, settings.seed, number) for number, each in enumerate(settings.phases)]


def lit_on_grid(settings: GridSettings, seen: SeenOnGrid) -> LitOnGrid:
    """See `Truth.lit_on_grid`."""
    lit = lit_by(grid_of(settings), seen.beam_nm, seen.beam_radius_nm, seen.tilt_deg)
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
