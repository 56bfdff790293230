"""The scores of frames as CSV: all of them, and the good ones in the columns that Instamatic reads.

Cichocka and co-workers (2018) wrote one line for each crystal: the picture in which it was found, the number of that
picture and of the crystal in it, the prediction, the size of the crystal and where the stage was. Instamatic reads that
without a first line (`learning.csv`).
"""

import csv
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from protocols.products.atomic import make_folder, write_text
from protocols.screening.scoredfiles import Row

HEADINGS = ("name", "good", "d_min_A", "several", "why")
NUMBERED = re.compile(r"(\d+)_(\d+)$")
"""The end of a name of Instamatic: number of the picture, and of the crystal in it."""
OF_A_RUN = re.compile(r"(.+):(\d+)/(\d+)$")
"""A pattern of a serial run of credline: its folder, numbers of the field and of the crystal in it."""
CRYSTALS = "crystals.csv"
"""What such a run tells of its crystals."""
GOOD = 0.5


@dataclass(frozen=True, slots=True)
class InstamaticRow:
    """One crystal as Instamatic lists it. size_um2, x_nm, y_nm: an empty text where that is not known."""

    file: str
    picture: int
    crystal: int
    prediction: float
    size_um2: float | str
    x_nm: float | str
    y_nm: float | str


def write_scores(path: Path, rows: Sequence[Row]) -> None:
    """One line for each frame, in their order; without a score where it could not be read, and why."""
    lines: list[tuple[Any, ...]] = [HEADINGS]
    for row in rows:
        if (score := row.score) is None:
            lines.append((row.name, "", "", "", row.error))
        else:
            d_min = "" if score.d_min_A is None else f"{score.d_min_A:.3f}"
            lines.append((row.name, f"{score.good:.6f}", d_min, f"{score.several:.4f}", score.why))
    _write(path, lines)


def write_instamatic(path: Path, rows: Sequence[Row]) -> None:
    """The good frames, the best first: file, picture, crystal, prediction, size in um^2, x and y of the stage in nm.

    What a file does not tell stays empty; frames of other programs are numbered as they come.
    """
    good = sorted(
        (
            (number, row, row.score)
            for number, row in enumerate(rows)
            if row.score is not None and row.score.good > GOOD
        ),
        key=lambda each: -each[2].good,
    )
    write_instamatic_rows(path, [_place(row.name, n, score.good) for n, row, score in good])


def write_instamatic_rows(path: Path, rows: Iterable[InstamaticRow]) -> None:
    """These crystals in these columns, in this order."""
    lines = (
        (row.file, row.picture, row.crystal, f"{row.prediction:.6f}", row.size_um2, row.x_nm, row.y_nm) for row in rows
    )
    _write(path, lines)


def _place(name: str, number: int, prediction: float) -> InstamaticRow:
    if of_a_run := OF_A_RUN.fullmatch(name):
        row = _crystals(Path(of_a_run[1]) / CRYSTALS).get((of_a_run[2], of_a_run[3]), {})
        size, x_nm, y_nm = (row.get(column) or "" for column in ("area_um2", "x_nm", "y_nm"))
        return InstamaticRow(name, int(of_a_run[2]), int(of_a_run[3]), prediction, size, x_nm, y_nm)
    told = _attributes(Path(name))
    found = NUMBERED.search(Path(name).stem)
    picture, crystal = found.groups() if found else (0, number)
    at = told.get("exp_stage_position")
    x, y = (at[0], at[1]) if at is not None and len(at) >= 2 else ("", "")
    return InstamaticRow(
        name,
        told.get("exp_image_number", int(picture)),
        told.get("exp_pattern_number", int(crystal)),
        prediction,
        told.get("total_area_micrometer", ""),
        x,
        y,
    )


@lru_cache(maxsize=4)
def _crystals(path: Path) -> Mapping[tuple[str, str], Mapping[str, str]]:
    """The rows of a run's table by field and crystal; none where there is no such table, or it cannot be read."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = [row for row in csv.DictReader(file) if "field" in row and "crystal" in row]
    except (OSError, ValueError):
        return {}
    return {(row["field"], row["crystal"]): row for row in rows}


def _attributes(path: Path) -> dict[str, Any]:
    """What SerialED of Instamatic writes beside a picture in HDF5; nothing for other files."""
    if path.suffix.lower() not in (".h5", ".hdf5") or not path.is_file():
        return {}
    import h5py

    try:
        with h5py.File(path, "r") as file:
            data = file.get("data")
            return {} if data is None else {name: _plain(value) for name, value in data.attrs.items()}
    except (OSError, RuntimeError):
        return {}


def _plain(value: Any) -> Any:
    return value.tolist() if hasattr(value, "tolist") else value


def _write(path: Path, lines: Iterable[Sequence[Any]]) -> None:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(lines)
    make_folder(path.parent)
    write_text(path, text.getvalue())
