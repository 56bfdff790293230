"""frames.h5: the raw counts of a run and a table with one row per frame.

`/data` (n, rows, columns), one chunk a frame, shuffled and deflated (filters that every HDF5 has), `/frames` the
table, `/flatfield` if the detector has one. Written beside the spool and moved into place when whole.
"""

import zlib
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from engine.errors import StorageError
from engine.frame import Picture

SCHEMA = 1
DEFLATE_LEVEL = 1
FRAME_ROW = np.dtype(
    [
        ("slot", "<i4"),
        ("kept", "u1"),
        ("start_ns", "<i8"),
        ("end_ns", "<i8"),
        ("start_deg", "<f8"),
        ("end_deg", "<f8"),
        ("late_ns", "<i8"),
    ]
)


def _deflated(counts: Picture) -> bytes:
    """One chunk as HDF5's shuffle and deflate filters store it: first bytes of all pixels, then second bytes."""
    pixels = np.ascontiguousarray(counts, np.uint16).reshape(-1)
    planes = pixels.view(np.uint8).reshape(-1, 2).T
    return zlib.compress(np.ascontiguousarray(planes).data, DEFLATE_LEVEL)


def write_frames(
    path: Path,
    frames: Iterable[Picture],
    table: NDArray[np.void],
    shape: tuple[int, int],
    flatfield: Picture | None,
) -> None:
    """Write frames.h5 for `table` (n rows of FRAME_ROW) and the n pictures of `frames`, in the same order.

    Pictures are compressed in two threads (zlib lets other threads run) and taken a few at a time, so memory stays
    small however long the run. Raises StorageError if the disk fails, or pictures and rows differ in number, or a
    picture in shape or type; `path` is then untouched.
    """
    temporary = path.with_name(f".{path.name}.new")
    try:
        with h5py.File(temporary, "w", libver=("v110", "v114")) as file, ThreadPoolExecutor(2) as threads:
            file.attrs["schema"] = SCHEMA
            data = file.create_dataset(
                "data",
                (len(table), *shape),
                np.uint16,
                maxshape=(len(table) or None, *shape),  # a chunk may not be larger than a dataset that cannot grow
                chunks=(1, *shape),
                shuffle=True,
                compression="gzip",
                compression_opts=DEFLATE_LEVEL,
            )
            data.attrs["units"] = "counts"
            written = 0
            for batch in _batches(frames, 16):
                _check(path, batch, shape, len(table) - written)  # HDF5 takes any chunk, and may crash on a wrong one
                for chunk in threads.map(_deflated, batch):
                    data.id.write_direct_chunk((written, 0, 0), chunk)
                    written += 1
            if written != len(table):
                raise StorageError(f"{path}: {written} pictures for {len(table)} frames; the spool is kept as it is.")
            file.create_dataset("frames", data=table)
            if flatfield is not None:
                file.create_dataset("flatfield", data=flatfield, compression="gzip")
        temporary.replace(path)
    except OSError as error:
        raise StorageError(
            f"{path}: could not be written ({error}); the spool beside it holds every frame. Free some space, then "
            "run 'credline recover' on the run folder."
        ) from error
    finally:
        temporary.unlink(missing_ok=True)


def _check(path: Path, batch: list[Picture], shape: tuple[int, int], room: int) -> None:
    if len(batch) > room:
        raise StorageError(f"{path}: more pictures than frames; the spool is kept as it is.")
    for counts in batch:
        if counts.shape != shape or counts.dtype.kind != "u" or counts.dtype.itemsize != 2:
            raise StorageError(
                f"{path}: a picture of {counts.shape} {counts.dtype} among those of {shape} uint16; the spool is kept "
                "as it is."
            )


def _batches(frames: Iterable[Picture], size: int) -> Iterator[list[Picture]]:
    iterator = iter(frames)
    while batch := list(islice(iterator, size)):
        yield batch
