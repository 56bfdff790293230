"""What a file of pictures is to everybody who reads pictures: so many of them, each read when it is asked for.

A file may hold one picture or thousands; a picture of several is called `file#3`, counted from 0. What a file should
hold and does not give is said (`unread`), never passed over.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.errors import DataError, shown

Picture = NDArray[Any]
"""(rows, columns), of the type in which it was written."""


@dataclass(frozen=True, slots=True, eq=False)
class Container:
    """One file of pictures.

    read: the picture of a number from 0 to count - 1; raises whatever its library raises for damage.
    many: the file is a stack, so that its pictures have numbers, even where it holds one only.
    unread: in words, what of the file is not among these pictures, and how many. per_px: 1/A a pixel, and wavelength in
    A, where the file says. bad: (rows, columns) True where the file says that pixels tell nothing. uses: other files
    whose pictures these are; read through this one, they must not be read once more.
    """

    path: Path
    count: int
    read: Callable[[int], Picture]
    many: bool = False
    unread: str = ""
    per_px: float | None = None
    wavelength_A: float | None = None
    bad: NDArray[np.bool_] | None = None
    uses: Sequence[Path] = ()

    def names(self) -> list[str]:
        """One for each picture, beginning with the path as it was given."""
        if not self.many:
            return [str(self.path)]
        width = len(str(self.count))
        return [f"{self.path}#{i:0{width}}" for i in range(self.count)]

    def picture(self, number: int) -> Picture:
        """(rows, columns) of one picture, colours as their mean. DataError for one that cannot be read."""
        try:
            picture = np.asarray(self.read(number))
        except DataError:
            raise
        except Exception as error:  # the libraries raise whatever the damage leads to
            which = f"picture {number} of it is damaged" if self.many else "cannot be read as a picture"
            raise DataError(
                f"{shown(self.path)}: {which} ({shown(error) or type(error).__name__}); remove it or give another"
            ) from error
        if picture.ndim == 3 and picture.shape[2] in (3, 4):
            picture = picture[:, :, :3].mean(axis=2).astype(picture.dtype)
        return picture


def unreadable(path: Path, error: DataError) -> Container:
    """In place of a file that is damaged as a whole: one picture, which cannot be read."""

    def read(_: int) -> Picture:
        raise error

    return Container(path, 1, read)
