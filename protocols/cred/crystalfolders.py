"""A folder for each crystal of a run that exposed several in turns: a run folder of its own, as every program reads it.

`crystal_1` and so on in the folder of the run. Its `frames.h5` has a table in which the frames of the others are not
kept; its pictures are those of the run's file, to which it links, so that no count stands twice on the disk.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from engine.errors import StorageError
from engine.record.document import RunDocument
from engine.record.folder import replacing
from engine.record.frametable import DATA_FILE
from engine.record.jsonobject import JsonDict
from protocols.cred.crystalslots import SEVERAL, slots_of
from protocols.cred.records import DIFFRACTION
from protocols.cred.trackedpath import Tracked
from protocols.products.source import crystal_folder


def make_crystal_folders(folder: Path, document: RunDocument) -> list[Path]:
    """Make the folders of all crystals of a run, or bring them up to date. Raises StorageError, or DataError for a file
    of frames that cannot be read; what was written before stays.
    """
    made = []
    for told in document.result[SEVERAL]:
        own = crystal_folder(folder, told["crystal"])
        own.mkdir(exist_ok=True)
        count = _link_frames(folder, own, slots_of(document.result, told["crystal"]))
        _document_of(document, told, count).write(own)
        made.append(own)
    return made


def _link_frames(folder: Path, own: Path, slots: set[int]) -> int:
    """Write the frames.h5 of a crystal; how many frames it has."""
    import h5py

    count = 0
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
                    mine = np.isin(table["slot"], sorted(slots))
                    count = int(mine.sum())
                    table["kept"] = np.where(mine, table["kept"], 0)
                group.create_dataset("frames", data=table)
                if "data" in item:
                    group["data"] = h5py.ExternalLink(f"../{DATA_FILE}", f"/{name}/data")
    except OSError as error:
        raise StorageError(
            f"{own / DATA_FILE}: could not be written ({error}); the frames of the run are untouched. Free some space, "
            "then run credline export on the run folder."
        ) from error
    return count


def _document_of(document: RunDocument, told: JsonDict, count: int) -> RunDocument:
    """run.json of a crystal: its own counts, snapshots and path; all else is the run's. count: of its frames."""
    number = told["crystal"]
    result: JsonDict = {name: value for name, value in document.result.items() if name != SEVERAL}
    result |= {"frames": told["frames"], "frames_not_kept": count - told["frames"], "crystal": number}
    own: dict[str, Any] = dict(document.own)
    tracking = own.get("tracking")
    if isinstance(tracking, Mapping):
        looks = [each for each in tracking["found"] if each.get("crystal") == number]
        own["tracking"] = {**tracking, "found": looks}
        slots = {each["slot"] for each in looks}
        own["snapshots"] = [each for each in own["snapshots"] if each["slot"] in slots]
        result |= {"snapshots": len(looks), "tracking": Tracked(looks, list(tracking["corrected"])).summary}
    sample = f"{document.label}_{number}"
    plan: JsonDict = {**document.plan, "sample": sample, "other_paths": []}
    return replace(
        document, run_id=f"{document.run_id}_crystal_{number}", label=sample, plan=plan, result=result, own=own
    )
