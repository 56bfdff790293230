"""Calibrations by moves against the truth: on seeded hidden instruments, how often within 2 sigma, and how large the
uncertainty is against the error. `python benchmarks/calibrate_moves.py --seeds 100`, half an hour.
"""

import argparse
import tempfile
from collections import defaultdict
from pathlib import Path

import numpy as np

from engine.errors import CredlineError
from engine.record.endings import Status
from engine.run.perform import Request, execute
from protocols.calibrate.measured import Measured
from protocols.calibrate.moves import kinds
from protocols.calibrate.moves.analysis import analyse

KINDS = {each.name: each for each in (kinds.BEAM_SHIFT, kinds.IMAGE_SHIFT, kinds.DIFFRACTION_SHIFT, kinds.STAGE)}


def devices(folder: Path, seed: int, px: int) -> str:
    path = folder / "devices.toml"
    path.write_text(
        f'[microscope]\ndriver = "simulated"\npictures.shape = [{px}, {px}]\npictures.wide_cross = false\n'
        f"pictures.grid_seed = {seed}\ngeometry.beam_fast_px = {px / 2}\ngeometry.beam_slow_px = {px / 2}\n"
    )
    return str(path)


def pull(measured: Measured, truth: object) -> tuple[float, float, int]:
    """(value - truth) / sigma, squared and by its degrees of freedom; the largest error as a share; the degrees."""
    off = np.atleast_1d(np.asarray(measured.value) - np.asarray(truth))
    if measured.covariance is None:
        return float((off[0] / measured.sigma) ** 2), float(abs(off[0] / np.asarray(truth))), 1
    chi2 = float(off @ np.linalg.solve(np.asarray(measured.covariance), off))
    size = float(np.sqrt(abs(np.linalg.det(np.reshape(np.asarray(truth), (2, 2))))))
    return chi2, float(np.abs(off).max() / size), 4


def measure(name: str, seed: int, px: int) -> tuple[dict[str, tuple[float, float, int]], list[float]] | str:
    """Of one instrument: the pulls by name, and those of single numbers; or why there are none."""
    with tempfile.TemporaryDirectory() as folder:
        kind = KINDS[name]
        named = devices(Path(folder), seed, px)
        request = Request(kind, kind.plan_type(), Path(folder) / "runs", named, virtual=True, seed=seed, draw=False)
        report = execute(request)
        if report.ending.status is not Status.DONE:
            return report.ending.reason
        try:
            found = analyse(report.folder)
        except CredlineError as error:
            return str(error)
    pulls = {key: pull(value, found.truth[key]) for key, value in found.values.items()}
    single = [
        float(each)
        for key, value in found.values.items()
        if key != "camera_hand"
        for each in np.atleast_1d((np.asarray(value.value) - np.asarray(found.truth[key])) / np.asarray(value.sigma))
    ]
    return pulls, single


def show(pulls: dict[str, list[tuple[float, float, int]]], within: dict[str, list[bool]]) -> None:
    print(f"{'value':32} {'n':>4} {'rms pull':>9} {'error, median':>14} {'worst':>8}")
    for key, rows in pulls.items():
        chi2, error, degrees = (np.array(column) for column in zip(*rows, strict=True))
        rms = np.sqrt(np.mean(chi2 / degrees))
        print(f"{key:32} {len(rows):4} {rms:9.2f} {np.median(error):14.2%} {error.max():8.2%}")
    for name, inside in within.items():
        print(f"{name}: {np.mean(inside):.1%} of {len(inside)} numbers within 2 sigma")
    everything = [each for inside in within.values() for each in inside]
    print(f"all: {np.mean(everything):.1%} of {len(everything)}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument("--first", type=int, default=1000, help="seeds that were not used while building")
    parser.add_argument("--px", type=int, default=128)
    parser.add_argument("--what", nargs="*", default=list(KINDS))
    told = parser.parse_args()
    pulls: dict[str, list[tuple[float, float, int]]] = defaultdict(list)
    within: dict[str, list[bool]] = defaultdict(list)
    for seed in range(told.first, told.first + told.seeds):
        for name in told.what:
            found = measure(name, seed, told.px)
            if isinstance(found, str):
                print(f"{name}, seed {seed}: {found}", flush=True)
                continue
            for key, each in found[0].items():
                pulls[key].append(each)
                if each[0] > 9 * each[2]:
                    print(f"{name}, seed {seed}: {key} is {np.sqrt(each[0] / each[2]):.1f} sigma off", flush=True)
            within[name] += [abs(each) <= 2 for each in found[1]]
        if (seed - told.first) % 5 == 4 or seed == told.first + told.seeds - 1:
            show(pulls, within)


if __name__ == "__main__":
    main()
