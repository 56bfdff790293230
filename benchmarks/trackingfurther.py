"""What the further looks of a pre-scan are worth: how much of its crystal the beam lights in the first degrees of a
rotation that begins far from where the crystal was centred.

.venv/bin/python -m benchmarks.trackingfurther --runs 12 --seed 5        # some 10 s of one core a run

Virtual runs from -50 to 50 deg on a simulated microscope whose probe of 1000 nm selects, each of another crystal on its
film in another holder: centred at tilt 0 to 100 nm (sigma), its height off by so many nm, up or down. In the light: the
truth says that the crystal's middle lies within the probe. One run a line, in a file of the folder; then the table.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from engine.run.perform import Request, execute
from protocols.cred.experiment import CRED
from protocols.cred.plan import CredPlan

START_DEG, RANGE_DEG, FIRST_DEG, PROBE_NM = -50.0, 100.0, 15.0, 1000.0
KINDS = ("plate", "brick", "brick, neighbours", "plate, neighbours", "needle", "brick, low contrast")


def devices_of(seed: int, height_nm: float) -> str:
    """The text of a devices file."""
    rng = np.random.default_rng([seed, round(height_nm), 29])
    up = float(rng.choice([-1.0, 1.0]))
    off, runout, play, drift = rng.normal(0.0, 1.0, (4, 2))
    return f"""[microscope]
driver = "simulated"
api_call_s = 0.035
start_deg = 0.0
crystal.scene = "{KINDS[seed % len(KINDS)]}"
crystal.orientation_seed = {seed}
[microscope.geometry]
beam_fast_px = 128.0
beam_slow_px = 128.0
[microscope.pictures]
shape = [256, 256]
wide_cross = false
rendered = "snapshots"
probe_selects = true
aperture_nm = {PROBE_NM}
disc_radius_px = 40.0
[microscope.motion]
height_nm = {up * height_nm}
axis_off_nm = {float(rng.normal(0.0, 400.0)):.1f}
centred_off_nm = {(100.0 * off).round(1).tolist()}
runout_nm = {(80.0 * np.abs(runout)).round(1).tolist()}
backlash_nm = {(150.0 * play).round(1).tolist()}
backlash_deg = 2.0
drift_nm_s = {(0.1 * drift).round(3).tolist()}
seed = {seed}
"""


def judged(seed: int, height_nm: float, out: Path, images: int, reverse: bool) -> dict[str, Any]:
    """A run, and what the truth says of it."""
    devices = out / f"devices-{seed}-{height_nm:.0f}.toml"
    devices.write_text(devices_of(seed, height_nm), encoding="utf-8")
    sign = -1.0 if reverse else 1.0
    plan = CredPlan(
        sample="further", start_deg=sign * START_DEG, range_deg=sign * RANGE_DEG, speed_deg_s=1.0, relax_cycles=0,
        rotation="commanded", tracking="correct", track_by="beam shift", prescan_images=images, truth=True, formats=(),
    )  # fmt: skip
    report = execute(Request(CRED, plan, out, str(devices), virtual=True, seed=seed, draw=False))
    with h5py.File(report.folder / "truth.h5") as file:
        turned = np.abs(file["frame_angle_deg"][:, 0] - sign * START_DEG)
        away, share = np.hypot(*file["frame_crystal_nm"][:].T), file["frame_crystal_share"][:]
    document = json.loads((report.folder / "run.json").read_text())
    said = [json.loads(line) for line in (report.folder / "trace.jsonl").read_text().splitlines()]
    words = next(r["text"] for r in said if r["kind"] == "note" and r.get("text", "").startswith("Pre-scan"))
    first = turned < FIRST_DEG
    missed = [each for each in document["tracking"]["found"] if each.get("look", 99) == 1 and "x_nm" not in each]
    return {
        "seed": seed, "height_nm": height_nm, "folder": report.folder.name, "words": words, "missed": bool(missed),
        "looks": document["result"]["tracking"]["looks"],
        "first_in": float(np.mean(away[first] < PROBE_NM / 2)), "first_share": float(np.mean(share[first])),
        "all_in": float(np.mean(away < PROBE_NM / 2)), "all_share": float(np.mean(share)),
        "first_median_nm": float(np.median(away[first])),
    }  # fmt: skip


def table(lines: list[dict[str, Any]]) -> None:
    """A row a height, of all and of those that were missed at the start."""
    print("| height off | runs | in the light, first 15 deg: | lit share | a third out | in the light, all | looks |")
    print("|---|---|---|---|---|---|---|")
    for height_nm in sorted({line["height_nm"] for line in lines}):
        every = [line for line in lines if line["height_nm"] == height_nm]
        for name, some in (("", every), (", missed at the start", [line for line in every if line["missed"]])):
            if some:
                keys = ("first_in", "first_share", "all_in", "looks")
                first, share, whole, looks = (float(np.mean([line[key] for line in some])) for key in keys)
                out = sum(line["first_in"] < 2 / 3 for line in some)
                print(
                    f"| {height_nm:.0f} nm{name} | {len(some)} | {100 * first:.0f} % | {100 * share:.0f} % | "
                    f"{out} | {100 * whole:.0f} % | {looks:.1f} |",
                    flush=True,
                )


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=12)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--images", type=int, default=4)
    parser.add_argument("--heights", type=float, nargs="+", default=[300.0, 600.0, 900.0])
    parser.add_argument("--reverse", action="store_true")
    parser.add_argument("--out", type=Path, required=True)
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    file = asked.out / f"runs-{asked.seed}-{asked.images}{'-reverse' if asked.reverse else ''}.jsonl"
    lines = [json.loads(text) for text in file.read_text().splitlines()] if file.exists() else []
    made = {(line["seed"], line["height_nm"]) for line in lines}
    for height_nm in asked.heights:
        for seed in range(1000 * asked.seed, 1000 * asked.seed + asked.runs):
            if (seed, height_nm) not in made:
                lines.append(judged(seed, height_nm, asked.out, asked.images, asked.reverse))
                with file.open("a") as stream:
                    stream.write(json.dumps(lines[-1]) + "\n")
    table(lines)


if __name__ == "__main__":
    main()
