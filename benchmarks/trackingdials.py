"""What tracking is worth in intensities: the same crystal in the same holder tracked, not tracked, and ideally centred.

.venv/bin/python -m benchmarks.trackingdials --out FOLDER --seed 60 --triples 3        # needs DIALS; 4 min a triple

Virtual runs of 100 deg of mordenite with rendered frames, each triple another orientation in another drawn holder;
those not tracked are looked at as well, so all have the same slots. The scale of a frame is what its spots hold
(`protocols.cred.statistics.scales`), divided by that of the same slot of the centred run; its spread is the standard
deviation over the mean. R_meas and CC1/2 are those of dials.scale at the end of the untouched dials.sh. What is there
is not made again.
"""

import argparse
import json
from pathlib import Path

import numpy as np

from benchmarks.crystals import _credline, process, warm_dials
from protocols.cred.statistics.scales import scale_in
from protocols.session.judging.dialsjobs import statistics_in

START_DEG, RANGE_DEG = -50.0, 100.0
WAYS: dict[str, dict[str, object]] = {
    "tracked": {"tracking": "correct", "prescan_images": 1},
    "not tracked": {"tracking": "show"},
    "centred": {"tracking": "show"},
}


def made(way: str, seed: int, out: Path) -> Path:
    """The run, unless it is there."""
    sample = f"{way.replace(' ', '-')}-{seed}"
    if found := sorted(out.glob(f"{sample}_*/SMV/dials.sh")):
        return found[0].parents[1]
    devices = out / f"{sample}.toml"
    motion = "" if way == "centred" else f"motion.drawn_seed = {seed}\n"
    devices.write_text(f'[microscope]\ndriver = "simulated"\nstart_deg = {START_DEG}\n{motion}')
    asked: dict[str, object] = {
        "sample": sample,
        "start_deg": START_DEG,
        "range_deg": RANGE_DEG,
        "rotation": "commanded",
        "relax_cycles": 0,
        "crystal.orientation_seed": seed,
        "formats": "[]",
        **WAYS[way],
    }
    words = [word for key, value in asked.items() for word in ("--set", f"{key}={value}")]
    told = _credline(
        *("run", "cred", "--clock", "virtual", "--seed", str(seed), "--json"),
        *("--devices", str(devices), "--out", str(out), *words),
    )
    folder = Path(json.loads(told)["run_dir"])
    _credline("export", str(folder), "--formats", "dials")
    return folder


def counts_in_spots(run: Path) -> dict[int, float]:
    """By slot, over the median of the run."""
    told = scale_in(run)
    return dict(zip(told.slots.tolist(), told.scale.tolist(), strict=True))


def spread(scale: dict[int, float], centred: dict[int, float]) -> tuple[float, float]:
    """Of the ratio of two runs, standard deviation over mean: in all frames, and in the half of them that hold most,
    in which counting alone spreads it less.
    """
    slots = [slot for slot in sorted(scale) if centred.get(slot, 0.0) > 0.0]
    ratio, held = np.array([scale[slot] / centred[slot] for slot in slots]), np.array([centred[slot] for slot in slots])
    bright = ratio[held >= np.median(held)]
    return float(ratio.std() / ratio.mean()), float(bright.std() / bright.mean())


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=60)
    parser.add_argument("--triples", type=int, default=3)
    parser.add_argument("--without-dials", action="store_true", help="scales only")
    asked = parser.parse_args()
    out = asked.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    print("| seed | | spread of the scale | brighter half of the frames | R_meas | CC1/2 | completeness |")
    print("|---|---|---|---|---|---|---|", flush=True)
    seeds = range(asked.seed, asked.seed + asked.triples)
    for seed in seeds:
        runs = {way: made(way, seed, out) for way in reversed(WAYS)}
        centred = counts_in_spots(runs["centred"])
        for way, run in runs.items():
            whole, bright = spread(counts_in_spots(run), centred)
            print(f"| {seed} | {way} | {100 * whole:.1f} % | {100 * bright:.1f} % | | | |", flush=True)
    if asked.without_dials:
        return
    with warm_dials() as environment:
        for seed in seeds:
            for way in WAYS:
                run = made(way, seed, out)
                process(run, environment)
                log = run / "SMV" / "dials" / "dials.scale.log"
                told = statistics_in(log.read_text(errors="replace")) if log.exists() else {}
                figures = (told.get("r_meas"), told.get("cc_half"), told.get("completeness"))
                print(
                    f"| {seed} | {way} | | | {' | '.join('-' if x is None else f'{x:.3f}' for x in figures)} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
