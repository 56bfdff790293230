"""Batch work on a cluster of Dask with one worker and with two: seconds, their ratio, and whether the results are those
of this machine.

    python -m benchmarks.scaleout [--runs 8] [--range-deg 60] [--seeds 200] [--frames 512] [--experiments 8]
                                  [--only merge,soak,screening,campaign] [--json FILE]

A scheduler and its workers are started here, each with one thread. `session merge` looks at cRED runs that were made
with `--clock virtual` and at which nobody has looked, integrates and merges them; `soak` tries seeds; `screening
predict` scores patterns by their geometry; `campaign` makes experiments. Before anything is timed each worker has done
a small job of the same kind, and so has this program: imports are not what is asked. What follows the batch in this
program (merging, tables) is timed with it. Beside it: one process of this machine, without Dask. A machine with fewer
than three free processors, two for the workers and one for this program and the scheduler, shows less than there is.
Exit status 1 where a result differs.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from shutil import copytree, rmtree
from tempfile import TemporaryDirectory
from typing import Any

from tests.cli.commandline import command
from tests.daskcluster import cluster
from tests.drivers.counterparts import PROGRAMS

PIECE, BATCH = 32, 25
"""Patterns and seeds that one worker takes at a time."""


@dataclass(frozen=True, slots=True)
class Part:
    """Of the batch work. words: of the command, for so many units, in a folder; result: what it came to."""

    name: str
    units: int
    small: int
    words: Callable[[int, Path], list[str]]
    result: Callable[[str, Path], Any]


def merge_words(runs: Path, count: int, place: Path) -> list[str]:
    """Runs that are as they were made: what was looked at before would not be looked at again."""
    for folder in sorted(runs.glob("*_[0-9][0-9][0-9]"))[:count]:
        copytree(folder, place / "runs" / folder.name)
    return ["session", "merge", str(place / "runs"), "--d-min", "1.0", "--out", str(place / "merged"), "--json"]


def merged(said: str, place: Path) -> Any:
    files = sorted([*(place / "merged").rglob("*.hkl"), *(place / "merged").rglob("*.npz")])
    told = json.loads(said.splitlines()[-1])
    phases = [
        {name: each.get(name) for name in ("group", "r_meas", "cc_half", "completeness")} for each in told["phases"]
    ]
    return phases, [(path.name, sha256(path.read_bytes()).hexdigest()) for path in files]


def parts(given: argparse.Namespace, folder: Path) -> list[Part]:
    """Those that are wanted; what they begin with is made."""
    wanted = given.only.split(",")
    made = []
    if "merge" in wanted:
        for seed in range(1, given.runs + 1):
            settings = [f"range_deg={given.range_deg}", f"start_deg=-{given.range_deg / 2}", "formats=[]"]
            settings += [f"crystal.orientation_seed={seed}", "rotation=commanded"]
            words = [word for setting in settings for word in ("--set", setting)]
            done("run", "cred", "--clock", "virtual", "--out", str(folder / "made"), "--seed", str(seed), *words)
        made.append(
            Part("merge", given.runs, 2, lambda count, place: merge_words(folder / "made", count, place), merged)
        )
    if "soak" in wanted:
        made.append(
            Part(
                "soak",
                given.seeds,
                2 * BATCH,
                lambda count, place: ["soak", "cred", "--seeds", str(count)],
                lambda said, place: said.rpartition(";")[0],
            )
        )
    if "screening" in wanted:
        for count in (given.frames, 2 * PIECE):
            file = folder / f"patterns_{count}.h5"
            if not file.exists():
                done("screening", "simulate", "--patterns", str(count), "--seed", "4", "--out", str(file))
        made.append(
            Part(
                "screening",
                given.frames,
                2 * PIECE,
                lambda count, place: [
                    *("screening", "predict", str(folder / f"patterns_{count}.h5"), "--method", "geometry"),
                    *("--out", str(place / "scores")),
                ],
                lambda said, place: (place / "scores" / "scores.csv").read_text(),
            )
        )
    if "campaign" in wanted:
        made.append(
            Part(
                "campaign",
                given.experiments,
                2,
                lambda count, place: [
                    *("campaign", "fig4", "--experiments", str(count), "--seed", "5", "--table", str(place / "t.csv")),
                ],
                lambda said, place: (place / "t.csv").read_text(),
            )
        )
    return made


def done(*words: str) -> str:
    """What the command printed. Ends this program where it failed."""
    ended = command(*words)
    if ended.returncode != 0:
        sys.exit(f"credline {' '.join(words)}: status {ended.returncode}: {ended.stderr.strip()}")
    return ended.stdout


def timed(part: Part, where: tuple[str, ...], folder: Path) -> tuple[float, Any]:
    """Seconds of one part, and its result, after a small one of its kind."""
    seconds, result = 0.0, None
    for count in (part.small, part.units):
        place = folder / "place"
        place.mkdir()
        words = part.words(count, place)
        begin = time.perf_counter()
        said = done(*words, *where)
        seconds = time.perf_counter() - begin
        result = part.result(said, place)
        rmtree(place)
    return seconds, result


def measured(some: list[Part], folder: Path) -> list[dict[str, Any]]:
    rows: dict[str, dict[str, Any]] = {part.name: {"part": part.name, "units": part.units} for part in some}
    results: dict[str, Any] = {}
    for part in some:
        rows[part.name]["here_s"], results[part.name] = timed(part, ("--jobs", "1"), folder)
    for workers in (1, 2):
        place = folder / f"cluster_{workers}"
        place.mkdir()
        with cluster(place, workers) as address:
            for part in some:
                seconds, result = timed(part, ("--scheduler", address), folder)
                row = rows[part.name]
                row[f"workers_{workers}_s"] = seconds
                row["same"] = row.get("same", True) and result == results[part.name]
    for row in rows.values():
        row["ratio"] = row["workers_1_s"] / row["workers_2_s"]
    return list(rows.values())


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("--runs", type=int, default=8)
    parser.add_argument("--range-deg", type=float, default=60.0)
    parser.add_argument("--seeds", type=int, default=200)
    parser.add_argument("--frames", type=int, default=512)
    parser.add_argument("--experiments", type=int, default=8)
    parser.add_argument("--only", default="merge,soak,screening,campaign")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    sys.path += map(str, PROGRAMS.parent.glob("lib*/python3.*/site-packages"))  # Dask, behind our own packages
    with TemporaryDirectory(prefix="credline-scaleout-") as name:
        rows = measured(parts(given, Path(name)), Path(name))
    print(f"{'':12}{'units':>6}{'here, 1':>10}{'1 worker':>10}{'2 workers':>11}{'ratio':>7}  same results")
    for row in rows:
        seconds = f"{row['here_s']:8.1f} s{row['workers_1_s']:8.1f} s{row['workers_2_s']:9.1f} s"
        print(f"{row['part']:12}{row['units']:>6}{seconds}{row['ratio']:>7.2f}  {'yes' if row['same'] else 'NO'}")
    if given.json is not None:
        given.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    sys.exit(0 if all(row["same"] for row in rows) else 1)


if __name__ == "__main__":
    main()
