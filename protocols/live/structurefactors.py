"""Structure factors with the lattice and geometry that a look has found: `credline live --structure-factors`."""

from dataclasses import dataclass
from pathlib import Path

from engine.errors import Refused
from protocols.integration.laue import Axes
from protocols.integration.prediction import Widths
from protocols.integration.series import Series
from protocols.integration.structurefactors import FOLDER, StructureFactors, structure_factors, words_of, write
from protocols.live.frames import SeriesFrames
from protocols.live.latticetype import candidates, conventional
from protocols.live.look import DISTANT_A, Look

BEGIN = Widths(0.1, 1e-4)
"""Where a look tells no mosaicity. The strong reflections correct it."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a person asks for. group: a space group or Laue class; None: by the intensities. composition: elements and
    their numbers in a formula unit. d_min_A: how far; out: folder of the files, None for the usual place.
    """

    group: str | None = None
    composition: dict[str, float] | None = None
    d_min_A: float = DISTANT_A
    out: Path | None = None


def measure(frames: SeriesFrames, look: Look, count: int, wanted: Wanted) -> StructureFactors:
    """The structure factors of the first `count` frames, by what the look after them has found. Refused where that is
    no determined lattice.
    """
    found = look.found
    if found is None or not found.determined:
        raise Refused("live: without a determined lattice there are no structure factors; none were written.")
    told = look.told.get("mosaicity") or {}
    width_deg = float(told.get("deg", told.get("at_most_deg", BEGIN.mosaicity_deg)))
    types = [
        Axes(each.bravais, *conventional(each, found.cell, found.sigma))
        for each in candidates(found.cell, found.sigma)
        if each.allowed
    ]
    fit = found.fit
    return structure_factors(
        series(frames, count), fit.ub, fit.geometry, Widths(max(width_deg, 0.02), BEGIN.size_per_A), types,
        wanted.d_min_A, wanted.group,
    )  # fmt: skip


def series(frames: SeriesFrames, count: int) -> Series:
    """The first `count` frames as they are integrated."""
    import numpy as np

    bad = np.zeros(frames.shape, dtype=bool) if frames.made_up is None else frames.made_up
    few = slice(0, count)
    return Series(
        frames.counts, bad, frames.slot[few], frames.start_deg[few], frames.end_deg[few], frames.saturation
    )  # fmt: skip


def told_of(run: Path, result: StructureFactors, wanted: Wanted) -> tuple[list[Path], list[str]]:
    """Write the files; their places, and what there is to say."""
    base = run if run.is_dir() else run.parent
    folder = wanted.out or base / FOLDER
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Refused(f"live: {folder} cannot be made ({error.strerror}); nothing was written. Say --out.") from error
    name = "".join(c if c.isalnum() or c in "_-" else "_" for c in run.resolve().stem) or "crystal"
    paths = write(folder, name, result, wanted.composition)
    return paths, [*words_of(result), f"written: {', '.join(path.name for path in paths)} in {folder}"]
