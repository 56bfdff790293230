"""The driver of Instamatic's TEM server, against that server itself (PyPI instamatic 2.2.2, simulated microscope).

Faults are made by a proxy between driver and server, by another client beside the driver, and by ending the server.
"""

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from drivers.conformance import Bench, Body, DeclaredConformance, MicroscopeConformance
from drivers.contract import Microscope, Parts
from drivers.declared import Declared
from drivers.geometry import wavelength_A
from drivers.instamatic.blanker import blank_beam
from drivers.instamatic.microscope import INSTAMATIC
from drivers.simulated.microscope import SIMULATED_TIMING
from engine.clock import RealClock
from engine.errors import DeviceError, DeviceLost, Refused
from tests.drivers.counterparts import free_port
from tests.drivers.instamaticprocess import STAGE, raw_call, stand_at_zero, temserver
from tests.drivers.proxy import Mode, Proxy
from tests.engine.virtually import really

pytestmark = [pytest.mark.realtime, pytest.mark.counterpart]


@pytest.fixture(scope="module", params=["json", "msgpack", "pickle"])
def any_server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, str]]:
    """A TEM server for each protocol that works: its port, and the protocol."""
    with temserver(tmp_path_factory.mktemp("temserver"), request.param) as (port, _):
        yield port, request.param


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """A TEM server that speaks JSON: its port."""
    with temserver(tmp_path_factory.mktemp("temserver")) as (port, _):
        yield port


@asynccontextmanager
async def connected(clock: RealClock, port: int, **options: Any) -> AsyncIterator[Parts]:
    async with INSTAMATIC.connect(clock, 0, {"port": port, **STAGE, "timeout_s": 2, **options}) as parts:
        yield parts


@asynccontextmanager
async def with_proxy(clock: RealClock, port: int, **options: Any) -> AsyncIterator[tuple[Proxy, Parts]]:
    async with Proxy(port) as proxy, connected(clock, proxy.port, **options) as parts:
        yield proxy, parts


class TestInstamatic(MicroscopeConformance, DeclaredConformance):
    """With the simulated Timepix as its camera, for what the suite checks of whole microscopes."""

    @pytest.fixture
    def declared(self) -> Declared:
        return INSTAMATIC.facts(STAGE)

    @pytest.fixture
    def bench(self, any_server: tuple[int, str]) -> Bench:
        port, protocol = any_server

        def run(body: Body) -> None:
            stand_at_zero(port, protocol)

            async def on_the_real_clock() -> None:
                clock = RealClock()
                async with (
                    connected(clock, port, protocol=protocol) as parts,
                    SIMULATED_TIMING.connect(clock, 7, {"detector": {"arm_s": 0.001}}) as camera,
                ):
                    microscope: Microscope = parts.assembled({"detector": camera})
                    await body(clock, microscope)

            asyncio.run(on_the_real_clock())

        return Bench(run, exposure_s=0.05, snapshot_exposure_s=0.005, speed_deg_s=10.0, travel_deg=10.0)


@really
async def test_the_wavelength_comes_from_the_high_tension(clock: RealClock, server: int) -> None:
    async with connected(clock, server) as parts:
        assert parts.geometry["wavelength_A"] == pytest.approx(0.02508, abs=1e-5)


@really
async def test_the_nominal_camera_length_is_told_and_a_calibration_file_is_read_for_it(
    clock: RealClock, server: int, tmp_path: Path
) -> None:
    file = tmp_path / "ours.yaml"
    file.write_text("diff:\n  pixelsize:\n    300: 0.00412\n")
    async with connected(clock, server, calibration=str(file)) as parts:
        assert parts.geometry["camera_length_mm"] == 300.0  # as the simulated microscope starts
        assert parts.per_px_A == 0.00412
    raw_call(server)("setFunctionMode", "mag1")
    try:
        async with connected(clock, server, calibration=str(file)) as parts:
            assert "camera_length_mm" not in parts.geometry
    finally:
        raw_call(server)("setFunctionMode", "diff")


@pytest.mark.parametrize(("volts", "angstrom"), [(100e3, 0.037014), (200e3, 0.025079), (300e3, 0.019687)])
def test_wavelengths_are_those_of_the_tables(volts: float, angstrom: float) -> None:
    assert wavelength_A(volts) == pytest.approx(angstrom, abs=1e-6)


@really
async def test_a_stage_whose_server_ignores_stop_is_driven_where_it_may_be_and_that_is_said(
    clock: RealClock, server: int
) -> None:
    async with connected(clock, server) as parts:
        stage = parts.stage
        assert stage is not None
        begin_deg = (await stage.angle()).value
        await stage.rotate(begin_deg + 20, 2.0)
        assert raw_call(server)("isStageMoving") == [200, True]
        with capture_logs() as said:
            await stage.stop()
        assert raw_call(server)("isStageMoving") == [200, False]
        assert 0 < (await stage.angle()).value - begin_deg < 15
    assert "ignored a stop and was driven" in said[0]["event"]
    assert said[0]["log_level"] == "warning"


@really
async def test_a_stage_whose_server_ignores_stop_is_not_driven_where_nobody_allowed_it(
    clock: RealClock, server: int
) -> None:
    async with connected(clock, server, stop_by_moving=False) as parts:
        assert parts.stage is not None
        begin_deg = (await parts.stage.angle()).value
        await parts.stage.rotate(begin_deg + 20, 3.0)
        with pytest.raises(DeviceError, match=r"still moves; nothing else was tried.*stop_by_moving = true"):
            await parts.stage.stop()
        assert raw_call(server)("getRotationSpeed") == [200, pytest.approx(1.8)]
        assert raw_call(server)("isStageMoving") == [200, True]
    stand_at_zero(server)


@really
async def test_the_speed_setting_is_put_back(clock: RealClock, server: int) -> None:
    raw_call(server)("setRotationSpeed", value=7)
    async with connected(clock, server) as parts:
        assert parts.stage is not None
        await parts.stage.rotate((await parts.stage.angle()).value + 0.1, 3.0)
        assert raw_call(server)("getRotationSpeed") == [200, pytest.approx(1.8)]
    assert raw_call(server)("getRotationSpeed") == [200, 7]


@really
async def test_without_a_calibration_nothing_rotates(clock: RealClock, server: int) -> None:
    async with INSTAMATIC.connect(clock, 0, {"port": server}) as parts:
        assert parts.stage is not None
        with pytest.raises(DeviceError, match="nothing moved"):
            await parts.stage.rotate(1.0, 1.0)


@really
async def test_outside_diffraction_mode_the_lens_says_so_and_how_to_help(clock: RealClock, server: int) -> None:
    async with connected(clock, server) as parts:
        assert parts.optics is not None
        raw_call(server)("setFunctionMode", "mag1")
        try:
            with pytest.raises(DeviceError, match=r"lens is as it was\. Put the microscope into diffraction mode"):
                await parts.optics.set_focus(100)
        finally:
            raw_call(server)("setFunctionMode", "diff")
        assert await parts.optics.focus() > 0


def test_the_watchdogs_connection_blanks_the_beam(any_server: tuple[int, str]) -> None:
    port, protocol = any_server
    raw_call(port, protocol)("setBeamBlank", False)
    assert blank_beam("127.0.0.1", port, protocol) is True
    assert raw_call(port, protocol)("isBeamBlanked")[1] is True


@really
async def test_the_watchdog_is_told_how_to_reach_the_server(clock: RealClock, any_server: tuple[int, str]) -> None:
    port, protocol = any_server
    async with connected(clock, port, protocol=protocol) as parts:
        second = parts.second_connection
    assert second is not None
    assert second.function == "drivers.instamatic.blanker:blank_beam"
    assert blank_beam(**json.loads(json.dumps(dict(second.arguments)))) is True


BAD_OPTIONS: Mapping[str, tuple[dict[str, Any], str]] = {
    "a key that does not exist": ({"prt": 1}, "no option 'prt'.*Options are.*port"),
    "a port that is text": ({"port": "8088"}, "port = '8088' is not a whole number"),
    "a port that cannot be": ({"port": 0}, "port = 0 is not a whole number from 1 to 65535"),
    "a protocol that does not work": ({"protocol": "yaml"}, "protocol = 'yaml' is not one of json, msgpack, pickle"),
    "limits the wrong way round": ({"limits_deg": [60, -60]}, "two rising numbers"),
    "no number": ({"settling_s": float("nan")}, "settling_s = nan is not a number"),
    "true as a number": ({"timeout_s": True}, "timeout_s = True is not a number"),
    "a host that is no text": ({"host": 1}, "host = 1 is not a text"),
    "a rotation that is no table": ({"rotation": 3}, "rotation = 3 is not a table"),
}


@pytest.mark.parametrize(("options", "says"), BAD_OPTIONS.values(), ids=BAD_OPTIONS)
@really
async def test_an_option_that_cannot_be_is_refused_before_anything_is_done(
    clock: RealClock, options: dict[str, Any], says: str
) -> None:
    with pytest.raises(Refused, match=says):
        async with INSTAMATIC.connect(clock, 0, {"port": free_port(), **options}):
            pass


def test_the_address_is_the_same_for_all_ways_to_name_the_default() -> None:
    assert INSTAMATIC.address({}) == INSTAMATIC.address({"host": "127.0.0.1", "port": 8088, "timeout_s": 3})


@really
async def test_no_server_is_told_with_its_address(clock: RealClock) -> None:
    port = free_port()
    with pytest.raises(DeviceLost, match=f"no server at 127.0.0.1:{port}.*Start Instamatic's server"):
        async with connected(clock, port):
            pass


@pytest.mark.parametrize("ours", ["json", "msgpack", "pickle"])
@really
async def test_another_protocol_than_the_servers_is_told_as_that(
    clock: RealClock, any_server: tuple[int, str], ours: str
) -> None:
    port, theirs = any_server
    if ours == theirs:
        return
    with pytest.raises(DeviceError, match="tem_communication_protocol"):
        async with connected(clock, port, protocol=ours):
            pass
    async with connected(clock, port, protocol=theirs) as parts:  # and the server has survived it
        assert parts.beam is not None
        await parts.beam.blank()


@really
async def test_a_silent_server_is_lost_and_found_again(clock: RealClock, server: int) -> None:
    async with with_proxy(clock, server, timeout_s=0.3) as (proxy, parts):
        assert parts.stage is not None
        proxy.mode = "stall"
        with pytest.raises(DeviceLost, match=r"no answer to getStagePosition.*unknown"):
            await parts.stage.angle()
        with pytest.raises(DeviceLost, match="no answer"):  # also to the question that proves a new connection
            await parts.stage.angle()
        proxy.mode = "pass"
        assert -60 <= (await parts.stage.angle()).value <= 60


@really
async def test_half_an_answer_is_no_answer(clock: RealClock, server: int) -> None:
    async with with_proxy(clock, server, timeout_s=0.3) as (proxy, parts):
        assert parts.stage is not None
        proxy.mode = "half"
        with pytest.raises(DeviceLost, match="only part of an answer"):
            await parts.stage.angle()
        proxy.mode = "pass"
        assert -60 <= (await parts.stage.angle()).value <= 60


@really
async def test_garbage_is_a_fault_of_the_device_and_no_angle(clock: RealClock, any_server: tuple[int, str]) -> None:
    port, protocol = any_server
    async with with_proxy(clock, port, protocol=protocol, timeout_s=0.3) as (proxy, parts):
        assert parts.stage is not None
        proxy.mode = "garbage"
        for _ in range(20):
            with pytest.raises(DeviceError):
                await parts.stage.angle()
        proxy.mode = "pass"
        assert -60 <= (await parts.stage.angle()).value <= 60


@really
async def test_a_slow_server_is_waited_for(clock: RealClock, server: int) -> None:
    async with with_proxy(clock, server) as (proxy, parts):
        assert parts.stage is not None
        proxy.delay_s = 0.3
        reading = await parts.stage.angle()
        assert reading.t_after_ns - reading.t_before_ns >= 290_000_000


@really
async def test_a_connection_that_ends_is_told_once_and_made_again(clock: RealClock, server: int) -> None:
    async with with_proxy(clock, server) as (proxy, parts):
        assert parts.beam is not None
        await parts.beam.blank()
        proxy.mode = "cut"
        await proxy.idle()
        with pytest.raises(DeviceLost, match=r"closed the connection"):
            await parts.beam.unblank()
        with pytest.raises(DeviceLost, match="no server at"):
            await parts.beam.unblank()
        proxy.mode = "pass"
        assert await parts.beam.is_blanked() is True


@really
async def test_a_server_restarted_in_the_middle_is_told_with_what_is_different_now(
    clock: RealClock, tmp_path: Path
) -> None:
    with temserver(tmp_path / "first") as (first, _):
        async with with_proxy(clock, first) as (proxy, parts):
            assert parts.beam is not None
            assert parts.stage is not None
            await parts.beam.blank()
            with temserver(tmp_path / "second") as (second, _):  # whose beam is on, as it starts
                proxy.target_port = second
                proxy.mode = "cut"
                await proxy.idle()
                proxy.mode = "pass"
                with pytest.raises(DeviceLost, match="closed the connection"):
                    await parts.stage.angle()
                with pytest.raises(DeviceError, match=r"BEAM IS ON \(was blanked\).*lens.*not made"):
                    await parts.stage.rotate(0.0, 1.0)
                assert raw_call(second)("isStageMoving") == [200, False]
                await parts.beam.blank()
                assert raw_call(second)("isBeamBlanked") == [200, True]


@really
async def test_on_a_restarted_server_the_beam_goes_off_before_anything_is_compared(
    clock: RealClock, tmp_path: Path
) -> None:
    with temserver(tmp_path / "first") as (first, _), temserver(tmp_path / "second", mode="mag1") as (second, _):
        async with with_proxy(clock, first) as (proxy, parts):
            assert parts.beam is not None
            assert parts.stage is not None
            assert parts.optics is not None
            await parts.optics.focus()
            await parts.beam.unblank()
            raw_call(second)("setBeamBlank", False)
            proxy.target_port = second
            proxy.mode = "cut"
            await proxy.idle()
            proxy.mode = "pass"
            await parts.beam.blank()
            assert raw_call(second)("isBeamBlanked") == [200, True]
            with pytest.raises(DeviceError, match=r"the mode is mag1 \(was diff\).*not made"):
                await parts.stage.rotate(0.0, 1.0)
            assert await parts.beam.is_blanked() is True


@pytest.mark.parametrize("mode", ["stall", "half", "garbage"])
@really
async def test_after_a_line_that_lost_its_answers_the_beam_goes_off_with_the_first_call(
    clock: RealClock, server: int, mode: Mode
) -> None:
    async with with_proxy(clock, server, timeout_s=0.3) as (proxy, parts):
        assert parts.beam is not None
        assert parts.stage is not None
        await parts.beam.unblank()
        proxy.mode = mode
        with pytest.raises(DeviceError):
            await parts.stage.angle()
        proxy.mode = "pass"
        await parts.beam.blank()
        assert raw_call(server)("isBeamBlanked") == [200, True]
        assert await parts.beam.is_blanked() is True


@really
async def test_cancelled_calls_never_leave_their_answers_to_others(clock: RealClock, server: int) -> None:
    async with with_proxy(clock, server) as (proxy, parts):
        assert parts.stage is not None
        assert parts.beam is not None
        await parts.beam.blank()
        proxy.delay_s = 0.02
        for _ in range(10):
            reading = asyncio.ensure_future(parts.stage.angle())
            while not reading.done():
                await asyncio.sleep(0.005)
                reading.cancel()
            assert await parts.beam.is_blanked() is True
        assert proxy.accepted == 1


@really
async def test_a_call_cancelled_before_its_turn_is_not_made(clock: RealClock, server: int) -> None:
    async with with_proxy(clock, server) as (proxy, parts):
        assert parts.stage is not None
        assert parts.beam is not None
        await parts.beam.blank()
        proxy.delay_s = 0.1
        reading = asyncio.ensure_future(parts.stage.angle())
        await asyncio.sleep(0)
        unblanking = asyncio.ensure_future(parts.beam.unblank())
        await asyncio.sleep(0)
        unblanking.cancel()
        await reading
        assert await parts.beam.is_blanked() is True


class Rival:
    """Another program that asks the same server as fast as it can, which makes it mix up answers."""

    def __init__(self, port: int) -> None:
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._ask, args=(port,))

    def _ask(self, port: int) -> None:
        import socket

        while not self._over.is_set():
            with socket.create_connection(("127.0.0.1", port), 5) as line:
                line.settimeout(0.3)
                try:
                    while not self._over.is_set():
                        line.sendall(b'{"func_name": "getFunctionMode"}')
                        if not line.recv(1024):
                            break
                except OSError:
                    pass  # its answer went to us: it connects again

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()


@really
async def test_the_answer_of_another_client_is_a_fault_and_never_an_angle(clock: RealClock, server: int) -> None:
    async with connected(clock, server, timeout_s=0.3) as parts:
        assert parts.stage is not None
        rest_deg = (await parts.stage.angle()).value
        found: list[str] = []
        with Rival(server):
            for _ in range(400):
                try:
                    assert (await parts.stage.angle()).value == rest_deg
                except DeviceError as error:
                    found.append(str(error))
                if len(found) >= 5:
                    break
        assert found, "the server did not mix up answers: the test proves nothing"
        assert all("another client" in text or "another question" in text or "no answer" in text for text in found)
        assert any("another" in text for text in found)
        assert (await parts.stage.angle()).value == rest_deg


@really
async def test_a_server_held_up_by_the_move_of_another_client_is_lost_and_then_right_again(
    clock: RealClock, server: int
) -> None:
    stand_at_zero(server)

    def move() -> None:
        with suppress(OSError):  # its answer may go to us
            raw_call(server)("setStagePosition", a=20.0)  # which waits: one second at 20 deg/s

    async with connected(clock, server, timeout_s=0.2) as parts:
        assert parts.stage is not None
        await parts.stage.angle()
        mover = threading.Thread(target=move)
        mover.start()
        lost, value_deg = 0, 0.0
        while value_deg != 20.0:
            try:
                value_deg = (await parts.stage.angle()).value
            except DeviceError:
                lost += 1
            assert value_deg in (0.0, 20.0)  # before the move and after it; meanwhile the server answers nobody
        assert lost > 0
        await asyncio.to_thread(mover.join)


STRANGE = {
    "says yes to everything": (b"[200, null]", "answered another question"),
    "answers twice": (b"[200, null][200, null]", "two answers at once"),
    "speaks another language": (b"220 mail.example.org ready", "cannot be read as json"),
    "hangs up": (b"", "closed the connection instead of answering"),
    "never ends": (b'["' + b"x" * 70_000, "more than 65536 bytes"),
}


@pytest.mark.parametrize(("answer", "says"), STRANGE.values(), ids=STRANGE)
@really
async def test_a_server_that_is_not_instamatics_is_not_driven(clock: RealClock, answer: bytes, says: str) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1024)
        writer.write(answer)
        if answer:
            await reader.read(1024)
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as strange:
        with pytest.raises(DeviceError, match=says):
            async with connected(clock, strange.sockets[0].getsockname()[1]):
                pass


@really
async def test_an_answer_that_nobody_asked_for_is_a_fault(clock: RealClock, server: int) -> None:
    async with with_proxy(clock, server) as (proxy, parts):
        assert parts.stage is not None
        assert parts.beam is not None
        await parts.beam.blank()
        line = parts.stage._wire._line  # type: ignore[attr-defined]
        line.data_received(b"[200, true]")
        with pytest.raises(DeviceLost, match="an answer that nobody asked for; this call was not made"):
            await parts.beam.unblank()
        assert await parts.beam.is_blanked() is True
        assert proxy.accepted == 2


@really
async def test_nothing_is_left_running_after_leaving(clock: RealClock, server: int) -> None:
    before = asyncio.all_tasks()
    async with with_proxy(clock, server) as (proxy, parts):
        assert parts.stage is not None
        proxy.delay_s = 0.1
        reading = asyncio.ensure_future(parts.stage.angle())
        await asyncio.sleep(0.01)
        reading.cancel()
    assert asyncio.all_tasks() - before <= {reading}
    stage = parts.stage
    with pytest.raises(DeviceError, match="was closed"):
        await stage.angle()
