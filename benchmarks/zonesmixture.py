"""Mixtures parted by their zones: right, wrong or not determined, seed by seed, and what of single phases.

    python benchmarks/zonesmixture.py [--seeds 1001 1002 ...] [--only NAME ...] [--members] [--alone] [--json FILE]

Every seed draws new triclinic cells of 300 to 700 A^3 (axes up to 1:1.5, 1:3 or 1:6), patterns of plates of 10 to 50 nm
in any orientation, draws them as pictures of 254 pixels and shuffles them; spots are found in the pictures, zones
sorted out by geometry, and cells searched with no word of how many there are. Right: lengths within 1 %, angles within
1 deg of some basis of the lattice. Wrong: a cell called determined that is none of those that went in; so is a single
phase that comes out as two.

Times are of a core that may be doing other things.
"""

import argparse
import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from protocols.zones.mixtureevaluation import MixtureCase, mixture_summary, try_mixture  # noqa: E402

CASES = {
    "mixture": MixtureCase(),
    "single": MixtureCase(shares=(1.0,)),
    "one in ten": MixtureCase(shares=(1.0, 0.111)),
    "positions 0.001 1/A": MixtureCase(position_per_A=0.001),
    "a fifth with two crystals": MixtureCase(several=0.2),
    "few: 300 patterns": MixtureCase(patterns=150),
    "very few: 100 patterns": MixtureCase(patterns=50),
    "three phases": MixtureCase(patterns=1000, shares=(1.0, 1.0, 1.0)),
}


def main() -> None:
    """Run the cases asked for and print a line a seed and one a case."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(1001, 1011)))
    parser.add_argument("--only", nargs="+", default=["mixture", "single"], choices=sorted(CASES))
    parser.add_argument("--members", action="store_true", help="also ask every pattern which cell it fits")
    parser.add_argument("--alone", action="store_true", help="also search the zones of each phase by themselves")
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    summaries = {}
    for name in asked.only:
        outcomes = []
        for seed in asked.seeds:
            one = try_mixture(seed, CASES[name], asked.members, asked.alone)
            outcomes.append(one)
            volumes = ", ".join(f"{cell.volume_A3:.0f}" for cell in one.cells)
            words = f"{name}  seed {seed}  V {volumes}  zones {one.zones}  {', '.join(one.verdicts)}  wrong {one.wrong}"
            own, other, none = one.members_right()
            words += f"  members {own} right, {other} in another, {none} in none" if asked.members else ""
            if one.alone:
                words += f"  alone {one.alone_right} of {len(one.alone)} right, {one.alone_wrong} wrong"
            print(f"{words}  {one.seconds:.0f} s (search {one.search_s:.1f})  {one.parted.doubt}", flush=True)
        summaries[name] = mixture_summary(outcomes)
        print(name, json.dumps(summaries[name]), flush=True)
    if asked.json:
        asked.json.write_text(json.dumps(summaries, indent=1) + "\n")


if __name__ == "__main__":
    main()
