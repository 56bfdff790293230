"""Pictures of an HDF5 file: a stack in one dataset, DECTRIS' master file with its data files, or one picture alone.

Data files that a master links to are looked for where HDF5 looks, beside the master. Compression that HDF5 does not
bring along (bitshuffle, LZ4, Zstandard, Blosc) is that of the package hdf5plugin.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.errors import DataError, Refused, shown
from protocols.pictures.container import Container, Picture
from protocols.pictures.lastopened import LastOpened

DATASETS = ("images", "entry/data/data", "diffraction/data", "data", "entry_1/data_1/data", "exchange/data")
"""Where a stack is looked for, in this order; after these the parts that a master links to, and then the only dataset
that can be pictures."""
PARTS = "entry/data"
PART = re.compile(r"data_(\d+)")
MASKS = ("entry/instrument/detector/pixel_mask", "entry/instrument/detector/detectorSpecific/pixel_mask")
ALL_TOLD = "entry/instrument/detector/detectorSpecific"
LEAST_PX = 32
UNREADABLE = (OSError, RuntimeError, KeyError, ValueError, TypeError, AttributeError)
"""What h5py raises for a damaged file, depending on where the damage is."""


class PluginMissing(Refused):
    """The pictures are whole, but this machine cannot decompress them."""


@dataclass(frozen=True, slots=True)
class _Stack:
    """A dataset of pictures: its name in the file, the dimensions before rows and columns, and which are there."""

    name: str
    leading: tuple[int, ...]
    there: Sequence[int]


@dataclass(slots=True)
class _Found:
    """What a file holds. lost: of what is missing, words and how many pictures (0: not known)."""

    stacks: list[_Stack]
    uses: list[Path]
    lost: list[tuple[str, int]]


def _open(path: Path) -> Any:
    import h5py

    return h5py.File(path, "r")


_opened = LastOpened(_open)


def hdf5_pictures(path: Path) -> Container:
    """All pictures of an HDF5 file. Refused for one without pictures and (`PluginMissing`) for compression that this
    machine cannot undo; DataError for a damaged one.
    """
    try:
        file = _opened(path)
        found = _found(path, file)
        stacks = found.stacks
        if not stacks and found.lost:
            raise DataError(f"{shown(path)}: none of its pictures is there: {_words(found.lost)}")
        if not stacks:
            raise Refused(f"{shown(path)}: no stack of pictures (n, rows, columns) at {', '.join(DATASETS)} or {PARTS}/"
                          "data_000001. Nothing was read.")  # fmt: skip
        total = sum(len(stack.there) for stack in stacks)
        if not total:
            raise Refused(f"{shown(path)}: its stack of pictures is empty. Nothing was read.")
        first = file[stacks[0].name]
        for stack in stacks:
            _require_plugins(path, file[stack.name])
        per_px, wavelength_A = (
            float(first.attrs[name]) if name in first.attrs else None for name in ("per_px_per_A", "wavelength_A")
        )
        bad = _mask(file, first.shape[-2:])
    except UNREADABLE as error:
        raise DataError(f"{shown(path)}: not readable as HDF5 ({shown(error)}); give another file") from error
    places = [(stack, number) for stack in stacks for number in stack.there]

    def read(i: int) -> Picture:
        stack, number = places[i]
        data = _opened(path)[stack.name]
        return np.asarray(data[np.unravel_index(number, stack.leading)] if stack.leading else data[()])

    alone = len(stacks) == 1 and not stacks[0].leading
    unread = _words(found.lost) if found.lost else ""
    return Container(path, total, read, not alone, unread, per_px, wavelength_A, bad, found.uses)


def _found(path: Path, file: Any) -> _Found:
    for name in DATASETS:
        if name in file and _is_stack(file[name]):
            return _one(path, file, name)
    if PARTS in file and (found := _parts(path, file)):
        return found
    candidates = list(_large(file))
    return _one(path, file, candidates[0]) if len(candidates) == 1 else _Found([], [], [])


def _is_stack(data: Any) -> bool:
    import h5py

    return isinstance(data, h5py.Dataset) and data.ndim >= 2 and data.dtype.kind in "uif"


def _one(path: Path, file: Any, name: str) -> _Found:
    """A dataset of pictures, and what of it lies in other files that are not there."""
    data = file[name]
    leading = tuple(int(n) for n in data.shape[:-2])
    count = int(np.prod(leading)) if leading else 1
    if not data.size:
        return _Found([_Stack(name, leading, ())], [], [])
    if not data.is_virtual:
        return _Found([_Stack(name, leading, range(count))], [], [])
    there, uses, lost = np.ones(count, dtype=bool), [], []
    for source in data.virtual_sources():
        if source.file_name == ".":
            continue
        beside = path.parent / source.file_name
        if beside.is_file():
            uses.append(beside)
            continue
        # HDF5 fills with zeros what it does not find.
        low, high = (int(end[0]) for end in source.vspace.get_select_bounds())
        share = count // leading[0] if leading else 1
        there[low * share : (high + 1) * share] = False
        lost.append((f"{shown(source.file_name)} is missing", (high + 1 - low) * share))
    stacks = [_Stack(name, leading, np.flatnonzero(there).tolist())] if there.any() else []
    return _Found(stacks, uses, lost)


def _parts(path: Path, file: Any) -> _Found | None:
    """The parts data_000001, data_000002 and so on, each mostly in a file of its own."""
    import h5py

    group, found = file[PARTS], _Found([], [], [])
    numbered = sorted((int(match[1]), name) for name in group if (match := PART.fullmatch(name)))
    for _, name in numbered:
        link = group.get(name, getlink=True)
        external = isinstance(link, h5py.ExternalLink)
        try:
            data = group[name]
        except KeyError:
            found.lost.append((f"{shown(link.filename if external else name)} is missing", 0))
            continue
        if external:
            found.uses.append(path.parent / link.filename)
        if _is_stack(data):
            leading = tuple(int(n) for n in data.shape[:-2])
            count = (int(np.prod(leading)) if leading else 1) if data.size else 0
            found.stacks.append(_Stack(f"{PARTS}/{name}", leading, range(count)))
    told, here = _told(file), sum(len(stack.there) for stack in found.stacks)
    if found.lost and told > here:
        files = ", ".join(words.removesuffix(" is missing") for words, _ in found.lost)
        found.lost = [(f"{files} {'is' if len(found.lost) == 1 else 'are'} missing", told - here)]
    elif not found.lost and told > here > 0:
        found.lost.append((f"the file says {told} and links to {here}", told - here))
    return found if numbered else None


def _told(file: Any) -> int:
    """How many pictures a master says there are; 0 where it does not say."""
    if f"{ALL_TOLD}/nimages" not in file:
        return 0
    triggers = file[f"{ALL_TOLD}/ntrigger"][()] if f"{ALL_TOLD}/ntrigger" in file else 1
    return int(file[f"{ALL_TOLD}/nimages"][()]) * int(triggers)


def _words(lost: Sequence[tuple[str, int]]) -> str:
    """What is not read, in words."""
    known = sum(count for _, count in lost)
    return f"{known or 'an unknown number of'} pictures ({', '.join(words for words, _ in lost)})"


def _large(file: Any) -> Iterator[str]:
    """Datasets that can be pictures, of which a file of an unknown layout should have one."""
    names: list[str] = []

    def look(name: str, data: Any) -> None:
        if _is_stack(data) and min(data.shape[-2:]) >= LEAST_PX and "mask" not in name and "flatfield" not in name:
            names.append(name)

    file.visititems(look)
    yield from names


def _require_plugins(path: Path, data: Any) -> None:
    """Refused where the dataset is compressed in a way that this machine cannot undo."""
    from h5py import h5z

    properties = data.id.get_create_plist()
    for number in range(properties.get_nfilters()):
        code, _, _, name = properties.get_filter(number)
        if h5z.filter_avail(code):
            continue
        try:
            import hdf5plugin  # noqa: F401  # registers its filters
        except ImportError:
            pass
        if not h5z.filter_avail(code):
            what = f"filter {code}" + (f", {shown(name.decode(errors='replace'))}" if name else "")
            raise PluginMissing(
                f"{shown(path)}: its pictures are whole but compressed by an HDF5 plug-in that is missing here "
                f"({what}); pip install hdf5plugin, or set HDF5_PLUGIN_PATH. Nothing was read."
            )


def _mask(file: Any, shape: Sequence[int]) -> NDArray[np.bool_] | None:
    """Pixels that the file itself calls bad: DECTRIS' mask, where its lowest five bits are set."""
    for name in MASKS:
        if name in file and tuple(file[name].shape) == tuple(shape):
            return np.asarray(file[name][()] & 0b11111, dtype=bool)
    return None
