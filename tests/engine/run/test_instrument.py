"""What an opened instrument does beside its runs: the timing test again, and parts connected anew."""

import asyncio
from importlib.util import find_spec
from pathlib import Path
from threading import Event
from typing import Any

import pytest

import engine.replay.replay as replaying
import engine.run.conduct as conducting
import engine.run.instrument as opened
from drivers.contract import Microscope
from engine.clock import Clock, RealClock
from engine.clock.selftest import TimingHealth
from engine.clock.virtual import VirtualClock
from engine.errors import DeviceBusy, DeviceError, Refused
from engine.record.endings import Status
from engine.record.trace import read_trace
from engine.replay.replay import first_divergence, load_run, replay
from engine.run.contract import Prepared
from engine.run.instrument import Instrument
from engine.run.registry import experiment_type, registered
from protocols.cred import CRED
from tests.engine.run.toy_session import SHORT_CRED, TOY, PreparedToy, ToyPlan
from tests.engine.virtually import really, virtual


@pytest.mark.realtime
@pytest.mark.parametrize(
    ("good_for_s", "beam_on", "tests"), [(600.0, False, 1), (0.0, False, 2), (0.0, True, 1)],
    ids=["young", "old", "old, with the beam on"],
)  # fmt: skip
@really
async def test_the_timing_test_is_repeated_when_it_is_old_and_the_beam_is_off(
    clock: RealClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, good_for_s: float, beam_on: bool, tests: int
) -> None:
    asked: list[Clock] = []

    async def measure(clock: Clock) -> TimingHealth:
        asked.append(clock)
        return TimingHealth(0.0, 0.0, 0.0)

    monkeypatch.setattr(opened, "TIMING_GOOD_FOR_S", good_for_s)
    monkeypatch.setattr(opened, "measure_timing", measure)
    async with Instrument.open("simulated-timing", clock, signals=False) as instrument:
        for _ in range(2):
            await instrument.perform(TOY, ToyPlan(light_s=0.05), out=tmp_path)
            if beam_on:
                assert isinstance(instrument.microscope, Microscope)
                await instrument.microscope.beam.unblank()
    assert len(asked) == tests


@pytest.mark.realtime
@really
async def test_the_event_loop_goes_on_while_the_modules_of_a_run_are_imported(
    clock: RealClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop, turned, imported = asyncio.get_running_loop(), Event(), []

    def importing(module: str) -> None:
        loop.call_soon_threadsafe(turned.set)
        assert turned.wait(60)
        imported.append(module)

    monkeypatch.setattr(conducting, "import_module", importing)
    monkeypatch.setattr(PreparedToy, "modules", ("toys.large",))
    async with Instrument.open("simulated-timing", clock, signals=False) as instrument:
        await instrument.perform(TOY, ToyPlan(light_s=0.05), out=tmp_path)
    assert imported == ["toys.large"]


def test_the_modules_that_runs_import_are_there() -> None:
    for name in registered("protocols"):
        experiment_type(name)
    named = {module for kind in Prepared.__subclasses__() for module in kind.modules}
    assert named > {"protocols.serialed.sequence", "protocols.session.sequence"}
    assert [module for module in named if find_spec(module) is None] == []


# --- connected anew


def two_drivers(folder: Path) -> str:
    """The devices file of an instrument whose camera has a driver of its own."""
    path = folder / "devices.toml"
    path.write_text("[microscope]\ndriver = 'simulated-timing'\n[detector]\ndriver = 'simulated-timing'\n")
    return str(path)


def calls(folder: Path, name: str) -> list[dict[str, Any]]:
    return [record for record in read_trace(folder) if record["kind"] == "call" and record["name"] == name]


def replays(folder: Path) -> bool:
    records = load_run(folder)
    return first_divergence(records, replay(records)) is None


@virtual
async def test_a_camera_that_was_lost_is_connected_anew_between_two_runs(clock: VirtualClock, tmp_path: Path) -> None:
    async with Instrument.open(
        two_drivers(tmp_path), clock, faults=["detector.start 2 lost 20"], signals=False
    ) as instrument:
        lost = await instrument.perform(CRED, SHORT_CRED, out=tmp_path)
        assert lost.ending.status is Status.FAILED
        assert lost.alarms[0].startswith("the detector may still be armed")
        assert isinstance(instrument.microscope, Microscope)
        beam, camera = instrument.microscope.beam, instrument.microscope.detector
        await clock.sleep_s(30)
        await instrument.reconnect("detector")
        assert instrument.microscope.detector is not camera
        assert (await instrument.perform(CRED, SHORT_CRED, out=tmp_path)).ending.status is Status.DONE
        assert await beam.is_blanked()  # the other driver was not touched


@virtual
async def test_what_cannot_be_connected_anew_leaves_the_instrument_as_it_was(
    clock: VirtualClock, tmp_path: Path
) -> None:
    async with Instrument.open(
        two_drivers(tmp_path), clock, faults=["detector.start 2 lost 60"], signals=False
    ) as instrument:
        await instrument.perform(CRED, SHORT_CRED, out=tmp_path)
        before = instrument.microscope
        with pytest.raises(DeviceError, match=r"could not be connected anew \(.*\); the instrument is as it was"):
            await instrument.reconnect("detector")
        assert instrument.microscope is before
        with pytest.raises(Refused, match="this instrument has none"):
            await instrument.reconnect("laser")


@virtual
async def test_a_part_is_not_connected_anew_under_a_run(clock: VirtualClock, tmp_path: Path) -> None:
    async with Instrument.open("simulated-timing", clock, signals=False) as instrument:

        async def work() -> None:
            await clock.sleep_s(1)
            with pytest.raises(DeviceBusy, match="a run has the instrument; nothing was connected anew"):
                await instrument.reconnect("detector")

        trying = asyncio.ensure_future(work())
        await instrument.perform(TOY, ToyPlan(), out=tmp_path)
        await trying


SESSIONS = {
    # faults, the children's endings, how each attempt to connect the camera anew ended
    "it comes back": ("detector.start 2 lost 0.5", ["done", "failed", "done", "done"], [None]),
    "it does not": ("detector.start 2 lost 1000", ["done", "failed", "failed", "failed"], ["DeviceError"] * 3),
}


@pytest.mark.parametrize("case", SESSIONS)
@pytest.mark.parametrize("whole", [False, True], ids=["a driver of its own", "one driver"])
def test_a_parent_has_its_camera_connected_anew_between_its_children_and_replays(
    case: str, whole: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fault, endings, attempts = SESSIONS[case]
    monkeypatch.setattr(replaying, "experiment_type", lambda name: TOY if name == "toy" else experiment_type(name))
    devices = "simulated-timing" if whole else two_drivers(tmp_path)

    @virtual
    async def scenario(clock: VirtualClock) -> None:
        async with Instrument.open(devices, clock, faults=[fault], signals=False) as instrument:
            plan = ToyPlan(sample="day", children=4, cred=True, mend="detector", light_s=0.5)
            outcome = await instrument.perform(TOY, plan, out=tmp_path)
            assert outcome.document["result"]["children"] == endings
            assert isinstance(instrument.microscope, Microscope)
            assert instrument.microscope.truth is not None
            assert instrument.microscope.truth.is_blanked()
            # What could not be made safe then is not forgotten.
            assert any("2_mordenite: the detector may still be armed" in alarm for alarm in outcome.alarms)

    scenario()
    day = tmp_path / "day_001"
    tried = calls(day, "instrument.reconnect")
    assert [call.get("error") for call in tried] == attempts
    assert all(call["args"] == ["detector"] for call in tried)
    children = [path for path in day.iterdir() if path.is_dir()]
    assert all(replays(folder) for folder in (day, *children))
