"""How good the finder is: fields of a simulated grid of which all is known, and what was found in them.

A found and a true particle belong together, one to one, the nearest first, if their middles are no farther apart than
half the shorter side of the true one (`CLOSE_PX` at least); the middle is that of what the picture shows of it.
Recall counts crystals that lie wholly in the picture, are no shorter than `LEAST_PX` and no paler than `PALEST`, and
touch no other; those that touch or overlap, and paler ones, are told beside it. For precision everything found counts,
and what belongs to no particle at all, of whatever size, is wrong: dirt and film too.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from drivers.simulated.crystalgrid import CrystalGrid
from drivers.simulated.gridcrystals import CrystalsOfGrid
from drivers.simulated.gridsettings import FILMS, GridSettings
from protocols.serialed.finding import outlines
from protocols.serialed.finding.crystals import Found
from protocols.serialed.finding.settings import FinderSettings

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

FIELD_NM, SIZE_PX = 5950.0, 512
"""The paper's field at 2500x."""
ELECTRONS_PX = 100.0
"""Of an image, on each pixel, without a specimen."""
LEAST_PX, PALEST = 8.0, 0.15
"""Longest edge; and how much of the light a crystal takes at least: the palest of the peer's test."""
CLOSE_PX = 2.0
CLASSES_PX = (8.0, 12.0, 24.0, 48.0, math.inf)
SAMPLES = 15
WITHIN_NM = 15_000.0
"""Fields lie in the middle window of a grid, no farther from its middle."""


@dataclass(frozen=True, slots=True)
class FieldKind:
    """What fields look like. path_nm: thickness that lets through 1/e. smallest_nm: what an operator who wants these
    crystals tells the finder.
    """

    film: str
    size: str
    contrast: str
    size_nm: float
    path_nm: float
    crystals_um2: float
    smallest_nm: float

    @property
    def name(self) -> str:
        """In words."""
        return f"{self.size}, {self.contrast}, {self.film}"


KINDS = tuple(
    FieldKind(film, size, contrast, size_nm, path_nm, crystals_um2, smallest_nm)
    for film in FILMS
    for size, size_nm, crystals_um2, smallest_nm in (("large", 550.0, 0.23, 150.0), ("small", 170.0, 1.0, 90.0))
    for contrast, path_nm in (("dark", 160.0), ("pale", 300.0))
)


@dataclass(frozen=True, eq=False)
class TrueField:
    """An image (rows, columns), and what is on it: (n,) each. shown: whether any of it is on the picture; whole: all of
    it. fast_px, slow_px: middle of what is shown. taken: share of the light that it takes. alone: touches no other.
    """

    kind: FieldKind
    seed: int
    image: NDArray[np.uint16]
    nm_per_px: float
    fast_px: Array
    slow_px: Array
    length_px: Array
    width_px: Array
    taken: Array
    shown: Mask
    whole: Mask
    alone: Mask

    @property
    def asked(self) -> Mask:
        """(n,) which are asked for."""
        return np.asarray(self.whole & (self.length_px >= LEAST_PX) & (self.taken >= PALEST))


@dataclass(frozen=True, eq=False)
class Judged:
    """pair: (n,) which found one belongs to each true one, -1 if none. off_px: (n,) how far apart, NaN if none. wrong:
    (m,) found ones that are no particle.
    """

    field: TrueField
    pair: NDArray[np.int64]
    off_px: Array
    wrong: Mask


def true_fields(seed: int, fields: int, size_px: int = SIZE_PX) -> Iterator[TrueField]:
    """So many fields from seed on, of all kinds in turn, each of a grid of its own. 0.1 s each."""
    for number in range(fields):
        yield true_field(seed + number, KINDS[number % len(KINDS)], size_px)


def true_field(seed: int, kind: FieldKind, size_px: int = SIZE_PX, field_nm: float = FIELD_NM) -> TrueField:
    """The field of this seed and kind: always the same. Electrons on a pixel are as many whatever its size."""
    grid = CrystalGrid(
        GridSettings(
            seed=seed,
            film=kind.film,
            size_nm=kind.size_nm,
            path_nm=kind.path_nm,
            crystals_um2=kind.crystals_um2,
            vignetting=0.25,
            shading=0.15,
            torn=0.0,
        )
    )
    rng = np.random.Generator(np.random.PCG64([seed, 19]))
    nm_per_px = field_nm / size_px
    corner_nm = rng.uniform(-WITHIN_NM, WITHIN_NM, 2) - field_nm / 2.0
    light = grid.transmission(np.diag([nm_per_px, nm_per_px]), corner_nm, (size_px, size_px))
    image = rng.poisson(ELECTRONS_PX * light).astype(np.uint16)
    on_it = grid.crystals_touching(corner_nm, corner_nm + field_nm)
    fast, slow, share = _shown(on_it, corner_nm, nm_per_px, size_px)
    return TrueField(
        kind,
        seed,
        image,
        nm_per_px,
        fast,
        slow,
        on_it.length_nm / nm_per_px,
        on_it.width_nm / nm_per_px,
        taken=1.0 - on_it.transmission,
        shown=share > 0.0,
        whole=share == 1.0,
        alone=outlines.gaps(_reaches(on_it)) > 0.0,
    )


def _reaches(crystals: CrystalsOfGrid) -> Array:
    corners = crystals.outline_nm + np.stack([crystals.x_nm, crystals.y_nm], axis=1)[:, None]
    return np.asarray((corners @ outlines.ALONG).max(axis=1))


def _shown(crystals: CrystalsOfGrid, corner_nm: Array, nm_per_px: float, size_px: int) -> tuple[Array, Array, Array]:
    """(n,) middles fast and slow of what the picture shows of each, and which share of it that is; by samples."""
    along = (np.arange(SAMPLES) + 0.5) / SAMPLES - 0.5
    u = crystals.length_nm[:, None, None] * along[None, :, None]
    v = crystals.width_nm[:, None, None] * along[None, None, :]
    cos, sin = (f(crystals.turned_rad)[:, None, None] for f in (np.cos, np.sin))
    x, y = cos * u - sin * v, sin * u + cos * v
    inward, away = crystals.sides
    inside = np.ones(x.shape, bool)
    for side in range(inward.shape[1]):
        a, b = inward[:, side, :, None, None].transpose(1, 0, 2, 3)
        inside &= a * x + b * y + away[:, side, None, None] >= 0.0
    fast = (x + crystals.x_nm[:, None, None] - corner_nm[0]) / nm_per_px
    slow = (y + crystals.y_nm[:, None, None] - corner_nm[1]) / nm_per_px
    seen = inside & (fast >= 0) & (fast < size_px) & (slow >= 0) & (slow < size_px)
    number = np.maximum(seen.sum(axis=(1, 2)), 1)
    share = seen.sum(axis=(1, 2)) / np.maximum(inside.sum(axis=(1, 2)), 1)
    return (fast * seen).sum(axis=(1, 2)) / number, (slow * seen).sum(axis=(1, 2)) / number, share


def judged(field: TrueField, places_px: Array) -> Judged:
    """What belongs together. places_px: (m, 2) middles (fast, slow) of what was found."""
    pair = np.full(len(field.fast_px), -1, np.int64)
    off_px = np.full(len(field.fast_px), np.nan)
    wrong = np.ones(len(places_px), bool)
    if len(places_px) and len(pair):
        away = np.hypot(field.fast_px[:, None] - places_px[:, 0], field.slow_px[:, None] - places_px[:, 1])
        close = (away < np.maximum(CLOSE_PX, 0.5 * field.width_px)[:, None]) & field.shown[:, None]
        for true, one in sorted(np.argwhere(close).tolist(), key=lambda both: away[both[0], both[1]]):
            if pair[true] < 0 and wrong[one]:
                pair[true], off_px[true], wrong[one] = one, away[true, one], False
    return Judged(field, pair, off_px, wrong)


def places_of(found: Found) -> Array:
    """(m, 2) middles in px."""
    return np.array([(each.fast_px, each.slow_px) for each in found.crystals], np.float64).reshape(-1, 2)


def settings_of(kind: FieldKind) -> FinderSettings:
    """What the finder is told of such fields."""
    return FinderSettings(smallest_nm=kind.smallest_nm)


def summary(results: list[Judged]) -> dict[str, float | int | None]:
    """recall, precision, rms_px over these fields, and what they rest on. None where nothing was asked for."""
    asked = [each.field.asked & each.field.alone for each in results]
    touching = [each.field.asked & ~each.field.alone for each in results]
    paler = [
        each.field.whole & each.field.alone & (each.field.length_px >= LEAST_PX) & (each.field.taken < PALEST)
        for each in results
    ]
    off = np.concatenate([each.off_px[which & (each.pair >= 0)] for each, which in zip(results, asked, strict=True)])
    found = sum(len(each.wrong) for each in results)
    wrong = sum(int(np.count_nonzero(each.wrong)) for each in results)
    return {
        "recall": _share(results, asked),
        "precision": round(1.0 - wrong / found, 4) if found else None,
        "rms_px": round(float(np.sqrt(np.mean(np.square(off)))), 3) if len(off) else None,
        "median_px": round(float(np.median(off)), 3) if len(off) else None,
        "crystals": sum(int(np.count_nonzero(which)) for which in asked),
        "found": found,
        "wrong": wrong,
        "touching": sum(int(np.count_nonzero(which)) for which in touching),
        "recall_touching": _share(results, touching),
        "paler": sum(int(np.count_nonzero(which)) for which in paler),
        "recall_paler": _share(results, paler),
    }


def by_size(results: list[Judged]) -> dict[str, float | None]:
    """Recall of those asked for that touch no other, by their longest edge in px."""
    made = {}
    for low, high in pairwise(CLASSES_PX):
        which = [
            each.field.asked & each.field.alone & (each.field.length_px >= low) & (each.field.length_px < high)
            for each in results
        ]
        made[f"{low:g}-{high:g} px" if math.isfinite(high) else f"{low:g} px and more"] = _share(results, which)
    return made


def _share(results: list[Judged], which: list[Mask]) -> float | None:
    asked = sum(int(np.count_nonzero(each)) for each in which)
    hit = sum(int(np.count_nonzero(one.pair[each] >= 0)) for one, each in zip(results, which, strict=True))
    return round(hit / asked, 4) if asked else None
