"""Bugs planted on purpose, and how many seeds `credline soak cred` takes to find each: whether the soak can fail.

    .venv/bin/python -m benchmarks.planted [--seeds 2000] [--hard] [--jobs 2] [--list] [NAME ...]

Each bug replaces a few lines of the program, as somebody might write them on a bad day. A seed counts only when the
program without the bug keeps all rules with it. Exit status 1 when a bug is not found.
tests/protocols/cred/soak/test_planted.py runs some of them, each with a seed that is known to find it.
"""

import argparse
import sys
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass

from benchmarks.plantedbugs.registry import PLANTED, planted
from engine.commands.soakruns import command
from engine.run.registry import experiment_type
from engine.testing import soak
from engine.testing.soak import Verdict, draw, minimised, quiet, try_case

HANG_S = 5
"""What a run may take on the wall here, where bugs that never end are meant."""


@dataclass(frozen=True, slots=True)
class Found:
    """How a bug was found: the verdict of the seed that found it, and the simplest case of it."""

    tried: int
    took_s: float
    verdict: Verdict | None = None
    simplest: Verdict | None = None


def hunt(name: str, first: int, seeds: int, hard: bool = False, tries: int = 60) -> Found:
    """Try seed after seed with a bug until a rule breaks that holds without it; for a process of its own."""
    quiet()
    soak.HANG_S = HANG_S
    kind = experiment_type("cred")
    began = time.perf_counter()
    for seed in range(first, first + seeds):
        case = draw(kind, seed, hard=hard)
        with planted(name):
            verdict = try_case(kind, case)
        if verdict.broken and not try_case(kind, case).broken:
            took_s = time.perf_counter() - began
            with planted(name):
                hangs = any("hangs" in line for line in verdict.broken)
                return Found(seed - first + 1, took_s, verdict, verdict if hangs else minimised(kind, case, tries))
    return Found(seeds, time.perf_counter() - began)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="bugs; all without any")
    parser.add_argument("--seeds", type=int, default=2000, help="how many to try at most for each")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--hard", action="store_true", help="draw the second way, as credline soak --hard")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    parser.add_argument("--list", action="store_true", help="the names of the bugs")
    asked = parser.parse_args()
    if unknown := sorted(set(asked.names) - set(PLANTED)):
        parser.error(f"no bug of the name {unknown[0]!r}; see --list")
    if asked.list:
        print("\n".join(PLANTED))
        return 0
    names = asked.names or list(PLANTED)
    missed = 0
    with ProcessPoolExecutor(asked.jobs, max_tasks_per_child=1) as pool:
        under_way = {pool.submit(hunt, name, asked.first, asked.seeds, asked.hard): name for name in names}
        for future in as_completed(under_way):
            name, found = under_way[future], future.result()
            if found.verdict is None or found.simplest is None:
                missed += 1
                print(f"{name}: NOT FOUND in {found.tried} seeds ({found.took_s:.0f} s)", flush=True)
                continue
            print(f"{name}: {found.tried} seeds ({found.took_s:.1f} s)", flush=True)
            for line in found.verdict.broken[:3]:
                print(f"    {line[:200]}")
            case = found.simplest.case
            print(f"    {command('cred', case, draw(experiment_type('cred'), case.seed))}", flush=True)
    print(f"{len(names) - missed} of {len(names)} planted bugs found")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
