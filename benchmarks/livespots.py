"""Spots of simulated rotations for benchmarks/live.py: rendered frames, corrected, and the finder that live uses.

.venv/bin/python -m benchmarks.livespots --seed 2 --orientations 7 --out FOLDER      # 4 s a run of one core

One file a run, not made again where it is there. 30 deg in frames of 0.23 deg and half a second, a snapshot in the
place of every tenth frame. What beam, halo and the constant background give is drawn once for all runs, POOL frames
of it, of which a run takes each once at most; a sum of two Poisson numbers is one.
"""

import argparse
import tempfile
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.crystals import picture_settings
from benchmarks.livecrystals import SETS, Drawn
from drivers.simulated.crystal import Crystal, load_crystal
from drivers.simulated.pattern import spots
from drivers.simulated.pictures import PictureMaker
from drivers.simulated.picturesettings import PictureSettings
from drivers.simulated.settings import GEOMETRY
from protocols.products.corrections import correction, untrusted
from protocols.spots.seriespeaks import FrameSpots, SeriesPeaks

WIDTH_DEG, EXPOSURE_S, RANGE_DEG = 0.23, 0.5, 30.0
SNAPSHOT_EVERY = 10
NEAR_PX = 1.5
POOL = 180
COLUMNS = ("fast_px", "slow_px", "position_sigma_px", "intensity", "intensity_sigma", "background")


def run_file(out: Path, seed: int, drawn: Drawn, orientation: int, second: float) -> Path:
    """Where the spots of one run are kept."""
    return out / f"{drawn.set}{seed}-{drawn.number:02}-{orientation}{f'-second{second:g}' if second else ''}.npz"


@dataclass(frozen=True, slots=True, eq=False)
class Made:
    """A run: spots of each frame, slots, stage angle of slot 0, hkl of each spot (0 0 0 where of none), true ub."""

    frames: list[FrameSpots]
    slot: NDArray[np.int64]
    start_deg: float
    hkl: list[NDArray[np.int64]]
    ub: NDArray[np.float64]


def load(file: Path) -> Made:
    """What was made."""
    with np.load(file) as told:
        edges = np.cumsum(told["count"])[:-1]
        parts = [np.split(told[name], edges) for name in COLUMNS]
        columns = [dict(zip(COLUMNS, each, strict=True)) for each in zip(*parts, strict=True)]
        frames = [FrameSpots(**each, gain=float(gain)) for each, gain in zip(columns, told["gain"], strict=True)]
        return Made(frames, told["slot"], float(told["start_deg"]), np.split(told["hkl"], edges), told["ub"])


def make(drawn: Drawn, seed: int, orientation: int, second: float, out: Path) -> None:
    """Render, find, and keep."""
    file = run_file(out, seed, drawn, orientation, second)
    if file.exists():
        return
    with tempfile.TemporaryDirectory() as folder:
        cif = drawn.crystal.write(Path(folder) / "made.cif")
        share = picture_settings(cif, beams=False).diffracting_share
        base = 1000 * seed + 20 * drawn.number + orientation
        crystals = [load_crystal(cif, base)] + ([load_crystal(cif, base + 500)] if second else [])
    # Spots alone; nothing but the beam's own pixels, which are saturated anyway, gets the rest of the flux.
    alone = replace(PictureSettings(), diffracting_share=share, halo=((1.0, 1e-3),), constant_s=0.0)
    strengths = (1.0, second) if second else (1.0,)
    makers = [
        PictureMaker(crystal, GEOMETRY, replace(alone, diffracting_share=share * strength))
        for crystal, strength in zip(crystals, strengths, strict=True)
    ]
    settings, backgrounds = PictureSettings(), _backgrounds()
    of_slot = np.random.Generator(np.random.PCG64([base, 2])).permutation(POOL)
    apply = correction(makers[0].flatfield, settings.wide_cross, settings.saturation)
    made_up = untrusted(settings.shape, settings.wide_cross, apply.dead)
    find = SeriesPeaks(made_up.shape, made_up, (GEOMETRY.beam_fast_px, GEOMETRY.beam_slow_px))
    start_deg = float(np.random.Generator(np.random.PCG64([base, 1])).uniform(-50, 20))
    kept: list[FrameSpots] = []
    slots, hkl = [], []
    for slot in range(round(RANGE_DEG / WIDTH_DEG)):
        if slot % SNAPSHOT_EVERY == SNAPSHOT_EVERY - 1:
            continue
        begin_deg = start_deg + slot * WIDTH_DEG
        turn = begin_deg, begin_deg + WIDTH_DEG, EXPOSURE_S
        parts = [maker.diffraction(*turn, noise_seed=1000 * base + slot + 7 * i) for i, maker in enumerate(makers)]
        parts.append(backgrounds[of_slot[slot]])
        found = find(apply.apply(np.minimum(sum(parts), settings.saturation).astype(np.uint16))[0])
        kept.append(found)
        slots.append(slot)
        hkl.append(_belongs(found, crystals[0], begin_deg))
    arrays: dict[str, Any] = {name: np.concatenate([getattr(each, name) for each in kept]) for name in COLUMNS}
    arrays |= {"slot": np.array(slots), "start_deg": start_deg, "hkl": np.concatenate(hkl), "ub": crystals[0].ub}
    arrays |= {"count": [len(each) for each in kept], "gain": [each.gain for each in kept]}
    np.savez_compressed(file, **arrays)


@cache
def _backgrounds() -> NDArray[np.uint16]:
    """(POOL, rows, columns) raw pictures without any reflection."""
    maker = PictureMaker(load_crystal(None, 1), GEOMETRY, replace(PictureSettings(), diffracting_share=0.0))
    return np.array([maker.diffraction(0.0, WIDTH_DEG, EXPOSURE_S, noise_seed=seed) for seed in range(POOL)])


def _belongs(found: FrameSpots, crystal: Crystal, begin_deg: float) -> NDArray[np.int64]:
    """(n, 3) indices of the reflection that each spot is, by the truth; 0 0 0 where it is none."""
    true = spots(crystal, GEOMETRY, begin_deg, begin_deg + WIDTH_DEG, 2e-4, 1.0, 0.08)
    bright = np.flatnonzero(true.rate > 0)
    apart = np.hypot(found.fast_px[:, None] - true.fast_px[bright], found.slow_px[:, None] - true.slow_px[bright])
    # Of several at one place the strongest is seen.
    score = np.where(apart < NEAR_PX, true.rate[bright], 0.0)
    best = score.argmax(axis=1) if len(bright) else np.zeros(len(found), dtype=np.intp)
    near = score.max(axis=1, initial=0.0) > 0
    result = np.zeros((len(found), 3), dtype=np.int64)
    result[near] = crystal.hkl[true.index[bright[best[near]]]]
    return result


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--orientations", type=int, default=1)
    parser.add_argument("--second", type=float, default=0.0)
    parser.add_argument(
        "--set", choices=SETS, default="all", help="small: below 100 A^3; pseudo: benchmarks.livepseudo"
    )
    parser.add_argument("--out", type=Path, required=True)
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    for orientation in range(asked.orientations):
        for drawn in SETS[asked.set](asked.seed):
            make(drawn, asked.seed, orientation, asked.second, asked.out)


if __name__ == "__main__":
    main()
