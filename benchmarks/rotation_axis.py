"""How well does one cRED run tell the rotation axis? Virtual runs of made-up crystals about hidden axes, and the truth.

.venv/bin/python -m benchmarks.rotation_axis                 # 24 runs of 60 deg: axis, lean, hand, and their sigmas
.venv/bin/python -m benchmarks.rotation_axis --spots         # the finder: share found by counts, false ones, ms a frame

Each run has another crystal, orientation, axis (0 to 360 deg), lean (up to 1 deg), brightness and noise; nothing of
the axis is told to the analysis but a wrong direction. With --out FOLDER runs are kept, and not made again.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from benchmarks.crystals import CREDLINE
from benchmarks.madecrystals import CRYSTALS, MadeCrystal
from drivers.simulated.crystal import load_crystal
from drivers.simulated.pattern import spots
from drivers.simulated.pictures import PictureMaker
from drivers.simulated.picturesettings import PictureSettings
from drivers.simulated.settings import GEOMETRY
from engine.errors import DataError
from protocols.calibrate.rotationaxis.axisfit import rotation_axis
from protocols.calibrate.runreflections import observed, run_reflections
from protocols.lattice.rotationfit import UNKNOWN_ELLIPSE
from protocols.products.corrections import correction, untrusted
from protocols.spots.seriespeaks import SeriesPeaks

RANGE_DEG = 60.0
EDGES = (10, 15, 20, 30, 50, 100, 1_000_000)
NEAR_PX = 1.5
BRIGHT_PERCENTILE = 99


@dataclass(frozen=True, slots=True)
class Case:
    """One run and its hidden axis."""

    number: int
    crystal: MadeCrystal
    axis_deg: float
    out_of_plane_deg: float
    brightness: float
    beam_px: tuple[float, float]
    range_deg: float


def cases(count: int, range_deg: float) -> list[Case]:
    """Drawn from their numbers; each crystal in turn."""
    made = []
    for number in range(count):
        draw = np.random.Generator(np.random.PCG64([7, number]))
        made.append(
            Case(
                number=number,
                crystal=CRYSTALS[number % len(CRYSTALS)],
                axis_deg=round(float(draw.uniform(-180, 180)), 3),
                out_of_plane_deg=round(float(draw.uniform(-1, 1)), 3),
                brightness=float(10 ** draw.uniform(-0.5, 0.3)),
                beam_px=(round(float(draw.uniform(254, 264)), 2), round(float(draw.uniform(250, 262)), 2)),
                range_deg=range_deg * (1 if number % 2 else -1),
            )
        )
    return made


def even_share(cif: Path) -> float:
    """The diffracting share with which the strong reflections, 1 in 100, are as bright as those of mordenite."""

    def brightness(path: Path | None) -> float:
        crystal = load_crystal(path, 1)
        return float(np.percentile(crystal.intensity, BRIGHT_PERCENTILE)) / crystal.volume_A3**2

    return PictureSettings().diffracting_share * brightness(None) / brightness(cif)


def make(case: Case, out: Path) -> Path:
    """The run folder; made unless it is there."""
    name = f"axis{case.number}-{abs(case.range_deg):g}"
    found = sorted(out.glob(f"{name}_*/truth.h5"))
    if found:
        return found[0].parent
    cif = case.crystal.write(out / f"{case.crystal.name}.cif")
    devices = out / f"{name}.toml"
    devices.write_text(
        f'[microscope]\ndriver = "simulated"\ngeometry.rotation_axis_deg = {case.axis_deg}\n'
        f"geometry.beam_fast_px = {case.beam_px[0]}\ngeometry.beam_slow_px = {case.beam_px[1]}\n"
        f"pictures.axis_out_of_plane_deg = {case.out_of_plane_deg}\n"
        f"pictures.diffracting_share = {even_share(cif) * case.brightness}\n"
    )
    asked = {
        "sample": name,
        "crystal.cif": cif,
        "crystal.orientation_seed": 50 + case.number,
        "truth": "true",
        "start_deg": -case.range_deg / 2,
        "range_deg": case.range_deg,
        "formats": "[]",
    }
    words = [word for key, value in asked.items() for word in ("--set", f"{key}={value}")]
    done = subprocess.run(
        [
            *(
                sys.executable,
                "-c",
                CREDLINE,
                "run",
                "cred",
                "--clock",
                "virtual",
                "--seed",
                str(case.number),
                "--json",
            ),
            *("--devices", str(devices), "--out", str(out), *words),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(f"{name}: {done.stderr[-1000:]}")
    return Path(json.loads(done.stdout.strip().splitlines()[-1])["run_dir"])


def axis_table(count: int, range_deg: float, out: Path, ellipse_known_to: float) -> None:
    """One line a run, and what all have in common."""
    print("| crystal | reflections | axis off / sigma deg | lean off / sigma deg | hand, sigmas | s |")
    print("|---|---|---|---|---|---|")
    off: list[tuple[float, float, float, float]] = []
    told = right = refused = 0
    for case in cases(count, range_deg):
        run = run_reflections(make(case, out))
        whole = run.whole
        begin = time.process_time()
        try:
            # Of the axis something wrong is said: by what it could be told from is the reflections alone.
            found = rotation_axis(
                observed(whole),
                whole.intensity,
                replace(run.geometry, axis_deg=case.axis_deg + 37 + 90 * (case.number % 4)),
                ellipse_known_to=ellipse_known_to,
            )
        except DataError as error:
            refused += 1
            print(f"| {case.crystal.name} | {len(whole)} | {error} | | | |", flush=True)
            continue
        seconds = time.process_time() - begin
        axis_deg = (found.rotation_axis_deg - case.axis_deg + 180) % 360 - 180
        is_right = abs(axis_deg) < 90
        told += found.hand_told
        right += found.hand_told and is_right
        lean_deg = found.out_of_plane_deg - (case.out_of_plane_deg if is_right else -case.out_of_plane_deg)
        axis_deg = (axis_deg + 90) % 180 - 90
        off.append((axis_deg, found.sigma_deg, lean_deg, found.out_of_plane_sigma_deg))
        hand = f"{'right' if is_right else 'wrong'}{'' if found.hand_told else ', not told'}, {found.hand_sigmas:.1f}"
        print(
            f"| {case.crystal.name} | {found.reflections} of {len(whole)} | {axis_deg:+.4f} / {found.sigma_deg:.4f} "
            f"| {lean_deg:+.4f} / {found.out_of_plane_sigma_deg:.4f} | {hand} | {seconds:.1f} |",
            flush=True,
        )
    axis, axis_sigma, lean, lean_sigma = np.array(off).T
    print(f"| ellipse known to {ellipse_known_to:g} | | | | | |")
    for name, each, sigma in (("axis", axis, axis_sigma), ("lean", lean, lean_sigma)):
        print(
            f"{name}: rms {np.sqrt(np.mean(each**2)):.4f} deg, largest {np.abs(each).max():.4f}, sigma "
            f"{np.median(sigma):.4f}, rms of off / sigma {np.sqrt(np.mean((each / sigma) ** 2)):.2f}"
        )
    print(f"hand told in {told} of {len(off)}, right in {right}; refused {refused}")


def spot_table(frames: int) -> None:
    """What the finder finds in simulated frames, by counts of the true spots."""
    shares, false, total, cpu = np.zeros((2, len(EDGES) - 1)), 0, 0, 0.0
    with tempfile.TemporaryDirectory() as folder:
        crystal = load_crystal(CRYSTALS[3].write(Path(folder) / "made.cif"), 3)
    settings = PictureSettings()
    maker = PictureMaker(crystal, GEOMETRY, settings)
    corrected = correction(maker.flatfield, settings.wide_cross, settings.saturation)
    raw_shape = settings.shape
    find = SeriesPeaks(
        (raw_shape[0] + 4, raw_shape[1] + 4),
        untrusted(raw_shape, True, corrected.dead),
        (GEOMETRY.beam_fast_px, GEOMETRY.beam_slow_px),
    )
    scale = GEOMETRY.wavelength_A**2 * 10 * crystal.size_nm / crystal.volume_A3**2
    for number, angle_deg in enumerate(np.arange(frames) * 0.23 - 30):
        counts, _ = corrected.apply(maker.diffraction(angle_deg, angle_deg + 0.23, 0.5, noise_seed=number))
        begin = time.process_time()
        found = find(counts)
        cpu += time.process_time() - begin
        true = spots(
            *(crystal, GEOMETRY, angle_deg, angle_deg + 0.23, settings.rocking_sigma_invA, 1.0, settings.mosaicity_deg)
        )
        electrons = true.rate * scale * settings.flux_s * settings.diffracting_share * 0.5
        places = np.stack([true.fast_px, true.slow_px], axis=1)
        inside = (electrons > 3) & (places > 5).all(axis=1) & (places < np.array(raw_shape) - 1).all(axis=1)
        inside[inside] = find.allowed[places[inside][:, 1].astype(int), places[inside][:, 0].astype(int)]
        places, electrons = places[inside], electrons[inside]
        apart = np.hypot(places[:, :1] - found.fast_px, places[:, 1:] - found.slow_px)
        false += int(np.count_nonzero(apart.min(axis=0, initial=99.0) > NEAR_PX))
        total += len(found)
        seen = apart.min(axis=1, initial=99.0) < NEAR_PX
        shares += [np.histogram(electrons, EDGES)[0], np.histogram(electrons[seen], EDGES)[0]]
    for low, high, all_of, seen_of in zip(EDGES, EDGES[1:], *shares, strict=False):
        print(f"{low} to {high} electrons: {seen_of / max(all_of, 1):.2f} of {all_of:.0f}")
    print(
        f"{total / frames:.1f} spots a frame, {false / frames:.2f} false, {1000 * cpu / frames:.1f} ms of CPU a frame"
    )


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=24)
    parser.add_argument("--range-deg", type=float, default=RANGE_DEG)
    parser.add_argument("--ellipse-known-to", type=float, default=UNKNOWN_ELLIPSE)
    parser.add_argument("--spots", action="store_true")
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        out = asked.out or Path(temporary)
        out.mkdir(parents=True, exist_ok=True)
        if asked.spots:
            spot_table(200)
        else:
            axis_table(asked.runs, asked.range_deg, out, asked.ellipse_known_to)


if __name__ == "__main__":
    main()
