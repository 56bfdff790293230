"""From a simulated grid to the cell of one of its crystals: serial run, recall, height and rotation, one after another
on one instrument, that of `examples/session.toml`.
"""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from drivers.facts import Facts
from drivers.simulated.gridtruth import grid_of
from drivers.simulated.settings import InstrumentSettings
from engine.clock.virtual import VirtualClock, VirtualLoop
from engine.record.trace import read_trace
from engine.run.conduct import Outcome
from engine.run.contract import ExperimentType
from engine.run.instrument import Instrument
from engine.run.planbasis import declared_basis
from engine.run.run import Run
from protocols.calibrate.height.kind import HEIGHT
from protocols.calibrate.height.plan import HeightPlan
from protocols.cred import CRED
from protocols.cred.plan import CredPlan
from protocols.serialed.experiment import SERIALED
from protocols.serialed.plan import SerialedPlan
from protocols.serialed.recall.experiment import RECALL
from protocols.serialed.recall.plan import RecallPlan
from protocols.serialed.recall.recalledtable import plan_for
from protocols.serialed.results.csvfiles import read_crystals
from tests.protocols.serialed.runs import toml

EXAMPLE = Path(__file__).parents[4] / "examples" / "session.toml"
ROTATION: dict[str, Any] = {
    "rotation": "commanded",
    "tracking": "correct",
    "track_by": "beam shift",
    "truth": True,
    "formats": (),
    "relax_cycles": 1,
}
CELLS = {0: ("oC", (18.11, 20.53, 7.528)), 1: ("hR", (13.675, 13.675, 14.767))}


def performed(devices: Path, out: Path, seed: int, *asked: tuple[ExperimentType[Any], Any]) -> list[Outcome]:
    """Runs one after the other on one instrument; a plan may be a function of the outcomes before it."""

    def watch(run: Run, _: object) -> None:
        run.compute.inline = True

    async def all_of_them() -> list[Outcome]:
        made: list[Outcome] = []
        clock = VirtualClock(asyncio.get_running_loop())  # type: ignore[arg-type]
        async with Instrument.open(str(devices), clock, seed, watchdog=False, signals=False, watch=watch) as instrument:
            for kind, plan in asked:
                made.append(await instrument.perform(kind, plan(made) if callable(plan) else plan, out=out))
        return made

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(all_of_them())


def apart(settings: Mapping[str, Any], phase: int) -> tuple[float, float, float]:
    """x and y of the stage with a crystal of this phase in the middle that has no other near, and its length."""
    grid = InstrumentSettings.read("simulated", True, settings).source.grid
    assert grid is not None
    crystals = grid_of(grid).crystals_in(np.full(2, -14_000.0), np.full(2, 14_000.0))
    places = np.stack([crystals.x_nm, crystals.y_nm], axis=1)
    nearest = np.sort(np.hypot(*(places[:, None] - places[None]).T), axis=0)[1]
    nearest[crystals.phase != phase] = 0.0
    one = int(np.argmax(nearest))
    return -float(places[one, 0]), -float(places[one, 1]), float(crystals.length_nm[one])


def test_all_that_a_session_performs_fits_the_example() -> None:
    facts = declared_basis(str(EXAMPLE), {}).facts
    assert isinstance(facts, Facts)
    SERIALED.prepare(SerialedPlan(), facts)
    RECALL.prepare(RecallPlan(x_nm=0.0, y_nm=0.0, correct="stage and beam"), facts)
    HEIGHT.prepare(HeightPlan(), facts)
    CRED.prepare(CredPlan(live=True, prescan_images=4, crystal_lost="search", **ROTATION), facts)


SMALL: dict[str, Any] = {
    "driver": "simulated",
    "pictures": {"rendered": "snapshots", "disc_radius_px": 22.0},
    "grid": {
        **{"seed": 4, "film": "continuous", "torn": 0.0, "amorphous": 0.0, "crystals_um2": 0.05, "clustering": 0.0},
        **{"second_phase": "chabazite", "second_share": 0.5, "probe_nm": 1000.0},
    },
    "motion": {"height_nm": 600.0, "runout_nm": [60.0, 60.0]},
}


@pytest.fixture(scope="module")
def turned(tmp_path_factory: pytest.TempPathFactory) -> list[list[Outcome]]:
    """A crystal recalled and turned a little, on small pictures; twice."""
    made = []
    for _ in range(2):
        out = tmp_path_factory.mktemp("turned")
        (out / "devices.toml").write_text(toml({"microscope": SMALL}), encoding="utf-8")
        x_nm, y_nm, length_nm = apart({key: value for key, value in SMALL.items() if key != "driver"}, 1)
        told: dict[str, Any] = {"x_nm": x_nm, "y_nm": y_nm, "length_nm": length_nm, "sure": 0.5}
        recall = RecallPlan(correct="stage and beam", within_nm=500.0, stage_tries=6, **told)
        rotation = CredPlan(start_deg=-5.0, range_deg=10.0, **ROTATION)
        made.append(performed(out / "devices.toml", out / "runs", 3, (RECALL, recall), (CRED, rotation)))
    return made


def test_the_stage_comes_near_and_the_beam_does_the_rest(turned: list[list[Outcome]]) -> None:
    (recall, _), _ = turned
    assert recall.document["status"] == "done", recall.document["reason"]
    assert recall.document["result"]["away_nm"] <= 500.0
    assert recall.document["reason"].endswith("the beam shift is on it")


def test_the_crystal_that_was_recalled_turns_and_is_held(turned: list[list[Outcome]]) -> None:
    (_, rotation), _ = turned
    assert rotation.document["status"] == "done", rotation.document["reason"]
    tracking = rotation.document["result"]["tracking"]
    assert tracking["snapshots_found"] >= 4
    with h5py.File(rotation.folder / "truth.h5") as file:
        assert file.attrs["phase"] == 1
        assert np.median(np.hypot(*file["frame_crystal_nm"][()].T)) < 200.0
        assert file["frame_crystal_share"][()].min() > 0.6
        assert len(file["frame_crystal_nm"]) == rotation.document["result"]["frames"]


def test_the_same_seed_gives_the_same_bytes(turned: list[list[Outcome]]) -> None:
    first, again = turned
    for one, other in zip(first, again, strict=True):
        for name in ("trace.jsonl", "frames.h5"):
            assert (one.folder / name).read_bytes() == (other.folder / name).read_bytes()


@pytest.mark.long
@pytest.mark.parametrize("seed", [21, 22])
def test_from_the_grid_to_the_cell(tmp_path: Path, seed: int) -> None:
    """On the example itself, with other crystals and other chances: the cell that live tells is that of the truth."""
    devices = tmp_path / "session.toml"
    devices.write_text(EXAMPLE.read_text(encoding="utf-8").replace("seed = 1\n", f"seed = {seed}\n", 1), "utf-8")
    phase = seed % 2

    def recall(made: list[Outcome]) -> RecallPlan:
        """The crystal of the phase that scores best among those that lie apart."""
        folder = made[0].folder
        with h5py.File(folder / "grid_truth.h5") as file:
            known = {name: file[f"crystals/{name}"][()] for name in ("x_nm", "y_nm", "phase")}
        rows = []
        for row in read_crystals(folder / "crystals.csv"):
            away = np.hypot(known["x_nm"] + row.x_nm, known["y_nm"] + row.y_nm)
            if known["phase"][np.argmin(away)] == phase and row.neighbour_nm > 1200.0 and row.score_good is not None:
                rows.append(row)
        best = max(rows, key=lambda row: row.score_good or 0.0)
        return plan_for(folder / "crystals.csv", best.number, ["correct=stage and beam", "stage_tries=6", "sure=0.5"])

    rotation = CredPlan(start_deg=-20.0, range_deg=40.0, live=True, prescan_images=4, **ROTATION)
    region = SerialedPlan(width_um=39.0, height_um=39.0, formats=())
    made = performed(
        devices, tmp_path, seed, (SERIALED, region), (RECALL, recall), (HEIGHT, HeightPlan()), (CRED, rotation)
    )
    assert [each.document["status"] for each in made] == ["done"] * 4, [each.document["reason"] for each in made]
    with h5py.File(made[3].folder / "truth.h5") as file:
        assert file.attrs["phase"] == phase
    asked = [r for r in read_trace(made[3].folder) if r["kind"] == "computation" and r["name"] == "live"]
    looks = [r["result"] for r in asked if r["verdict"] != "given up"]  # as the last one, when the range is covered
    (lattice, cell_A), found = CELLS[phase], looks[-1]
    assert found["determined"], found["reasons"]
    assert found["bravais"] == lattice
    assert found["cell"][:3] == pytest.approx(cell_A, rel=0.01)
    assert found["lattices"] == 1
