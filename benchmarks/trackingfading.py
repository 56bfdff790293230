"""How often frames that fade are taken for a crystal that leaves, and how often one that leaves is told by them.

.venv/bin/python -m benchmarks.trackingfading --seed 41 --runs 90        # 1 s a run

Rotations of 100 deg, 0.23 deg a frame, a snapshot in the place of every tenth, of structures that nothing was built
with (`benchmarks.livecrystals`). As in `benchmarks.livedamage` no frame is rendered: the spots are made from the truth,
with background, counting statistics and the limit of a finder, and what they hold together is what is scattered; the
primary beam is constant to 1 %. A third of the crystals stays. The others are gone after 20 to 80 deg, within 0.5 to 30
deg (half of them within 4). Judged is `protocols.tracking.fading.fading` as a run asks it, frame by frame. Too early is
what comes while nine tenths of the crystal or more are lit; told what comes after that, within 10 deg of the end.
"""

import argparse
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.livecrystals import draw_crystals
from benchmarks.livedamage import EXPOSURE_S, WIDTH_DEG, _found, settings_of
from drivers.simulated.crystal import load_crystal
from drivers.simulated.pattern import spots
from drivers.simulated.pictures import PictureMaker
from drivers.simulated.settings import GEOMETRY
from protocols.tracking.fading import BEFORE, LAST, Intensity, fading

RANGE_DEG, SNAPSHOT_EVERY = 100.0, 10
STEADY = 0.01
LIT, TOLD_WITHIN_DEG = 0.9, 10.0
FAST_DEG, SLOW_DEG = 2.0, 8.0


@dataclass(frozen=True, slots=True)
class Way:
    """Of a crystal: from begin_deg on it leaves, and after over_deg it is gone; infinite for one that stays."""

    begin_deg: float = np.inf
    over_deg: float = 1.0

    def lit(self, turned_deg: float) -> float:
        """Which share of it is lit."""
        return float(np.clip(1.0 - (turned_deg - self.begin_deg) / self.over_deg, 0.0, 1.0))

    @property
    def name(self) -> str:
        """In the table."""
        if not np.isfinite(self.begin_deg):
            return "stays"
        times = "2 deg" if self.over_deg < FAST_DEG else "2 to 8 deg" if self.over_deg < SLOW_DEG else "8 to 30 deg"
        return f"gone within {times}"


@dataclass(frozen=True, slots=True)
class Judged:
    """Of one run. early: alarms too early. told_deg: after so many deg from the begin of leaving; None: not."""

    way: Way
    frames: int
    early: int
    told_deg: float | None


def draw_way(random: np.random.Generator, number: int) -> Way:
    """Every third stays."""
    if number % 3 == 0:
        return Way()
    return Way(float(random.uniform(20.0, 80.0)), float(np.exp(random.uniform(np.log(0.5), np.log(30.0)))))


def tried(seed: int, number: int) -> Judged:
    """One run."""
    random = np.random.Generator(np.random.PCG64([17, seed, number]))
    way, drawn = draw_way(random, number), draw_crystals(seed)[number % 30]
    with tempfile.TemporaryDirectory() as folder:
        cif = drawn.crystal.write(Path(folder) / "made.cif")
        settings, crystal = settings_of(cif), load_crystal(cif, 1000 * seed + number)
    per_rate = GEOMETRY.wavelength_A**2 * (10.0 * crystal.size_nm) / crystal.volume_A3**2
    per_rate *= settings.flux_s * settings.diffracting_share * EXPOSURE_S
    background = PictureMaker(crystal, GEOMETRY, settings).expected(0.0, 0.1, EXPOSURE_S, scale=0.0)
    frames: list[Intensity] = []
    fades, early, told_deg = False, 0, None
    for slot in range(round(RANGE_DEG / WIDTH_DEG)):
        if slot % SNAPSHOT_EVERY == 0:
            continue
        turned_deg = slot * WIDTH_DEG
        begin_deg = turned_deg - RANGE_DEG / 2
        true = spots(crystal, GEOMETRY, begin_deg, begin_deg + WIDTH_DEG, settings.rocking_sigma_invA, 1.0)
        lit = way.lit(turned_deg + WIDTH_DEG / 2)
        found = _found(true.fast_px, true.slow_px, true.rate * per_rate * lit, background, random)
        beam = settings.flux_s * (1.0 + STEADY * float(random.standard_normal()))
        frames = [*frames, Intensity(beam, float(found.intensity.sum()) / EXPOSURE_S)][-LAST - BEFORE :]
        now = fading(frames) is not None
        if now and not fades:
            if lit >= LIT:
                early += 1
            elif told_deg is None and turned_deg <= way.begin_deg + way.over_deg + TOLD_WITHIN_DEG:
                told_deg = turned_deg - way.begin_deg
        fades = now
    return Judged(way, slot + 1, early, told_deg)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=41)
    parser.add_argument("--runs", type=int, default=90)
    asked = parser.parse_args()
    done = [tried(asked.seed, number) for number in range(asked.runs)]
    print("| the crystal | runs | told | after deg: median | runs with one too early | too early, of 1000 frames |")
    print("|---|---|---|---|---|---|")
    for name in ("stays", "gone within 2 deg", "gone within 2 to 8 deg", "gone within 8 to 30 deg"):
        some = [each for each in done if each.way.name == name]
        told = [each.told_deg for each in some if each.told_deg is not None]
        early, frames = sum(each.early for each in some), sum(each.frames for each in some)
        after = f"{np.median(told):.1f}" if told else ""
        print(
            f"| {name} | {len(some)} | {len(told)} | {after} | {sum(each.early > 0 for each in some)} | "
            f"{1000 * early / max(frames, 1):.2f} |"
        )


if __name__ == "__main__":
    main()
