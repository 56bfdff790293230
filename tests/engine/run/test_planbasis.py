"""What a plan is prepared from: what drivers declare, what the instrument tells, and drivers that declare nothing."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from typer.testing import CliRunner

from drivers.contract import Parts
from drivers.declared import Declared
from drivers.simulated.microscope import SIMULATED_TIMING
from engine.clock import Clock
from engine.clock.virtual import VirtualClock
from engine.commands.main import app
from engine.errors import Refused
from engine.record.lock import instruments_locked
from engine.run.planbasis import declared_basis, told_basis
from tests.engine.virtually import virtual

ADDRESS = "our camera of test_planbasis"


class Silent:
    """A driver from outside that declares nothing: a whole instrument, and a name for the lock."""

    def address(self, options: object) -> str:
        return ADDRESS

    @asynccontextmanager
    async def connect(self, clock: Clock, seed: int, options: dict[str, Any]) -> AsyncIterator[Parts]:
        async with SIMULATED_TIMING.connect(clock, seed, options) as parts:
            yield parts


class Boasting(Silent):
    """One whose camera is slower than it declares."""

    def facts(self, options: dict[str, Any]) -> Declared:
        declared = SIMULATED_TIMING.facts(options)
        assert declared.detector is not None
        return replace(declared, detector=replace(declared.detector, readout_s=0.001))


class Point:
    def __init__(self, entry: object) -> None:
        self._entry = entry

    def load(self) -> object:
        return self._entry


@pytest.fixture(autouse=True)
def _registered(monkeypatch: pytest.MonkeyPatch) -> None:
    drivers = {"silent": Point(Silent()), "boasting": Point(Boasting()), "simulated-timing": Point(SIMULATED_TIMING)}
    monkeypatch.setattr("engine.run.devicesfile.registered", lambda _: drivers)


@virtual
async def test_a_simulation_declares_all_that_it_tells(clock: VirtualClock) -> None:
    options = {"start_deg": 3.0, "crystal": {"orientation_seed": 4}}
    declared = declared_basis("simulated-timing", options)
    told = await told_basis("simulated-timing", clock, options)
    assert declared.facts == told.facts
    assert declared.rows == told.rows
    assert (told.unknown, told.differences, told.undeclared) == ({}, (), ())


def test_a_driver_that_declares_nothing_is_refused_with_the_way_to_ask_it() -> None:
    with pytest.raises(
        Refused,
        match=r"^--devices silent: the driver of \[microscope\] does not declare .* asked\. .* plan --connected",
    ) as refused:
        declared_basis("silent", {})
    assert "\n" not in str(refused.value)


@virtual
async def test_connected_it_is_prepared_from_what_it_tells(clock: VirtualClock) -> None:
    told = await told_basis("silent", clock, {})
    assert told.facts == (await told_basis("simulated-timing", clock, {})).facts
    assert told.rows == ()
    assert told.undeclared == ["of [microscope]"]


@virtual
async def test_the_instrument_is_locked_while_it_is_asked_and_not_when_it_is_not(clock: VirtualClock) -> None:
    with instruments_locked([ADDRESS]):  # by this program, which stands for another one
        declared_basis("boasting", {})
        with pytest.raises(Refused, match=f"{ADDRESS} is in use"):
            await told_basis("boasting", clock, {})
    await told_basis("boasting", clock, {})


@pytest.mark.realtime
def test_the_command_says_where_the_instrument_tells_otherwise() -> None:
    def said(*words: str) -> str:
        done = CliRunner().invoke(app, ["plan", "cred", "--devices", *words], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return done.output

    assert "acquisition period         505.0 ms" in said("boasting")
    told = said("boasting", "--connected")
    assert "acquisition period         512.0 ms" in told
    assert "- The instrument tells otherwise than its driver declares: detector.readout_s: told 0.008" in told
    assert "told by the instrument: the driver of [microscope] declares none" in said("silent", "--connected")
