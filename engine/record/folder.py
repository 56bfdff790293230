"""The folder of a run, and files that are whole or not there at all."""

import json
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from engine.errors import Refused


def create_run_folder(out: Path, sample: str) -> Path:
    """Make `<out>/<sample>_<number>` with the next free number, atomically; nothing is ever overwritten.

    Raises Refused when `out` cannot be made or written to.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        taken = [entry.name[len(sample) + 1 :] for entry in out.iterdir() if entry.name.startswith(f"{sample}_")]
        number = max((int(name) for name in taken if name.isdecimal()), default=0) + 1
        while True:
            folder = out / f"{sample}_{number:03d}"
            try:
                folder.mkdir()
            except FileExistsError:
                number += 1
            else:
                return folder
    except OSError as error:
        if out.is_file():
            raise Refused(f"--out {out}: is a file; nothing was started. Name a folder for the run folders.") from error
        raise Refused(
            f"--out {out}: no run folder can be made there ({error.strerror or error}); nothing was started. "
            "Choose a folder you may write to."
        ) from error


def children_of(folder: Path) -> list[Path]:
    """The folders of the runs that a run has performed, in the order in which they began.

    They lie in its own as `<n>_<label>`. Raises OSError.
    """
    numbered = [(number_of(path), path) for path in folder.iterdir() if path.is_dir()]
    return [path for number, path in sorted(numbered) if number]


def number_of(child: Path) -> int:
    """The how manieth child of its parent lies in this folder, from 1; 0 for one that is no child's."""
    number, mark, _ = child.name.partition("_")
    return int(number) if mark and number.isdecimal() else 0


@contextmanager
def replacing(path: Path, mark: str = "new") -> Iterator[Path]:
    """Give a place beside `path` to write to; on leaving it becomes `path`, and a reader sees the old or the new.

    On an error it is removed, and `path` stays as it was. mark: how the name of the place ends, `.<name>.<mark>`: `new`
    for the files of a run, which one program writes; `of_this_process` for a file that several may write. A recovery
    removes the places that a program left behind when it was cut off.
    """
    place = path.with_name(f".{path.name}.{mark}")
    try:
        yield place
        place.replace(path)
    except BaseException:
        with suppress(OSError):
            place.unlink(missing_ok=True)
        raise


def of_this_process() -> str:
    """The mark of `replacing` for a file that several programs may write at a time."""
    return f"part{os.getpid()}"


def write_atomically(path: Path, content: bytes, *, durable: bool = True) -> None:
    """Replace `path` by `content` so that a reader, or a crash, sees the old or the new and never a half."""
    with replacing(path) as place, place.open("wb") as file:
        file.write(content)
        file.flush()
        if durable:
            os.fsync(file.fileno())


def write_json(path: Path, document: object, *, durable: bool = True) -> None:
    """Write a JSON document atomically, indented for people."""
    write_atomically(path, (json.dumps(document, indent=2) + "\n").encode(), durable=durable)


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
