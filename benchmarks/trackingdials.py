"""What tracking is worth in intensities: the same crystal in the same holder tracked, not tracked, and ideally centred.

.venv/bin/python -m benchmarks.trackingdials --out FOLDER --seed 60 --triples 3        # needs DIALS; 4 min a triple

Virtual runs of 100 deg of mordenite with rendered frames, each triple another orientation in another drawn holder;
those not tracked are looked at as well, so all have the same slots. The scale of a frame is the light in the places of
the spots that the same slot of the centred run shows, over the light there in that run; its spread is the standard
deviation over the mean, of single frames and of five together. Counting spreads it as well, by what the counts
themselves tell: the spread beyond that is told beside. R_meas and CC1/2 are those of dials.scale at the end of the
untouched dials.sh. What is there is not made again.
"""

import argparse
import json
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter

from benchmarks.crystals import _credline, process, warm_dials
from protocols.products.corrections import untrusted
from protocols.products.pictures import run_correction
from protocols.products.source import open_run
from protocols.session.judging.dialsjobs import statistics_in
from protocols.spots.seriespeaks import SeriesPeaks

START_DEG, RANGE_DEG = -50.0, 100.0
TOGETHER = 5
SPOT_PX, AROUND_PX = 7, 13
"""Sides of the squares in which a spot's light and the background around it are summed."""
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


@dataclass(frozen=True, slots=True)
class Spread:
    """Of the scale, as a share of its mean: in all frames; what counting makes of that; and what is left."""

    whole: float
    counting: float

    @property
    def beyond(self) -> float:
        """What counting does not explain."""
        return math.sqrt(max(0.0, self.whole**2 - self.counting**2))


def spread(run: Path, centred: Path, together: int = 1) -> Spread:
    """Of the light in the same places of two runs, in so many frames together: the rotations of two runs are a
    hundredth of a degree apart, so a reflection has its light in this frame of the one and in the next frame of the
    other. Where counting leaves a third of the scale open it is left out.
    """
    with open_run(run) as here, open_run(centred) as there:
        row_here, row_there = ({int(slot): row for row, slot in enumerate(each.info.slot)} for each in (here, there))
        correct_here, correct_there = run_correction(here), run_correction(there)
        made_up = untrusted(there.info.raw_shape, there.info.wide_cross, correct_there.dead)
        beam = there.info.nominal_beam_fast_px, there.info.nominal_beam_slow_px
        find = SeriesPeaks(there.info.shape, made_up, beam)
        sums: dict[int, NDArray[np.float64]] = {}
        for slot in sorted(set(row_here) & set(row_there)):
            of_centred = correct_there.apply(there.raw(row_there[slot]))[0].astype(np.float64)
            of_run = correct_here.apply(here.raw(row_here[slot]))[0].astype(np.float64)
            spots = find(of_centred.astype(np.uint16))
            if not len(spots):
                continue
            at = spots.slow_px.astype(int), spots.fast_px.astype(int)
            (light, noise), (usual, usual_noise) = _light(of_run, at), _light(of_centred, at)
            sums[slot // together] = sums.get(slot // together, 0.0) + np.array([light, noise, usual, usual_noise])
    scales, variances = [], []
    for light, noise, usual, usual_noise in sums.values():
        if usual > 0 and usual_noise < (usual / 3) ** 2:
            scales.append(light / usual)
            variances.append((noise + (light / usual) ** 2 * usual_noise) / usual**2)
    mean = float(np.mean(scales))
    return Spread(float(np.std(scales)) / mean, math.sqrt(float(np.mean(variances))) / mean)


def _light(counts: NDArray[np.float64], at: tuple[NDArray[np.intp], NDArray[np.intp]]) -> tuple[float, float]:
    """Counts above the background around in squares about so many places, and the variance of that."""
    inner, outer = (uniform_filter(counts, size, mode="nearest")[at] * size**2 for size in (SPOT_PX, AROUND_PX))
    share = SPOT_PX**2 / (AROUND_PX**2 - SPOT_PX**2)
    return float(np.sum(inner - share * (outer - inner))), float(np.sum(inner + share**2 * (outer - inner)))


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
    print(
        f"| seed | | spread of the scale | by counting | beyond | of {TOGETHER} frames together | by counting | beyond "
        "| R_meas | CC1/2 | completeness |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|---|", flush=True)
    seeds = range(asked.seed, asked.seed + asked.triples)
    for seed in seeds:
        runs = {way: made(way, seed, out) for way in reversed(WAYS)}
        for way in ("tracked", "not tracked"):
            spreads = [spread(runs[way], runs["centred"], together) for together in (1, TOGETHER)]
            words = " | ".join(
                f"{100 * each:.1f} %" for found in spreads for each in (found.whole, found.counting, found.beyond)
            )
            print(f"| {seed} | {way} | {words} | | | |", flush=True)
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
                    f"| {seed} | {way} | | | | | | | {' | '.join('-' if x is None else f'{x:.3f}' for x in figures)} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
