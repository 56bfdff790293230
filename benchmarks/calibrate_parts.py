"""How true the calibrations of disc, flux, lens and rotation are, on seeded hidden instruments and the virtual clock.

    python benchmarks/calibrate_parts.py snapshot 1000 1100 [key=value ...] > snapshot.jsonl
    python benchmarks/calibrate_parts.py table snapshot.jsonl ...

The first performs the calibration on the instruments of these seeds and prints a line for each. The second prints for
each value, and for all, the share within 2 sigma and the rms of (value - truth) / sigma; of a matrix by chi^2 of four
numbers.
"""

import json
import sys
import tempfile
from collections import defaultdict
from importlib import import_module
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
LIMITS = {1: 4.0, 4: 9.72}
"""Chi^2 that is gone beyond as often as two sigma, of one number and of four."""


def main() -> None:
    """Perform, or make the table."""
    if sys.argv[1] == "table":
        table([json.loads(line) for path in sys.argv[2:] for line in Path(path).read_text().splitlines()])
        return
    calibration = next(each for each in CALIBRATIONS if each.what == sys.argv[1])
    kind = calibration.load_kind()
    plan = calibration.plan(kind, None, sys.argv[4:])
    leave_out_pictures()
    with tempfile.TemporaryDirectory() as folder:
        devices = Path(folder, "devices.toml")
        devices.write_text(DEVICES)
        for seed in range(int(sys.argv[2]), int(sys.argv[3])):
            told: dict[str, Any] = {"what": calibration.what, "seed": seed}
            try:
                request = Request(kind, plan, Path(folder), str(devices), virtual=True, seed=seed, draw=False)
                found = calibration.analyse(execute(request, lambda *_: None).folder, plan)
            except CredlineError as error:
                told["refused"] = str(error)
            else:
                told["values"] = {name: judged(measured, found.truth[name]) for name, measured in found.values.items()}
            print(json.dumps(told), flush=True)


def leave_out_pictures() -> None:
    """Draw nothing: that takes longer than the analysis."""
    for module, name in (
        ("protocols.calibrate.disc.drawing", "draw_moves"),
        ("protocols.calibrate.disc.fluxdrawing", "draw_flux"),
        ("protocols.calibrate.lens.drawing", "draw_lens"),
        ("protocols.calibrate.rotation.drawing", "draw_rotation"),
    ):
        setattr(import_module(module), name, lambda *_: None)


def judged(measured: Any, truth: Any) -> tuple[int, float, float]:
    """How many numbers it has, their chi^2, and by what share it is off."""
    away = np.atleast_1d(measured.value) - np.atleast_1d(truth)
    share = float(np.sqrt(np.sum(away**2) / max(float(np.sum(np.square(truth))), 1e-30)) if np.any(truth) else np.nan)
    if measured.covariance is not None:
        return 4, float(away @ np.linalg.solve(np.array(measured.covariance), away)), share
    return 1, float(away[0] ** 2 / measured.sigma**2), share


def table(lines: list[dict[str, Any]]) -> None:
    """Print it."""
    found: dict[str, list[tuple[int, float, float]]] = defaultdict(list)
    for line in lines:
        for name, (number, chi2, share) in line.get("values", {}).items():
            found[f"{line['what']}: {name.partition(' at ')[0]}"].append((number, chi2, share))
    everything: list[bool] = []
    for name, values in found.items():
        number = values[0][0]
        chi2, share = np.array([v[1] for v in values]), np.array([v[2] for v in values])
        within = chi2 <= LIMITS[number]
        everything += within.tolist()
        rms, off = np.sqrt(chi2.mean() / number), np.sqrt(np.mean(share**2))
        print(f"{name:36} {len(values):4} {within.mean():6.1%} within 2 sigma, rms {rms:.2f}, off by {off:.2%} rms")
    refused = [line for line in lines if "refused" in line]
    print(f"all: {np.mean(everything):.1%} of {len(everything)} within 2 sigma; {len(refused)} of {len(lines)} refused")
    for line in refused:
        print(f"  {line['what']} {line['seed']}: {line['refused']}")


if __name__ == "__main__":
    main()
