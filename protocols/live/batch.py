"""What was found in some frames that follow each other, as bytes: kept with a run, and what a look builds on."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO
from typing import Any
from zipfile import ZipFile

import numpy as np
from numpy.lib.format import read_array_header_1_0, read_magic
from numpy.typing import NDArray

from protocols.live.rings import Profile
from protocols.spots.seriespeaks import FrameSpots

COLUMNS = ("fast_px", "slow_px", "position_sigma_px", "intensity", "intensity_sigma", "background")


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Frames. spots: of each. slot, start_ns, end_ns, light (all counts): (n,) of each. profile: of all together.
    shape: of a corrected frame.
    """

    spots: Sequence[FrameSpots]
    slot: NDArray[np.int64]
    start_ns: NDArray[np.int64]
    end_ns: NDArray[np.int64]
    light: NDArray[np.int64]
    profile: Profile
    shape: tuple[int, int]

    def packed(self) -> bytes:
        """As a file of numpy (.npz), spots in 32 bits; the same bytes for the same frames. 1 ms."""
        file = BytesIO()
        np.savez(
            file,
            times=np.stack([self.slot, self.start_ns, self.end_ns]),
            light=self.light,
            shape=np.array(self.shape),
            count=np.array([len(each) for each in self.spots]),
            gain=np.array([each.gain for each in self.spots]),
            spots=np.array(
                [np.concatenate([getattr(each, name) for each in self.spots]) for name in COLUMNS], dtype=np.float32
            ),
            profile=np.stack([self.profile.level, self.profile.variance]),
        )
        return file.getvalue()


def unpacked(data: bytes) -> Batch:
    """What was packed."""
    with ZipFile(BytesIO(data)) as file:
        told = {name.removesuffix(".npy"): _array(file.read(name)) for name in file.namelist()}
    slot, start_ns, end_ns = told["times"]
    edges = np.cumsum(told["count"])[:-1]
    each = np.split(told["spots"].astype(np.float64), edges, axis=1)
    spots = [
        FrameSpots(**dict(zip(COLUMNS, one, strict=True)), gain=float(gain))
        for one, gain in zip(each, told["gain"], strict=True)
    ]
    level, variance = told["profile"]
    rows, columns = told["shape"].tolist()
    light = told["light"] if "light" in told else np.ones_like(slot)  # of a run from before it was kept
    return Batch(spots, slot, start_ns, end_ns, light, Profile(level, variance, len(spots)), (rows, columns))


def _array(data: bytes) -> NDArray[Any]:
    """What is in a .npy as `numpy.savez` writes it (version 1). `numpy.load` parses each header as Python, which took
    longer than all else here; so headers that were seen before are known.
    """
    begin = 10 + int.from_bytes(data[8:10], "little")
    dtype, shape, in_columns = _header(data[:begin])
    return np.frombuffer(data, dtype, offset=begin).reshape(shape, order="F" if in_columns else "C")


@lru_cache(maxsize=1024)
def _header(begin: bytes) -> tuple[np.dtype[Any], tuple[int, ...], bool]:
    """Type and shape of an array, and whether it is stored column by column. Raises ValueError for what is none."""
    file = BytesIO(begin)
    if read_magic(file) != (1, 0):
        raise ValueError("an array of another version")
    shape, in_columns, dtype = read_array_header_1_0(file)
    return dtype, shape, in_columns
