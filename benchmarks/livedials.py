"""DIALS against `credline live` on simulated crystals: the cell, how soon, and structure factors, by the truth.

.venv/bin/python -m benchmarks.livedials --out FOLDER            # needs DIALS; 20 crystals, 3 to 5 minutes each
.venv/bin/python -m benchmarks.livedials --out FOLDER --say      # the table of what is there

Twenty of the thirty structures that benchmarks.livecrystals draws from seed 16, which nothing was built with: virtual
runs of 45 deg, with a snapshot in every tenth slot. Both get the same run and the same nominal geometry, which
is the true one. The first cell: DIALS' import, mask, spots and index as in dials.sh, and `credline live
--until-deg 15`, on the frames of the first 15 deg, each as commands that a person types, one processor, one after the
other. Intensities: the untouched dials.sh, and `--structure-factors`; both merged in the crystal's own Laue class. One
line of FOLDER/results.jsonl each; what has its line is not done again.
"""

import argparse
import json
import re
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import gemmi
import numpy as np

from benchmarks.crystals import CREDLINE, QUIET, Case, make, process, warm_dials
from benchmarks.crystaltruth import (
    Intensities,
    Truth,
    agreement,
    judge,
    kept_percent,
    lattice,
    read_truth,
    same_lattice,
    true_intensities,
    unique,
)
from benchmarks.livecrystals import draw_crystals
from protocols.live.frames import open_frames
from protocols.live.growing import ends
from protocols.live.lookedframes import LookedFrames
from protocols.live.structurefactors import Wanted, measure

SEED = 16
FIRST_DEG, RANGE_DEG = 15.0, 45.0
FOUND_WITHIN = 0.02
"""Strain of a first cell that is the true lattice."""
GOOD_CC = 0.99


class Short(Case):
    """A run of RANGE_DEG, every third of them the other way."""

    @property
    def range_deg(self) -> float:
        """Its rotation."""
        return -RANGE_DEG if self.seed % 3 == 0 else RANGE_DEG


def cases() -> list[Case]:
    """Twenty: of three structures that follow each other two."""
    return [Short(each.crystal, 1 + each.number % 4) for each in draw_crystals(SEED) if each.number % 3 != 2]


def timed(words: list[str], folder: Path, log: Path) -> tuple[float, float, bool]:
    """Seconds by the clock and of the processor that a command takes, and whether it succeeded."""
    before, begin = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    with log.open("w") as file:
        done = subprocess.run(words, cwd=folder, stdout=file, stderr=subprocess.STDOUT, env=QUIET, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.perf_counter() - begin, cpu, done.returncode == 0


def first_cell_by_dials(run: Path, last_slot: int) -> tuple[float, float, bool]:
    """The steps of dials.sh up to dials.index, of the first slots alone; into SMV/first."""
    script = (run / "SMV" / "dials.sh").read_text()
    end = script.index("step dials.refine")
    text = script[:end].replace("mkdir -p dials\ncd dials", "mkdir -p first\ncd first")

    def kept(match: re.Match[str]) -> str:
        low, high = int(match[1]), min(int(match[2]), last_slot)
        return f"  scan_range={low},{high} \\\n" if low <= high else ""

    text = re.sub(r"  scan_range=(\d+),(\d+) \\\n", kept, text)
    shutil.rmtree(run / "SMV" / "first", ignore_errors=True)
    (run / "SMV" / "first.sh").write_text(text)
    return timed(["sh", "first.sh"], run / "SMV", run / "SMV" / "first.log")


def strain_of(expt: Path, truth: Truth) -> float:
    """Largest strain of DIALS' first cell, in percent; 100 where it is none, or another lattice."""
    if not expt.exists():
        return 100.0
    _, strain, same = lattice(expt, truth, gemmi.SpaceGroup("P 1"))
    return 100 * strain if same and strain < FOUND_WITHIN else 100.0


def dials_intensities(run: Path, truth: Truth) -> Intensities:
    """What dials.sh has made, merged in the true Laue class, by true indices."""
    work = run / "SMV" / "dials"
    mtz = gemmi.read_mtz_file(str(work / "scaled.mtz"))
    index, _, _ = lattice(work / "scaled.expt", truth, mtz.spacegroup)
    mtz.switch_to_original_hkl()
    table, labels = np.array(mtz.array), mtz.column_labels()
    hkl = np.rint(table[:, :3] @ index.T).astype(int)
    return unique(truth.group, hkl, table[:, labels.index("I")], table[:, labels.index("SIGI")])


def by_live(run: Path, truth: Truth) -> tuple[dict[str, Any], Intensities]:
    """The whole run by live, its structure factors against the truth."""
    begin = time.process_time()
    with open_frames(run, None) as frames:
        looked = LookedFrames(frames)
        for number, due in ends(frames, 30.0, None):
            looked.add(number, frames.counts(number))
            if due:
                look = looked.look()
        told: dict[str, Any] = {"determined": look.told["determined"], "indexed": look.told["indexed"]}
        if not look.told["determined"]:
            return told | {"reasons": look.told["reasons"]}, {}
        seconds = time.process_time() - begin
        result = measure(frames, look, len(frames.slot), Wanted())
    ub, seen = np.array(look.told["orientation"]), result.observations
    index, strain, same = same_lattice(ub, truth, gemmi.SpaceGroup("P 1"))
    told |= {"cell_percent": 100 * strain, "same": same, "laue": result.symmetry.laue, "live_s": seconds}
    told |= {"integration_s": time.process_time() - begin - seconds, "predicted": len(seen.passages)}
    if not same:
        return told, {}
    stretch = np.linalg.svd(ub @ np.linalg.inv(truth.crystal.ub @ index))[1]
    told["ratio_percent"] = 100 * float(stretch.max() / stretch.min() - 1)
    kept = seen.kept
    hkl = np.rint(seen.passages.hkl[kept] @ index.T).astype(int)
    measured = unique(truth.group, hkl, result.intensity, result.sigma)
    cc, r, count = agreement(measured, true_intensities(truth))
    told |= {"cc": cc, "r": r, "unique": count, "kept_percent": kept_percent(measured, truth)}
    return told | {"laue_right": result.symmetry.laue == truth.group.laue_str()}, measured


def one(case: Case, out: Path, environment: dict[str, str]) -> dict[str, Any]:
    """All of one crystal."""
    run, settings = make(case, out)
    truth = read_truth(run, case.crystal.group, settings)
    with open_frames(run, None) as frames:
        inside = np.abs(frames.end_deg - frames.start_deg[0]) <= FIRST_DEG + 1e-6
        last_slot = int(frames.slot[inside][-1])
    result: dict[str, Any] = {"run": case.name, "group": case.crystal.group, "volume_A3": case.crystal.primitive_A3}
    wall, cpu, _ = first_cell_by_dials(run, last_slot)
    found = run / "SMV" / "first" / "indexed.expt"
    result["first_dials"] = {"wall_s": wall, "cpu_s": cpu, "strain_percent": strain_of(found, truth)}
    words = [sys.executable, "-c", CREDLINE, "live", str(run), "--until-deg", f"{FIRST_DEG:g}", "--json"]
    log = run / "live.log"
    wall, cpu, _ = timed(words, Path.cwd(), log)
    last = json.loads(log.read_text().strip().splitlines()[-1])
    strain = 100.0
    if last["determined"]:
        _, off, same = same_lattice(np.array(last["orientation"]), truth, gemmi.SpaceGroup("P 1"))
        strain = 100 * off if same and off < FOUND_WITHIN else 100.0
    result["first_live"] = {"wall_s": wall, "cpu_s": cpu, "strain_percent": strain, "determined": last["determined"]}
    result["live"], ours = by_live(run, truth)
    begin = time.perf_counter()
    text = process(run, environment)
    result["dials_s"] = time.perf_counter() - begin
    if not (run / "SMV" / "dials" / "scaled.mtz").exists():
        return result | {"dials": {"failed": text[-300:]}}
    judged = judge(run, truth, text)
    result["dials"] = {
        "cell_percent": judged.cell_percent, "indexed": judged.indexed_percent / 100, "cc": judged.cc, "r": judged.r,
        "kept_percent": judged.kept_percent, "unique": judged.unique, "laue_right": judged.laue == "right",
    }  # fmt: skip
    return result | compared(run, truth, ours, result["dials"])


def again(before: dict[str, Any], case: Case, out: Path) -> dict[str, Any]:
    """The same with what live makes of the whole run now."""
    run, settings = make(case, out)
    truth = read_truth(run, case.crystal.group, settings)
    live, ours = by_live(run, truth)
    return before | {"live": live} | compared(run, truth, ours, before["dials"])


def compared(run: Path, truth: Truth, ours: Intensities, dials: dict[str, Any]) -> dict[str, Any]:
    """Live's intensities against those of DIALS, where both have some of the same lattice."""
    if not ours or dials.get("cell_percent", 100.0) >= 100.0:
        return {}
    cc, r, count = agreement(ours, dials_intensities(run, truth))
    return {"both": {"cc": cc, "r": r, "unique": count}}


def say(results: list[dict[str, Any]], wanted: int) -> None:
    """The table, and all together."""
    print(
        "| run | group, A^3 | 15 deg, DIALS and live: s; off by % | indexed % | cell % | live: CC, R | DIALS | both |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for each in results:
        first, second, live, dials = (each[name] for name in ("first_dials", "first_live", "live", "dials"))

        def pair(told: dict[str, Any]) -> str:
            return f"{told['cc']:.4f}, {told['r']:.3f} ({told['unique']})" if "cc" in told else "none"

        columns = (
            each["run"],
            f"{each['group']}, {each['volume_A3']:.0f}",
            f"{first['cpu_s']:.1f}, {second['cpu_s']:.1f}; "
            f"{first['strain_percent']:.2f}, {second['strain_percent']:.2f}",
            f"{100 * dials.get('indexed', 0):.0f}, {100 * live['indexed']:.0f}",
            f"{dials.get('cell_percent', 100):.2f}, {live.get('cell_percent', 100):.2f} "
            f"(ratios {live.get('ratio_percent', 100):.2f})",
            *(pair(told) for told in (live, dials, each.get("both", {}))),
        )
        print(f"| {' | '.join(columns)} |")
    print(f"\n{len(results)} of {wanted} so far")
    for name, key in (("DIALS", "first_dials"), ("live", "first_live")):
        right = sum(each[key]["strain_percent"] < 100 for each in results)
        wall, cpu = (np.median([each[key][unit] for each in results]) for unit in ("wall_s", "cpu_s"))
        print(
            f"after {FIRST_DEG:g} deg {name}: the true lattice in {right}; median {wall:.1f} s, {cpu:.1f} s processor"
        )
    for name in ("live", "dials", "both"):
        told = [each[name] for each in results if "cc" in each.get(name, {})]
        if told:
            cc, r = ([each[key] for each in told] for key in ("cc", "r"))
            good = sum(value >= GOOD_CC for value in cc)
            line = (
                f"{name}: CC >= {GOOD_CC} in {good} of {len(told)}; CC median {np.median(cc):.4f}, worst {min(cc):.4f}"
            )
            print(f"{line}; R median {np.median(r):.3f}, worst {max(r):.3f}")
        if told and "laue_right" in told[0]:
            cells = [each["cell_percent"] for each in told]
            kept = [each["kept_percent"] for each in told]
            print(
                f"  cell off by {np.median(cells):.2f} % (median), {max(cells):.2f} % at most; measurable kept "
                f"{np.median(kept):.0f} % (median); Laue class right in {sum(each['laue_right'] for each in told)}"
            )


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="keeps runs and results")
    parser.add_argument("--say", action="store_true", help="only the table of what is there")
    parser.add_argument("--remove", action="store_true", help="remove each run when it has its line: 300 MB each")
    parser.add_argument("--live-again", action="store_true", help="live's structure factors of the runs there, anew")
    asked = parser.parse_args()
    out: Path = asked.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    log = out / "results.jsonl"
    results = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    every = cases()
    if asked.live_again:
        results = [again(each, next(case for case in every if case.name == each["run"]), out) for each in results]
        log.write_text("".join(json.dumps(each, default=float) + "\n" for each in results))
    elif not asked.say:
        done = {each["run"] for each in results}
        with warm_dials() as environment:
            for case in every:
                if case.name in done:
                    continue
                results.append(one(case, out, environment))
                with log.open("a") as file:
                    file.write(json.dumps(results[-1], default=float) + "\n")
                print(json.dumps(results[-1], default=float), flush=True)
                if asked.remove:
                    for folder in out.glob(f"{case.name}_*"):
                        shutil.rmtree(folder)
    say(results, len(every))


if __name__ == "__main__":
    main()
