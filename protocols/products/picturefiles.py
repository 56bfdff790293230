"""The picture files of an export: what they are called, and how they are written before their headers are known.

The run's primary beam stands in every header and is known when the last picture has been looked at. So that each is
read and corrected once, its pixels are put aside in all formats as soon as they are there, and get header and name when
the beam is known. Until then every picture of an earlier export stays as it was.
"""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from protocols.products import mrc, smv
from protocols.products.atomic import make_folder, name_put_aside, put_aside, remove_put_aside, write_file
from protocols.products.metadata import FrameHeader, RunHeader
from protocols.products.mrc import mrc_header
from protocols.products.smv import smv_header
from protocols.products.tiff import tiff_header
from protocols.products.undistorted import Undistortion


@dataclass(frozen=True, slots=True)
class PictureFormat:
    """A format of one file a picture: a header, then little-endian uint16.

    header_bytes: how long all headers are; None where that differs. upwards: whether the last row comes first.
    """

    suffix: str
    header: Callable[[RunHeader, FrameHeader], bytes]
    header_bytes: int | None
    upwards: bool = False


TIFF = PictureFormat(".tiff", tiff_header, None)
SMV = PictureFormat(".img", smv_header, smv.HEADER_BYTES)
MRC = PictureFormat(".mrc", mrc_header, mrc.HEADER_BYTES, upwards=True)


def write_picture(path: Path, kind: PictureFormat, counts: NDArray[np.uint16], run: RunHeader, of: FrameHeader) -> None:
    """Write one picture (rows, columns) whose header is known; atomic. StorageError when the disk is full."""
    write_file(path, kind.header(run, of), _pixels(kind, counts))


@dataclass(frozen=True, slots=True)
class UndistortedFolder:
    """SMV pictures without the ellipse of the lens, for DIALS: where they go, and what undoes it."""

    path: Path
    lens: Undistortion


@dataclass(frozen=True, slots=True)
class PictureFolders:
    """Where the pictures go; None for a format that was not asked for, and `undistorted` where the lens is round."""

    tiff: Path | None
    smv: Path | None
    mrc: Path | None
    undistorted: UndistortedFolder | None = None

    @property
    def wanted(self) -> tuple[tuple[PictureFormat, Path], ...]:
        """The formats that were asked for, with their folders."""
        undistorted = None if self.undistorted is None else self.undistorted.path
        all_of_them = ((TIFF, self.tiff), (SMV, self.smv), (MRC, self.mrc), (SMV, undistorted))
        return tuple((kind, folder) for kind, folder in all_of_them if folder is not None)

    def put_aside(self, mark: str, counts: NDArray[np.uint16], run: RunHeader, of: FrameHeader) -> None:
        """Write a picture in every format, under names that nobody looks for. StorageError when the disk is full.

        run: as far as it is known; only how long its header is matters. mark: the same for all of an export.
        """
        for kind, path, lens in self._files(of.slot):
            room = kind.header(run, of) if kind.header_bytes is None else bytes(kind.header_bytes)
            there = counts if lens is None else lens.apply(counts, of.slot, run.saturation)
            put_aside(path, mark, room, _pixels(kind, there))

    def name(self, mark: str, run: RunHeader, of: FrameHeader) -> int:
        """Give what was put aside its header and its name; returns the number of files."""
        rows, columns = run.shape
        named = 0
        for kind, path, lens in self._files(of.slot):
            header = kind.header(run if lens is None else lens.header(run, of.slot), of)
            name_put_aside(path, mark, header, 2 * rows * columns)
            named += 1
        return named

    def make(self) -> None:
        """Make the folders, and remove what an export that was killed has put aside in them."""
        for _, folder in self.wanted:
            make_folder(folder)
        self.clear()

    def clear(self) -> None:
        """Remove what was put aside and has no name."""
        for _, folder in self.wanted:
            remove_put_aside(folder)

    def _files(self, slot: int) -> Iterator[tuple[PictureFormat, str, Undistortion | None]]:
        for kind, folder in self.wanted:
            special = self.undistorted is not None and folder == self.undistorted.path
            lens = self.undistorted.lens if special and self.undistorted else None
            yield kind, os.path.join(folder, f"{slot:05d}{kind.suffix}"), lens


def _pixels(kind: PictureFormat, counts: NDArray[np.uint16]) -> NDArray[np.uint16]:
    return (counts[::-1] if kind.upwards else counts).astype("<u2", copy=False)
