"""How true the calibrations of disc, flux, lens and rotation are, on seeded hidden instruments and the virtual clock.

    python benchmarks/calibrate_parts.py snapshot 1000 1100

performs the calibration on the instruments of these seeds and prints, for each value and for all together, the share
within 2 sigma and the rms of (value - truth) / sigma; of a matrix by chi^2 of its four numbers.
"""

import sys
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from engine.errors import CredlineError
from engine.run.perform import Request, execute
from protocols.calibrate.calibrations import CALIBRATIONS

DEVICES = """
[microscope]
driver = "simulated"
hidden = true
pictures = {shape = [128, 128], wide_cross = false, disc_radius_px = 36.0}
geometry = {beam_fast_px = 64.0, beam_slow_px = 64.0}
"""
WITHIN, OF_FOUR = 2.0, 9.72
"""Sigmas, and the chi^2 of four numbers that is gone beyond as often as two sigma."""


def main() -> None:
    """Perform and print."""
    what, first, last = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    calibration = next(each for each in CALIBRATIONS if each.what == what)
    kind, analyse = calibration.load_kind(), calibration.load_analysis()
    chi2: dict[str, list[float]] = defaultdict(list)
    off: dict[str, list[float]] = defaultdict(list)
    refused = 0
    with tempfile.TemporaryDirectory() as folder:
        devices = Path(folder, "devices.toml")
        devices.write_text(DEVICES)
        for seed in range(first, last):
            try:
                plan = kind.plan_type(**dict(pair.split("=") for pair in sys.argv[4:]))
                request = Request(kind, plan, Path(folder), str(devices), virtual=True, seed=seed, draw=False)
                found = analyse(execute(request, lambda *_: None).folder)
            except CredlineError as error:
                refused += 1
                print(seed, error)
                continue
            for name, measured in found.values.items():
                key = "".join(c for c in name.partition(" at ")[0])
                size, away = judged(measured, found.truth[name])
                chi2[key].append(size)
                off[key].append(away)
                if size > (20 if isinstance(measured.value, tuple) else 12):
                    print(seed, name, measured.value, measured.sigma, found.truth[name])
    print(f"{what}: {last - first} instruments, {refused} refused")
    everything = []
    for name, sizes in chi2.items():
        count = 4 if name == what and off[name] and name in ("snapshot",) else 1
        limit = OF_FOUR if count == 4 else WITHIN**2
        inside = np.array(sizes) <= limit
        everything += inside.tolist()
        rms = np.sqrt(np.mean(sizes) / count)
        print(
            f"  {name:24} {inside.mean():6.1%} within, rms {rms:.2f}, off by "
            f"{100 * np.sqrt(np.mean(np.square(off[name]))):.3g} % rms"
        )
    print(f"  all                      {np.mean(everything):6.1%} of {len(everything)}")


def judged(measured: Any, truth: Any) -> tuple[float, float]:
    """Chi^2, and by how much it is off as a share."""
    away = np.atleast_1d(measured.value) - np.atleast_1d(truth)
    share = float(np.sqrt(np.sum(away**2) / max(np.sum(np.square(truth)), 1e-30)))
    if measured.covariance is not None:
        return float(away @ np.linalg.solve(np.array(measured.covariance), away)), share
    return float(away[0] ** 2 / measured.sigma**2), share


if __name__ == "__main__":
    main()
