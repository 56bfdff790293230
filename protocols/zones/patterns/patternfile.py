"""patterns.h5: a set of simulated patterns of one sample, as pictures and as spots, with the truth about them.

`/images` (n, size, size) uint8 with attributes `per_px_per_A` and `wavelength_A`; `/truth/` holds
spots (xy, hkl, intensity, start), labels, zone axes, orientations and the cell. Whoever sorts or solves such a file
reads the pictures only.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.errors import DataError
from protocols.lattice.cell import Cell
from protocols.products.atomic import replacing
from protocols.zones.patterns.mixture import Mixed
from protocols.zones.patterns.render import ImageGeometry
from protocols.zones.patterns.simulation import Patterns
from protocols.zones.sorting.labels import LABELS

SCHEMA = 1
UNREADABLE = (OSError, RuntimeError, KeyError, ValueError, TypeError, AttributeError)
"""What h5py raises for a damaged file, depending on where the damage is."""


@dataclass(frozen=True, slots=True, eq=False)
class Truth:
    """What the simulation knows: the cell, and of every pattern its label (index into LABELS) and its zone axis.

    lattices: the reduced cell of the lattice of every phase, its centring taken off; none of a CIF. phase: (n,) number
    of each pattern's phase. thickness_nm: (n,) of its crystal; None where all were alike.
    """

    cell: Cell
    lattices: tuple[Cell, ...]
    phase: NDArray[np.int64]
    thickness_nm: NDArray[np.float64] | None
    label: NDArray[np.int8]
    zone_axis: NDArray[np.int64]


def write_patterns(
    path: Path,
    patterns: Patterns,
    pictures: Iterable[NDArray[np.uint8]],
    image: ImageGeometry,
    cell: Cell,
    wavelength_A: float,
    made_by: Mapping[str, Any],
    mixed: Mixed | None = None,
    lattices: Sequence[Cell] = (),
) -> None:
    """Write patterns.h5, whole or not at all. pictures: (k, size, size) blocks, all patterns in their order.

    made_by: what was asked for, kept as JSON. mixed: of a mixture, whose each pattern is, and lattices: the reduced
    cell of each phase. StorageError for the disk.
    """
    import h5py

    with replacing(path) as part, h5py.File(part, "w") as file:
        file.attrs["credline_patterns"] = SCHEMA
        file.attrs["made_by"] = json.dumps(made_by)
        size = image.size_px
        shape, chunk = (len(patterns), size, size), (1, size, size)
        images = file.create_dataset("images", shape, np.uint8, chunks=chunk, compression="gzip", compression_opts=1)
        written = 0
        for block in pictures:
            images[written : written + len(block)] = block
            written += len(block)
        images.attrs["per_px_per_A"] = image.per_px
        images.attrs["wavelength_A"] = wavelength_A
        truth = file.create_group("truth")
        truth.attrs["cell_A_deg"] = cell.parameters
        truth["label"] = patterns.label
        truth["label"].attrs["names"] = LABELS
        for name in ("zone_axis", "outside", "xy", "hkl", "intensity", "start", "orientation", "crystals_in_beam"):
            truth.create_dataset(name, data=getattr(patterns, name), compression="gzip", compression_opts=1)
        if mixed is not None:
            truth["phase"], truth["thickness_nm"] = mixed.phase, mixed.thickness_nm
            truth["phase"].attrs["lattices_A_deg"] = np.array([one.parameters for one in lattices]).reshape(-1, 6)


def read_truth(path: Path) -> Truth | None:
    """The truth in a file of patterns, None where it has none. DataError for a damaged file."""
    import h5py

    try:
        with h5py.File(path, "r") as file:
            if "truth" not in file:
                return None
            truth = file["truth"]
            cell = Cell(*(float(x) for x in truth.attrs["cell_A_deg"]))
            made_by = json.loads(file.attrs["made_by"])
            label, axis = truth["label"][()], truth["zone_axis"][()]
            if "phase" in truth:
                lattices = tuple(Cell(*(float(x) for x in row)) for row in truth["phase"].attrs["lattices_A_deg"])
                phase = truth["phase"][()].astype(np.int64)
                return Truth(cell, lattices, phase, truth["thickness_nm"][()], label, axis)
            lattices = () if made_by.get("cif") else (cell.reduced(made_by.get("space_group", "P 1")),)
            return Truth(cell, lattices, np.zeros(len(label), dtype=np.int64), None, label, axis)
    except UNREADABLE as error:
        raise DataError(f"{path}: damaged ({str(error).splitlines()[0][:200]}); simulate it again") from error
