"""The simulated specimen: set before each run, with a crystal of its own for each child of a session."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import pytest

from drivers.contract import Microscope
from drivers.simulated.microscope import SIMULATED_TIMING, SimulatedTruth
from engine.clock.virtual import VirtualClock
from engine.errors import Refused
from engine.run.contract import Prepared
from engine.run.instrument import Instrument
from engine.run.run import Run
from protocols.cred import CRED
from protocols.cred.plan import CredPlan
from tests.engine.run.toy_session import SHORT_CRED, TOY, ToyPlan
from tests.engine.virtually import virtual


def orientation(microscope: Microscope) -> list[float]:
    assert microscope.truth is not None
    return list(microscope.truth.specimen.source.load().orientation.ravel())  # type: ignore[attr-defined]


def told(**more: Any) -> Mapping[str, object]:
    return {"start_deg": -3.0, "beam_on": True, "crystal": {"cif": None, "orientation_seed": 5}, **more}


@virtual
async def test_a_run_finds_stage_beam_and_crystal_as_its_plan_says(clock: VirtualClock) -> None:
    async with SIMULATED_TIMING.connect(clock, 1, {}) as parts:
        microscope = parts.assembled()
        (specimen,) = microscope.specimens
        assert microscope.truth is not None
        before = orientation(microscope)
        specimen.set(told())
        assert microscope.truth.angle_deg(clock.now_ns()) == -3.0
        assert not microscope.truth.is_blanked()
        assert orientation(microscope) != before
    async with SIMULATED_TIMING.connect(clock, 1, {"crystal": {"orientation_seed": 5}}) as again:
        assert orientation(microscope) == orientation(again.assembled())


@virtual
async def test_each_child_has_a_crystal_of_its_own_and_stage_and_beam_as_its_parent_left_them(
    clock: VirtualClock,
) -> None:
    seen: list[list[list[float]]] = []
    for _ in range(2):
        async with SIMULATED_TIMING.connect(clock, 1, {}) as parts:
            microscope = parts.assembled()
            (specimen,) = microscope.specimens
            specimen.set(told())
            seen.append([orientation(microscope)])
            for child in ([1], [2], [1, 1]):
                specimen.set(told(start_deg=40.0, beam_on=False), child)
                seen[-1].append(orientation(microscope))
            assert microscope.truth is not None
            assert microscope.truth.angle_deg(clock.now_ns()) == -3.0
            assert not microscope.truth.is_blanked()
    assert seen[0] == seen[1]
    assert len({tuple(each) for each in seen[0]}) == 4


@virtual
async def test_what_the_devices_file_says_holds_in_any_case(clock: VirtualClock) -> None:
    options = {"start_deg": 7.0, "beam_on": False, "crystal": {"orientation_seed": 9}}
    async with SIMULATED_TIMING.connect(clock, 1, options) as parts:
        microscope = parts.assembled()
        before = orientation(microscope)
        for child in ((), (1,)):
            microscope.specimens[0].set(told(), child)
        assert orientation(microscope) == before
        assert microscope.truth is not None
        assert microscope.truth.angle_deg(0) == 7.0
        assert microscope.truth.is_blanked()


@virtual
async def test_an_instrument_that_outlives_its_program_keeps_its_blanker(clock: VirtualClock, tmp_path: Path) -> None:
    options = {"register": str(tmp_path / "register")}
    for finds_it_on in (True, False):  # made anew as the plan says; then as it was left
        async with SIMULATED_TIMING.connect(clock, 1, options) as parts:
            parts.assembled().specimens[0].set(told())
            assert parts.beam is not None
            assert await parts.beam.is_blanked() is not finds_it_on
            await parts.beam.blank()


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"holder": 3}, "a plan may say start_deg, beam_on, crystal, grid, hidden, spread of a simulation, not 'holder'"),
        ({"crystal": {"cif": Path("nowhere.cif")}}, "nowhere.cif: no such file"),
        ({"start_deg": "left"}, "start_deg = 'left' is not a number"),
    ],
)
@virtual
async def test_what_cannot_be_is_refused_and_changes_nothing(
    clock: VirtualClock, wrong: dict[str, Any], words: str
) -> None:
    async with SIMULATED_TIMING.connect(clock, 1, {}) as parts:
        microscope = parts.assembled()
        before = orientation(microscope)
        with pytest.raises(Refused, match=words):
            microscope.specimens[0].set(told(**wrong))
        assert orientation(microscope) == before
        assert microscope.truth is not None
        assert microscope.truth.angle_deg(0) == 0.0


@virtual
async def test_two_runs_on_one_instrument_see_the_crystals_of_their_plans(clock: VirtualClock, tmp_path: Path) -> None:
    seen = []
    async with Instrument.open("simulated-timing", clock, signals=False) as instrument:
        for seed in (3, 4, 3):
            keys = {**SHORT_CRED.model_dump(), "crystal": {"orientation_seed": seed}, "truth": True}
            outcome = await instrument.perform(CRED, CredPlan.model_validate(keys), out=tmp_path)
            with h5py.File(outcome.folder / "truth.h5") as file:
                seen.append(file["orientation"][...].tolist())
    assert seen[0] == seen[2] != seen[1]


@virtual
async def test_each_cred_child_of_a_session_has_another_crystal(clock: VirtualClock, tmp_path: Path) -> None:
    seeds: list[int] = []

    def watch(run: Run, _: Prepared) -> None:
        assert isinstance(instrument.microscope, Microscope)
        assert isinstance(instrument.microscope.truth, SimulatedTruth)
        seeds.append(instrument.microscope.truth.specimen.source.orientation_seed)

    async with Instrument.open("simulated-timing", clock, signals=False, watch=watch) as instrument:
        await instrument.perform(TOY, ToyPlan(children=4, cred=True), out=tmp_path)
    assert len(seeds) == 5
    assert len(set(seeds)) == 5
