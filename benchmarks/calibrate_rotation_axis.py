"""Is the axis as sure as `credline calibrate rotation-axis` says? Seeded hidden instruments, crystals of all systems.

.venv/bin/python -m benchmarks.calibrate_rotation_axis --seeds 100 --first 1000     # 256 x 256 pixels, virtual clock

One line a run of 60 deg: axis, lean and beam in their stated sigmas. Of the instrument nothing is known: camera length
off by some percent, any ellipse, a camera that is turned or mirrored, bad pixels that nobody told of. With --calibrated
the run knows camera length (0.2 %) and ellipse (0.01 %), as after `calibrate camera-length`.
"""

import argparse
import math
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.crystals import picture_settings
from benchmarks.madecrystals import CRYSTALS
from engine.errors import DataError
from engine.run.perform import Request, execute
from engine.run.planfile import build_plan
from protocols.calibrate.calibrations import CALIBRATIONS
from protocols.calibrate.rotationaxis.analysis import KnownTo, axis_of, measured
from protocols.calibrate.runreflections import run_reflections
from protocols.calibrate.truth import truth_of
from protocols.lattice.rotationfit import UNKNOWN_ELLIPSE


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=12)
    parser.add_argument("--first", type=int, default=1000)
    parser.add_argument("--px", type=int, default=256)
    parser.add_argument("--calibrated", action="store_true")
    asked = parser.parse_args()
    calibration = next(each for each in CALIBRATIONS if each.what == "rotation-axis")
    kind = calibration.load_kind()
    table: list[list[float]] = []
    off_deg: list[list[float]] = []
    told = wrong = refused = 0
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for seed in range(asked.first, asked.first + asked.seeds):
            crystal = CRYSTALS[seed % len(CRYSTALS)]
            cif = crystal.write(folder / f"{crystal.name}.cif")
            devices = folder / f"{seed}.toml"
            middle = asked.px / 2 + 2
            devices.write_text(
                f'[microscope]\ndriver = "simulated"\npictures.shape = [{asked.px}, {asked.px}]\n'
                f"geometry.beam_fast_px = {middle}\ngeometry.beam_slow_px = {middle}\n"
                f"pictures.diffracting_share = {picture_settings(cif, beams=False).diffracting_share}\n"
            )
            settings = [*calibration.settings, f"crystal.cif={cif}", f"crystal.orientation_seed={seed}"]
            plan = build_plan(kind, None, settings)
            report = execute(Request(kind, plan, folder / "runs", str(devices), virtual=True, seed=seed, draw=False))
            truth = {name: float(value) for name, value in truth_of(report.folder).items() if isinstance(value, float)}
            seen, known = run_reflections(report.folder), KnownTo(UNKNOWN_ELLIPSE, 0.1)
            if asked.calibrated:
                rng = np.random.default_rng([seed, 5])
                half, twice = (
                    truth["distortion_amplitude_percent"] / 200,
                    2 * math.radians(truth["distortion_azimuth_deg"]),
                )
                known = KnownTo(1e-4, 2e-3)
                length = seen.geometry.camera_length_px * truth["camera_length_mm"] / 250 * (1 + 2e-3 * rng.normal())
                strain, shear = half * math.cos(twice), -half * math.sin(twice)
                seen = replace(
                    seen,
                    geometry=replace(
                        seen.geometry,
                        camera_length_px=length,
                        strain=strain + 1e-4 * rng.normal(),
                        shear=shear + 1e-4 * rng.normal(),
                    ),
                )
            try:
                found = axis_of(seen, known)
            except DataError as error:
                refused += 1
                print(f"{seed} {crystal.name}: {error}", flush=True)
                continue
            values = measured(found)
            axis = (found.rotation_axis_deg - truth["rotation_axis_deg"] + 180) % 360 - 180
            is_right = abs(axis) < 90
            told += found.hand_told
            wrong += found.hand_told and not is_right
            axis = (axis + 90) % 180 - 90
            lean = found.out_of_plane_deg - truth["rotation_axis_tilt_deg"] * (1 if is_right else -1)
            beam = [values[name].number - truth[name] for name in ("beam_fast_px", "beam_slow_px")]
            sigma = [float(np.asarray(each.sigma)) for each in values.values()]
            pulls = [value / error for value, error in zip((axis, lean, *beam), sigma, strict=True)]
            table.append(pulls)
            off_deg.append([axis, lean])
            hand = (
                f"{'right' if is_right else 'WRONG'}{'' if found.hand_told else ', not told'} ({found.hand_sigmas:.0f})"
            )
            print(
                f"{seed} {crystal.name}: {found.reflections} reflections of {len(seen.sure)}, axis {axis:+.4f} +- "
                f"{sigma[0]:.4f}, lean {lean:+.4f} +- {sigma[1]:.4f}, beam {pulls[2]:+.1f}, {pulls[3]:+.1f} "
                f"sigma, hand {hand}",
                flush=True,
            )
    pulls_of = np.array(table)
    for name, column in zip(("axis", "lean", "beam, fast", "beam, slow"), pulls_of.T, strict=True):
        print(f"{name}: rms {np.sqrt(np.mean(column**2)):.2f}, within 2 sigma {np.mean(np.abs(column) < 2):.0%}")
    axis, lean = np.abs(np.array(off_deg)).T
    print(
        f"all: rms {np.sqrt(np.mean(pulls_of**2)):.2f}, within 2 sigma {np.mean(np.abs(pulls_of) < 2):.1%}; "
        f"refused {refused}; axis median {np.median(axis):.4f}, largest {axis.max():.4f} deg; lean median "
        f"{np.median(lean):.4f}, largest {lean.max():.4f} deg; hand told {told} of {len(table)}, wrong {wrong}"
    )


if __name__ == "__main__":
    main()
