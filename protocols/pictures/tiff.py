"""Pictures of a TIFF file: one, or a stack of them.

Plain files are read by fabio, which knows every type of number; compressed ones by Pillow.
"""

import re
import struct
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import numpy as np

from protocols.pictures.container import Container, Picture
from protocols.pictures.lastopened import LastOpened

MOST_PICTURES = 10_000_000
"""A longer chain of pictures than this is a ring: the file is damaged."""
IMAGEJ = re.compile(rb"ImageJ=[^\0]{0,200}?images=(\d+)")


class _Pages(Protocol):
    def page(self, number: int) -> Picture: ...

    def close(self) -> None: ...


class _Plain:
    def __init__(self, path: Path) -> None:
        from fabio.TiffIO import TiffIO

        self._file = path.open("rb")
        try:
            self._tiff: Any = TiffIO(self._file, cache_length=1)
            self.page(0)
        except BaseException:
            self.close()
            raise

    def page(self, number: int) -> Picture:
        return np.array(self._tiff.getImage(number))

    def close(self) -> None:
        self._file.close()


class _Compressed:
    def __init__(self, path: Path) -> None:
        from PIL import Image, UnidentifiedImageError

        self._file = path.open("rb")
        try:
            self._image: Any = Image.open(self._file)
        except UnidentifiedImageError as error:  # whose words name an object of Python
            self.close()
            raise ValueError("no TIFF, or one that is damaged where it begins") from error
        except BaseException:
            self.close()
            raise

    def page(self, number: int) -> Picture:
        self._image.seek(number)
        known = self._image.mode.startswith(("L", "I", "F", "RGB"))
        return np.array(self._image if known else self._image.convert("L"))

    def close(self) -> None:
        self._file.close()


def _pages(path: Path) -> _Pages:
    try:
        return _Plain(path)
    except Exception:  # what it does not know, such as compression, it says in many ways
        return _Compressed(path)


_opened = LastOpened(_pages)


def tiff_pictures(path: Path) -> Container:
    """The pictures of a TIFF file, as many as it lists; a file that lists none counts as one that is damaged."""
    with path.open("rb") as file:
        count = _listed(file)
        file.seek(0)
        said = IMAGEJ.search(file.read(65536))
    meant = int(said[1]) if said else count
    unread = f"{meant - count} of {meant} pictures, which the file does not list one by one" if meant > count else ""
    return Container(path, max(1, count), lambda i: _opened(path).page(i), many=count > 1, unread=unread)


def _listed(file: BinaryIO) -> int:
    """Pictures in the chain of directories, without reading them; as many as there are before it breaks off."""
    start = file.read(16)
    order = {b"II": "<", b"MM": ">"}.get(start[:2])
    if order is None or len(start) < 16:
        return 0
    big = struct.unpack(order + "H", start[2:4])[0] == 43
    size, entry, number, offset = (8, 20, "Q", "Q") if big else (2, 12, "H", "I")
    (at,) = struct.unpack(order + offset, start[8:16] if big else start[4:8])
    count = 0
    while at and count < MOST_PICTURES:
        file.seek(at)
        entries = file.read(size)
        if len(entries) < size:
            break
        count += 1
        file.seek(at + size + struct.unpack(order + number, entries)[0] * entry)
        following = file.read(struct.calcsize(offset))
        if len(following) < struct.calcsize(offset):
            break
        (at,) = struct.unpack(order + offset, following)
    return count
