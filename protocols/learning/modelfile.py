"""A trained network on the disk: a folder with its numbers in half precision and, beside them, its card.

The files are `weights.npz` and `model.json`. No pickle, so that a file from elsewhere is numbers and cannot be a
program. Whatever is wrong with a folder is one line with the remedy.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.errors import Refused, shown

WEIGHTS_FILE, RECORD_FILE = "weights.npz", "model.json"

Weights = dict[str, NDArray[np.float32]]


def halved(weights: Mapping[str, NDArray[np.floating]]) -> Weights:
    """The numbers as a folder gives them back: rounded to half precision."""
    return {name: array.astype(np.float16).astype(np.float32) for name, array in weights.items()}


def write_model(folder: Path, architecture: int, weights: Weights, record: Mapping[str, Any]) -> None:
    """Write both files into a folder, made if need be."""
    folder.mkdir(parents=True, exist_ok=True)
    halves = {name: array.astype(np.float16) for name, array in weights.items()}
    np.savez_compressed(folder / WEIGHTS_FILE, allow_pickle=False, **halves)
    card = {"architecture": architecture, **record}
    (folder / RECORD_FILE).write_text(json.dumps(card, indent=1) + "\n", encoding="utf-8")


def read_record(folder: Path, remedy: str) -> tuple[object, dict[str, Any]]:
    """The architecture of a model, and its card. Refused for a folder without a model. remedy: what to do, in words."""
    try:
        record = dict(json.loads((folder / RECORD_FILE).read_text(encoding="utf-8")))
        return record.pop("architecture"), record
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise refused_model(folder, f"no model of credline ({shown(error)})", remedy) from error


def read_weights(folder: Path, shapes: Mapping[str, tuple[int, ...]], remedy: str) -> Weights:
    """The numbers of a model, which must have these names and shapes. Refused for a damaged file or another network."""
    try:
        # Opened here: numpy leaves a file open that it opens itself and finds damaged.
        with (folder / WEIGHTS_FILE).open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            weights = {name: np.asarray(arrays[name], dtype=np.float32) for name in arrays.files}
    except Exception as error:  # zipfile, zlib and numpy each have their own errors for a damaged file
        raise refused_model(folder, f"{WEIGHTS_FILE} cannot be read ({shown(error)})", remedy) from error
    if {name: array.shape for name, array in weights.items()} != dict(shapes):
        raise refused_model(folder, f"{WEIGHTS_FILE} holds other arrays than the network has", remedy)
    if not all(np.isfinite(array).all() for array in weights.values()):
        raise refused_model(folder, f"{WEIGHTS_FILE} holds numbers that are not finite", remedy)
    return weights


def refused_model(folder: Path, cause: str, remedy: str) -> Refused:
    """What is wrong with a model, in one line."""
    return Refused(f"{shown(folder)}: {cause}; {remedy} Nothing was classified.")
