"""Labelled patterns of a user: a folder for each class, or a CSV. To train on, and to judge with, like those generated.

A folder has folders `good`, `bad` and, if wanted, `borderline`, with pictures of any kind `protocols.pictures` reads,
also in folders below, one for each crystal. A CSV names a picture and its label in each line: with a first line that
says what the columns are, or without one as Instamatic's learning.csv (file, frame, number, prediction, size, x, y).
"""

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.errors import DataError, Refused, shown
from protocols.screening.labels import Verdict
from protocols.zones.patterns.snapshots import Snapshots, open_snapshots

FILE = ("file", "filename", "name", "path", "picture", "image", "pattern")
LABEL = ("label", "verdict", "class", "quality", "good", "prediction", "score")
CRYSTAL = ("crystal", "group", "sample")
"""Names of columns, in the order in which they are looked for."""
LEARNING_CSV = 7
"""Columns of a CSV without a first line: the first is the file, the fourth the prediction."""
WORDS = {
    "good": Verdict.GOOD, "true": Verdict.GOOD, "yes": Verdict.GOOD,
    "bad": Verdict.BAD, "false": Verdict.BAD, "no": Verdict.BAD,
    "borderline": Verdict.BORDERLINE,
}  # fmt: skip
GOOD_FROM = 0.5
"""A label that is a number from 0 to 1 is good from here on."""


@dataclass(frozen=True, slots=True, eq=False)
class UserPattern:
    """One picture. counts: (slow, fast). inverse_A_per_px: 1/A a pixel, None where the file does not say.

    crystal: patterns with one number are of one crystal. mask: True for pixels that tell nothing; None where all do.
    """

    name: str
    counts: NDArray[Any]
    inverse_A_per_px: float | None
    verdict: Verdict
    crystal: int
    mask: NDArray[np.bool_] | None


@dataclass(frozen=True, slots=True, eq=False)
class UserPatterns:
    """Pictures with labels, read one at a time. crystals: number of the crystal of each. note: what was left out."""

    names: list[str]
    verdicts: list[Verdict]
    crystals: list[int]
    per_px: float | None = None
    note: str = ""

    def __len__(self) -> int:
        """Number of pictures."""
        return len(self.names)

    def __iter__(self) -> Iterator[UserPattern]:
        """Each once; DataError for one that cannot be read, with its name."""
        return (self.pattern(i) for i in range(len(self)))

    def pattern(self, i: int) -> UserPattern:
        """That of number i."""
        path, number = _place(self.names[i])
        source = _opened(path)
        if source.picture is None or number >= len(source):
            raise DataError(f"{shown(self.names[i])}: the file has no such picture; correct the list of labels")
        mask = None if source.bad is None else source.bad(number)
        per_px = self.per_px or source.per_px
        return UserPattern(self.names[i], source.picture(number), per_px, self.verdicts[i], self.crystals[i], mask)


def read_labelled(path: Path, per_px: float | None = None) -> UserPatterns:
    """The labelled pictures of a folder or of a CSV; per_px: 1/A a pixel, instead of what the files say.

    A crystal is what the CSV says, else the folder below that of the class, else the file. Refused where there is
    nothing labelled, for labels that are none, and for a picture with two labels; pictures are not read yet.
    """
    if path.is_dir():
        names, verdicts, crystals, note = _folder(path)
    elif path.is_file() and path.suffix.lower() == ".csv":
        names, verdicts, crystals, note = _csv(path)
    else:
        raise Refused(f"{shown(path)}: no folder and no CSV with labelled pictures. Nothing was read.")
    _consistent(names, verdicts)
    numbers = {crystal: number for number, crystal in enumerate(dict.fromkeys(crystals))}
    return UserPatterns(names, verdicts, [numbers[crystal] for crystal in crystals], per_px, note)


Found = tuple[list[str], list[Verdict], list[str], str]


def _folder(path: Path) -> Found:
    names: list[str] = []
    verdicts: list[Verdict] = []
    crystals: list[str] = []
    notes = []
    for verdict in Verdict:
        folder = path / verdict.value
        if not folder.is_dir():
            continue
        (source,) = open_snapshots([folder])
        for name in source.names:
            file = _place(name)[0]
            inside = file.relative_to(folder)
            names.append(name)
            verdicts.append(verdict)
            crystals.append(str(folder / inside.parts[0]))
        if source.unread:
            notes.append(f"{verdict.value}: {source.unread}")
    if not names:
        raise Refused(
            f"{shown(path)}: no folders 'good' and 'bad' in it; make them and put the pictures there. Nothing was read."
        )
    return names, verdicts, crystals, "; ".join(notes)


def _csv(path: Path) -> Found:
    try:
        text = path.read_text(encoding="utf-8-sig")
        lines = text.splitlines()
        delimiter = ";" if lines and ";" in lines[0] else ","
        rows = [row for row in csv.reader(lines, delimiter=delimiter, skipinitialspace=True) if row]
    except (OSError, ValueError, csv.Error) as error:
        raise Refused(f"{shown(path)}: cannot be read ({shown(error)}). Nothing was read.") from error
    if not rows:
        raise Refused(f"{shown(path)}: empty. Nothing was read.")
    first = [cell.strip().lower() for cell in rows[0]]
    file, label, crystal = (next((first.index(n) for n in ns if n in first), None) for ns in (FILE, LABEL, CRYSTAL))
    begin = 1
    if file is None or label is None:
        if len(first) != LEARNING_CSV:
            raise Refused(
                f"{shown(path)}: the first line does not say which columns are the file and the label; write "
                "'file,label' there. Nothing was read."
            )
        file, label, crystal, begin = 0, 3, None, 0
    names, verdicts, crystals = [], [], []
    for line, row in enumerate(rows[begin:], begin + 1):
        if len(row) <= max(file, label, crystal or 0):
            raise Refused(f"{shown(path)}: line {line} has {len(row)} columns only; complete it. Nothing was read.")
        names.append(_found(path, row[file].strip(), line))
        verdicts.append(_verdict(path, row[label], line))
        crystals.append(row[crystal].strip() if crystal is not None else str(_place(names[-1])[0]))
    return names, verdicts, crystals, ""


def _found(listed_in: Path, name: str, line: int) -> str:
    """The name with the path where the file is: as written, from the folder of the CSV, or beside it.

    A CSV may come from another computer, with its absolute paths.
    """
    file, number = _split(name)
    last = re.split(r"[\\/]", file)[-1]
    for candidate in (Path(file), listed_in.parent / file, listed_in.parent / last, listed_in.parent / "data" / last):
        if _is_file(candidate):
            return f"{candidate}{number}"
    raise Refused(
        f"{shown(listed_in)}: line {line}: no file {shown(file)}, nor {shown(last)} beside the list; put it there. "
        "Nothing was read."
    )


def _verdict(path: Path, word: str, line: int) -> Verdict:
    word = word.strip().lower()
    if word in WORDS:
        return WORDS[word]
    try:
        number = float(word)
    except ValueError:
        number = np.nan
    if 0 <= number <= 1:
        return Verdict.GOOD if number >= GOOD_FROM else Verdict.BAD
    raise Refused(
        f"{shown(path)}: line {line}: {shown(word)!r} is no label; write good, bad, borderline or a number from 0 to "
        "1. Nothing was read."
    )


def _consistent(names: list[str], verdicts: list[Verdict]) -> None:
    known: dict[tuple[Path, int], Verdict] = {}
    for name, verdict in zip(names, verdicts, strict=True):
        path, number = _place(name)
        if known.setdefault((path.resolve(), number), verdict) is not verdict:
            raise Refused(f"{shown(name)}: labelled twice, and not alike; leave one of them. Nothing was read.")


def _split(name: str) -> tuple[str, str]:
    """A name as a file and '#3', or ''."""
    found = re.fullmatch(r"(.*)(#\d+)", name)
    return (found[1], found[2]) if found and not _is_file(Path(name)) else (name, "")


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name that no file can have
        return False


def _place(name: str) -> tuple[Path, int]:
    file, number = _split(name)
    return Path(file), int(number[1:] or 0) if number else 0


@lru_cache(maxsize=32)
def _opened(path: Path) -> Snapshots:
    (source,) = open_snapshots([path])
    return source
