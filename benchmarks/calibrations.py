"""Are calibrations as sure as they say? Each command of `credline calibrate` on seeded hidden instruments.

    python -m benchmarks.calibrations run 1000 1010 --to found.jsonl [--what lens snapshot ...] [--keep FOLDER]
    python -m benchmarks.calibrations again FOLDER --to found.jsonl        # analyse kept run folders once more
    python -m benchmarks.calibrations table found.jsonl ...

`run` calibrates the instruments of the seeds 1000 to 1009, on the virtual clock, a line for each calibration. On each
the order is that of `credline calibrate list`, and an axis is measured with the camera length that was stored before.
`table` prints for each value, and for all, the share within 2 sigma and the rms of (value - truth) / sigma. Matrices
are judged by chi^2 of their four numbers, the ellipse as two components of strain, an axis modulo 360 deg, or 180 where
its hand was not told.
"""

import argparse
import json
import math
import tempfile
import time
from collections import defaultdict
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import chi2 as chi2_distribution

from benchmarks.crystals import picture_settings
from benchmarks.madecrystals import CRYSTALS
from engine.errors import CredlineError
from engine.run.perform import Request, execute
from protocols.calibrate.calibrations import CALIBRATIONS, Calibration
from protocols.calibrate.measured import Analysed, kind_of
from protocols.calibrate.storing import store_measured

WITHIN_2_SIGMA = 0.9545
STANDARDS = ("Au", "Al", "TlCl")
# Of the camera of each: pixels, whether it has a wide cross, and more of its pictures. Small ones, for rendering takes
# the time; rings and reflections need more of them.
SMALL = (128, False, "pictures.disc_radius_px = 36.0\n")
CAMERAS = {
    "flatfield": (96, True, ""),
    "camera-length": (256, False, ""),
    "rotation-axis": (256, False, ""),
}
DRAWING = {
    "protocols.calibrate.disc.drawing": "draw_moves",
    "protocols.calibrate.disc.fluxdrawing": "draw_flux",
    "protocols.calibrate.lens.drawing": "draw_lens",
    "protocols.calibrate.rotation.drawing": "draw_rotation",
    "protocols.calibrate.moves.drawing": "draw",
    "protocols.calibrate.cameralength.drawing": "draw",
    "protocols.calibrate.rotationaxis.drawing": "draw",
    "protocols.calibrate.flatfield.drawing": "draw",
}
COUNTED = ("camera_hand", "bad_pixels", "flatfield_accuracy")
"""Judged in another way than by their sigma."""
AZIMUTH, AMPLITUDE = "distortion_azimuth_deg", "distortion_amplitude_percent"


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    run = commands.add_parser("run")
    run.add_argument("first", type=int)
    run.add_argument("end", type=int)
    run.add_argument("--what", nargs="*", default=[each.what for each in CALIBRATIONS])
    run.add_argument("--keep", type=Path)
    run.add_argument("--to", type=Path, required=True)
    run.set_defaults(do=perform_all)
    again = commands.add_parser("again")
    again.add_argument("folder", type=Path)
    again.add_argument("--what", nargs="*", default=[each.what for each in CALIBRATIONS])
    again.add_argument("--to", type=Path, required=True)
    again.set_defaults(do=analyse_again)
    shown = commands.add_parser("table")
    shown.add_argument("files", nargs="+", type=Path)
    shown.set_defaults(do=show_table)
    asked = parser.parse_args()
    leave_out_pictures()
    asked.do(asked)


def leave_out_pictures() -> None:
    """Draw nothing: that takes longer than the analysis."""
    for module, name in DRAWING.items():
        setattr(import_module(module), name, lambda *_: None)


def perform_all(asked: argparse.Namespace) -> None:
    """Calibrate instrument after instrument."""
    with tempfile.TemporaryDirectory() as temporary, asked.to.open("a") as out:
        for seed in range(asked.first, asked.end):
            folder = (asked.keep or Path(temporary)) / str(seed)
            folder.mkdir(parents=True, exist_ok=True)
            for calibration in CALIBRATIONS:
                if calibration.what in asked.what:
                    out.write(json.dumps(performed(calibration, seed, folder)) + "\n")
                    out.flush()


def performed(calibration: Calibration, seed: int, folder: Path) -> dict[str, Any]:
    """One calibration of one instrument, its values stored."""
    begin_s = time.process_time()
    devices, settings = instrument(calibration.what, seed, folder)
    told: dict[str, Any] = {"what": calibration.what, "seed": seed}
    try:
        kind = calibration.load_kind()
        plan = calibration.plan(kind, None, [*calibration.settings, *settings])
        request = Request(kind, plan, folder / "runs", str(devices), virtual=True, seed=seed, draw=False)
        run = execute(request).folder
        found = calibration.analyse(run, plan)
        store_measured(str(devices), run, found)
        told |= judged(found)
    except CredlineError as error:
        told["refused"] = str(error)
    return {**told, "processor_s": round(time.process_time() - begin_s, 1)}


def instrument(what: str, seed: int, folder: Path) -> tuple[Path, list[str]]:
    """A devices file of the instrument of a seed, and settings of the plan."""
    px, wide_cross, more = CAMERAS.get(what, SMALL)
    middle, settings = px / 2 + (2 if wide_cross else 0), []
    if what == "camera-length":
        settings = [f"standard={STANDARDS[seed % len(STANDARDS)]}"]
    if what == "rotation-axis":
        crystal = CRYSTALS[seed % len(CRYSTALS)]
        cif = crystal.write(folder / f"{crystal.name}.cif")
        settings = [f"crystal.cif={cif}", f"crystal.orientation_seed={seed}"]
        more = f"pictures.diffracting_share = {picture_settings(cif, beams=False).diffracting_share}\n"
    devices = folder / f"{what}-devices.toml"
    devices.write_text(
        f'instrument = "instrument-{px}.toml"\n[microscope]\ndriver = "simulated"\nhidden = true\n'
        f"pictures.shape = [{px}, {px}]\npictures.wide_cross = {str(wide_cross).lower()}\n"
        f"pictures.grid_seed = {seed}\ngeometry.beam_fast_px = {middle}\ngeometry.beam_slow_px = {middle}\n{more}"
    )
    return devices, settings


def analyse_again(asked: argparse.Namespace) -> None:
    """Judge run folders that are there."""
    with asked.to.open("w") as out:
        for folder in sorted(asked.folder.iterdir(), key=lambda path: int(path.name)):
            for calibration in CALIBRATIONS:
                run = folder / "runs" / f"{calibration.what}_001"
                if calibration.what not in asked.what or not run.is_dir():
                    continue
                told: dict[str, Any] = {"what": calibration.what, "seed": int(folder.name)}
                try:
                    plan = calibration.plan(
                        calibration.load_kind(), None, instrument(calibration.what, int(folder.name), folder)[1]
                    )
                    told |= judged(calibration.analyse(run, plan))
                except CredlineError as error:
                    told["refused"] = str(error)
                out.write(json.dumps(told) + "\n")


def judged(found: Analysed) -> dict[str, Any]:
    """Of each value how many numbers it has, their chi^2, and by what share (of a matrix its size) it is off."""
    truth: dict[str, Any] = dict(found.truth)
    values: dict[str, list[Any]] = {}
    counted: dict[str, Any] = {}
    hand_told = not any("HAND NOT TOLD" in line for line in found.lines)
    opposite = False
    for name, measured in found.values.items():
        if name in COUNTED or name not in truth or kind_of(name) in (AMPLITUDE, AZIMUTH):
            continue
        away = np.atleast_1d(measured.value) - np.atleast_1d(np.asarray(truth[name], np.float64))
        if name == "rotation_axis_deg":
            away = (away + 180) % 360 - 180
            opposite = bool(abs(away[0]) > 90)
            counted["hand"] = [hand_told, not opposite]
            away = (away + 180) % 360 - 180 if not opposite else (away + 270) % 180 - 90
        if name == "rotation_axis_tilt_deg" and opposite:
            away = np.atleast_1d(measured.value) + np.atleast_1d(np.asarray(truth[name], np.float64))
        chi2, number = float(away[0] ** 2 / np.max(measured.sigma) ** 2), 1
        size = abs(float(np.atleast_1d(truth[name])[0]))
        if measured.covariance is not None:
            chi2, number = float(away @ np.linalg.solve(np.array(measured.covariance), away)), 4
            size = math.sqrt(abs(float(np.linalg.det(np.reshape(truth[name], (2, 2))))))
        off = float(np.abs(away).max())
        values[name] = [number, chi2, off, off / size if size > 0 else None, float(np.max(measured.sigma))]
    values |= ellipse(found)
    for name in COUNTED:
        if name in found.values and name in truth:
            counted[name] = [found.values[name].number, float(np.asarray(truth[name]))]
    counted |= {name: value for name, value in truth.items() if name.startswith(("bad_pixels_", "lattice_off"))}
    if "lattice_off_percent" in counted:
        beyond = found.values["camera_length_mm"].number * (1 + counted["lattice_off_percent"] / 100)
        counted["length beyond the lattice"] = beyond / float(np.asarray(truth["camera_length_mm"])) - 1
    if found.arrays is not None:
        good = ~found.arrays.bad
        counted["counting"] = float(np.sqrt(np.mean((found.arrays.sigma[good] / found.arrays.flatfield[good]) ** 2)))
        counted["pixels"] = int(good.size)
    return {"values": values, "counted": counted}


def ellipse(found: Analysed) -> dict[str, list[Any]]:
    """Its two components of strain, along the axis that was found and across, in percent."""
    judged_as = {}
    for name, amplitude in found.values.items():
        if kind_of(name) != AMPLITUDE or name not in found.truth:
            continue
        azimuth_name = name.replace(AMPLITUDE, AZIMUTH)
        azimuth = found.values[azimuth_name]
        size, twice = amplitude.number, math.radians(2 * azimuth.number)
        true, true_twice = (float(np.asarray(found.truth[each])) for each in (name, azimuth_name))
        away = (size * np.exp(1j * twice) - true * np.exp(2j * math.radians(true_twice))) * np.exp(-1j * twice)
        sigmas = float(np.max(amplitude.sigma)), 2 * size * math.radians(float(np.max(azimuth.sigma)))
        for side, off, sigma in zip(("along", "across"), (away.real, away.imag), sigmas, strict=True):
            judged_as[f"ellipse {side}"] = [1, float((off / sigma) ** 2), abs(float(off)), None, sigma]
    return judged_as


def show_table(asked: argparse.Namespace) -> None:
    """Print it."""
    lines = [json.loads(line) for path in asked.files for line in path.read_text().splitlines()]
    found: dict[str, list[list[Any]]] = defaultdict(list)
    counted: dict[str, list[Any]] = defaultdict(list)
    for line in lines:
        for name, value in line.get("values", {}).items():
            found[f"{line['what']}: {kind_of(name)}"].append(value)
        for name, value in line.get("counted", {}).items():
            counted[name].append(value)
    print(f"| {'value':40} | instruments | within 2 sigma | rms of off / sigma | off: median, largest |")
    print("|---|---|---|---|---|")
    inside: list[bool] = []
    pulls: list[float] = []
    for name, values in found.items():
        number = values[0][0]
        chi2, off = np.array([value[1] for value in values]), np.array([value[2] for value in values])
        within = chi2 <= chi2_distribution.ppf(WITHIN_2_SIGMA, number)
        inside += within.tolist()
        pulls += (chi2 / number).tolist()
        shares = [value[3] for value in values if value[3] is not None]
        size = f"{np.median(off):.3g}, {off.max():.3g}"
        if len(shares) == len(values):
            size += f" ({np.median(shares):.2%}, {max(shares):.2%})"
        print(f"| {name:40} | {len(values)} | {within.mean():.0%} | {np.sqrt(chi2.mean() / number):.2f} | {size} |")
    if inside:
        print(f"| all | {len(inside)} values | {np.mean(inside):.1%} | {np.sqrt(np.mean(pulls)):.2f} | |")
    show_counted(counted)
    refused = [line for line in lines if "refused" in line]
    print(f"refused: {len(refused)} of {len(lines)}")
    for line in refused:
        print(f"  {line['what']} {line['seed']}: {line['refused']}")
    spent: Mapping[str, list[float]] = defaultdict(list)
    for line in lines:
        if "processor_s" in line:
            spent[line["what"]].append(line["processor_s"])
    print("processor time, s: " + ", ".join(f"{what} {np.mean(seconds):.1f}" for what, seconds in spent.items()))


def show_counted(counted: Mapping[str, list[Any]]) -> None:
    """What is judged in another way than by sigma."""
    if hands := counted.get("hand"):
        told = [right for is_told, right in hands if is_told]
        print(f"hand of the axis: told in {len(told)} of {len(hands)}, right in {sum(told)} of these")
    if mirrors := counted.get("camera_hand"):
        print(f"mirrored or not: right in {sum(one == other for one, other in mirrors)} of {len(mirrors)}")
    if beyond := counted.get("length beyond the lattice"):
        print(f"camera length beyond the lattice: rms {np.sqrt(np.mean(np.square(beyond))):.4%}, largest "
              f"{np.abs(beyond).max():.4%}")  # fmt: skip
    if accuracy := counted.get("flatfield_accuracy"):
        off = [true / counting for (_, true), counting in zip(accuracy, counted["counting"], strict=True)]
        bad, pixels = sum(true for _, true in counted["bad_pixels"]), sum(counted["pixels"])
        missed, false = sum(counted["bad_pixels_missed"]), sum(counted["bad_pixels_false"])
        print(f"flatfield: off by {min(off):.2f} to {max(off):.2f} times what counting makes")
        print(f"bad pixels: {missed:.0f} of {bad:.0f} missed, {false:.0f} of {pixels} pixels false")


if __name__ == "__main__":
    main()
