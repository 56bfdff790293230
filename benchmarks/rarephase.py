"""Whether a rare third phase comes first: grids are screened as a session does it, two phases are known, and the
crystals that come next are held against the truth.

    python -m benchmarks.rarephase --seeds 41 43 45 [--um 80]

The grid of `examples/session.toml` with 3 % of a third phase (the cell of ferrierite). The screening is a whole serial
run with scores and spots; that a data set of mordenite and one of chabazite are there is made up. A minute a seed.
"""

import argparse
import json
import tomllib
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import tomlkit

from benchmarks.night import DEVICES, RARE
from drivers.simulated.crystalgrid import CrystalGrid
from drivers.simulated.settings import GEOMETRY, read_grid
from engine.record.jsonobject import JsonDict
from engine.run.computeworker import Earlier
from engine.run.perform import Request, execute
from protocols.serialed.experiment import SERIALED
from protocols.serialed.plan import SerialedPlan
from protocols.session.crystals import Crystal, crystals_in
from protocols.session.judged import MOST_TRIED, crystals_in_parts, data_set_in, judge
from protocols.session.night import NEW, Night
from protocols.session.plan import ChoosePlan, SessionPlan
from protocols.session.ranking import fit_crystals, ranked
from tests.protocols.session.judging.nights import CHABAZITE, LATTICES, MORDENITE, result_of

SAME_NM, RARE_PHASE = 700.0, 2
PLAN = SessionPlan(choose=ChoosePlan(isolated=False))


@dataclass(frozen=True)
class Taken(Earlier):
    """What was taken in, without a file."""

    data: bytes = b""

    def read(self) -> bytes:
        """See `Earlier.read`."""
        return self.data


def screened(seed: int, um: float, out: Path) -> tuple[list[Crystal], dict[int, int]]:
    """The crystals that a screening told, and the true phase of each that is one, by number."""
    devices = tomllib.loads(DEVICES.read_text(encoding="utf-8"))
    grid = devices["microscope"]["grid"]
    grid |= {"seed": seed, **RARE}
    file = out / f"{seed}.toml"
    file.write_text(tomlkit.dumps(devices), encoding="utf-8")
    plan = SerialedPlan(width_um=um, height_um=um, step_um=6.0, formats=(), tell_crystals=True)
    report = execute(Request(SERIALED, plan, out, str(file), virtual=True, seed=seed, draw=False))
    crystals = crystals_in(report.document["result"], 1, [])
    settings = read_grid({"grid": grid})
    assert settings is not None  # noqa: S101
    half = np.full(2, 600.0 * um)
    true = CrystalGrid(settings).crystals_in(-half, half)
    phases = {}
    for each in crystals:
        away = np.hypot(true.x_nm + each.x_nm, true.y_nm + each.y_nm)  # the stage stands at the opposite
        if len(away) and away.min() < SAME_NM:
            phases[each.number] = int(true.phase[np.argmin(away)])
    return crystals, phases


def known_phases() -> list[JsonDict]:
    """A data set of each of the two."""
    sigma = np.array([0.05, 0.05, 0.05, 0.1, 0.1, 0.1])
    cells = (MORDENITE, CHABAZITE)
    return [
        data_set_in(
            {
                "number": n,
                "crystal": n,
                "run_dir": f"{n}",
                "result": result_of(cell, cell.reciprocal_basis, sigma, LATTICES[cell], -50.0, 50.0),
            }
        )
        for n, cell in enumerate(cells, 1)
    ]


def judged(night: Night) -> None:
    """All crystals tried on both cells, as many at a time as a session does."""
    fit = fit_crystals(night, PLAN)
    told = [*known_phases(), *crystals_in_parts(fit)]
    earlier = [Taken(Path(), None, json.dumps(each).encode()) for each in told]  # type: ignore[arg-type]
    for k in range(0, len(fit), MOST_TRIED):
        arguments: JsonDict = {
            "d_min_A": 1.0,
            "completeness": 1.0,
            "geometry": {key: getattr(GEOMETRY, key) for key in GEOMETRY.__dataclass_fields__},
            "shape": [512, 512],
            "tilt_deg": [-50.0, 50.0],
            "crystals": [each.number for each in fit[k : k + MOST_TRIED]],
        }
        result = judge(arguments, lambda _: np.empty(0), earlier)
        night.take({"seq": k + 1, "t_ns": 0, "kind": "computation", "name": "judge", "result": result})


def main() -> None:
    """See the module's words."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[41])
    parser.add_argument("--um", type=float, default=80.0)
    asked = parser.parse_args()
    with TemporaryDirectory() as made:
        for seed in asked.seeds:
            night = Night()
            night.crystals, phases = screened(seed, asked.um, Path(made))
            judged(night)
            order = ranked(night, PLAN, night.known_worth, 6000.0, 0.0)
            places = [n for n, each in enumerate(order, 1) if phases.get(each.crystal.number) == RARE_PHASE]
            new = [each.crystal.number for each in order if night.known_worth.get(each.crystal.number, 0.0) >= NEW]
            right = sum(phases.get(number) == RARE_PHASE for number in new)
            print(
                f"grid {seed}: {len(night.crystals)} crystals, {len(order)} worth a run, {len(places)} of them rare; "
                f"{len(new)} fit neither cell, {right} of these are rare; rare ones come as number {places}",
                flush=True,
            )


if __name__ == "__main__":
    main()
