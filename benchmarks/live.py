"""How soon is the cell known while a crystal turns? Simulated rotations of thirty made-up structures, and the truth.

.venv/bin/python -m benchmarks.livespots --seed 2 --orientations 7 --out FOLDER    # frames rendered, spots found: once
.venv/bin/python -m benchmarks.live --seed 2 --out FOLDER                          # the table
.venv/bin/python -m benchmarks.live --seed 2 --out FOLDER --disturbed --orientations 1   # what spoils it
.venv/bin/python -m benchmarks.livecurves --log FILE --to docs/images/live.png            # the curves

Right: a basis of the found primitive lattice agrees with the truth in axial ratios to 0.5 % and angles to 0.5 deg.
Within: off by more, but not by more than 3 of the standard deviations that are told with it. Wrong: said to be
determined, and neither. Where the reflections that are seen do not generate the lattice, by the truth, `not determined`
is right.
"""

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.livecrystals import SETS, Drawn
from benchmarks.livespots import WIDTH_DEG, Made, load, run_file
from drivers.simulated.settings import GEOMETRY
from protocols.lattice.cell import Cell, like_basis
from protocols.lattice.rotationfit import RotationFit
from protocols.lattice.rotationgeometry import RotationGeometry
from protocols.live.crystal import FoundCrystal
from protocols.live.geometryknown import GeometryKnown
from protocols.live.latticetype import candidates
from protocols.live.look import OFF_SIGMAS, observed
from protocols.live.secondlattice import lattices
from protocols.spots.joining import Joining, Reflections
from protocols.spots.seriespeaks import FrameSpots

DEGREES = (5.0, 10.0, 15.0, 30.0)
"""The looks that tables show; each goes on from the one before."""
MORE = (7.5, 12.5, 20.0, 25.0)
"""Further ones, for the curves."""
VOLUMES_A3 = (35, 100, 250, 600, 1500, 4001)
RATIO, ANGLE_DEG, SIGMAS = 0.005, 0.5, 3.0
TRUE = RotationGeometry.of(GEOMETRY)
KNOWN = GeometryKnown()
TYPES = {
    "triclinic": {"P": "aP"}, "monoclinic": {"P": "mP", "C": "mC"},
    "orthorhombic": {"P": "oP", "C": "oC", "I": "oI", "F": "oF"}, "tetragonal": {"P": "tP", "I": "tI"},
    "trigonal": {"P": "hP", "R": "hR"}, "hexagonal": {"P": "hP"}, "cubic": {"P": "cP", "I": "cI", "F": "cF"},
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Condition:
    """What is wrong. wrong: share of spots that are anywhere. second: intensity of another crystal of the same cell."""

    name: str
    wrong: float = 0.0
    second: float = 0.0
    told: Callable[[RotationGeometry], RotationGeometry] = lambda geometry: geometry
    degrees: tuple[float, ...] = DEGREES


UNDISTURBED = Condition("as it is", degrees=tuple(sorted(DEGREES + MORE)))
DISTURBED = (
    Condition("30 % of wrong spots", wrong=0.3),
    Condition("a second crystal of 30 %", second=0.3),
    Condition(
        "beam off by 3 px",
        told=lambda g: replace(g, beam_fast_px=g.beam_fast_px + 2.1, beam_slow_px=g.beam_slow_px - 2.1),
    ),
    Condition("axis off by 3 deg", told=lambda g: replace(g, axis_deg=g.axis_deg + 3.0)),
    Condition("camera length off by 2 %", told=lambda g: replace(g, camera_length_px=g.camera_length_px * 1.02)),
)


def spoilt(frames: list[FrameSpots], share: float, seed: int) -> list[FrameSpots]:
    """With spots added anywhere, as strong as the others, until they are that share of all."""
    draw = np.random.Generator(np.random.PCG64(seed))
    made = []
    for each in frames:
        more = draw.poisson(len(each) * share / (1 - share))
        which = draw.integers(0, max(len(each), 1), more if len(each) else 0)
        columns = {name: np.concatenate([getattr(each, name), getattr(each, name)[which]]) for name in SPOT_COLUMNS}
        for name in ("fast_px", "slow_px"):
            columns[name][len(each) :] = draw.uniform(5, 511, len(which))
        made.append(FrameSpots(**columns, gain=each.gain))
    return made


SPOT_COLUMNS = ("fast_px", "slow_px", "position_sigma_px", "intensity", "intensity_sigma", "background")


def reflections_until(made: Made, frames: list[FrameSpots], degrees: float) -> Reflections:
    """Joined, of the frames that end within so many degrees."""
    joining = Joining()
    for spots, slot in zip(frames, made.slot.tolist(), strict=True):
        if (slot + 1) * WIDTH_DEG > degrees + 1e-9:
            break
        begin_deg = made.start_deg + slot * WIDTH_DEG
        joining.add(spots, slot, begin_deg, begin_deg + WIDTH_DEG)
    return joining.reflections()


def generated(made: Made, degrees: float, centred: int) -> bool:
    """Whether the true indices of the spots seen so far generate the primitive reciprocal lattice."""
    seen = [
        hkl for hkl, slot in zip(made.hkl, made.slot.tolist(), strict=True) if (slot + 1) * WIDTH_DEG <= degrees + 1e-9
    ]
    hkl = np.unique(np.concatenate([*seen, np.zeros((0, 3), np.int64)]), axis=0)
    hkl = hkl[np.any(hkl != 0, axis=1)]
    return _index(hkl) == centred


def _index(hkl: NDArray[np.int64]) -> int:
    """How many times fewer points the lattice that (n, 3) vectors generate has than all whole ones; 0: it is flat."""
    rows, size = [[int(x) for x in row] for row in hkl], 1
    for column in range(3):
        rows = [row for row in rows if any(row)]
        while sum(row[column] != 0 for row in rows) > 1:  # Euclid
            least = min((row for row in rows if row[column]), key=lambda row: abs(row[column]))
            rows = [
                row if row is least else [x - row[column] // least[column] * y for x, y in zip(row, least, strict=True)]
                for row in rows
            ]
        first = next((row for row in rows if row[column]), None)
        if first is None:
            return 0
        size *= abs(first[column])
        rows = [row for row in rows if row is not first]
    return size


def judge(found: FoundCrystal | None, true: Cell) -> dict[str, Any]:
    """What is right of it."""
    if found is None or not found.determined:
        near = found is not None and like_basis(found.cell, true) is not None
        return {"verdict": "open", "near": near, "reasons": [] if found is None else list(found.reasons)}
    basis = like_basis(found.cell, true)
    if basis is None:
        return {"verdict": "wrong", "cell": list(found.cell.parameters), "share": found.share}
    here = np.array(Cell.from_metric(basis @ found.cell.metric @ basis.T).parameters)
    there = np.array(true.reduced().parameters)
    times = here[:3] / there[:3]
    ratio, angle_deg = float(times.max() / times.min() - 1), float(np.abs(here[3:] - there[3:]).max())
    sigma_A = np.sqrt(np.maximum([_row(axis) @ found.sigma.metric @ _row(axis) for axis in basis], 0)) / (2 * here[:3])
    pull = float((np.abs(here[:3] - there[:3]) / np.hypot(sigma_A, 2e-4 * here[:3])).max())
    limits = max(RATIO, SIGMAS * found.sigma.ratio), max(ANGLE_DEG, SIGMAS * float(found.sigma.angles_deg.max()))
    if ratio < RATIO and angle_deg < ANGLE_DEG:
        verdict = "right"
    else:
        verdict = "within" if ratio < limits[0] and angle_deg < limits[1] else "wrong"
    told = {"ratio_sigma": found.sigma.ratio, "angle_sigma_deg": float(found.sigma.angles_deg.max())}
    return {"verdict": verdict, "ratio": ratio, "angle_deg": angle_deg, "pull": pull, "share": found.share} | told


def _row(axis: NDArray[np.int64]) -> NDArray[np.float64]:
    """(6,) how the square of an axis follows from a metric's six numbers."""
    u, v, w = (float(x) for x in axis)
    return np.array([u * u, v * v, w * w, 2 * v * w, 2 * u * w, 2 * u * v])


def try_run(drawn: Drawn, seed: int, orientation: int, condition: Condition, out: Path) -> list[dict[str, Any]]:
    """One rotation at all of the degrees of a condition."""
    made = load(run_file(out, seed, drawn, orientation, condition.second))
    frames = spoilt(made.frames, condition.wrong, drawn.number) if condition.wrong else made.frames
    crystal = drawn.crystal
    true = Cell(*crystal.cell).reduced(crystal.group)
    told = condition.told(TRUE)
    before: RotationFit | None = None
    results = []
    for degrees in condition.degrees:
        reflections = reflections_until(made, frames, degrees)
        begin = time.process_time()
        found, other = lattices(observed(reflections), told, KNOWN, before)
        seconds = time.process_time() - begin
        before = before if found is None else found.fit
        result = judge(found, true) | {
            "run": f"{drawn.number}-{orientation}",
            "condition": condition.name,
            "deg": degrees,
            "volume_A3": round(crystal.primitive_A3),
            "reflections": len(reflections),
            "generated": generated(made, degrees, len(crystal.operations.cen_ops)),
            "seconds": round(seconds, 2),
        }
        if found is not None and found.determined:
            fit = found.fit
            for name, scale in (("axis_deg", 1.0), ("camera_length_px", TRUE.camera_length_px), ("beam_fast_px", 1.0)):
                result[name] = [(getattr(fit.geometry, name) - getattr(TRUE, name)) / scale, fit.sigma(name) / scale]
            sigma = fit.sigma("camera_length_px")
            result["length_called_wrong"] = (
                abs(fit.geometry.camera_length_px - told.camera_length_px) > OFF_SIGMAS * sigma
            )
            result["length_off_sigmas"] = abs(told.camera_length_px - TRUE.camera_length_px) / sigma
            if degrees == DEGREES[-1]:
                types = candidates(found.cell, found.sigma)
                best = next(each for each in types if each.allowed).bravais.symbol
                result["type"] = [best, TYPES[crystal.system][crystal.group[0]]]
                result["lattices"] = 1 if other is None else 2
        results.append(result)
    return results


def say(results: list[dict[str, Any]], condition: str) -> None:
    """The table of one condition."""
    mine = [each for each in results if each["condition"] == condition]
    print(f"\n{condition}: {len({each['run'] for each in mine})} runs")
    print(
        "| deg | generated | right | within 3 sigma | not determined | wrong | of the others: determined, wrong | s |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for degrees in DEGREES:
        here = [each for each in mine if each["deg"] == degrees]
        can = [each for each in here if each["generated"]]
        cannot = [each for each in here if not each["generated"]]
        counts = [sum(each["verdict"] == verdict for each in can) for verdict in ("right", "within", "open", "wrong")]
        other = [sum(each["verdict"] in verdicts for each in cannot) for verdicts in (("right", "within"), ("wrong",))]
        shares = " | ".join(f"{count / max(len(can), 1):.1%}" for count in counts)
        seconds = np.median([each["seconds"] for each in here] or [0.0])
        others = f"{other[0]}, {other[1]} of {len(cannot)}"
        print(f"| {degrees:g} | {len(can)} of {len(here)} | {shares} | {others} | {seconds:.2f} |")
    for low, high in pairwise(VOLUMES_A3):
        words = []
        for degrees in DEGREES:
            here = [e for e in mine if e["deg"] == degrees and e["generated"] and low <= e["volume_A3"] < high]
            words.append(f"{sum(e['verdict'] == 'right' for e in here)} of {len(here)}")
        if not any(low <= each["volume_A3"] < high for each in mine):
            continue
        print(f"{low} to {high - 1} A^3, right after {', '.join(f'{d:g}' for d in DEGREES)} deg: {'; '.join(words)}")
    pulls = np.array([each["pull"] for each in mine if "pull" in each])
    if len(pulls):
        high = np.percentile(pulls, 95)
        print(
            f"lengths off, in sigmas: median {np.median(pulls):.2f}, 95 % {high:.2f}, over 3: {np.mean(pulls > 3):.1%}"
        )
    for name in ("axis_deg", "camera_length_px", "beam_fast_px"):
        off = np.array([each[name] for each in mine if name in each])
        if len(off):
            over = np.mean(np.abs(off[:, 0]) > 3 * off[:, 1])
            print(f"{name}: rms off {np.sqrt(np.mean(off[:, 0] ** 2)):.4f}, over 3 sigma {over:.1%}")
    far = [each["length_called_wrong"] for each in mine if each.get("length_off_sigmas", 0) >= OFF_SIGMAS]
    right = [each["length_called_wrong"] for each in mine if each.get("length_off_sigmas") == 0]
    for which, called in ((f"told off by {OFF_SIGMAS:g} sigma or more", far), ("told right", right)):
        if called:
            print(f"a camera length {which} is called wrong in {sum(called)} of {len(called)} looks")
    types = [each["type"] for each in mine if "type" in each]
    if types:
        wrong = [f"{a} for {b}" for a, b in types if a != b]
        print(f"type right in {len(types) - len(wrong)} of {len(types)}; else {', '.join(wrong) or 'none'}")
        second = sum(each.get("lattices") == 2 for each in mine)
        print(f"a second lattice is said in {second} of {len(types)}")


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--orientations", type=int, default=7)
    parser.add_argument("--set", choices=("all", "small"), default="all", help="small: cells below 100 A^3")
    parser.add_argument("--every", type=int, default=1, help="of the structures take one of so many")
    parser.add_argument("--disturbed", action="store_true")
    parser.add_argument("--only", default="", help="of the conditions those with this in their name")
    parser.add_argument("--out", type=Path, required=True, help="where benchmarks.livespots has put its files")
    parser.add_argument("--log", type=Path, help="each result as a line of JSON; what is in it is not done again")
    asked = parser.parse_args()
    every = DISTURBED if asked.disturbed else (UNDISTURBED,)
    conditions = [each for each in every if asked.only in each.name]
    results: list[dict[str, Any]] = []
    if asked.log and asked.log.exists():
        results = [json.loads(line) for line in asked.log.read_text().splitlines()]
    done = {(each["condition"], each["run"]) for each in results}
    for condition in conditions:
        for orientation in range(asked.orientations):
            for drawn in SETS[asked.set](asked.seed)[:: asked.every]:
                if (condition.name, f"{drawn.number}-{orientation}") in done:
                    continue
                if not run_file(asked.out, asked.seed, drawn, orientation, condition.second).exists():
                    continue
                results += try_run(drawn, asked.seed, orientation, condition, asked.out)
                if asked.log:
                    with asked.log.open("a") as file:
                        file.writelines(
                            json.dumps(each, default=float) + "\n" for each in results[-len(condition.degrees) :]
                        )
        say(results, condition.name)


if __name__ == "__main__":
    main()
