"""The driver of Thermo Fisher microscopes, against temscript's own server (PyPI temscript 2.1.0).

`temscript-server --null` for what its null microscope can do; its stage jumps to any angle, so for rotations the same
server runs with a stage that takes its time (tests/drivers/temscriptserver.py).
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from drivers.conformance import (
    BeamConformance,
    Bench,
    Body,
    DeclaredConformance,
    MicroscopeConformance,
    OpticsConformance,
)
from drivers.conformance.bench import on_bench
from drivers.contract import Beam, Microscope, Optics, Stage
from drivers.declared import Declared
from drivers.simulated.microscope import SIMULATED_TIMING
from drivers.thermo.blanker import blank_beam
from drivers.thermo.microscope import THERMO
from engine.clock import Clock, RealClock
from engine.errors import DeviceBusy, DeviceError, DeviceLost, Refused
from tests.drivers import temscriptserver
from tests.drivers.counterparts import free_port, program, running
from tests.drivers.proxy import Mode, Proxy
from tests.drivers.temscriptserver import ROTATION, connected, put
from tests.engine.virtually import really

pytestmark = [pytest.mark.realtime, pytest.mark.counterpart]


@pytest.fixture(scope="module")
def null_server() -> Iterator[int]:
    """`temscript-server --null` as it comes, in diffraction mode: its port."""
    with temscriptserver.null_server() as port:
        yield port


@pytest.fixture(scope="module")
def moving_server() -> Iterator[tuple[int, int]]:
    """Two ports of one microscope with a stage that takes its time: for everything, and for rotations."""
    with temscriptserver.moving_server() as ports:
        yield ports


def bench_for(port: int, motion_port: int | None = None) -> Bench:
    def run(body: Body) -> None:
        async def on_the_real_clock() -> None:
            clock = RealClock()
            async with (
                connected(clock, port, motion_port) as parts,
                SIMULATED_TIMING.connect(clock, 7, {"detector": {"arm_s": 0.001}}) as camera,
            ):
                microscope: Microscope = parts.assembled({"detector": camera})
                await body(clock, microscope)

        asyncio.run(on_the_real_clock())

    return Bench(run, exposure_s=0.05, snapshot_exposure_s=0.005, speed_deg_s=10.0, travel_deg=6.0)


class TestThermoNull(BeamConformance, OpticsConformance):
    """`temscript-server --null` as it comes, through one port."""

    @pytest.fixture
    def bench(self, null_server: int) -> Bench:
        port = null_server

        def run(body: Body) -> None:
            async def on_the_real_clock() -> None:
                clock = RealClock()
                async with connected(clock, port) as parts, SIMULATED_TIMING.connect(clock, 7, {}) as camera:
                    geometry = {"camera_length_mm": 1000.0}
                    await body(clock, parts.assembled({"detector": camera}, geometry))

            asyncio.run(on_the_real_clock())

        return Bench(run)


class TestThermo(MicroscopeConformance, DeclaredConformance):
    """With the stage that takes its time, and the simulated Timepix as camera."""

    @pytest.fixture
    def declared(self) -> Declared:
        return THERMO.facts({"rotation": ROTATION})

    @pytest.fixture
    def bench(self, moving_server: tuple[int, int]) -> Bench:
        return bench_for(*moving_server)

    @on_bench
    async def test_stop_ends_a_rotation(self, bench: Bench, clock: Clock, microscope: Microscope) -> None:
        """TEM scripting has no stop: this driver's returns when the stage has arrived, if that is soon."""
        stage = microscope.stage
        target_deg = (await stage.angle()).value + bench.travel_deg
        await stage.rotate(target_deg, bench.speed_deg_s)
        await stage.stop()
        assert abs((await stage.angle()).value - target_deg) <= bench.scatter_deg


@really
async def test_a_rotation_that_cannot_be_stopped_is_said_with_where_it_ends(
    clock: RealClock, moving_server: tuple[int, int]
) -> None:
    async with connected(clock, *moving_server) as parts:
        stage = parts.stage
        assert stage is not None
        begin_deg = (await stage.angle()).value
        target_deg = begin_deg + (20 if begin_deg < 0 else -20)
        await stage.rotate(target_deg, 10.0)
        with pytest.raises(DeviceError, match=f"no stop; the stage rotates on to {target_deg:.2f} deg"):
            await stage.stop()
        with pytest.raises(
            DeviceBusy, match=f"on its way to {target_deg:.2f} deg, which cannot be stopped; no new motion"
        ):
            await stage.rotate(begin_deg, 10.0)
        await stage.stop()
        assert (await stage.angle()).value == pytest.approx(target_deg, abs=1e-6)


@really
async def test_one_server_alone_cannot_be_read_while_it_rotates_and_that_is_said(
    clock: RealClock, moving_server: tuple[int, int]
) -> None:
    port, _ = moving_server
    async with connected(clock, port, timeout_s=10) as parts:
        stage = parts.stage
        assert stage is not None
        begin_deg = (await stage.angle()).value
        with pytest.raises(DeviceError, match=r"answers nothing else until it has arrived.*motion_port"):
            await stage.rotate(begin_deg + (12 if begin_deg < 0 else -12), 4.0)
        await stage.stop()
        assert abs((await stage.angle()).value - begin_deg) == pytest.approx(12, abs=1e-6)


async def read_until_it_fails(stage: Stage) -> None:
    while True:
        await stage.angle()


@really
async def test_a_rotation_whose_server_goes_is_told_by_the_next_reading(
    clock: RealClock, moving_server: tuple[int, int]
) -> None:
    port, motion_port = moving_server
    async with Proxy(motion_port) as proxy, connected(clock, port, proxy.port) as parts:
        stage = parts.stage
        assert stage is not None
        begin_deg = (await stage.angle()).value
        await stage.rotate(begin_deg + (10 if begin_deg < 0 else -10), 10.0)
        proxy.mode = "cut"
        await proxy.idle()
        with pytest.raises(DeviceLost, match=r"broke during stage_position.*unknown"):
            await read_until_it_fails(stage)
        assert -30 <= (await stage.angle()).value <= 30
        proxy.mode = "pass"


@really
async def test_what_the_microscope_knows_of_itself_is_taken_over(clock: RealClock, null_server: int) -> None:
    async with connected(clock, null_server) as parts:
        assert parts.geometry["wavelength_A"] == pytest.approx(0.02508, abs=1e-5)
        assert parts.geometry["camera_length_mm"] == pytest.approx(1000.0)
        assert parts.stage is not None
        assert parts.stage.facts.limits_deg == pytest.approx((-30, 30))  # those of the null microscope


@really
async def test_outside_diffraction_mode_the_lens_is_left_alone(clock: RealClock, null_server: int) -> None:
    put(null_server, "projection_mode", "IMAGING")
    try:
        async with connected(clock, null_server) as parts:
            assert parts.optics is not None
            for call in (parts.optics.focus(), parts.optics.set_focus(100)):
                with pytest.raises(DeviceError, match=r"mode IMAGING.*it is as it was"):
                    await call
    finally:
        put(null_server, "projection_mode", "DIFFRACTION")


def test_the_watchdogs_connection_blanks_the_beam(null_server: int) -> None:
    put(null_server, "beam_blanked", False)
    assert blank_beam("127.0.0.1", null_server) is True


@really
async def test_no_server_is_told_with_its_address(clock: RealClock) -> None:
    port = free_port()
    with pytest.raises(DeviceLost, match=f"no server at 127.0.0.1:{port}"):
        async with connected(clock, port):
            pass


FAULTS: dict[Mode, str] = {
    "stall": "no answer to stage_position.*nothing changed",
    "half": "no answer to stage_position",
    "garbage": "no answer of temscript-server|no answer to|broke",
    "cut": "no server at|broke",
}


@pytest.mark.parametrize(("mode", "says"), FAULTS.items(), ids=FAULTS)
@really
async def test_after_a_fault_of_the_line_it_goes_on(clock: RealClock, null_server: int, mode: Mode, says: str) -> None:
    async with Proxy(null_server) as proxy, connected(clock, proxy.port, timeout_s=0.3) as parts:
        assert parts.stage is not None
        proxy.mode = mode
        with pytest.raises(DeviceError, match=says):
            await parts.stage.angle()
        proxy.mode = "pass"
        assert (await parts.stage.angle()).value == pytest.approx(0)


@really
async def test_a_slow_server_is_waited_for(clock: RealClock, null_server: int) -> None:
    async with Proxy(null_server) as proxy, connected(clock, proxy.port) as parts:
        assert parts.stage is not None
        proxy.delay_s = 0.2
        reading = await parts.stage.angle()
        assert reading.t_after_ns - reading.t_before_ns >= 190_000_000


@asynccontextmanager
async def beside_a_second(
    clock: RealClock, null_server: int
) -> AsyncIterator[tuple[Beam, Optics, Callable[[], Awaitable[None]], int]]:
    """Beam and optics of a server; a function that takes it away and puts a fresh one in its place, at whose port."""
    second = free_port()
    args: list[str | Path] = [program("temscript-server"), "--null", "--host", "127.0.0.1", "--port", str(second)]
    async with Proxy(null_server) as proxy, connected(clock, proxy.port) as parts:
        assert parts.beam is not None
        assert parts.optics is not None
        optics = parts.optics

        async def restart() -> None:
            proxy.mode = "cut"
            await proxy.idle()
            with pytest.raises(DeviceLost, match="no server at"):
                await optics.focus()
            proxy.target_port = second
            proxy.mode = "pass"

        with running(args, ready=second):
            yield parts.beam, optics, restart, second


@really
async def test_a_server_restarted_in_the_middle_is_told_with_what_is_different_now(
    clock: RealClock, null_server: int
) -> None:
    async with beside_a_second(clock, null_server) as (beam, optics, restart, second):
        await beam.blank()
        await optics.set_focus(250)
        await restart()
        with pytest.raises(DeviceError, match=r"lens is at 0 \(was 250\).*not made"):
            await beam.unblank()
        await beam.blank()
        assert await beam.is_blanked() is True
        assert blank_beam("127.0.0.1", second) is True


@really
async def test_on_a_restarted_server_the_beam_goes_off_before_anything_is_compared(
    clock: RealClock, null_server: int
) -> None:
    async with beside_a_second(clock, null_server) as (beam, optics, restart, _):
        await optics.set_focus(250)
        await beam.unblank()
        await restart()
        await beam.blank()
        with pytest.raises(DeviceError, match=r"lens is at 0 \(was 250\).*not made"):
            await optics.focus()
        assert await beam.is_blanked() is True


@really
async def test_something_else_on_that_port_is_not_driven(clock: RealClock) -> None:
    async def hello(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail.example.org ready\r\n\r\n")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(hello, "127.0.0.1", 0) as server:
        with pytest.raises(DeviceError, match="is no answer of temscript-server"):
            async with connected(clock, server.sockets[0].getsockname()[1]):
                pass


def answering(status: str, content: str) -> bytes:
    return (
        f"HTTP/1.0 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n{content}"
    ).encode()


@pytest.mark.parametrize(
    ("reply", "says", "remedy"),
    [
        (answering("404 Not Found", ""), "refused version with 404: Not Found; nothing changed", "runs on that port"),
        (answering("200 OK", '"1.0.9"'), "temscript-server '1.0.9', not of version 2", "correct host and port"),
        (answering("200 OK", f"1{400 * '0'}"), "temscript-server '1000", "correct host and port"),
        (answering("200 OK", '"2.1.0"'), "stage_limits = '2.1.0'. Nothing changed", "runs at host and port"),
    ],
)
@really
async def test_a_server_of_another_kind_is_said_with_what_to_do(
    clock: RealClock, reply: bytes, says: str, remedy: str
) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(reply)
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        with pytest.raises(DeviceError) as caught:
            async with connected(clock, server.sockets[0].getsockname()[1]):
                pass
    assert says in str(caught.value)
    assert remedy in str(caught.value)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"prt": 1}, "no option 'prt'"),
        ({"motion_port": "8081"}, "motion_port = '8081' is not a whole number"),
        ({"focus_step": 0}, "focus_step = 0 is not a number from"),
        ({"rotation": {"pce": 1}}, "no key 'pce'"),
    ],
)
@really
async def test_an_option_that_cannot_be_is_refused(clock: RealClock, options: dict[str, Any], says: str) -> None:
    with pytest.raises(Refused, match=says):
        async with THERMO.connect(clock, 0, {"port": free_port(), **options}):
            pass
