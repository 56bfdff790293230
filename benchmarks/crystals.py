"""Are the intensities right, whatever the crystal? Virtual runs of made-up crystals, the untouched dials.sh, the truth.

.venv/bin/python -m benchmarks.crystals --set small     # four crystals, to develop with
.venv/bin/python -m benchmarks.crystals --set all       # all others, three orientations each
.venv/bin/python -m benchmarks.crystals --set ends      # nothing diffracts at one end of the run

Needs DIALS. With --out FOLDER the runs are kept, and what is there already is judged again and not made again.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import h5py
import numpy as np

from benchmarks.crystaltruth import Judged, judge, read_truth
from benchmarks.madecrystals import CRYSTALS, MadeCrystal
from drivers.simulated.crystal import load_crystal
from drivers.simulated.picturesettings import PictureSettings

SMALL = ("triclinic1", "layers", "monoclinic1", "cubic1")
BRIGHT_PERCENTILE = 99
ORIENTATIONS = 3
CREDLINE = "from engine.commands.program import main; main()"
EMPTY = (5, 20, 40)
"""Slots at one end of a run in which nothing diffracts."""


@dataclass(frozen=True, slots=True)
class Case:
    """One run. empty: so many frames at the begin (< 0: at the end) show no crystal."""

    crystal: MadeCrystal
    seed: int
    empty: int = 0

    @property
    def name(self) -> str:
        """Names files."""
        return f"{self.crystal.name}-{self.seed}" + (f"-empty{self.empty}" if self.empty else "")

    @property
    def range_deg(self) -> float:
        """Its rotation: 60 to 130 deg, the other way for every third."""
        length = 60 + (37 * self.seed + 11 * len(self.crystal.name)) % 71
        return float(-length if self.seed % 3 == 0 else length)


def cases(which: str) -> list[Case]:
    """Of one set."""
    if which == "small":
        return [Case(crystal, 1) for crystal in CRYSTALS if crystal.name in SMALL]
    if which == "ends":
        chosen = [crystal for crystal in CRYSTALS if crystal.name in SMALL]
        return [
            Case(crystal, 4, sign * n)
            for crystal, n, sign in zip(chosen, (*EMPTY, EMPTY[1]), (1, -1, 1, 1), strict=True)
        ]
    others = [crystal for crystal in CRYSTALS if crystal.name not in SMALL]
    return [Case(crystal, seed) for seed in range(1, ORIENTATIONS + 1) for crystal in others]


def make(case: Case, out: Path) -> tuple[Path, PictureSettings]:
    """The run, unless it is there; its folder and how its pictures were made."""
    cif = case.crystal.write(out / f"{case.crystal.name}.cif")
    settings = replace(PictureSettings(), diffracting_share=_share(cif))
    found = sorted(out.glob(f"{case.name}_*/truth.h5"))
    if found:
        return found[0].parent, settings
    devices = out / f"{case.crystal.name}.toml"
    devices.write_text(
        f'[microscope]\ndriver = "simulated"\npictures.diffracting_share = {settings.diffracting_share}\n'
    )
    asked = {
        "sample": case.name,
        "crystal.cif": cif,
        "crystal.orientation_seed": case.seed,
        "truth": "true",
        "start_deg": -case.range_deg / 2,
        "range_deg": case.range_deg,
        "formats": "[]",
    }
    words = [word for key, value in asked.items() for word in ("--set", f"{key}={value}")]
    folder = Path(
        json.loads(
            _credline(
                *("run", "cred", "--clock", "virtual", "--seed", str(100 + case.seed), "--json"),
                *("--devices", str(devices), "--out", str(out), *words),
            )
        )["run_dir"]
    )
    if case.empty:
        _empty_frames(folder, case.empty)
    _credline("export", str(folder), "--formats", "dials")
    return folder, settings


def _share(cif: Path) -> float:
    """The diffracting share with which the strong reflections are as bright as those of mordenite.

    Spots scale with |F|^2 / volume^2: a small cell would saturate the camera, in a thinner crystal it does not.
    """

    def brightness(path: Path | None) -> float:
        crystal = load_crystal(path, 1)
        return float(np.percentile(crystal.intensity, BRIGHT_PERCENTILE)) / crystal.volume_A3**2

    return PictureSettings().diffracting_share * brightness(None) / brightness(cif)


def _credline(*words: str) -> str:
    done = subprocess.run([sys.executable, "-c", CREDLINE, *words], capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"credline {' '.join(words)}: {done.stderr[-1000:]}")
    return done.stdout.strip().splitlines()[-1]


def _empty_frames(folder: Path, empty: int) -> None:
    """No crystal in the first (last) frames: what they show is replaced by the darkest frame's neighbours' background.

    The median of the run's frames has beam and halo, and no spot.
    """
    with h5py.File(folder / "frames.h5", "r+") as file:
        data = file["diffraction/data"]
        background = np.median(data[:: max(1, len(data) // 25)], axis=0)
        random = np.random.Generator(np.random.PCG64(empty % 1000))
        for k in range(len(data))[:empty] if empty > 0 else range(len(data))[empty:]:
            data[k] = np.minimum(random.poisson(background), PictureSettings().saturation).astype(data.dtype)


def process(folder: Path) -> str:
    """The untouched dials.sh, unless it has run; what it wrote."""
    log = folder / "dials.log"
    if not log.exists():
        under_way = folder / "dials.log.part"  # of a benchmark that was ended meanwhile nothing is judged
        with under_way.open("w") as file:
            subprocess.run(
                ["sh", str(folder / "SMV" / "dials.sh")],
                stdout=file,
                stderr=subprocess.STDOUT,
                env={**os.environ, "NPROC": "1"},
                check=False,
            )
        under_way.rename(log)
    return log.read_text(errors="replace")


def judged(case: Case, out: Path) -> Judged | str:
    """One case, made, processed and judged; or why it failed."""
    folder, settings = make(case, out)
    text = process(folder)
    if not (folder / "SMV" / "dials" / "scaled.mtz").exists():
        lines = [line for line in text.splitlines() if line.strip()]
        return f"{folder}: " + " | ".join(line for line in lines[-40:] if "Error" in line or "failed" in line)[-300:]
    return judge(folder, read_truth(folder, case.crystal.group, settings), text)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--set", choices=("small", "all", "ends"), default="small")
    parser.add_argument("--out", type=Path, help="keep the runs here; without it they are removed")
    parser.add_argument("--only", default="", help="crystals whose names begin so")
    parser.add_argument("--jobs", type=int, default=1)
    arguments = parser.parse_args()
    chosen = [case for case in cases(arguments.set) if case.name.startswith(arguments.only)]
    if arguments.out is not None:
        arguments.out.mkdir(parents=True, exist_ok=True)
        table(chosen, arguments.out.resolve(), arguments.jobs)
        return
    with tempfile.TemporaryDirectory(prefix="credline-crystals-") as folder:
        table(chosen, Path(folder), arguments.jobs)


def table(chosen: list[Case], out: Path, jobs: int) -> None:
    """Print what became of each case, and all together."""
    print("| run | group, volume A^3 | deg | indexed % | cell % | Laue class | CC | R | kept % of | x |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    results: list[Judged | str] = []
    with ThreadPoolExecutor(jobs) as pool:
        for case, result in zip(chosen, pool.map(lambda case: judged(case, out), chosen), strict=True):
            results.append(result)
            about = f"| {case.name} | {case.crystal.group}, {case.crystal.primitive_A3:.0f} | {case.range_deg:.0f} |"
            if isinstance(result, str):
                print(about, result, flush=True)
                continue
            print(
                f"{about} {result.indexed_percent:.0f} | {result.cell_percent:.2f} | {result.laue}, "
                f"{result.found_group} | {result.cc:.4f} | {result.r:.3f} | {result.kept_percent:.0f}, "
                f"{result.unique} | {result.multiplicity:.1f} |",
                flush=True,
            )
    good = [result for result in results if isinstance(result, Judged)]
    if not good:
        return
    right = [r for r in good if r.cell_percent <= 0.2 and r.indexed_percent >= 95]
    print(f"\n{len(right)} of {len(results)} indexed with the right cell")
    print(f"CC median {np.median([r.cc for r in good]):.4f}, worst {min(r.cc for r in good):.4f}")
    print(f"R median {np.median([r.r for r in good]):.3f}, worst {max(r.r for r in good):.3f}")
    print(
        f"kept: median {np.median([r.kept_percent for r in good]):.0f} %, worst {min(r.kept_percent for r in good):.0f}"
    )
    print({word: sum(r.laue == word for r in good) for word in ("right", "subgroup", "wrong")})


if __name__ == "__main__":
    main()
