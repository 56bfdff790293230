"""Every crystal of a simulated serial run recalled, each with a stage that lands elsewhere, and judged by the truth.

`python benchmarks/serialedrecall.py --grids 41 42 43` prints, for each seed of a grid, how many crystals were recalled,
how many of these had the same particle in the probe as in the serial run, and how many were said not to be sure.
"""

import argparse
import tempfile
from pathlib import Path
from typing import Any

from engine.run.perform import Request, execute
from engine.run.run import Run
from protocols.serialed.recall.experiment import RECALL
from protocols.serialed.recall.recalledtable import plan_for
from protocols.serialed.results.csvfiles import read_crystals
from tests.protocols.serialed.runs import Made, devices, made, toml

LANDS_NM = 500.0
"""Standard deviation of where the stage lands, along an axis, in the serial run and in the recall."""


def mostly_lit(truth: Any, start_ns: int) -> int | None:
    """The particle that had the largest share of the probe in an exposure."""
    seen = next(each for each in truth.seen_on_grid() if each.begin_ns == start_ns)
    lit = truth.lit_on_grid(seen)
    return lit.numbers[lit.of_beam.index(max(lit.of_beam))] if lit.numbers else None


def recalls(seed: int, out: Path) -> tuple[int, int, int]:
    """Crystals, recalled ones, and those of them that lit the same particle."""
    tables: dict[str, Any] = {
        "grid": {"seed": seed},
        "stagexyz": {"reproducibility_nm": LANDS_NM, "overshoot_nm": 150.0},
    }
    runs: list[Run] = []
    serial = made(out / "serial", tables, seed=seed, on=lambda _, run: runs.append(run) if not runs else None)
    truth: Any = runs[0].microscope
    before = {
        (frame["field"], frame["crystal"]): mostly_lit(truth.truth, frame["start_ns"])
        for frame in serial.of("frame", "pattern")
    }
    file = out / "devices.toml"
    file.write_text(toml(devices(**tables)), encoding="utf-8")
    rows = read_crystals(serial.folder / "crystals.csv")
    there = right = 0
    for row in rows:
        again: list[Run] = []

        def watch(run: Run, _: object, again: list[Run] = again) -> None:
            run.compute.inline = True
            again.append(run)

        plan = plan_for(serial.folder / "crystals.csv", row.number, ["pattern=true"])
        asked = Request(
            RECALL, plan, out / "recalls", str(file), virtual=True, seed=1000 * seed + row.number, draw=False
        )
        report = execute(asked, watch)
        told = Made(report.folder, report.document)
        if told.document["status"] == "done":
            there += 1
            (pattern,) = told.of("frame", "pattern")
            microscope: Any = again[0].microscope
            right += mostly_lit(microscope.truth, pattern["start_ns"]) == before.get((row.field, row.crystal))
    return len(rows), there, right


def main() -> None:
    """Print a line for each grid."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--grids", type=int, nargs="+", default=[41, 42, 43])
    for seed in parser.parse_args().grids:
        with tempfile.TemporaryDirectory() as folder:
            crystals, there, right = recalls(seed, Path(folder))
        unsure = crystals - there
        print(f"grid {seed}: {crystals} crystals, {there} recalled, {right} of these the same, {unsure} not recalled")


if __name__ == "__main__":
    main()
