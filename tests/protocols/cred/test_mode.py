"""A rotation is for diffraction: the mode is read before the run, and once more when it has ended and is safe."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from drivers.contract import Microscope
from drivers.parts import OpticalMode
from engine.clock.virtual import VirtualClock
from engine.errors import DeviceError, Refused
from engine.replay.replay import first_divergence, load_run, replay
from engine.replay.whatif import Question, ask
from engine.run.perform import Report, Request, execute
from engine.run.recovery import recover_run
from protocols.cred import CRED
from protocols.cred.optics import NOT_READ, changed_since, looked_at
from protocols.cred.plan import CredPlan
from tests.engine.virtually import virtual
from tests.protocols.cred.conftest import Perform

SHORT: dict[str, Any] = {"range_deg": 3.0, "snapshot_interval": 0, "relax_cycles": 0, "formats": ()}


def befallen(folder: Path, *faults: str) -> Report:
    """A short run with these faults."""
    plan = CredPlan.model_validate(SHORT)
    return execute(Request(CRED, plan, folder, "simulated-timing", virtual=True, draw=False, faults=faults))


@pytest.mark.parametrize("mode", ["imaging", "low-mag"])
def test_outside_diffraction_a_run_is_refused_and_nothing_is_made(perform: Perform, tmp_path: Path, mode: str) -> None:
    with pytest.raises(Refused, match=f"in {mode} mode.*nothing was started. Go to diffraction"):
        perform({"mode": {"mode": mode}}, **SHORT)
    assert not list(tmp_path.glob("runs/*"))


def test_what_was_read_stands_in_the_header_and_is_no_call_of_the_run(perform: Perform) -> None:
    run = perform(**SHORT)
    assert run.trace[0]["look"] == {"mode": "diffraction"}
    assert not [record for record in run.of("call") if record["name"].startswith("mode.")]
    assert "warnings" not in run.document


@pytest.mark.parametrize("when", ["relax+0", "expose+1", "finalize+0"])
def test_a_mode_that_was_changed_meanwhile_is_said_at_the_end(tmp_path: Path, when: str) -> None:
    report = befallen(tmp_path, f"mode.changed {when} imaging")
    assert report.document["status"] == "done"
    (warning,) = report.document["warnings"]
    assert warning.startswith("the microscope was in diffraction mode before the run and is in imaging mode at its end")
    records = load_run(report.folder)
    assert first_divergence(records, replay(records)) is None
    assert ask(records, Question(latencies={"api_latency": "80ms"}))["frames"] > 5


def test_one_that_was_set_back_is_not(tmp_path: Path) -> None:
    report = befallen(tmp_path, "mode.changed expose+1 imaging", "mode.changed expose+2 diffraction")
    assert "warnings" not in report.document


def test_a_mode_that_cannot_be_read_at_the_end_is_said(tmp_path: Path) -> None:
    report = befallen(tmp_path, "mode.mode 1 error")
    assert report.document["status"] == "done"
    (warning,) = report.document["warnings"]
    assert warning.startswith("what was looked at before the run could not be looked at again (mode.mode: the mode ans")


def test_one_that_is_not_answered_holds_the_end_up_for_a_moment_only(tmp_path: Path) -> None:
    report = befallen(tmp_path, "mode.mode 1 hang")
    assert report.document["status"] == "done"
    assert report.document["warnings"] == [
        "what was looked at before the run could not be looked at again (no answer)."
    ]


def test_a_recovery_says_it_again(tmp_path: Path) -> None:
    report = befallen(tmp_path, "mode.changed expose+1 low-mag")
    (report.folder / "run.json").unlink()
    told = list(recover_run(report.folder))
    assert json.loads((report.folder / "run.json").read_text())["warnings"] == report.document["warnings"]
    assert any("is in low-mag mode at its end" in line for line in told)


def microscope(answer: OpticalMode | Exception | None) -> Microscope:
    """One whose mode is read as this; None for one that has no such part."""

    async def mode() -> OpticalMode:
        if isinstance(answer, OpticalMode):
            return answer
        raise answer or AssertionError

    return cast(Microscope, SimpleNamespace(mode=None if answer is None else SimpleNamespace(mode=mode)))


@virtual
async def test_an_instrument_that_tells_no_mode_is_not_asked(clock: VirtualClock) -> None:
    assert await looked_at(microscope(None)) == {}
    assert await changed_since({"mode": "diffraction"}, microscope(None)) == ""


@virtual
async def test_one_whose_mode_cannot_be_read_is_driven_all_the_same_and_the_trace_says_so(clock: VirtualClock) -> None:
    silent = microscope(DeviceError("mode: SAMAG is not named in the devices file."))
    before = await looked_at(silent)
    assert before == {NOT_READ: "mode: SAMAG is not named in the devices file."}
    assert await changed_since(before, silent) == ""
