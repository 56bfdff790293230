"""One program at a time works on a run folder: a lock of the operating system, gone with the program that held it."""

import sys
from pathlib import Path
from typing import BinaryIO

LOCK_FILE = "run.lock"


def take_lock(folder: Path) -> BinaryIO | None:
    """Lock a run folder for this program until the returned file is closed; None if another program holds it."""
    file = (folder / LOCK_FILE).open("ab")
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        return None
    return file


def drop_lock(folder: Path, file: BinaryIO) -> None:
    """Let the folder go, and leave nothing of the lock."""
    file.close()
    (folder / LOCK_FILE).unlink(missing_ok=True)
