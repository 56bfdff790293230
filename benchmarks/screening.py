"""How fast frames of 516 x 516 become scores, and how well frames of other generators than the training one are scored.

    python -m benchmarks.screening [--frames 512] [--patterns 600] [--skip speed|others] [--json FILE]

Speed: frames in memory to scores, one process and two, without the start of the processes, which is told apart; of a
frame, what each part takes; the network alone, from prepared pictures. Times are of the processor (of a process, all
its threads), for a machine may be doing other things; frames a second are what processors of their own would give:
processes over processor time a frame. Each process has one thread, as those of `predict`.

Others: the training generator with a seed of its own; its integrating camera at 1024 x 1024; the simulated microscope's
own frames of mordenite, and frames of the zones' benchmark (both know good patterns only: recall is what can be asked);
and how much a score changes when the frame is turned by 90 deg or mirrored.
"""

import argparse
import functools
import json
import os
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from unittest.mock import patch

import numpy as np

from drivers.simulated.crystal import load_crystal
from drivers.simulated.pictures import PictureMaker
from drivers.simulated.picturesettings import PictureSettings
from drivers.simulated.settings import GEOMETRY
from engine.executor import LocalExecutor
from engine.worker import ONE_THREAD, WORKERS, begin_worker
from protocols.learning.framework import limit_threads
from protocols.screening.evidence import lattices, told
from protocols.screening.examples import Wanted, examples
from protocols.screening.figures import figures
from protocols.screening.generation import CameraKind, generate
from protocols.screening.inspection import upright
from protocols.screening.model import SURELY_BAD, SURELY_GOOD, prepared, shipped
from protocols.screening.preprocessing import cuts_of, paper_input, picture_of
from protocols.screening.scoring import Scorer
from protocols.screening.seenspots import SeenSpots, candidates, measured
from protocols.screening.views import turned

SEED = 20_261
PER_PX = GEOMETRY.pixel_size_mm / (GEOMETRY.camera_length_mm * GEOMETRY.wavelength_A)
"""1/A of the simulated microscope."""
BATCH = 64
BRIGHTER = 10.0
"""Crystal of the simulated microscope against its usual one, of which a frame has ten spots: too few to be good."""


def frames_of(count: int) -> tuple[np.ndarray, np.ndarray]:
    """(n, 516, 516) frames and (n,) 1/A a pixel of each."""
    made = list(generate(SEED, 0, count))
    return np.stack([one.counts for one in made]), np.array([one.inverse_A_per_px for one in made])


def cpu_s(work: Callable[[], object]) -> float:
    begin = time.process_time()
    work()
    return time.process_time() - begin


def start_and_score(count: int) -> tuple[float, float]:
    """(processor time of the first frame and all that is loaded for it, that of a frame afterwards), s."""
    scorer = Scorer(threads=1)
    frames, per_px = frames_of(BATCH)
    start = cpu_s(lambda: scorer.score(frames[:1], per_px[:1]))
    scorer.score(frames, per_px)
    rounds = max(1, count // BATCH)
    each = cpu_s(lambda: [scorer.score(frames, per_px) for _ in range(rounds)]) / (rounds * BATCH)
    return start, each


def speed(count: int) -> dict[str, float]:
    told_ms: dict[str, float] = {}
    with patch.dict(os.environ, ONE_THREAD):  # a process that begins takes them over
        for processes in (1, 2):
            with ProcessPoolExecutor(processes, WORKERS, initializer=begin_worker) as pool:
                done = list(pool.map(start_and_score, [count] * processes))
            each = max(one[1] for one in done)
            told_ms[f"frames_per_s_{processes}"] = round(processes / each)
            told_ms[f"cpu_ms_{processes}"] = round(1e3 * each, 2)
            told_ms["worker_start_cpu_s"] = round(max(one[0] for one in done), 1)
        with ProcessPoolExecutor(1, WORKERS, initializer=begin_worker) as pool:
            return told_ms | pool.submit(parts_ms, count).result()


def parts_ms(count: int) -> dict[str, float]:
    """Of a frame, what each part takes."""
    limit_threads(1)
    told_ms: dict[str, float] = {}
    frames, per_px = frames_of(BATCH)
    model = shipped()
    ready = prepared(frames, per_px)
    assert ready.evidence is not None and model.spots is not None  # noqa: S101, PT018
    evidence, spots = ready.evidence, model.spots
    laid = [upright(frame) for frame in frames]
    cuts = cuts_of(np.stack(laid), per_px)
    pairs = list(zip(ready.pictures, cuts, strict=True))

    def spots_of() -> list[SeenSpots]:
        return measured([candidates(picture, cut) for picture, cut in pairs])

    seen = spots_of()
    found = [lattices(one.xy_per_A) for one in seen]
    parts: dict[str, Callable[[], object]] = {
        "upright_ms": lambda: _one_by_one(upright, frames),
        "cut_ms": lambda: _one_by_one(lambda frame, each: cuts_of(frame[None], each), laid, per_px),
        "picture_ms": lambda: _one_by_one(picture_of, cuts),
        "spots_ms": spots_of,
        "lattices_ms": lambda: _one_by_one(lambda one: lattices(one.xy_per_A), seen),
        "evidence_ms": lambda: _one_by_one(told, seen, found),
        "spot_judge_ms": lambda: spots.says(evidence),
        "network_ms": lambda: model.outputs(ready.pictures),
        "paper_input_ms": lambda: paper_input(frames),
        "all_ms": lambda: model.answers(prepared(frames, per_px)),
    }
    rounds = max(1, count // BATCH // 4)
    for name, work in parts.items():
        work()
        several = functools.partial(_several, work, rounds)
        told_ms[name] = round(1e3 * cpu_s(several) / (rounds * BATCH), 2)
    sure, _, _ = spots.says(evidence)
    told_ms["share_open"] = float(np.mean((sure > SURELY_BAD) & (sure < SURELY_GOOD)))
    return told_ms


def _one_by_one(work: Callable[..., object], *of: Iterable[object]) -> None:
    """Nothing is kept, for where memory is used again it is quicker: as where all parts are done in turns."""
    for each in zip(*of, strict=True):
        work(*each)


def _several(work: Callable[[], object], times: int) -> None:
    for _ in range(times):
        work()


def turning(count: int) -> dict[str, float]:
    """How much the score changes when a frame is turned by 90 deg or mirrored: over frames, the most of seven ways."""
    model = shipped()
    frames, per_px = frames_of(count)
    good = np.stack([model.answers(prepared(turned(frames, way), per_px)).good for way in range(8)])
    off = np.abs(good - good[0]).max(axis=0)
    return {"median": float(np.median(off)), "p95": float(np.quantile(off, 0.95)), "most": float(off.max()),
            "share_below_0.05": float((off < 0.05).mean()),
            "verdict_changes": float(((good > 0.5) != (good[0] > 0.5)).any(axis=0).mean())}  # fmt: skip


def microscope_frames(count: int) -> Iterator[np.ndarray]:
    """Of mordenite in the simulated microscope, 0.23 deg each, every 2 deg of a turn."""
    maker = PictureMaker(load_crystal(None, 0), GEOMETRY, PictureSettings())
    for number in range(count):
        begin_deg = -60 + 120 * number / count
        yield maker.diffraction(begin_deg, begin_deg + 0.23, 0.5, noise_seed=number, scale=BRIGHTER)


def zone_frames(count: int) -> Iterator[np.ndarray]:
    """Frames of counts as the benchmark of zones draws them."""
    from benchmarks.zonesframes import CONDITIONS, crystal, frame_of

    condition = CONDITIONS["triclinic 700 A^3"]
    _, patterns = crystal(condition.crystal, count, np.random.default_rng(SEED))
    for number in range(count):
        yield frame_of(patterns, number, condition, np.random.default_rng(number))


def recall(frames: Iterator[np.ndarray], per_px: float) -> dict[str, float]:
    answers = shipped().answers(prepared(np.stack(list(frames)), per_px))
    return {"recall": float((answers.good > 0.5).mean()), "d_min_A": float(np.median(answers.d_min_A))}


def others(count: int) -> dict[str, object]:
    from benchmarks.zonesframes import PER_PX as ZONES_PER_PX

    executor = LocalExecutor()
    model = shipped()
    told: dict[str, object] = {}
    for name, wanted in (
        ("training generator", Wanted(SEED, 0, count)),
        ("counting camera alone", Wanted(SEED, 0, count, CameraKind.COUNTING)),
        ("integrating camera, 1024 px", Wanted(SEED, 0, count, CameraKind.INTEGRATING, (1024, 1024))),
    ):
        of = examples(executor, [wanted])
        told[name] = figures(of, model.answers(of)).record()
    told["turned and mirrored"] = turning(count // 6)
    told["simulated microscope"] = recall(microscope_frames(count // 10), PER_PX)
    told["zones' frames"] = recall(zone_frames(count // 10), ZONES_PER_PX)
    return told


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--frames", type=int, default=512)
    options.add_argument("--patterns", type=int, default=600)
    options.add_argument("--skip", choices=("speed", "others"), default="")
    options.add_argument("--json", type=Path)
    asked = options.parse_args()
    told: dict[str, dict[str, object]] = {}
    if asked.skip != "speed":
        told["speed"] = dict(speed(asked.frames))
    if asked.skip != "others":
        told["others"] = others(asked.patterns)
    for part in told.values():
        for name, value in part.items():
            print(f"{name}: {value}")
    if asked.json:
        asked.json.write_text(json.dumps(told, indent=1) + "\n")


if __name__ == "__main__":
    main()
