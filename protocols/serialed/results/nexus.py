"""NeXus (`serialed.nxs`): a whole SerialED run in one file that links to the counts in frames.h5.

`/entry/data/data` (n, rows, columns) are the patterns on the grid of equal pixels, as `products.nexus` makes it for a
sweep, and since no axis turns, DIALS imports them as stills. `/entry/crystals` and `/entry/fields` hold a dataset for
each column of crystals.csv and fields.csv; `/entry/patterns` has for each pattern the row of its crystal, or -1.
`/entry/images` links to the images. Move it with its frames.h5; alone its pictures read as zeros.
"""

import math
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from protocols.products.atomic import replacing
from protocols.products.nexus import nx_group, nx_number, virtual_sweep, write_figures, write_instrument, write_source
from protocols.products.source import FRAMES_FILE
from protocols.serialed.results.crystaltable import IMAGE, PATTERN, CrystalRow, FieldRow
from protocols.serialed.results.masks import Masks
from protocols.serialed.results.patternlook import PatternLook
from protocols.serialed.results.source import Patterns, SerialSource

if TYPE_CHECKING:
    import h5py

FILE = "serialed.nxs"
UNITS = {"_px": "pixel", "_nm": "nm", "_um2": "um^2", "_deg": "deg", "_A": "angstrom", "_ns": "ns", "nm_per_px": "nm"}


def write_nexus(
    path: Path,
    source: SerialSource,
    patterns: Patterns | None,
    masks: Masks | None,
    beam_px: tuple[float, float],
    beam_told: str,
    looks: Sequence[PatternLook],
) -> None:
    """Write the file beside frames.h5, whole or not at all. patterns, masks: None for a run without patterns; then the
    file has tables and images only, and is no NXmx.
    """
    import h5py

    with replacing(path) as part, h5py.File(part, "w", libver=("earliest", "v110")) as file:
        entry = nx_group(file, "entry", "NXentry")
        file.attrs["default"] = "entry"
        entry["title"] = source.document.label or source.name
        entry["entry_identifier"] = source.name
        entry["program_name"] = f"credline {source.document.version or ''}".strip()
        entry["ended"] = f"{source.document.status}: {source.document.reason}"
        sample = nx_group(entry, "sample", "NXsample")
        sample["name"] = source.document.label or ""
        write_source(entry)
        if patterns is not None and masks is not None:
            entry["definition"] = "NXmx"
            entry["definition"].attrs["version"] = "1.0"
            entry["start_time"] = patterns.created_at.isoformat()
            entry["end_time_estimated"] = _end(source, patterns).isoformat()
            data = nx_group(entry, "data", "NXdata")
            data.attrs["signal"] = "data"
            virtual_sweep(data, patterns, FRAMES_FILE)
            write_instrument(entry, patterns, beam_px, masks.cross, masks.dead, masks.response)
            _patterns(entry, source, patterns, looks)
            notes = nx_group(entry, "credline", "NXcollection")
            notes["beam_told"] = beam_told
            write_figures(notes, patterns)
        _images(entry, source)
        _table(entry, "crystals", CrystalRow, source.tables.crystals)
        _table(entry, "fields", FieldRow, source.tables.fields)


def _end(source: SerialSource, patterns: Patterns) -> Any:
    last_ns = max((frame.end_ns for frame in source.frames), default=0)
    return patterns.created_at + timedelta(microseconds=last_ns / 1000)


def _patterns(entry: "h5py.Group", source: SerialSource, patterns: Patterns, looks: Sequence[PatternLook]) -> None:
    """What is known of each pattern, and the way to the untouched counts."""
    import h5py

    group = nx_group(entry, "patterns", "NXcollection")
    group["raw"] = h5py.ExternalLink(FRAMES_FILE, patterns.raw_place)
    if source.file is not None:
        group["raw_frames"] = h5py.ExternalLink(FRAMES_FILE, source.file.table_place(PATTERN))
    row = np.full(patterns.count, -1, np.int64)
    for n, crystal in enumerate(source.tables.crystals):
        if 0 <= crystal.pattern < patterns.count:
            row[crystal.pattern] = n
    group["crystal_row"] = row
    nowhere = (math.nan, math.nan)
    seen = np.array([look.beam_px or nowhere for look in looks]).reshape(-1, 2)
    for axis, name in enumerate(("beam_fast", "beam_slow")):
        group[name] = seen[:, axis]
        group[name].attrs["units"] = "pixel"


def _images(entry: "h5py.Group", source: SerialSource) -> None:
    """Links to the images of the fields, and how they lie on the specimen."""
    import h5py

    group = nx_group(entry, "images", "NXcollection")
    if source.file is not None and IMAGE in source.file.kinds and source.file.pictures(IMAGE):
        group["data"] = h5py.ExternalLink(FRAMES_FILE, source.file.data_place(IMAGE))
        group["frames"] = h5py.ExternalLink(FRAMES_FILE, source.file.table_place(IMAGE))
    scale = source.tables.placing
    group["pixel_to_stage"] = np.reshape(scale.matrix, (2, 2))
    group["pixel_to_stage"].attrs["meaning"] = (
        "x, y of the stage by fast, slow of an image, in lengths of a pixel (nm_per_px of its field), from middle: "
        + scale.how
    )
    middle = scale.middle_px or (math.nan, math.nan)
    nx_number(group, "middle_fast", middle[0], "pixel")
    nx_number(group, "middle_slow", middle[1], "pixel")


def _table(
    entry: "h5py.Group", name: str, kind: type[CrystalRow] | type[FieldRow], rows: Sequence[CrystalRow | FieldRow]
) -> None:
    """A dataset for each column: NaN or -1 where nothing is known, texts in UTF-8."""
    group = nx_group(entry, name, "NXcollection")
    write_columns(group, kind, rows)


def write_columns(
    group: "h5py.Group", kind: type[CrystalRow] | type[FieldRow], rows: Sequence[CrystalRow | FieldRow]
) -> None:
    """Each column of a table as a dataset of a group."""
    import h5py

    for column, field in kind.__dataclass_fields__.items():
        values = [getattr(row, column) for row in rows]
        word = str(field.type)
        if field.type is str:
            group.create_dataset(column, data=np.array(values, object), dtype=h5py.string_dtype())
        elif field.type is bool:
            group[column] = np.array(values, np.uint8)
        elif field.type is int or word == "int | None":
            group[column] = np.array([-1 if value is None else value for value in values], np.int64)
        else:
            group[column] = np.array([math.nan if value is None else value for value in values], np.float64)
        units = next((unit for end, unit in UNITS.items() if column.endswith(end)), "")
        if units and field.type is not str:
            group[column].attrs["units"] = "nm" if column == "nm_per_px" else units
