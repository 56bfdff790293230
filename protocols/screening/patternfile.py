"""A file of labelled patterns: frames of counts, and the truth about each beside them.

`/images` (n, slow, fast), uint16 of a counting camera and float32 of others; `/truth/` holds kind, verdict, d_min_A
(NaN: none), lattices, crystal, beam_px and inverse_A_per_px. It is read as any stack of pictures is; each has its own
scale.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from engine.errors import DataError
from protocols.products.atomic import replacing
from protocols.screening.labels import Label

if TYPE_CHECKING:
    from protocols.screening.generation import LabelledPattern

SCHEMA = 1
MARK = "credline_screening_patterns"
SCALES = "truth/inverse_A_per_px"


def write_patterns(
    path: Path, patterns: Iterable["LabelledPattern"], count: int, shape: tuple[int, int], made_by: Mapping[str, Any]
) -> list[Label]:
    """Write the file, whole or not at all; shape: pixels (fast, slow). Gives the labels. StorageError for the disk."""
    import h5py

    rows_columns = shape[1], shape[0]
    labels: list[Label] = []
    scales: list[float] = []
    beams: list[tuple[float, float]] = []
    with replacing(path) as part, h5py.File(part, "w") as file:
        file.attrs[MARK] = SCHEMA
        file.attrs["made_by"] = json.dumps(made_by)
        kind = np.uint16 if made_by.get("camera") == "counting" else np.float32
        images = file.create_dataset(
            "images", (count, *rows_columns), kind, chunks=(1, *rows_columns), compression="gzip", compression_opts=1
        )
        for number, one in enumerate(patterns):
            images[number] = one.counts
            labels.append(one.label)
            scales.append(one.inverse_A_per_px)
            beams.append(one.beam_px)
        truth = file.create_group("truth")
        truth["kind"] = [label.kind.value for label in labels]
        truth["verdict"] = [label.verdict.value for label in labels]
        truth["d_min_A"] = [np.nan if label.d_min_A is None else label.d_min_A for label in labels]
        truth["lattices"] = [label.lattices for label in labels]
        truth["crystal"] = [label.crystal for label in labels]
        truth["beam_px"] = beams
        file[SCALES] = scales
    return labels


def scales_of(path: Path) -> NDArray[np.float64] | None:
    """(n,) 1/A per pixel of each pattern of such a file; None for any other. DataError for a damaged one."""
    if path.suffix != ".h5" or not path.is_file():
        return None
    import h5py

    try:
        with h5py.File(path, "r") as file:
            return np.asarray(file[SCALES][()], dtype=np.float64) if MARK in file.attrs else None
    except (OSError, RuntimeError, KeyError, ValueError, TypeError) as error:
        raise DataError(f"{path}: damaged ({str(error).splitlines()[0][:200]}); simulate it again") from error
