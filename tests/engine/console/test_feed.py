"""The stream of a page, over a real server on loopback."""

import asyncio
import json
import socket
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uvicorn
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus
from websockets.typing import Origin

from engine.clock import RealClock
from engine.console.guard import Keys
from engine.console.server import Console, web_app
from engine.record.framekinds import Column, FrameKind
from engine.record.frametable import DATA_FILE, write_frames
from engine.record.spoolformat import FrameInfo
from tests.engine.console.test_server import FakeLink

pytestmark = [pytest.mark.realtime, pytest.mark.asyncio]


def _a_run(out: Path, frames: int = 3, px: int = 8) -> None:
    """A finished run of an experiment that is not installed, with some frames."""
    folder = out / "x_001"
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(json.dumps({"schema": 2, "protocol": "elsewhere", "status": "done"}))
    header = {"seq": 0, "t_ns": 0, "kind": "header", "name": "credline", "schema": 2, "plan": {}, "instrument": {}}
    state = {"seq": 1, "t_ns": 10**9, "kind": "state", "name": "measure", "trigger": ""}
    (folder / "trace.jsonl").write_text(f"{json.dumps(header)}\n{json.dumps(state)}\n")
    kind = FrameKind("light", (Column("slot", "<i4", "from 1"),))
    times = [(10 * k, 10 * k) for k in range(frames)]
    infos = [FrameInfo(k, "light", {"slot": k}, k, 10 * k, 10 * k, time, time) for k, time in enumerate(times)]
    pictures = [np.full((px, px), k + 1, "<u2") for k in range(frames)]
    write_frames(folder / DATA_FILE, {"light": kind.table(infos)}, lambda _: iter(pictures), {})


class _Server(uvicorn.Server):
    def install_signal_handlers(self) -> None:
        pass


@asynccontextmanager
async def served(out: Path):
    """The port of a server of these runs."""
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    port = listening.getsockname()[1]
    app = web_app(Console(out, FakeLink(), Keys(port, lambda key: None), RealClock()))
    config = uvicorn.Config(app, log_level="error", ws="websockets-sansio", timeout_graceful_shutdown=1, lifespan="off")
    server = _Server(config)
    server.config.load()
    serving = asyncio.create_task(server._serve([listening]))
    while not server.started:  # noqa: ASYNC110 it has no event for that
        await asyncio.sleep(0.01)
    try:
        yield port
    finally:
        server.should_exit = True
        await serving
        listening.close()


def page(port: int, origin: str | None = ""):
    """The stream as a page of the server, or of another one, opens it."""
    told = f"http://127.0.0.1:{port}" if origin == "" else origin
    return connect(f"ws://127.0.0.1:{port}/feed", origin=None if told is None else Origin(told), max_size=None)


async def _until(stream, wanted):
    """The first message that is wanted, of those that come within 10 s."""
    async with asyncio.timeout(10):
        while True:
            message = await stream.recv()
            told = json.loads(message) if isinstance(message, str) else message
            if wanted(told):
                return told


def _of(kind):
    return lambda told: isinstance(told, dict) and told["type"] == kind


def _head(message: bytes) -> dict:
    return json.loads(message[4 : 4 + int.from_bytes(message[:4], "little")])


async def test_a_page_is_told_how_things_stand_and_all_of_a_run(tmp_path):
    _a_run(tmp_path)
    async with served(tmp_path) as port, page(port) as stream:
        status = await _until(stream, _of("status"))
        assert status["steering"] is False
        assert status["instrument"]["ok"]
        await stream.send(json.dumps({"run": "x_001"}))
        came: dict[type, Any] = {}  # in no order
        while set(came) != {bytes, dict}:
            told = await _until(stream, lambda told: isinstance(told, bytes) or _of("run")(told))
            came[type(told)] = told
        run, head = came[dict], _head(came[bytes])
        assert (run["status"], run["state"], run["frames"]) == ("done", "measure", {"light": 3})
        assert (head["row"], head["of"]) == (2, 3)


async def test_a_page_is_sent_a_frame_only_when_it_has_drawn_the_one_before(tmp_path):
    _a_run(tmp_path)
    async with served(tmp_path) as port, page(port) as stream:
        await stream.send(json.dumps({"run": "x_001"}))
        await _until(stream, lambda told: isinstance(told, bytes))
        await stream.send(json.dumps({"row": 0}))
        for _ in range(3):  # looks, of which each would have sent it
            told = await _until(stream, lambda told: isinstance(told, bytes) or _of("status")(told))
            assert isinstance(told, dict)
        await stream.send(json.dumps({"ready": True}))
        assert _head(await _until(stream, lambda told: isinstance(told, bytes)))["row"] == 0


async def test_a_frame_comes_as_fine_as_a_page_can_show_it(tmp_path):
    _a_run(tmp_path, px=1300)
    async with served(tmp_path) as port, page(port) as stream:
        await stream.send(json.dumps({"run": "x_001"}))
        assert _head(await _until(stream, lambda told: isinstance(told, bytes)))["shape"] == [650, 650]
        for row, px, shape in ((1, 5000, 1300), (1, 700, 650), (1, 3, 433), (0, "9", 433), (1, True, 433)):
            await stream.send(json.dumps({"row": row, "px": px, "ready": True}))
            head = _head(await _until(stream, lambda told: isinstance(told, bytes)))
            assert head["shape"] == [shape, shape]


@pytest.mark.parametrize("origin", [None, "http://evil.example", "null"])
async def test_pages_of_others_get_no_stream(tmp_path, origin):
    async with served(tmp_path) as port:
        with pytest.raises(InvalidStatus):
            async with page(port, origin):
                pass


async def test_a_run_that_there_is_not_is_said_and_the_stream_goes_on(tmp_path):
    _a_run(tmp_path)
    async with served(tmp_path) as port, page(port) as stream:
        for name in ("../x_001", "absent_001"):
            await stream.send(json.dumps({"run": name}))
            assert name in (await _until(stream, _of("no run")))["error"] or name in "../x_001"
        await stream.send(json.dumps({"run": "x_001"}))
        assert (await _until(stream, _of("run")))["name"] == "x_001"


async def test_what_a_page_says_that_nobody_understands_is_passed_over(tmp_path):
    _a_run(tmp_path)
    async with served(tmp_path) as port, page(port) as stream:
        for said in ("", "[]", "{", "[" * 3000, '{"run": 3}', '{"kinds": "x"}', '{"row": "1"}', "x" * 5000):
            await stream.send(said)
        await stream.send(json.dumps({"run": "x_001", "kinds": ["light", "none"]}))
        assert (await _until(stream, _of("run")))["name"] == "x_001"


async def test_whoever_sends_slowly_or_never_reads_holds_up_nobody(tmp_path):
    _a_run(tmp_path)
    async with served(tmp_path) as port:
        slow = [await asyncio.open_connection("127.0.0.1", port) for _ in range(50)]
        for _, writer in slow:
            writer.write(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: ")
        async with page(port) as idle, page(port) as stream:
            await idle.send(json.dumps({"run": "x_001", "ready": True}))
            clock = RealClock()
            await stream.send(json.dumps({"run": "x_001"}))
            await _until(stream, _of("run"))
            assert clock.now_ns() < 5e9
        for _, writer in slow:
            writer.close()
