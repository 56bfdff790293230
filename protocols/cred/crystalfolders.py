"""A folder for each crystal of a run that exposed several in turns: a run folder of its own, as every program reads it.

`crystal_1` and so on in the folder of the run. Its `frames.h5` has a table in which the frames of the others are not
kept; its pictures are those of the run's file, to which it links, so that no count stands twice on the disk.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.errors import StorageError
from engine.record.document import RunDocument
from engine.record.folder import replacing
from engine.record.frametable import DATA_FILE
from engine.record.jsonobject import JsonDict
from protocols.cred.crystalslots import SEVERAL, slots_of
from protocols.cred.records import DIFFRACTION
from protocols.products.source import crystal_folder


def make_crystal_folders(folder: Path, document: RunDocument) -> list[Path]:
    """Make the folders of all crystals of a run, or bring them up to date. Raises StorageError, or DataError for a file
    of frames that cannot be read; what was written before stays.
    """
    made = []
    for told in document.result[SEVERAL]:
        own = crystal_folder(folder, told["crystal"])
        own.mkdir(exist_ok=True)
        kept = _link_frames(folder, own, slots_of(document.result, told["crystal"]))
        _document_of(document, told, kept).write(own)
        made.append(own)
    return made


def _link_frames(folder: Path, own: Path, slots: set[int]) -> int:
    """Write the frames.h5 of a crystal; how many frames are kept in it."""
    import h5py

    kept = 0
    try:
        with (
            h5py.File(folder / DATA_FILE, "r") as source,
            replacing(own / DATA_FILE) as place,
            h5py.File(place, "w", libver=("v110", "v114")) as file,
        ):
            file.attrs.update(source.attrs)
            for name, item in source.items():
                if not isinstance(item, h5py.Group):
                    file[name] = h5py.ExternalLink(f"../{DATA_FILE}", f"/{name}")
                    continue
                group, table = file.create_group(name), item["frames"][()]
                if name == DIFFRACTION.name:
                    table = _own_rows(table, slots)
                    kept = int(table["kept"].sum())
                group.create_dataset("frames", data=table)
                if "data" in item:
                    group["data"] = h5py.ExternalLink(f"../{DATA_FILE}", f"/{name}/data")
    except OSError as error:
        raise StorageError(
            f"{own / DATA_FILE}: could not be written ({error}); the frames of the run are untouched. Free some space, "
            "then run credline export on the run folder."
        ) from error
    return kept


def _own_rows(table: NDArray[np.void], slots: set[int]) -> NDArray[np.void]:
    """The table with the frames of other crystals not kept."""
    mine = np.isin(table["slot"], sorted(slots))
    table["kept"] = np.where(mine, table["kept"], 0)
    return table


def _document_of(document: RunDocument, told: JsonDict, kept: int) -> RunDocument:
    """run.json of a crystal: its own counts, snapshots and path; all else is the run's."""
    number, result = told["crystal"], {name: value for name, value in document.result.items() if name != SEVERAL}
    frames = int(result["frames"]) + int(result["frames_not_kept"])
    own: dict[str, Any] = dict(document.own)
    if isinstance(tracking := own.get("tracking"), dict):
        found = [each for each in tracking.get("found", []) if each.get("crystal") == number]
        own["tracking"] = {**tracking, "found": found}
    sample = f"{document.label}_{number}"
    plan: JsonDict = {**document.plan, "sample": sample, "other_paths": []}
    return replace(
        document,
        run_id=f"{document.run_id}_crystal_{number}",
        label=sample,
        plan=plan,
        result={**result, "frames": kept, "frames_not_kept": frames - kept, "crystal": number},
        own=own,
    )
