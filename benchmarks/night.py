"""A virtual night on a simulated grid of two phases: what an unattended session brings, and where its time and beam go.

`python -m benchmarks.night --seed 3 --hours 8`: figures of one night. `--fault WORDS` (repeatable) or `--bad` (all of
`BAD`) make it a bad one; `--rare` mixes in a third phase of 3 % (ferrierite's cell), `--drawn` draws the cells of all
phases from the seed; `--kills 2` kills the program so often with `kill -9`, in the middle, and goes on. `--set
KEY=VALUE` (repeatable) changes the plan. `--out DIR` keeps the folders. Judged by live alone; the truth of the
simulation only counts, it decides nothing: of which of its phases each data set is, by its cell, and whether the
session's phases are pure.
"""

import argparse
import subprocess
import sys
import time
import tomllib
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import tomlkit

from drivers.simulated.gridtruth import phases_of
from drivers.simulated.settings import read_grid
from engine.record.document import RunDocument
from engine.record.folder import children_of
from engine.record.trace import read_trace
from engine.run.perform import Request, execute
from engine.run.planfile import build_plan
from protocols.lattice.cell import Cell, lattice_difference
from protocols.session.experiment import SESSION
from protocols.session.mergedsofar import merged_words

DEVICES = Path(__file__).parents[1] / "examples" / "session.toml"
PLAN: dict[str, Any] = {
    "sample": "night",
    "width_um": 200.0,
    "height_um": 200.0,
    "block_um": 50.0,
    "choose": {"isolated": False},
    "cred": {"start_deg": -50.0, "range_deg": 100.0, "speed_deg_s": 0.9},
}
BAD = (
    *("detector.start 40 lost 180", "detector.frames 70 drop", "stagexyz.move_xy 8 error", "deflectors.set 60 error"),
    *("mode.set_mode 15 error", "beam.unblank 90 error", "optics.set_focus 12 slow 2", "compute.find 5 late"),
    *("stage.rotate 2 error", "detector.arm 6 error"),
)
"""What befalls a bad night: the camera is gone for three minutes, a frame is lost, a crystal's rotation does not begin,
calls fail here and there.
"""
RARE = {"third_phase": "cell 7.52 14.16 19.0 90 90 90", "third_share": 0.03}
DRAWN = {"phase": "random", "second_phase": "random"}
CENTRING = {"mordenite": "C 2/m", "chabazite": "R -3 m"}
SAME_LENGTH, SAME_DEG = 0.03, 1.5
"""A cell that is off by no more is that of a phase."""
KILLED_AFTER = 4
"""Children begun."""
S_BETWEEN_LOOKS = 0.2


def night(seed: int, size_um: float, asked: argparse.Namespace, out: Path) -> None:
    """One night, and its figures."""
    devices = tomllib.loads(DEVICES.read_text(encoding="utf-8"))
    grid = devices["microscope"]["grid"]
    grid |= {"seed": seed, **(RARE if asked.rare else {}), **(DRAWN if asked.drawn else {})}
    if asked.rare and asked.drawn:
        grid["third_phase"] = "random"
    file = out / "devices.toml"
    file.write_text(tomlkit.dumps(devices), encoding="utf-8")
    words = {"width_um": size_um, "height_um": size_um, "goal": {"max_hours": asked.hours}}
    plan = build_plan(SESSION, None, asked.set, {**PLAN, **words})
    faults = (*asked.fault, *(BAD if asked.bad else ()))
    begun = time.perf_counter()
    if asked.kills:
        (out / "plan.toml").write_text(tomlkit.dumps(plan.model_dump(mode="json", exclude_none=True)), encoding="utf-8")
        folder = killed(out, ["session", "--config", str(out / "plan.toml"), "--seed", str(seed)], asked.kills)
    else:
        request = Request(*(SESSION, plan, out, str(file)), virtual=True, seed=seed, draw=False, faults=faults)
        folder = execute(request, lambda run, _: None).folder
    told(folder, time.perf_counter() - begun)
    against_truth(folder, tomllib.loads(file.read_text(encoding="utf-8")))


def killed(out: Path, words: list[str], kills: int) -> Path:
    """A night by the command line, killed so often in the middle and gone on with; the folder of the last part."""
    common = ["--devices", str(out / "devices.toml"), "--clock", "virtual", "--out", str(out)]
    for left in range(kills, -1, -1):
        call = [sys.executable, "-c", "from engine.commands.program import main; main()", "run", *words, *common]
        before = set(out.glob("night_*"))
        running = subprocess.Popen(call, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while running.poll() is None and not (left and begun_in(out, before) >= KILLED_AFTER):
            time.sleep(S_BETWEEN_LOOKS)
        if left:
            running.kill()
        running.wait()
        (folder,) = set(out.glob("night_*")) - before
        print(f"{folder.name}: {'killed' if left else 'ended'} with {len(children_of(folder))} children", flush=True)
        words = ["--continue", str(folder)]
    return folder


def begun_in(out: Path, before: set[Path]) -> int:
    """Children of the newest night."""
    return sum(len(list(folder.glob("[0-9]*_*"))) for folder in set(out.glob("night_*")) - before)


def told(folder: Path, wall_s: float | None = None) -> None:
    """The figures of a night in its folder."""
    document = RunDocument.read(folder)
    result, session = document.result, document.own["session"]
    tried = max(int(result["tried"]), 1)
    print(f"{folder.name}: {document.status}: {document.reason}")
    print(f"hours {result['hours']:.2f}, data sets {result['data_sets']}, an hour {result['data_sets_per_hour']:.1f}")
    print(f"crystals tried {result['tried']}, indexable {result['indexable']} ({result['indexable'] / tried:.0%})")
    for row in session.get("merged", []):
        print(f"  merged: {merged_words({'phases': [row]})}")
    for phase in session["phases"]:
        share = f"{phase['completeness']:.1%} of {phase['attainable']:.1%} attainable"
        print(f"  {phase['words']}: {share}; {'; '.join(phase['doubts']) or 'no doubts'}")
    aside = Counter((each["stage"], each["reason"].partition(":")[0][:70]) for each in session["set_aside"])
    for (stage, reason), count in aside.most_common():
        print(f"  set aside at {stage}: {count} x {reason}")
    print(f"device faults {result['faults']}, waited {result['waited_s'] / 60:.1f} min")
    beam_s, lit_s = float(result["beam_on_s"]), 0.0
    for child in children_of(folder):
        if "beam_on_s" in RunDocument.read(child).result:
            lit_s += exposed_s(child)
    print(f"beam on {beam_s:.0f} s, of it exposures and rotations {lit_s:.0f} s; not told by {result['beam_untold']}")
    whole_s = 3600.0 * float(result["hours"]) or 1.0
    for state, spent_s in sorted(result["in_state_s"].items(), key=lambda each: -each[1]):
        print(f"  {state}: {spent_s / 60:.1f} min ({spent_s / whole_s:.0%})")
    if wall_s is not None:
        print(f"wall {wall_s / 60:.1f} min")


def against_truth(folder: Path, devices: dict[str, Any]) -> None:
    """Of which of the grid's phases the data sets are, and whether each phase of the session is of one of these."""
    settings = read_grid(devices["microscope"])
    assert settings is not None  # noqa: S101
    true = {
        words: Cell(*crystal.cell).reduced(CENTRING.get(words, "P 1"))
        for words, crystal in zip(settings.phases, phases_of(settings), strict=True)
    }
    if len(true) < len(settings.phases):
        true = {f"{n}": Cell(*crystal.cell).reduced() for n, crystal in enumerate(phases_of(settings), 1)}
    session = RunDocument.read(folder).own["session"]
    of: dict[int, str] = {}
    for each in session["data_sets"]:
        live = RunDocument.read(folder / each["run_dir"]).result.get("live") or {}
        if live.get("determined"):
            of[each["number"]] = named(Cell(*live["primitive"]), true)
    print(f"truth: {dict(Counter(of.values()))} of the data sets with a lattice")
    for phase in session["phases"]:
        mixed = Counter(of[number] for number in phase["data_sets"])
        print(f"  phase {phase['number']}: {'pure' if len(mixed) == 1 else 'MIXED'}, {dict(mixed)}")
    placed = {number for phase in session["phases"] for number in phase["data_sets"]}
    print(f"  of no phase: {[(number, words) for number, words in of.items() if number not in placed]}")


def named(cell: Cell, true: dict[str, Cell]) -> str:
    """Of which phase a cell is."""
    off = {words: lattice_difference(cell, each) for words, each in true.items()}
    best = min(off, key=lambda words: off[words][0])
    return best if off[best][0] < SAME_LENGTH and off[best][1] < SAME_DEG else "none of them"


def exposed_s(child: Path) -> float:
    """How long the beam is wanted in a child: exposures; of a rotation from its first frame to its last."""
    frames = [r for r in read_trace(child) if r["kind"] == "frame"]
    turning = [r for r in frames if r["name"] in ("diffraction", "snapshot")]
    others_s = sum(r["end_ns"] - r["start_ns"] for r in frames if r not in turning) / 1e9
    if not turning:
        return others_s
    return others_s + (max(r["end_ns"] for r in turning) - min(r["start_ns"] for r in turning)) / 1e9


def main() -> None:
    """See the module's words."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--hours", type=float, default=8.0)
    parser.add_argument("--size-um", type=float, default=200.0)
    parser.add_argument("--fault", action="append", default=[])
    parser.add_argument("--bad", action="store_true", help="all that befalls a bad night")
    parser.add_argument("--rare", action="store_true", help="a third phase of 3 %%")
    parser.add_argument("--drawn", action="store_true", help="phases whose cells are drawn from the seed")
    parser.add_argument("--kills", type=int, default=0, help="kill -9 so often, and go on")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--told", type=Path, help="Figures of a night that was made before.")
    asked = parser.parse_args()
    if asked.told is not None:
        told(asked.told)
        against_truth(asked.told, tomllib.loads((asked.told.parent / "devices.toml").read_text(encoding="utf-8")))
        return
    with TemporaryDirectory(prefix="credline-night-") as made:
        out = asked.out or Path(made)
        out.mkdir(parents=True, exist_ok=True)
        night(asked.seed, asked.size_um, asked, out)


if __name__ == "__main__":
    main()
