"""Mutants: one operator, comparison or constant of the program changed, and whether a test notices.

    python -m pip install cosmic-ray        # in an environment of its own; only this program needs it
    python benchmarks/mutants.py --python .venv/bin/python [--count 200] [--seed 1] [--jobs 2] [--list] [FILE ...]

The mutants are those of cosmic-ray's operators that need no arguments, on the arithmetic of slots, angles, corrections,
writers and safety (`JUDGED`). So many of them are drawn by the seed. Each is tried in a copy of this checkout: first on
the tests that mirror its file, then, when these pass, on wider ones. What lives is printed as a difference of lines.
Exit status 1 when more than 15 % live.
"""

import argparse
import difflib
import random
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import parso.python.tree  # noqa: F401 before cosmic-ray, whose operators are not found without it
from cosmic_ray.ast import ast_nodes, get_ast_from_path
from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator, operator_names

HERE = Path(__file__).parent.parent
ENOUGH = 0.85
LIMIT_S = 400
"""A mutant whose tests take longer goes round in circles: killed."""
ENGINE = ("tests/engine/run", "tests/protocols/cred/test_golden.py", "tests/protocols/cred/soak/test_trial.py")
RECORD = ("tests/engine/record", "tests/protocols/cred/recovery", "tests/protocols/cred/test_slow_disk.py")
CRED = ("tests/protocols/cred/test_golden.py", "tests/protocols/cred/test_finish.py", "tests/protocols/cred/soak")
PRODUCTS = ("tests/protocols/products", "tests/protocols/cred/test_counttypes.py")
JUDGED: dict[str, tuple[str, tuple[str, ...]]] = {
    "engine/run/timeline.py": ("tests/engine/run/test_timeline.py", ENGINE),
    "engine/run/budget.py": ("tests/engine/run/test_budget.py", (*ENGINE, "tests/protocols/cred/test_plan.py")),
    "engine/run/safety.py": ("tests/engine/run/test_safety.py", (*ENGINE, "tests/protocols/cred/soak/test_planted.py")),
    "engine/record/spool.py": (
        "tests/engine/record/test_spool.py",
        RECORD,
    ),
    "engine/record/spoolformat.py": (
        "tests/engine/record/test_spool.py",
        ("tests/engine/record", "tests/protocols/cred/test_truncation.py"),
    ),
    "engine/record/lock.py": ("tests/engine/record/test_lock.py", ("tests/engine/run/test_instrument.py",)),
    "protocols/cred/rotation/angles.py": ("tests/protocols/cred/rotation/test_angles.py", CRED),
    "protocols/cred/rotation/stagewatch.py": ("tests/protocols/cred/rotation/test_stagewatch.py", CRED),
    "protocols/cred/plan.py": ("tests/protocols/cred/test_plan.py", (*CRED, "tests/protocols/cred/test_sequence.py")),
    "protocols/products/smv.py": ("tests/protocols/products/test_images.py", PRODUCTS),
    "protocols/products/xds.py": ("tests/protocols/products/test_instructions.py", PRODUCTS),
    "protocols/products/nexus.py": ("tests/protocols/products/test_nexus.py", PRODUCTS),
    "protocols/products/corrections.py": ("tests/protocols/products/test_corrections.py", PRODUCTS),
    "protocols/spots/beam_centre.py": ("tests/protocols/spots/test_beam_centre.py", PRODUCTS),
    "protocols/spots/beam_seen.py": ("tests/protocols/spots/test_beam_seen.py", PRODUCTS),
    "protocols/products/runbeam.py": ("tests/protocols/products/test_runbeam.py", PRODUCTS),
    "protocols/products/beammotion.py": ("tests/protocols/products/test_runbeam.py", PRODUCTS),
    "drivers/merlin/frames.py": ("tests/drivers/merlin/test_frames.py", ("tests/drivers/merlin",)),
}
"""Of each file, the tests that mirror it, and wider ones."""


@dataclass(frozen=True, slots=True)
class Mutant:
    """The nth place of a file where an operator can be applied."""

    file: str
    operator: str
    occurrence: int

    def text(self, before: str) -> str:
        """The file with the change made."""
        return str(mutate_code(before, get_operator(self.operator)(), self.occurrence))

    def change(self, before: str) -> str:
        """The lines that differ, for people."""
        lines = difflib.unified_diff(before.splitlines(), self.text(before).splitlines(), lineterm="", n=0)
        return "\n".join(line for line in lines if not line.startswith(("---", "+++")))


def mutants_of(file: str) -> list[Mutant]:
    """All of them, in the order of the operators' names."""
    tree = get_ast_from_path(HERE / file)
    found = []
    for name in sorted(operator_names()):
        if get_operator(name).arguments():
            continue
        operator = get_operator(name)()
        places = sum(1 for node in ast_nodes(tree) for _ in operator.mutation_positions(node))
        found += [Mutant(file, name, k) for k in range(places)]
    return found


def passes(copy: Path, python: str, tests: tuple[str, ...]) -> bool:
    """Whether these tests pass there."""
    words = [python, "-m", "pytest", "-q", "-x", "--no-header", "-p", "no:cacheprovider"]
    words += ["-m", "not long and not counterpart and not dials", *tests]
    alone = {"PYTHONPATH": str(copy), "PATH": "/usr/bin:/bin"}
    try:
        done = subprocess.run(
            words,
            cwd=copy,
            env=alone,
            timeout=LIMIT_S,
            capture_output=True,
        )
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


def lives(mutant: Mutant, copy: Path, python: str) -> bool:
    """Whether no test notices the mutant. The file is as before afterwards."""
    file = copy / mutant.file
    before = file.read_text()
    near, wide = JUDGED[mutant.file]
    file.write_text(mutant.text(before))
    try:
        return passes(copy, python, (near,)) and passes(copy, python, wide)
    finally:
        file.write_text(before)


def work(mutants: list[Mutant], python: str) -> list[Mutant]:
    """Try them one after the other in a copy of their own; those that live."""
    living = []
    with tempfile.TemporaryDirectory(prefix="credline-mutants-") as name:
        copy = Path(name) / "credline"
        subprocess.run(["git", "clone", "-q", str(HERE), str(copy)], check=True)
        for folder in HERE.glob("credline-*.dist-info"):  # what an installed package registers, where it lies here
            (copy / folder.name).symlink_to(folder)
        for mutant in mutants:
            alive = lives(mutant, copy, python)
            print(f"{'LIVES ' if alive else 'killed'} {mutant.file} {mutant.operator} {mutant.occurrence}", flush=True)
            if alive:
                print(mutant.change((copy / mutant.file).read_text()), flush=True)
                living.append(mutant)
    return living


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("files", nargs="*", metavar="FILE", help="of those judged; all without any")
    parser.add_argument("--python", default=sys.executable, help="the Python that has credline and its tests")
    parser.add_argument("--count", type=int, default=200, help="how many mutants")
    parser.add_argument("--seed", type=int, default=1, help="of the draw")
    parser.add_argument("--jobs", type=int, default=2, help="copies at work")
    parser.add_argument("--list", action="store_true", help="print the drawn mutants and try none")
    asked = parser.parse_args()
    if unknown := sorted(set(asked.files) - set(JUDGED)):
        parser.error(f"{unknown[0]}: no file that is judged: {', '.join(JUDGED)}")
    everything = [mutant for file in asked.files or JUDGED for mutant in mutants_of(file)]
    drawn = random.Random(asked.seed).sample(everything, min(asked.count, len(everything)))
    print(f"{len(drawn)} of {len(everything)} mutants, seed {asked.seed}", flush=True)
    if asked.list:
        for mutant in drawn:
            print(f"{mutant.file} {mutant.operator} {mutant.occurrence}")
            print(mutant.change((HERE / mutant.file).read_text()))
        return 0
    shares = [sorted(drawn[k :: asked.jobs], key=lambda mutant: mutant.file) for k in range(asked.jobs)]
    with ThreadPoolExecutor(asked.jobs) as pool:
        living = [mutant for some in pool.map(lambda share: work(share, asked.python), shares) for mutant in some]
    killed = len(drawn) - len(living)
    print(f"{killed} of {len(drawn)} mutants killed, {100 * killed / len(drawn):.1f} %")
    return 0 if killed >= ENOUGH * len(drawn) else 1


if __name__ == "__main__":
    sys.exit(main())
