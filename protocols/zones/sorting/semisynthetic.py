"""Semi-synthetic patterns: the peaks of real frames, drawn as the network knows pictures.

What a real crystal, a bent one or a dynamical pattern does to spots is in them; what the detector does stays behind in
the peak finder. They carry the labels that a person, or `credline zones classify`, gave the frames. With simulated
patterns they make the batches that a network is trained on (Gorelik and co-workers, 2025, call that the next step).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.errors import Refused
from protocols.zones.patterns.noise import displaced, thinned
from protocols.zones.patterns.render import render
from protocols.zones.patterns.simulation import Array, Patterns
from protocols.zones.patterns.snapshots import Snapshots
from protocols.zones.sorting.labels import FEWEST_SPOTS, INTERSECTIONS, LABELS, MOST_OUTSIDE, SEVERAL, ZONE
from protocols.zones.sorting.metrics import Share
from protocols.zones.sorting.network import binned
from protocols.zones.sorting.sorting import spots_of
from protocols.zones.sorting.training import turned

Batch = tuple[NDArray[np.float32], NDArray[np.float32]]

HELD_OUT_EVERY = 5
"""Every fifth frame of a class is never trained on."""
MISPLACED_PER_A, MISSING_SHARE = 0.0005, 0.05
"""What one frame is varied by each time it is drawn, beside turns and mirrors."""
FEWEST_FRAMES = 10
"""Of a class to be trained on."""


@dataclass(frozen=True, slots=True, eq=False)
class Redrawn:
    """Patterns of real frames, to train on and held out: zones, and others (of one crystal or several)."""

    zones: Patterns
    others: Patterns
    held_out_zones: Patterns
    held_out_others: Patterns

    def mixed(self, batch: Batch, rng: np.random.Generator) -> Batch:
        """A batch of simulated patterns in which half of each class is of real frames instead, if there are any."""
        x, target = batch[0].copy(), batch[1]
        for kind, real in ((1.0, self.zones), (0.0, self.others)):
            if not len(real):
                continue
            places = np.flatnonzero(target == kind)[::2]
            some = turned(real.take(rng.integers(len(real), size=len(places))), rng)
            some = thinned(displaced(some, rng, MISPLACED_PER_A), rng, rng.uniform(0, MISSING_SHARE))
            x[places] = binned(render(some))
        return x, target

    def record(self, called: Callable[[Patterns], NDArray[np.bool_]]) -> dict[str, Any]:
        """How many there are, and how those held out were called by a network that tells whether they are zonal."""
        trained = {"zones": len(self.zones), "others": len(self.others)}
        zones, others = (
            Share(int(called(held).sum()), len(held)) if len(held) else Share(0, 0)
            for held in (self.held_out_zones, self.held_out_others)
        )
        return {"trained": trained, "held_out_zones_called_zones": zones.record(),
                "held_out_others_called_zones": others.record()}  # fmt: skip


def redrawn(sources: Sequence[Snapshots], labels: Mapping[str, str]) -> Redrawn:
    """Patterns of the peaks of all frames of these names and labels; hybrids and frames without a hit are left out.

    Refused where too few are left to train on.
    """
    spots: dict[bool, list[Array]] = {True: [], False: []}
    for source in sources:
        for number, name in enumerate(source.names):
            label = labels.get(name)
            if label not in (LABELS[ZONE], LABELS[INTERSECTIONS], LABELS[SEVERAL]):
                continue
            xy = spots_of(source, number)
            if len(xy) >= FEWEST_SPOTS + MOST_OUTSIDE:
                spots[label == LABELS[ZONE]].append(xy)
    if max(len(kind) for kind in spots.values()) < FEWEST_FRAMES:
        raise Refused(
            f"--frames: {len(spots[True])} zonal patterns and {len(spots[False])} others have a label and spots; "
            f"{FEWEST_FRAMES} of one kind are needed, named as `zones classify --out` names them. Nothing was trained."
        )
    parts = []
    for zonal in (True, False):
        held = np.arange(len(spots[zonal])) % HELD_OUT_EVERY == HELD_OUT_EVERY - 1
        parts.append([_as_patterns([xy for xy, out in zip(spots[zonal], held, strict=True) if out == of], zonal)
                      for of in (False, True)])  # fmt: skip
    (zones, held_zones), (others, held_others) = parts
    return Redrawn(zones, others, held_zones, held_others)


def _as_patterns(spots: Sequence[Array], zonal: bool) -> Patterns:
    """Patterns with indices that say no more than their label: all in one plane, or on a curve of which no plane has
    more than two.
    """
    start = np.concatenate([[0], np.cumsum([len(xy) for xy in spots])]).astype(np.int64)
    k = np.concatenate([np.arange(1, len(xy) + 1) for xy in spots]) if spots else np.zeros(0, dtype=np.int64)
    third = 0 * k if zonal else k * k
    hkl = np.stack([np.ones_like(k), k, third], axis=1)
    xy = np.concatenate(spots) if spots else np.zeros((0, 2))
    return Patterns(xy, hkl, np.ones(len(xy)), start, np.tile(np.eye(3), (len(spots), 1, 1)))
