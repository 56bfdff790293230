"""Patterns to be sorted or solved, wherever they lie: files and folders of pictures, runs, peak lists.

Pictures stay on disk until they are asked for, one at a time (`protocols.pictures`). Nothing here knows a truth.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.errors import DataError, Refused, shown
from protocols.pictures.container import Container
from protocols.pictures.opening import KINDS, open_container, open_folder
from protocols.zones.patterns.serialrun import is_serial_run, open_serial_run

Array = NDArray[np.float64]

PEAK_LISTS = (".json", ".csv")

SAME_SCALE, SAME_WAVELENGTH = 1e-6, 2e-3
"""What differs by less is no other one: 200 kV makes 0.02508 A, the paper writes 0.0251."""


@dataclass(frozen=True, slots=True, eq=False)
class Snapshots:
    """The patterns of one source.

    names: one for each, beginning with the path as it was given. per_px: 1/A a pixel, None where nobody said.
    wavelength: of the electrons in A, None where nobody said.
    distortion: amplitude in % and azimuth in deg (`protocols.products.distortion`) where the instrument's is known.
    picture: gives the (rows, columns) picture of a pattern by number; None for peak lists.
    beam_px: (column, row) of the primary beam in all pictures, where a person said.
    spots: for peak lists, the (k, 2) positions in 1/A of every pattern.
    """

    names: Sequence[str]
    per_px: float | None = None
    wavelength_A: float | None = None
    distortion: tuple[float, float] | None = None
    picture: Callable[[int], NDArray[Any]] | None = None
    spots: Sequence[Array] | None = None
    beam_px: tuple[float, float] | None = None
    note: str = ""
    """What a person should know of the source."""
    unread: str = ""
    """What of it is not among the patterns, and how many, in words."""
    any_thickness: bool = False
    """Whether the crystals are as thick or thin as they come: those of a serial run."""
    bad: Callable[[int], NDArray[np.bool_] | None] | None = None
    """Gives, by number, the (rows, columns) pixels of a picture that are known beforehand to tell nothing."""

    def __len__(self) -> int:
        """Number of patterns."""
        return len(self.names)

    def only(self, names: set[str]) -> "Snapshots":
        """Those with one of these names."""
        kept = [i for i, name in enumerate(self.names) if name in names]
        picture, spots, bad = self.picture, self.spots, self.bad
        return replace(
            self,
            names=[self.names[i] for i in kept],
            picture=None if picture is None else lambda i: picture(kept[i]),
            spots=None if spots is None else [spots[i] for i in kept],
            bad=None if bad is None else lambda i: bad(kept[i]),
        )


def open_snapshots(
    paths: Sequence[Path],
    per_px: float | None = None,
    wavelength_A: float | None = None,
    beam_px: tuple[float, float] | None = None,
) -> list[Snapshots]:
    """One source for each path: a run folder, a folder of pictures, an HDF5 stack, a picture or a peak list.

    per_px: 1/A a pixel, and wavelength: for sources that do not say, and instead of what they say. beam_px: (column,
    row) of the primary beam, for pictures that do not show it. Refused for what is
    not there or of no known kind, or has no pattern; DataError for a file that is damaged.
    """
    sources = []
    given = [path.resolve() for path in paths]
    if twice := next((path for n, path in enumerate(given) if path in given[:n]), None):
        raise Refused(f"{shown(twice)}: given twice, and its patterns would count twice. Nothing was read.")
    for path in paths:
        if path.is_dir():
            sources.append(_run(path) if (path / "run.json").is_file() else _folder(path))
        elif path.is_file():
            sources.append(_file(path))
        else:
            raise Refused(f"{shown(path)}: no such file or folder. Nothing was read.")
    told = (_told(source, per_px, wavelength_A) for source in sources)
    return [replace(source, beam_px=beam_px) for source in told]


def looked_over(source: Snapshots) -> Snapshots:
    """The same with the pixels that are hot in all its pictures among the bad ones, after a look at some of them."""
    from scipy.ndimage import label

    from protocols.spots.defects import common_defects

    if source.picture is None or (defects := common_defects(source.picture, len(source))) is None:
        return source
    before = source.bad

    def bad(i: int) -> NDArray[np.bool_]:
        known = None if before is None else before(i)
        return defects if known is None or known.shape != defects.shape else defects | known

    groups = int(label(defects, np.ones((3, 3), dtype=bool))[1])
    words = f"{int(defects.sum())} pixels in {groups} places are hot in all frames, and left out"
    return replace(source, bad=bad, note="; ".join(filter(None, (source.note, words))))


def described(path: Path, source: Snapshots) -> str:
    """What is taken for granted of a source, for a person."""
    from protocols.zones.patterns.simulation import Geometry

    scale = "" if source.picture is None else f", {source.per_px:.6g} 1/A per pixel" if source.per_px else ""
    known = source.wavelength_A is not None
    wavelength = (
        f"{source.wavelength_A:.5f} A" if known else f"{Geometry().wavelength_A} A (200 kV taken; else --voltage)"
    )
    more = [source.note] if source.note else []
    more += [f"NOT READ: {source.unread}"] if source.unread else []
    return "; ".join((f"{shown(path)}: {len(source)} patterns{scale}, wavelength {wavelength}", *more))


def _told(source: Snapshots, per_px: float | None, wavelength_A: float | None) -> Snapshots:
    """A source with what a person says of it, and a note where it says otherwise itself."""
    notes = [source.note] if source.note else []
    if per_px and source.per_px and abs(per_px / source.per_px - 1) > SAME_SCALE:
        notes.append(f"its own scale of {source.per_px:.6g} 1/A per pixel is overruled by --per-px {per_px:.6g}")
    if wavelength_A and source.wavelength_A and abs(wavelength_A / source.wavelength_A - 1) > SAME_WAVELENGTH:
        notes.append(
            f"its own wavelength of {source.wavelength_A:.5f} A is overruled by --voltage: {wavelength_A:.5f} A"
        )
    return replace(
        source,
        per_px=per_px or source.per_px,
        wavelength_A=wavelength_A or source.wavelength_A,
        note="; ".join(notes),
    )


def _file(path: Path) -> Snapshots:
    if path.suffix.lower() in PEAK_LISTS:
        return _peak_list(path)
    if path.suffix.lower() not in KINDS:
        known = ", ".join((*KINDS, *PEAK_LISTS))
        raise Refused(f"{shown(path)}: a file of an unknown kind; known are {known}. Nothing was read.")
    container = open_container(path)
    return _pictures([container], container.unread)


def _folder(path: Path) -> Snapshots:
    containers, unread = open_folder(path)
    if not containers:
        left = f"; not read: {unread}" if unread else ""
        raise Refused(f"{shown(path)}: a folder without pictures ({', '.join(KINDS)}){left}. Nothing was read.")
    return _pictures(containers, unread)


def _pictures(containers: Sequence[Container], unread: str) -> Snapshots:
    """The pictures of all these files, one after the other."""
    end = np.cumsum([container.count for container in containers])

    def place(i: int) -> tuple[Container, int]:
        which = int(np.searchsorted(end, i, side="right"))
        return containers[which], i - int(end[which]) + containers[which].count

    def picture(i: int) -> NDArray[Any]:
        container, number = place(i)
        return container.picture(number)

    said = {(container.per_px, container.wavelength_A) for container in containers}
    per_px, wavelength_A = next(iter(said)) if len(said) == 1 else (None, None)
    names = [name for container in containers for name in container.names()]
    masked = any(container.bad is not None for container in containers)
    bad = (lambda i: place(i)[0].bad) if masked else None
    return Snapshots(names, per_px, wavelength_A, picture=picture, bad=bad, unread=unread)


def _run(path: Path) -> Snapshots:
    if is_serial_run(path):
        return _serial(path)
    from protocols.products.corrections import correction
    from protocols.products.source import open_run

    source = open_run(path)
    info = source.info
    correct = correction(source.flatfield(), info.wide_cross, info.saturation)
    return Snapshots(
        [f"{path}:{slot}" for slot in info.slot],
        info.angstrom_per_px,
        info.wavelength_A,
        (info.distortion_amplitude_percent, info.distortion_azimuth_deg),
        picture=lambda i: correct.apply(source.raw(i))[0],
    )


def _serial(path: Path) -> Snapshots:
    run = open_serial_run(path)
    going_on = f"the run goes on, and these are its first {len(run.names)}" if run.going_on else ""
    if not run.names:
        raise Refused(f"{shown(path)}: a run without patterns{' so far' if run.going_on else ''}. Nothing was read.")
    return Snapshots(
        [f"{path}:{name}" for name in run.names],
        run.per_px,
        run.wavelength_A,
        run.distortion,
        picture=run.picture,
        note=going_on,
        any_thickness=True,
    )


def _peak_list(path: Path) -> Snapshots:
    """`{"patterns": [{"name": ..., "xy_per_A": [[x, y], ...]}, ...]}`, or CSV lines `name,x_per_A,y_per_A`.

    A third number of a row is its intensity and is left out; more are refused, as nobody says what they are.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")  # as spreadsheets write it, with a mark before the first name
        if path.suffix.lower() == ".json":
            entries = [(str(p["name"]), p["xy_per_A"]) for p in json.loads(text)["patterns"]]
        else:
            entries = _csv_patterns(text)
        spots = [_positions(name, rows) for name, rows in entries]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        cause = f"{type(error).__name__}: {shown(error)}"
        raise DataError(
            f"{shown(path)}: not a peak list ({cause}); that is CSV with the columns name,x_per_A,y_per_A or JSON as "
            '{"patterns": [{"name": "1", "xy_per_A": [[0.1, 0.2], [0.3, 0.1]]}]}'
        ) from error
    if not spots:
        raise Refused(f"{shown(path)}: a peak list without patterns. Nothing was read.")
    if bad := [name for (name, _), xy in zip(entries, spots, strict=True) if not np.isfinite(xy).all()]:
        raise DataError(f"{shown(path)}: pattern {shown(bad[0])} has positions that are no numbers; correct the list")
    return Snapshots([f"{path}:{name}" for name, _ in entries], spots=spots)


def _positions(name: str, rows: Any) -> Array:
    """(k, 2) of rows of x, y or of x, y, intensity. ValueError for others."""
    numbers = np.asarray(rows, dtype=np.float64)
    if not numbers.size:
        return np.zeros((0, 2))
    if numbers.ndim != 2 or numbers.shape[1] not in (2, 3):
        raise ValueError(f"pattern {name}: rows of x, y or of x, y, intensity are needed")
    return np.asarray(numbers[:, :2])


def _csv_patterns(text: str) -> list[tuple[str, list[tuple[float, float]]]]:
    import csv

    lines = text.splitlines()
    delimiter = ";" if lines and ";" in lines[0] else ","
    patterns: dict[str, list[tuple[float, float]]] = {}
    rows = csv.DictReader(lines, delimiter=delimiter, skipinitialspace=True)
    for row in rows:
        try:
            position = float(row["x_per_A"]), float(row["y_per_A"])
        except (TypeError, ValueError) as error:
            raise ValueError(f"line {rows.line_num} has no two numbers") from error
        patterns.setdefault(row["name"], []).append(position)
    return list(patterns.items())


def per_px_of(source: Snapshots, picture: NDArray[Any]) -> float:
    """1/A a pixel of a picture, as its source says, or that of our own pictures for one that is drawn like them.

    Refused where nobody said: a cell cannot be in A without it.
    """
    from protocols.zones.patterns.render import ImageGeometry

    if source.per_px is not None:
        return source.per_px
    image = ImageGeometry()
    if picture.shape == (image.size_px, image.size_px) and picture.dtype == np.uint8:
        return image.per_px
    raise Refused(
        "the scale of the pictures is unknown; give it with --per-px, in 1/A per pixel. Nothing was worked out."
    )
