"""frames.h5: the counts of a run as the camera gave them, and of each kind of frame a table with one row per frame.

`/<kind>/data` (n, rows, columns), one chunk a frame, shuffled and deflated (filters that every HDF5 has), and
`/<kind>/frames`, its table (engine/record/framekinds.py); beside the kinds the pictures that are none, `/flatfield`.
Counts keep their type; they are stored little-endian whatever order of bytes the camera has, as most programs that
read HDF5 expect. A run writes the file beside the spool and moves it into place when whole; products, recovery, replay
and whoever checks a folder read it, of this schema and of the one before, through `FramesFile`.
"""

import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray

from engine.errors import DataError, StorageError
from engine.frame import Picture, PixelType, same_type
from engine.record.folder import replacing
from engine.record.framekinds import STANDARD
from engine.record.spool import SPOOL_FILE
from engine.record.spoolformat import UNKNOWN_INDEX

if TYPE_CHECKING:
    import h5py

SCHEMA = 2
DATA_FILE = "frames.h5"
"""Its name in a run folder."""
DEFLATE_LEVEL = 1
BATCH_FRAMES = 16
CAUSE_LETTERS = 200
BLOCK_PIXELS = 1 << 15
"""Put together at a time, so that they stay in the processor's cache."""
INDEX = "index"
"""The attribute of a picture that is no frame which tells its place in the spool; files of before have none."""
OLD_KIND = "diffraction"
"""The one kind that a file of schema 1 holds; snapshots were files of their own then."""
UNREADABLE = (OSError, RuntimeError, KeyError, ValueError, TypeError, AttributeError, IndexError)
"""What h5py raises for a damaged file, depending on where the damage is."""


@dataclass(frozen=True, slots=True)
class Extra:
    """A picture that is no frame. index: its place in the spool, by which a computation names it."""

    counts: Picture
    index: int = UNKNOWN_INDEX


def write_frames(
    path: Path,
    tables: Mapping[str, NDArray[np.void]],
    pictures: Callable[[str], Iterable[Picture]],
    extra: Mapping[str, Extra],
) -> None:
    """Write frames.h5. Blocks: for a thread.

    tables: of each kind its table, a row for each frame. pictures: gives the pictures of a kind in the order of its
    table, all of one shape and type. extra: datasets that are no frames, by name, as the flatfield. A kind without
    frames has a table and no data.

    Pictures are compressed in two threads (zlib lets other threads run) and taken a few at a time, so memory stays
    small however long the run. Raises StorageError if the disk fails, or within a kind pictures and rows differ in
    number, or pictures in shape or type; `path` is then untouched.
    """
    import h5py

    try:
        with (
            replacing(path) as place,
            h5py.File(place, "w", libver=("v110", "v114")) as file,
            ThreadPoolExecutor(2) as threads,
        ):
            file.attrs["schema"] = SCHEMA
            for kind, table in tables.items():
                group = file.create_group(kind)
                _write_pictures(path, group, threads, len(table), pictures(kind))
                group.create_dataset("frames", data=table)
            for name, picture in extra.items():
                dataset = file.create_dataset(name, data=picture.counts, compression="gzip")
                dataset.attrs[INDEX] = picture.index
    except OSError as error:
        raise StorageError(
            f"{path}: could not be written ({error}); the spool beside it holds every frame. Free some space, then "
            "run 'credline recover' on the run folder."
        ) from error


def _write_pictures(
    path: Path, group: "h5py.Group", threads: ThreadPoolExecutor, rows: int, pictures: Iterable[Picture]
) -> None:
    """The pictures of one kind, compressed by hand: HDF5 takes any chunk, and may crash on a wrong one."""
    data: h5py.Dataset | None = None
    written = 0
    for batch in _batches(pictures, BATCH_FRAMES):
        first = batch[0]
        if data is None:
            data = group.create_dataset(
                "data",
                (rows, *first.shape),
                first.dtype.newbyteorder("<"),
                maxshape=(rows or None, *first.shape),  # a chunk may not be larger than a dataset that cannot grow
                chunks=(1, *first.shape),
                shuffle=True,
                compression="gzip",
                compression_opts=DEFLATE_LEVEL,
            )
            data.attrs["units"] = "counts"
        _check(path, group.name, batch, data, rows - written)
        for chunk in threads.map(_deflated, batch):
            data.id.write_direct_chunk((written, 0, 0), chunk)
            written += 1
    if written != rows:
        raise StorageError(f"{path}: {written} pictures for {rows} frames in {group.name}; the spool is kept as it is.")


def _check(path: Path, where: str, batch: list[Picture], data: "h5py.Dataset", room: int) -> None:
    if len(batch) > room:
        raise StorageError(f"{path}: more pictures than frames in {where}; the spool is kept as it is.")
    for counts in batch:
        if counts.shape != data.shape[1:] or not same_type(counts.dtype, data.dtype):
            raise StorageError(
                f"{path}: in {where} a picture of {counts.shape} {counts.dtype.name} among those of {data.shape[1:]} "
                f"{data.dtype.name}; the spool is kept as it is."
            )


def _deflated(counts: Picture) -> bytes:
    """One chunk as HDF5's shuffle and deflate filters store it: first bytes of all pixels, then second bytes, ..."""
    pixels = np.ascontiguousarray(counts, counts.dtype.newbyteorder("<")).reshape(-1)
    planes = pixels.view(np.uint8).reshape(-1, pixels.itemsize).T
    return zlib.compress(np.ascontiguousarray(planes).data, DEFLATE_LEVEL)


def _batches(pictures: Iterable[Picture], size: int) -> Iterator[list[Picture]]:
    iterator = iter(pictures)
    while batch := list(islice(iterator, size)):
        yield batch


class FramesFile:
    """frames.h5, open for reading. A context manager. Every method raises DataError where the file is damaged.

    schema: as the file has it; of schema 1 it shows what was there as the kind `diffraction`.
    """

    def __init__(self, path: Path) -> None:
        """Raises DataError for a file that is missing, damaged, or of a newer schema."""
        import h5py

        self.path = path
        if not path.is_file():
            raise missing_file(path)
        try:
            self._file = h5py.File(path, "r")
        except UNREADABLE as error:
            raise self.damaged(error) from error
        try:
            self.schema = int(self._file.attrs.get("schema", 1))
            if self.schema > SCHEMA:
                raise DataError(
                    f"{path}: has schema {self.schema}, this program reads up to {SCHEMA}; it was left as it is. Use "
                    "the version of credline that wrote it, or a newer one."
                )
            self._places = self._kinds()
        except UNREADABLE as error:
            self.close()
            raise self.damaged(error) from error
        except DataError:
            self.close()
            raise
        self._opened: dict[str, h5py.Dataset] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; harmless when closed."""
        self._file.close()

    def _kinds(self) -> dict[str, str]:
        """Of each kind the group it is in: schema 1 had no groups."""
        import h5py

        if self.schema == 1:
            return {OLD_KIND: ""}
        return {name: f"/{name}" for name in self._file if isinstance(self._file[name], h5py.Group)}

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of frames in the file."""
        return tuple(self._places)

    def data_place(self, kind: str) -> str:
        """The dataset of a kind's pictures, for links to it from other files."""
        return f"{self._place(kind)}/data"

    def table_place(self, kind: str) -> str:
        """The dataset of a kind's table, for links to it from other files."""
        return f"{self._place(kind)}/frames"

    def table(self, kind: str) -> NDArray[np.void]:
        """The table of a kind, (n,) rows with the standard columns and the protocol's."""
        try:
            table: NDArray[np.void] = self._file[self.table_place(kind)][()]
            table = _upgraded(table) if self.schema == 1 else table
            if missing := [c.name for c in STANDARD if c.name not in (table.dtype.names or ())]:
                raise ValueError(f"its table of {kind} frames has no column {missing[0]!r}")
            return table
        except UNREADABLE as error:
            raise self.damaged(error) from error

    def pictures(self, kind: str) -> int:
        """How many pictures of a kind there are."""
        return self._data(kind).shape[0] if self._has_data(kind) else 0

    def shape(self, kind: str) -> tuple[int, int]:
        """Rows and columns of a kind's pictures. DataError for a kind without pictures."""
        shape = self._data(kind).shape
        return int(shape[1]), int(shape[2])

    def dtype(self, kind: str) -> PixelType:
        """The type of a kind's counts. DataError for a kind without pictures."""
        found: PixelType = self._data(kind).dtype
        return found

    def picture(self, kind: str, row: int) -> Picture:
        """The counts, (rows, columns), that belong to a row of a kind's table. DataError also for a damaged chunk."""
        data = self._data(kind)
        try:
            counts = _inflated(data, row)
            return data[row] if counts is None else counts
        except UNREADABLE as error:
            raise self.damaged(f"{kind} frame {row}: {first_line(error)}") from error

    def extra(self, name: str) -> Picture | None:
        """A picture that is no frame, by its name; None where the file has none such."""
        try:
            found: Picture | None = self._file[name][()] if name in self._file else None
        except UNREADABLE as error:
            raise self.damaged(f"/{name}: {first_line(error)}") from error
        return found

    def extra_at(self, index: int) -> Picture | None:
        """The picture that is no frame and had this place in the spool; None where the file has none such."""
        try:
            names = [name for name, item in self._file.items() if item.attrs.get(INDEX) == index]
        except UNREADABLE as error:
            raise self.damaged(error) from error
        return self.extra(names[0]) if names else None

    def damaged(self, cause: object) -> DataError:
        """What to tell of the file when this was found in it."""
        return DataError(
            f"{self.path}: damaged or truncated ({first_line(cause)}); it was left as it is. {_remedy(self.path)}"
        )

    def _place(self, kind: str) -> str:
        if kind not in self._places:
            raise self.damaged(f"it holds no {kind} frames")
        return self._places[kind]

    def _has_data(self, kind: str) -> bool:
        return self.data_place(kind) in self._file

    def _data(self, kind: str) -> "h5py.Dataset":
        if kind in self._opened:
            return self._opened[kind]
        place = self.data_place(kind)
        try:
            data = self._file[place]
            if data.ndim != 3:
                raise ValueError(f"{place} has {data.ndim} dimensions")
        except KeyError as error:
            raise self.damaged(f"{place} is missing") from error
        except UNREADABLE as error:
            raise self.damaged(error) from error
        self._opened[kind] = data
        return data


def _inflated(data: "h5py.Dataset", row: int) -> Picture | None:
    """A picture stored as this program does it, undone by hand: that takes seven eighths of HDF5's time.

    None for one stored otherwise, or damaged: HDF5 reads it, or says why not. ValueError for one of another size, of
    which HDF5 would give what lies behind it in memory.
    """
    import h5py

    filters = data.id.get_create_plist()
    kept_as = [filters.get_filter(k)[0] for k in range(filters.get_nfilters())]
    size, pixels_in_it = data.dtype.itemsize, data.shape[1] * data.shape[2]
    if kept_as != [h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_DEFLATE] or data.chunks != (1, *data.shape[1:]):
        return None
    if size not in (1, 2, 4, 8):
        return None
    try:
        left_out, chunk = data.id.read_direct_chunk((row, 0, 0))
        if left_out:
            return None
        inflated = zlib.decompress(chunk, bufsize=size * pixels_in_it)
    except (*UNREADABLE, zlib.error, MemoryError):  # what h5py says of a chunk that was never written
        return None
    if len(inflated) != size * pixels_in_it:
        raise ValueError(f"{len(inflated)} bytes instead of {size * pixels_in_it}")
    planes = np.frombuffer(inflated, np.uint8).reshape(size, pixels_in_it)
    pixels = np.empty(pixels_in_it, f"<u{size}")
    for begin in range(0, len(pixels), BLOCK_PIXELS):
        block = slice(begin, begin + BLOCK_PIXELS)
        pixels[block] = planes[0, block]
        for plane in range(1, size):
            if (high := planes[plane, block]).any():  # seldom, in the counts of a diffraction pattern
                pixels[block] |= high.astype(pixels.dtype) << (8 * plane)
    picture: Picture = pixels.view(data.dtype).reshape(data.shape[1:])
    return picture


def missing_file(path: Path) -> DataError:
    """What to tell where a frames.h5 should be and is not."""
    return DataError(f"{path}: no such file. {_remedy(path)}")


def _remedy(path: Path) -> str:
    """What to do about a file that is lost: only a spool beside it can bring it back."""
    folder = path.parent
    if (folder / SPOOL_FILE).exists():
        return f"`credline recover {folder}` makes it anew from the spool beside it."
    return "There is no spool beside it to make it anew from: take a copy of the run from elsewhere if there is one."


def _upgraded(table: NDArray[np.void]) -> NDArray[np.void]:
    """The table of a file of schema 1 with the standard columns, and its own after them."""
    own = [name for name in table.dtype.names or () if name not in ("start_ns", "end_ns")]
    new = np.zeros(len(table), [*((c.name, c.dtype) for c in STANDARD), *((name, table.dtype[name]) for name in own)])
    new["index"], new["number"] = UNKNOWN_INDEX, -1
    for side in ("start", "end"):
        for name in (f"{side}_ns", f"{side}_min_ns", f"{side}_max_ns"):
            new[name] = table[f"{side}_ns"]
    for name in own:
        new[name] = table[name]
    return new


def first_line(cause: object) -> str:
    """What a library says, as part of a line: HDF5 tells its whole stack."""
    lines = str(cause).splitlines()
    return lines[0][:CAUSE_LETTERS] if lines else "unreadable"
