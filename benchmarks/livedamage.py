"""Is damage by the beam told, and nothing else taken for it? Simulated rotations of made-up structures, and the truth.

.venv/bin/python -m benchmarks.livedamage --seed 100      # the table; some seconds a run

No frames are rendered: the spots of each frame are made from the truth, with the background of the simulated camera,
counting statistics, the limit of the finder and a pixel response of 3 %; then they are joined and looked at as in
`credline live`. Frames of 0.23 deg, a snapshot in the place of every tenth.

Right: a half-dose within 25 % of the truth, overall and in every shell that has one; the verdict that is true; `none`
of a crystal that was damaged by no more than what is told with it. Wrong: another verdict than `cannot tell`, or a
half-dose that is off by more. Of a crystal that is damaged and leaves as well all but `none` may be said; where it is
`damage`, the share that the outer shell has lost by both is to be right within 0.15.
"""

import argparse
import json
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import poisson

from benchmarks.crystals import picture_settings
from benchmarks.livecrystals import draw_crystals
from drivers.simulated.crystal import Crystal, load_crystal
from drivers.simulated.pattern import spots
from drivers.simulated.pictures import PictureMaker
from drivers.simulated.picturesettings import PictureSettings
from drivers.simulated.settings import GEOMETRY
from protocols.lattice.rotationgeometry import RotationGeometry
from protocols.live.look import Setting, look
from protocols.spots.joining import Joining, Reflections
from protocols.spots.seriespeaks import FrameSpots

WIDTH_DEG, EXPOSURE_S = 0.23, 0.5
SNAPSHOT_EVERY = 10
SHAPE = (516, 516)
CHANCE = 1e-6
RESPONSE = 0.03
APART_PX = 4.0
"""Of two spots that are nearer only the stronger is found."""
IN_3, IN_5 = 0.85, 0.985
"""Share of a spot in squares of so many pixels."""
WITHIN, LOST_WITHIN = 0.25, 0.15
TRUE = ("none", "damage", "leaves the beam", "both")
VERDICTS = ("none", "damage", "leaves the beam", "cannot tell")


@dataclass(frozen=True, slots=True)
class Fate:
    """What befalls a crystal. half_deg: rotation after which a reflection of 1 A has half its intensity; 0: never.
    power: that time grows with the spacing to this power. leaves: share of the rotation after which the crystal begins
    to leave the beam, and share of it that is left at the end; None: it stays.
    """

    half_deg: float = 0.0
    power: float = 1.0
    leaves: tuple[float, float] | None = None

    def left(self, d_star: NDArray[np.float64], turned_deg: float, range_deg: float) -> NDArray[np.float64]:
        """(n,) what is left of the intensities after so much rotation."""
        share = 1.0
        if self.leaves is not None:
            begins, end = self.leaves
            share = 1 - (1 - end) * max(0.0, (turned_deg / range_deg - begins) / (1 - begins))
        rate = np.log(2) * d_star**self.power / self.half_deg if self.half_deg else np.zeros_like(d_star)
        return np.asarray(share * np.exp(-rate * turned_deg))


@dataclass(frozen=True, slots=True)
class Case:
    """One run."""

    number: int
    crystal: int
    range_deg: float
    fate: Fate


def draw_cases(seed: int, count: int) -> list[Case]:
    """As many undamaged, damaged, leaving the beam, and both."""
    random = np.random.Generator(np.random.PCG64([16, seed]))
    cases = []
    for number in range(count):
        range_deg = float(random.uniform(15, 60))
        half_deg = range_deg * float(np.exp(random.uniform(np.log(0.3), np.log(3))))
        power = float(random.choice([1.0, 2.0]))
        leaves = float(random.choice([0.0, random.uniform(0, 0.6)])), float(random.uniform(0.1, 0.7))
        fate = (Fate(), Fate(half_deg, power), Fate(leaves=leaves), Fate(half_deg, power, leaves))[number % 4]
        cases.append(Case(number, int(random.integers(30)), range_deg, fate))
    return cases


def made(crystal: Crystal, settings: PictureSettings, case: Case, seed: int) -> tuple[Reflections, float, float]:
    """The reflections of a run, and the stage angles at its ends."""
    random = np.random.Generator(np.random.PCG64([17, seed]))
    per_rate = GEOMETRY.wavelength_A**2 * (10.0 * crystal.size_nm) / crystal.volume_A3**2
    per_rate *= settings.flux_s * settings.diffracting_share * EXPOSURE_S
    background = PictureMaker(crystal, GEOMETRY, settings).expected(0.0, 0.1, EXPOSURE_S, scale=0.0)
    d_star = np.linalg.norm(crystal.hkl @ crystal.ub.T, axis=1)
    start_deg = float(random.uniform(-60, 60 - case.range_deg))
    joining = Joining()
    slots = round(case.range_deg / WIDTH_DEG)
    for slot in range(slots):
        if slot % SNAPSHOT_EVERY == SNAPSHOT_EVERY - 1:
            continue
        turned_deg = slot * WIDTH_DEG
        begin_deg = start_deg + turned_deg
        true = spots(
            crystal,
            GEOMETRY,
            begin_deg,
            begin_deg + WIDTH_DEG,
            settings.rocking_sigma_invA,
            1.0,
            settings.mosaicity_deg,
        )
        left = case.fate.left(d_star[true.index], turned_deg + WIDTH_DEG / 2, case.range_deg)
        found = _found(true.fast_px, true.slow_px, true.rate * per_rate * left, background, random)
        joining.add(found, slot, begin_deg, begin_deg + WIDTH_DEG)
    return joining.reflections(), start_deg, start_deg + slots * WIDTH_DEG


def _found(
    fast_px: NDArray[np.float64],
    slow_px: NDArray[np.float64],
    counts: NDArray[np.float64],
    background: NDArray[np.float64],
    random: np.random.Generator,
) -> FrameSpots:
    inside = (fast_px > 5) & (fast_px < SHAPE[1] - 5) & (slow_px > 5) & (slow_px < SHAPE[0] - 5) & (counts > 1)
    inside &= np.hypot(fast_px - GEOMETRY.beam_fast_px, slow_px - GEOMETRY.beam_slow_px) > 12
    fast_px, slow_px, counts = fast_px[inside], slow_px[inside], counts[inside]
    below = background[slow_px.astype(np.intp), fast_px.astype(np.intp)]
    seen_in_3 = random.poisson(IN_3 * counts + 9 * below)
    bright = seen_in_3 > poisson.isf(CHANCE, 9 * below)
    order = np.flatnonzero(bright)[np.argsort(-counts[bright], kind="stable")]
    kept: list[int] = []
    for each in order.tolist():
        if not kept or np.hypot(fast_px[kept] - fast_px[each], slow_px[kept] - slow_px[each]).min() > APART_PX:
            kept.append(each)
    rows = np.array(sorted(kept), dtype=np.intp)
    fast_px, slow_px, counts, below = fast_px[rows], slow_px[rows], counts[rows], below[rows]
    response = 1 + RESPONSE * random.standard_normal(len(rows)) / 2
    more = np.maximum(seen_in_3[rows] - 9 * below, 1) + random.poisson((IN_5 - IN_3) * counts + 16 * below) - 16 * below
    intensity = np.maximum(more * response, 1.0)
    sigma = np.sqrt(intensity + 25 * below)
    position = 0.85 * np.sqrt(1 / intensity + 30 * below / intensity**2)
    return FrameSpots(
        fast_px=fast_px + position * random.standard_normal(len(rows)),
        slow_px=slow_px + position * random.standard_normal(len(rows)),
        position_sigma_px=position,
        intensity=intensity,
        intensity_sigma=sigma,
        background=below,
        gain=1.0,
    )


def settings_of(cif: Path) -> PictureSettings:
    """With the brightness of mordenite, on a camera without a cross."""
    share = picture_settings(cif, beams=False).diffracting_share
    return replace(PictureSettings(), shape=SHAPE, wide_cross=False, diffracting_share=share)


def try_case(case: Case, seed: int, structures: int) -> dict[str, Any]:
    """One run looked at when it is over, judged."""
    drawn = draw_crystals(structures)[case.crystal]
    with tempfile.TemporaryDirectory() as folder:
        cif = drawn.crystal.write(Path(folder) / "made.cif")
        settings, crystal = settings_of(cif), load_crystal(cif, 1000 * seed + case.number)
    reflections, start_deg, end_deg = made(crystal, settings, case, 1000 * seed + case.number)
    begin = time.process_time()
    told = look(reflections, (start_deg, end_deg), Setting(RotationGeometry.of(GEOMETRY), SHAPE, WIDTH_DEG)).told
    seconds = time.process_time() - begin
    return judge(case, crystal, told) | {"look_s": round(seconds, 2), "reflections": len(reflections)}


def judge(case: Case, crystal: Crystal, told: dict[str, Any]) -> dict[str, Any]:
    """What is right of it."""
    fate, damage = case.fate, told.get("damage")
    true = TRUE[(fate.half_deg > 0) + 2 * (fate.leaves is not None)]
    result: dict[str, Any] = {"run": case.number, "true": true, "range_deg": round(case.range_deg, 1)}
    result |= {"half_deg": round(fate.half_deg, 1), "power": fate.power, "determined": told["determined"]}
    if damage is None:
        return result | {"said": "cannot tell", "wrong": False, "told": None}
    if true == "both":  # what both together have taken is told, and not by which
        wrong = damage["verdict"] == "none"
        if damage["verdict"] == "damage":
            outer = np.array([1 / damage["shells"][-1]["at_A"]])
            lost = 1 - float(fate.left(outer, case.range_deg, case.range_deg)[0])
            wrong = abs(damage["lost"] - lost) > LOST_WITHIN
        return result | {"said": damage["verdict"], "wrong": wrong, "told": damage}
    off = [
        shell["half_deg"] / (fate.half_deg * shell["at_A"] ** fate.power) - 1
        for shell in damage["shells"]
        if shell["half_deg"] is not None and fate.half_deg
    ]
    if damage["half_deg"] is not None and fate.half_deg:
        off.append(damage["half_deg"] / _overall_deg(crystal, fate, told["resolution_A"]) - 1)
    said = damage["verdict"]
    worst = max(map(abs, off), default=0.0)
    wrong = said not in (true, "cannot tell")
    wrong = bool(wrong or worst > WITHIN)
    if said == "none" and true == "damage":  # it is told with how much the outer shell can have lost
        outer = (2 / told["resolution_A"] ** 3 / 3) ** (1 / 3)  # the middle of the outer third, by volume
        wrong = 1 - float(fate.left(np.array([outer]), case.range_deg, 1.0)[0]) > damage["lost_at_most"]
    return result | {"said": said, "wrong": wrong, "off": [round(float(x), 3) for x in off], "told": damage}


def _overall_deg(crystal: Crystal, fate: Fate, d_min_A: float) -> float:
    """Rotation after which the sum of all intensities down to a spacing is half of what it was."""
    d_star = np.linalg.norm(crystal.hkl @ crystal.ub.T, axis=1)
    near = (d_star < 1 / d_min_A) & (d_star > 0.14)
    intensity = crystal.intensity[near]
    low, high = 1e-3, 1e5
    for _ in range(60):
        middle = (low * high) ** 0.5
        left = (intensity * fate.left(d_star[near], middle, 1.0)).sum() / intensity.sum()
        low, high = (middle, high) if left > 0.5 else (low, middle)
    return low


def say(results: Sequence[dict[str, Any]]) -> None:
    """The table."""
    print(f"| true | runs | {' | '.join(VERDICTS)} | with a half-dose | off by more than 25 % | wrong |")
    print(f"|---|{'---|' * (len(VERDICTS) + 4)}")
    for true in TRUE:
        mine = [each for each in results if each["true"] == true]
        said = Counter(each["said"] for each in mine)
        with_half = [each for each in mine if each.get("off")]
        off = sum(max(map(abs, each["off"])) > WITHIN for each in with_half)
        counts = " | ".join(str(said[verdict]) for verdict in VERDICTS)
        print(f"| {true} | {len(mine)} | {counts} | {len(with_half)} | {off} | {sum(each['wrong'] for each in mine)} |")
    seconds = np.median([each["look_s"] for each in results])
    print(f"a look: {seconds:.2f} s of processor time in the median")


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--structures", type=int, default=1)
    parser.add_argument("--runs", type=int, default=120)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    results = []
    for case in draw_cases(asked.seed, asked.runs):
        results.append(try_case(case, asked.seed, asked.structures))
        if asked.json:
            asked.json.write_text(json.dumps(results, indent=1))
    say(results)


if __name__ == "__main__":
    main()
