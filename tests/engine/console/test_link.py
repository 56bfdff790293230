"""The console finds the instrument process, asks it, and finds it again; over loopback, with controls of a toy."""

import asyncio
from contextlib import asynccontextmanager

import pytest

from engine.clock import RealClock
from engine.console.controls import Controls
from engine.console.instrumentprocess import CONNECTIONS_MOST, Door
from engine.console.link import InstrumentLink, answers
from engine.console.published import Published, publishing
from engine.errors import Refused

pytestmark = [pytest.mark.realtime, pytest.mark.asyncio]


@pytest.fixture(autouse=True)
def own_lock_folder(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))


class ToyControls(Controls):
    """Answers everything, slowly where it is asked to."""

    def __init__(self):
        self.watchers = 0
        self.asked = []

    async def answer(self, asked):
        self.asked.append(asked["ask"])
        if asked["ask"] == "slow":
            await asyncio.sleep(0.5)
        return {"ok": asked["ask"] != "bad", "error": "not that", "ask": asked["ask"], "watchers": self.watchers}


@asynccontextmanager
async def opened(secret="secret", told=None):
    """A door with its controls, published."""
    controls = ToyControls()
    door = Door(controls, secret, RealClock())
    server = await asyncio.start_server(door.enter, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    with publishing(Published(port, told or secret, 1, "simulated", "/runs")):
        yield controls, door, port
    server.close()
    await door.close()


async def test_it_is_asked_and_says_what_it_refuses():
    async with opened() as (controls, _, _):
        link = InstrumentLink("simulated", RealClock())
        assert (await link.ask({"ask": "status"}))["watchers"] == 1
        with pytest.raises(Refused, match="not that"):
            await link.ask({"ask": "bad"})
        assert controls.asked == ["status", "bad"]
        await link.close()
        for _ in range(100):
            await asyncio.sleep(0.01)
            if controls.watchers == 0:
                break
        assert controls.watchers == 0


async def test_the_red_button_waits_behind_nobody():
    async with opened() as (controls, _, _):
        link = InstrumentLink("simulated", RealClock())
        slow = asyncio.create_task(link.ask({"ask": "slow"}))
        while controls.asked != ["slow"]:  # noqa: ASYNC110 it has no event for that
            await asyncio.sleep(0.01)
        assert (await link.ask({"ask": "blank"}, urgent=True))["ask"] == "blank"
        assert not slow.done()
        await slow
        await link.close()


async def test_nobody_there_and_an_old_file_are_told_apart_from_an_answer():
    link = InstrumentLink("simulated", RealClock())
    with pytest.raises(Refused, match="no instrument process is there"):
        await link.ask({"ask": "status"})
    assert not await answers("simulated", RealClock())
    with publishing(Published(1, "secret", 1, "simulated", "/runs")):  # whose process was killed
        with pytest.raises(Refused, match="does not answer"):
            await link.ask({"ask": "status"})
    async with opened():
        assert await answers("simulated", RealClock())
        assert (await link.ask({"ask": "status"}))["ok"]  # the same link finds the new one
    await link.close()


async def test_a_link_whose_process_went_says_so_and_finds_the_next_one():
    link = InstrumentLink("simulated", RealClock())
    async with opened():
        await link.ask({"ask": "status"})
    with pytest.raises(Refused, match="does not answer"):
        await link.ask({"ask": "status"})
    async with opened():
        assert (await link.ask({"ask": "status"}))["ok"]
        await link.close()


async def test_whoever_has_another_secret_asks_nothing():
    async with opened(told="guessed") as (controls, _, _):
        with pytest.raises(Refused, match="not the instrument process"):
            await InstrumentLink("simulated", RealClock()).ask({"ask": "blank"})
        assert controls.asked == []


async def test_many_who_say_nothing_are_bounded_and_let_the_others_in_again():
    async with opened() as (_, _, port):
        silent = [await asyncio.open_connection("127.0.0.1", port) for _ in range(CONNECTIONS_MOST)]
        for reader, _ in silent:
            await reader.readline()  # each was greeted
        assert not await answers("simulated", RealClock())
        for _, writer in silent:
            writer.close()
        link = InstrumentLink("simulated", RealClock())
        for _ in range(100):
            try:
                assert (await link.ask({"ask": "status"}))["ok"]
                break
            except Refused:
                await asyncio.sleep(0.02)
        else:
            raise AssertionError("nobody is let in any more")
        await link.close()
