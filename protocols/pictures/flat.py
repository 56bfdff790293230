"""Pictures of MRC files and stacks, and of files with one picture each: SMV, CBF, EDF, PNG, JPEG, BMP."""

from pathlib import Path
from typing import Any

import numpy as np

from protocols.pictures.container import Container, Picture
from protocols.pictures.lastopened import LastOpened


def mrc_pictures(path: Path) -> Container:
    """Every section of an MRC file is a picture, also of a volume of several."""
    import mrcfile

    with mrcfile.open(path, permissive=True, header_only=True) as file:
        columns, rows, sections = (int(file.header[name]) for name in ("nx", "ny", "nz"))
    sections = max(1, sections)
    return Container(path, sections, lambda i: _section(path, i, (rows, columns)), many=sections > 1)


def _mapped(path: Path) -> Any:
    import mrcfile

    return mrcfile.mmap(path, permissive=True)


_opened = LastOpened(_mapped)


def _section(path: Path, number: int, shape: tuple[int, int]) -> Picture:
    data = _opened(path).data
    if data is None:
        raise ValueError("its data are cut off, or of a type that is not known")
    return np.array(np.reshape(data, (-1, *shape))[number])  # a copy, so that the file can be closed


def drawn_picture(path: Path) -> Container:
    """The picture of a file that Pillow reads."""

    def read(_: int) -> Picture:
        from PIL import Image

        with Image.open(path) as image:
            return np.asarray(image if image.mode in ("L", "I", "I;16", "F") else image.convert("L"))

    return Container(path, 1, read)


def frame_pictures(path: Path) -> Container:
    """The pictures of a file that fabio reads: mostly one."""
    import fabio

    count = 1
    if path.suffix.lower() == ".edf":  # the one of these kinds that can hold several
        with fabio.open(str(path)) as image:
            count = max(1, int(image.nframes))

    def read(number: int) -> Picture:
        with fabio.open(str(path)) as image:
            return np.asarray(image.get_frame(number).data if count > 1 else image.data)

    return Container(path, count, read, many=count > 1)
