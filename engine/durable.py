"""Files forced to the disk itself, with their names: what another file is deleted for must have reached it first."""

import os
import sys
from collections.abc import Iterable
from pathlib import Path


def to_disk(folder: Path, files: Iterable[Path] = ()) -> None:
    """Force these files, and the names in `folder` and in their own folders, to the disk itself (4-20 ms each).

    Raises OSError.

    A file that was renamed into place is safe from a power cut only once the folder was forced as well. Windows knows
    no such call for folders; its file systems keep names in order by themselves.
    """
    places = {folder}
    for path in files:
        places.add(path.parent)
        with path.open("rb+") as file:
            os.fsync(file.fileno())
    if sys.platform != "win32":
        for place in sorted(places):
            handle = os.open(place, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
