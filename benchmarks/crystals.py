"""Are the intensities right, whatever the crystal? Virtual runs of made-up crystals, the untouched dials.sh, the truth.

.venv/bin/python -m benchmarks.crystals --set small     # four crystals, to develop with
.venv/bin/python -m benchmarks.crystals --set all       # all others, three orientations each
.venv/bin/python -m benchmarks.crystals --set ends      # nothing diffracts at one end of the run
.venv/bin/python -m benchmarks.crystals --set beams     # two-beam compression, and a tenth scattered twice
.venv/bin/python -m benchmarks.crystals --set ellipse   # a projector lens with an ellipse of 2.43 %

Needs DIALS. With --out FOLDER the runs are kept, each gets a line in FOLDER/results.jsonl when it has been judged, and
one that has its line is not done again. To judge all again, remove that file; to process all again, also the runs'
dials.log; their pictures stay.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from shutil import which

import h5py
import numpy as np

from benchmarks.crystaltruth import Judged, judge, read_truth
from benchmarks.madecrystals import CRYSTALS, MadeCrystal, made
from drivers.simulated.crystal import load_crystal
from drivers.simulated.manybeams import blackman_strength, two_beam
from drivers.simulated.picturesettings import PictureSettings
from drivers.simulated.settings import GEOMETRY

SMALL = ("triclinic1", "layers", "monoclinic1", "cubic1")
ORIENTATIONS = 3
SET = ("diffracting_share", "blocks_nm", "scattered_twice")
LENS = ("amplitude_percent", "azimuth_deg")
QUIET = {**os.environ, "NPROC": "1", "OMP_NUM_THREADS": "1"}
"""The environment of a program that is to use one processor."""
CREDLINE = "from engine.commands.program import main; main()"
EMPTY = (5, 20, 40)
"""Slots at one end of a run in which nothing diffracts."""
STRENGTH = 2.5
"""Blackman's A of the strongest reflection, with `Case.beams`: it keeps a seventh of its kinematic intensity."""
SCATTERED_TWICE = 0.1
ELLIPSE = (2.43, 83.37)
"""Percent and azimuth (deg) of the instrument of Capitani et al. (2006)."""
OF_EACH_SYSTEM = ("triclinic3", "monoclinic2", "orthorhombic1", "tetragonal1", "trigonal2", "hexagonal1", "cubic1")


@dataclass(frozen=True, slots=True)
class Case:
    """One run. empty: so many frames at the begin (< 0: at the end) show no crystal.

    beams: with two-beam compression and scattering twice. ellipse: seen through a lens that makes one of circles.
    """

    crystal: MadeCrystal
    seed: int
    empty: int = 0
    beams: bool = False
    ellipse: bool = False

    @property
    def name(self) -> str:
        """Names files."""
        ends = f"-empty{self.empty}" if self.empty else ""
        return f"{self.crystal.name}-{self.seed}{ends}{'-beams' * self.beams}{'-ellipse' * self.ellipse}"

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
    if which == "ellipse":
        return [Case(made(name), 1, ellipse=True) for name in OF_EACH_SYSTEM]
    others = [crystal for crystal in CRYSTALS if crystal.name not in SMALL]
    if which == "beams":
        return [Case(crystal, 1, beams=True) for crystal in others]
    return [Case(crystal, seed) for seed in range(1, ORIENTATIONS + 1) for crystal in others]


def make(case: Case, out: Path) -> tuple[Path, PictureSettings]:
    """The run, unless it is there; its folder and how its pictures were made."""
    cif = case.crystal.write(out / f"{case.crystal.name}.cif")
    settings = picture_settings(cif, case.beams)
    found = sorted(out.glob(f"{case.name}_*/SMV/dials.sh"))
    if found:
        return found[0].parents[1], settings
    devices = out / f"{case.name}.toml"
    lines = [
        "[microscope]",
        'driver = "simulated"',
        *(f"pictures.{name} = {getattr(settings, name)}" for name in SET),
        *(f"geometry.distortion_{name} = {x}" for name, x in zip(LENS, ELLIPSE, strict=True) if case.ellipse),
    ]
    devices.write_text("\n".join(lines) + "\n")
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


def picture_settings(cif: Path, beams: bool) -> PictureSettings:
    """The pictures in which the crystal's strongest reflection is as bright as that of mordenite.

    Spots scale with |F|^2 / volume^2: of a thick crystal with a small cell they would saturate the camera. Whoever
    records sets the exposure by the brightest spots; so here they reach a quarter to a half of what it counts.
    """
    crystal, mordenite, kinematic = load_crystal(cif, 1), load_crystal(None, 1), PictureSettings()
    brightest = float(mordenite.intensity.max()) / mordenite.volume_A3**2
    if not beams:
        own = float(crystal.intensity.max()) / crystal.volume_A3**2
        return replace(kinematic, diffracting_share=kinematic.diffracting_share * brightest / own)
    wavelength_A = GEOMETRY.wavelength_A
    blocks_nm = STRENGTH / blackman_strength(crystal, wavelength_A, 1.0).max()
    own = float(two_beam(crystal, wavelength_A, blocks_nm).intensity.max()) / crystal.volume_A3**2
    return replace(
        kinematic,
        diffracting_share=kinematic.diffracting_share * brightest / own,
        blocks_nm=float(blocks_nm),
        scattered_twice=SCATTERED_TWICE,
    )


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


@contextmanager
def warm_dials() -> Iterator[dict[str, str]]:
    """The environment in which DIALS' programs start at once (see warmdials.py)."""
    shebang = Path(which("dials.import") or sys.exit("DIALS is not on the PATH")).read_text().splitlines()[0]
    python = shebang.removeprefix("#!").removeprefix("/usr/bin/env").split()[0]
    with tempfile.TemporaryDirectory(prefix="credline-dials-") as folder:
        server = subprocess.Popen([python, str(Path(__file__).with_name("warmdials.py")), "serve", folder])
        try:
            while not (Path(folder) / "ready").exists():
                if server.poll() is not None:
                    sys.exit("DIALS' programs could not be loaded")
                time.sleep(0.1)
            yield {**QUIET, "PATH": f"{folder}/bin:{QUIET['PATH']}"}
        finally:
            server.terminate()
            server.wait()


def process(folder: Path, environment: dict[str, str] | None) -> str:
    """The untouched dials.sh, unless it has run; what it wrote."""
    log = folder / "dials.log"
    if not log.exists():
        under_way = folder / "dials.log.part"  # of a benchmark that was ended meanwhile nothing is judged
        with under_way.open("w") as file:
            subprocess.run(
                ["sh", str(folder / "SMV" / "dials.sh")],
                stdout=file,
                stderr=subprocess.STDOUT,
                env=environment or QUIET,
                check=False,
            )
        under_way.rename(log)
    return log.read_text(errors="replace")


def judged(case: Case, out: Path, environment: dict[str, str] | None = None) -> Judged | str:
    """One case, made, processed (in this environment) and judged; or why it failed."""
    folder, settings = make(case, out)
    text = process(folder, environment)
    if not (folder / "SMV" / "dials" / "scaled.mtz").exists():
        lines = [line for line in text.splitlines() if line.strip()]
        return f"{folder}: " + " | ".join(line for line in lines[-40:] if "Error" in line or "failed" in line)[-300:]
    return judge(folder, read_truth(folder, case.crystal.group, settings), text)


def known(results: Path) -> dict[str, Judged | str]:
    """What has been judged before, by the names of the runs."""
    lines = results.read_text().splitlines() if results.exists() else []
    return {one["run"]: one.get("failed") or Judged(**one["judged"]) for one in map(json.loads, lines)}


def once(case: Case, out: Path, environment: dict[str, str]) -> Judged | str:
    """As `judged`, unless its line is there; and write this line."""
    results = out / "results.jsonl"
    if (before := known(results).get(case.name)) is not None:
        return before
    begin = time.time()
    result = judged(case, out, environment)
    told = {"failed": result} if isinstance(result, str) else {"judged": asdict(result)}
    with results.open("a") as file:
        file.write(json.dumps({"run": case.name, "seconds": round(time.time() - begin), **told}) + "\n")
    return result


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--set", choices=("small", "all", "ends", "beams", "ellipse"), default="small")
    parser.add_argument("--out", type=Path, help="keep the runs here; without it they are removed")
    parser.add_argument("--only", default="", help="crystals whose names begin so")
    parser.add_argument("--orientations", type=int, nargs="+", help="only these, by number")
    parser.add_argument("--jobs", type=int, default=1)
    arguments = parser.parse_args()
    chosen = [case for case in cases(arguments.set) if case.name.startswith(arguments.only)]
    if arguments.orientations:
        chosen = [case for case in chosen if case.seed in arguments.orientations]
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
    with warm_dials() as environment, ThreadPoolExecutor(jobs) as pool:
        for case, result in zip(chosen, pool.map(lambda case: once(case, out, environment), chosen), strict=True):
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
