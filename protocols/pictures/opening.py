"""Which reader a file of pictures goes to, and all files of a folder.

Used by `credline zones` for whatever a person names, and by whoever else looks at pictures of other programs.
"""

from collections import Counter
from pathlib import Path

from engine.errors import DataError, Refused, shown
from protocols.pictures.container import Container, unreadable
from protocols.pictures.flat import drawn_picture, frame_pictures, mrc_pictures
from protocols.pictures.hdf5 import PluginMissing, hdf5_pictures
from protocols.pictures.tiff import tiff_pictures

READERS = {
    **dict.fromkeys((".h5", ".hdf5", ".hdf", ".nxs", ".cxi"), hdf5_pictures),
    **dict.fromkeys((".png", ".jpg", ".jpeg", ".bmp"), drawn_picture),
    **dict.fromkeys((".tif", ".tiff"), tiff_pictures),
    **dict.fromkeys((".mrc", ".mrcs"), mrc_pictures),
    **dict.fromkeys((".img", ".smv", ".cbf", ".edf"), frame_pictures),
}
"""By the end of a file's name."""
KINDS = tuple(READERS)
RUN = "run.json"
"""In the folder of a run of credline, which has a reader of its own (`protocols.products.source`)."""


def open_container(path: Path) -> Container:
    """The pictures of one file. Refused for a kind that is not known, for HDF5 without pictures and for a plug-in of
    HDF5 that is missing; a file that is damaged gives a picture that cannot be read, but HDF5 a DataError.
    """
    suffix = path.suffix.lower()
    reader = READERS.get(suffix)
    if reader is None:
        raise Refused(f"{shown(path)}: a file of an unknown kind; known are {', '.join(KINDS)}. Nothing was read.")
    try:
        return reader(path)
    except (DataError, Refused):
        raise
    except Exception as error:  # the libraries raise whatever the damage leads to
        return unreadable(
            path,
            DataError(
                f"{shown(path)}: cannot be read as a picture ({shown(error) or type(error).__name__}); remove it or "
                "give another"
            ),
        )


def open_folder(path: Path) -> tuple[list[Container], str]:
    """All files of pictures in a folder and those below it, by name, and what was not read, in words.

    Files that another one links to are read through that. Refused
    for a folder that cannot be searched, or a plug-in of HDF5 that is missing.
    """
    try:
        files = sorted(p for p in path.rglob("*") if p.is_file() and not p.name.startswith("."))
    except OSError as error:
        raise Refused(f"{shown(path)}: cannot be searched ({shown(error)}). Nothing was read.") from error
    containers, without = [], Counter[str]()
    runs = {file.parent for file in files if file.name == RUN}
    for file in files:
        if runs.intersection(file.parents):
            continue
        suffix = file.suffix.lower()
        if suffix not in READERS:
            without[f"of an unknown kind ({suffix or 'no ending'})"] += 1
            continue
        try:
            containers.append(open_container(file))
        except DataError as error:
            containers.append(unreadable(file, error))
        except PluginMissing:
            raise
        except Refused:
            without[f"without pictures ({suffix})"] += 1
    linked = {used.resolve() for container in containers for used in container.uses}
    kept = [container for container in containers if not linked or container.path.resolve() not in linked]
    words = [f"{count} {'file' if count == 1 else 'files'} {what}" for what, count in sorted(without.items())]
    if runs:
        words.insert(0, f"{len(runs)} {'run' if len(runs) == 1 else 'runs'} of credline (to be given by itself)")
    words += [f"of {shown(container.path.name)}: {container.unread}" for container in kept if container.unread]
    return kept, "; ".join(words)
