"""How often a session's judgement is right: phases by cells, phases by single patterns.

    python benchmarks/sessionjudging.py [--seed 1]

Figures of docs/session-results.md. Two minutes on one processor.
"""

import argparse
from collections import Counter

import numpy as np

from protocols.session.judging.mixture import GAIN, second_brings
from protocols.session.judging.phases import phases_of
from protocols.session.judging.worth import Collected
from tests.protocols.session.judging.nights import CHABAZITE, FERRIERITE, MORDENITE, night
from tests.protocols.session.judging.stills import reached, seen, zeolite

NIGHTS, PATTERNS = 300, 80


def one_phase_alone(seed: int) -> None:
    """What a second phase would bring where there is none: it must not reach GAIN."""
    rng = np.random.default_rng(seed)
    for count in (2, 5, 20, 40, 80):
        covariance = np.tile(np.eye(6), (count, 1, 1))
        gain = [second_brings(rng.normal(size=(count, 6)), covariance) for _ in range(NIGHTS)]
        told = np.percentile(gain, [50, 95, 99]).round(1).tolist()
        print(f"{count} cells of one phase: median, 95th, 99th percentile {told}; above {GAIN:g}: "
              f"{np.mean(np.array(gain) > GAIN):.1%} of {NIGHTS}")  # fmt: skip


def three_phases(seed: int) -> None:
    """Two zeolites and a rare third, cells to 0.5 %."""
    right = 0
    for number in range(20):
        rng = np.random.default_rng([seed, number])
        sets, true = night(rng, (MORDENITE, 31), (CHABAZITE, 32), (FERRIERITE, 2))
        phases = phases_of(sets)
        pure = all(len({true[each.number - 1] for each in phase.data_sets}) == 1 for phase in phases)
        right += pure and len(phases) == 3
    print(f"31 mordenites, 32 chabazites, 2 ferrierites: {right} of 20 nights without an error")


def patterns(seed: int) -> None:
    """Stills of 15 to 60 spots against one known cell, its own and another one's."""
    for known, cell in (("mordenite", MORDENITE), ("chabazite", CHABAZITE)):
        collected = Collected(reached([cell]))
        for name in ("mordenite", "chabazite"):
            for false in (0.0, 0.2):
                told: Counter[str] = Counter()
                for number in range(PATTERNS):
                    crystal = zeolite(name, 10_000 * seed + number)
                    found = collected.told(seen(crystal, np.random.default_rng([seed, number]), false))
                    told["new" if found.new else "not told" if found.reach is None else "known"] += 1
                print(f"known {known}, {PATTERNS} patterns of {name}, false spots {false:.0%}: {dict(told)}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    seed = parser.parse_args().seed
    one_phase_alone(seed)
    three_phases(seed)
    patterns(seed)
