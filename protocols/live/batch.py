"""What was found in some frames that follow each other, as bytes: kept with a run, and what a look builds on."""

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO

import numpy as np
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
    with np.load(BytesIO(data), allow_pickle=False) as told:
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
