"""The optional parts of a Thermo Fisher microscope, against temscript's own server (PyPI temscript 2.1.0).

`temscript-server --null` for deflectors, illumination and modes as they come; the same server with a stage that takes
its time, and with low magnification, for the rest (tests/drivers/temscriptserver.py).
"""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest

from drivers.approach import OnClock, arrive_xy
from drivers.conformance import (
    Bench,
    Body,
    DeclaredConformance,
    DeflectorsConformance,
    IlluminationConformance,
    ModeConformance,
    StageXYZConformance,
)
from drivers.contract import Microscope
from drivers.declared import Declared
from drivers.options import Options
from drivers.parts import Deflector, Mode, OpticalMode
from drivers.simulated.microscope import SIMULATED_TIMING
from drivers.thermo.lensmode import ModeOptions, ThermoMode
from drivers.thermo.microscope import THERMO
from drivers.thermo.session import Session
from drivers.thermo.wire import TemscriptWire
from engine.clock import RealClock
from engine.errors import DeviceBusy, DeviceError, DeviceLost, Refused
from tests.drivers import temscriptserver
from tests.drivers.counterparts import free_port
from tests.drivers.optionalparts import at_rest, deflectors_of, illumination_of, mode_of, stage_of
from tests.drivers.proxy import Proxy
from tests.drivers.temscriptserver import ROTATION, connected, get, put
from tests.engine.virtually import really

pytestmark = [pytest.mark.realtime, pytest.mark.counterpart]

# What the null microscope indicates at its indices from 1, and the same of the one with low magnification.
NULL: dict[str, Any] = {
    "imaging": [10_000.0 * index for index in range(1, 13)],
    "d_mm": [100.0 * index for index in range(1, 13)],
}
LISTS: dict[str, Any] = {
    "lm": [45, 58, 73, 89, 115, 145, 185, 235, 300, 380, 470, 600, 760, 950, 1200, 1550],
    "imaging": [3400, 4400, 5600, 7200, 8800, 11500, 14500, 18500, 24000, 30000, 38000, 49000],
    "d_mm": [34, 42, 53, 68, 90, 115, 140, 175, 215, 265, 330, 420],
}


@pytest.fixture(scope="module")
def null_server() -> Iterator[int]:
    """`temscript-server --null` as it comes, in diffraction mode: its port."""
    with temscriptserver.null_server() as port:
        yield port


@pytest.fixture(scope="module")
def moving_server() -> Iterator[tuple[int, int]]:
    """Two ports of one microscope that takes its time: for everything, and for motions."""
    with temscriptserver.moving_server() as ports:
        yield ports


def bench_for(port: int, motion_port: int | None = None, **options: Any) -> Bench:
    def run(body: Body) -> None:
        async def on_the_real_clock() -> None:
            clock = RealClock()
            async with (
                connected(clock, port, motion_port, **options) as parts,
                SIMULATED_TIMING.connect(clock, 7, {}) as camera,
            ):
                microscope: Microscope = parts.assembled({"detector": camera}, {"camera_length_mm": 1000.0})
                await body(clock, microscope)

        asyncio.run(on_the_real_clock())

    # 100 um/s: a move that takes half a second, so that it is under way when it is looked at. 1 um and 1 urad.
    return Bench(run, distance_nm=50_000.0, scatter_nm=1.0, deflection=1e-6)


class TestNullParts(DeflectorsConformance, ModeConformance, IlluminationConformance):
    """`temscript-server --null` as it comes, through one port."""

    @pytest.fixture
    def bench(self, null_server: int) -> Bench:
        return bench_for(null_server, mode=NULL)


class TestParts(
    StageXYZConformance, DeflectorsConformance, ModeConformance, IlluminationConformance, DeclaredConformance
):
    """With a stage that takes its time, and low magnification."""

    @pytest.fixture
    def declared(self) -> Declared:
        return THERMO.facts({"rotation": ROTATION, "mode": LISTS})

    @pytest.fixture
    def bench(self, moving_server: tuple[int, int]) -> Bench:
        return bench_for(*moving_server, mode=LISTS)


# --- stage position


@really
async def test_a_place_is_in_nm_and_the_servers_in_metres(clock: RealClock, moving_server: tuple[int, int]) -> None:
    async with connected(clock, *moving_server) as parts:
        stage = stage_of(parts)
        await arrive_xy(stage, OnClock(clock), 12_000.0, -7_000.0)
        await stage.move_z(3_000.0)
        await at_rest(clock, stage)
    where = get(moving_server[0], "stage_position")
    assert [where[axis] for axis in "xyz"] == pytest.approx([12e-6, -7e-6, 3e-6], abs=1e-12)


@really
async def test_the_narrower_of_the_limits_of_file_and_holder_holds(
    clock: RealClock, moving_server: tuple[int, int]
) -> None:
    async with connected(clock, *moving_server, stagexyz={"x_limits_nm": [-500e3, 2000e3]}) as parts:
        x_nm, y_nm, z_nm = stage_of(parts).facts.limits_nm
        assert x_nm == pytest.approx((-500e3, 1000e3))
        assert y_nm == pytest.approx((-1000e3, 1000e3))
        assert z_nm == pytest.approx((-300e3, 300e3))


@really
async def test_one_motion_at_a_time_tilt_or_place(clock: RealClock, moving_server: tuple[int, int]) -> None:
    async with connected(clock, *moving_server) as parts:
        stage = stage_of(parts)
        assert parts.stage is not None
        begin_deg = (await parts.stage.angle()).value
        target_deg = begin_deg + (10 if begin_deg < 0 else -10)
        await parts.stage.rotate(target_deg, 10.0)
        assert await stage.is_moving() is True
        with pytest.raises(DeviceBusy, match="nothing else was begun"):
            await stage.move_xy(0.0, 0.0)
        await at_rest(clock, stage)
        where = await stage.position()
        await stage.move_xy(where.x_nm + 50_000.0, where.y_nm)
        with pytest.raises(DeviceBusy, match=r"on its way to x = .* nm, which cannot be stopped; no new motion"):
            await parts.stage.rotate(begin_deg, 10.0)
        await at_rest(clock, stage)
        assert (await parts.stage.angle()).value == pytest.approx(target_deg)


@really
async def test_somebody_elses_motion_counts_as_moving(clock: RealClock, moving_server: tuple[int, int]) -> None:
    port, motion_port = moving_server
    async with connected(clock, port, motion_port) as parts:
        where = await stage_of(parts).position()
        theirs = asyncio.create_task(
            asyncio.to_thread(put, motion_port, "stage_position", {"x": (where.x_nm - 50_000.0) * 1e-9})
        )
        while not await stage_of(parts).is_moving():
            await clock.sleep_s(0.01)
        with pytest.raises(DeviceBusy, match="nothing else was begun"):
            await stage_of(parts).move_z(0.0)
        with pytest.raises(DeviceError, match="TEM scripting has no stop; the stage goes on to its end"):
            await stage_of(parts).stop()
        assert await theirs == 204
        await stage_of(parts).stop()


@really
async def test_a_move_that_cannot_be_stopped_is_said_with_where_it_ends(
    clock: RealClock, moving_server: tuple[int, int]
) -> None:
    async with connected(clock, *moving_server) as parts:
        stage = stage_of(parts)
        where = await stage.position()
        z_nm = where.z_nm - 40_000.0
        await stage.move_z(z_nm)
        with pytest.raises(DeviceError, match=rf"no stop; the stage moves on to z = {z_nm:.0f} nm and stops there"):
            await stage.stop()
        await at_rest(clock, stage)
        assert (await stage.position()).z_nm == pytest.approx(z_nm)


@really
async def test_with_one_server_alone_nothing_is_moved(clock: RealClock, null_server: int) -> None:
    async with connected(clock, null_server) as parts:
        with pytest.raises(DeviceError, match=r"the beam could not be blanked; nothing moved.*motion_port"):
            await stage_of(parts).move_xy(1_000.0, 0.0)
        assert (await stage_of(parts).position()).x_nm == 0.0


@really
async def test_a_move_whose_server_goes_is_told_once_and_not_by_the_tilt(
    clock: RealClock, moving_server: tuple[int, int]
) -> None:
    port, motion_port = moving_server
    async with Proxy(motion_port) as proxy, connected(clock, port, proxy.port) as parts:
        stage = stage_of(parts)
        assert parts.stage is not None
        where = await stage.position()
        await stage.move_xy(where.x_nm - 50_000.0, where.y_nm)
        proxy.mode = "cut"
        await proxy.idle()
        await clock.sleep_s(0.05)
        await parts.stage.angle()  # it is not the tilt that has failed
        with pytest.raises(DeviceLost, match=r"broke during stage_position.*unknown"):
            await stage.is_moving()
        proxy.mode = "pass"
        await at_rest(clock, stage)


# --- deflectors and illumination


UNITS = {
    Deflector.BEAM_SHIFT: "m",
    Deflector.BEAM_TILT: "rad",
    Deflector.IMAGE_SHIFT: "m",
    Deflector.DIFFRACTION_SHIFT: "rad",
}


@pytest.mark.parametrize("which", Deflector)
@really
async def test_a_pair_is_in_metres_or_radians_as_the_servers(
    clock: RealClock, null_server: int, which: Deflector
) -> None:
    async with connected(clock, null_server) as parts:
        assert (deflectors_of(parts).facts.units or {})[which] == UNITS[which]
        await deflectors_of(parts).set(which, 1.5e-6, -2.5e-6)
        assert await deflectors_of(parts).read(which) == (1.5e-6, -2.5e-6)
    assert get(null_server, which) == [1.5e-6, -2.5e-6]


@really
async def test_the_limits_of_deflectors_are_those_of_the_devices_file(clock: RealClock, null_server: int) -> None:
    async with connected(clock, null_server, deflectors={"image_shift_limit_m": 2e-6}) as parts:
        assert deflectors_of(parts).facts.limits[Deflector.IMAGE_SHIFT] == (-2e-6, 2e-6)
        with pytest.raises(DeviceError, match=r"image_shift x = 3e-06 is outside -2e-06..2e-06; nothing was set"):
            await deflectors_of(parts).set(Deflector.IMAGE_SHIFT, 3e-6, 0.0)


@really
async def test_spot_and_brightness_are_those_that_other_clients_see(clock: RealClock, null_server: int) -> None:
    async with connected(clock, null_server) as parts:
        assert illumination_of(parts).facts.spot_sizes == tuple(range(1, 12))
        await illumination_of(parts).set_spot_size(11)
        await illumination_of(parts).set_brightness(0.25)
    assert (get(null_server, "spot_size_index"), get(null_server, "intensity")) == (11, 0.25)


# --- mode


@really
async def test_without_lists_magnification_and_camera_length_are_read_and_not_set(
    clock: RealClock, null_server: int
) -> None:
    async with connected(clock, null_server) as parts:
        mode = mode_of(parts)
        assert mode.facts.modes == (OpticalMode.IMAGING, OpticalMode.DIFFRACTION)
        before_mm = await mode.camera_length_mm()
        assert before_mm == pytest.approx(1000 * get(null_server, "indicated_camera_length"))
        with pytest.raises(DeviceError, match="not known; nothing was changed"):
            await mode.set_camera_length_mm(before_mm)


@really
async def test_a_camera_length_is_what_the_panel_shows_and_not_its_rounding(clock: RealClock, null_server: int) -> None:
    async with connected(clock, null_server, mode=NULL) as parts:
        await mode_of(parts).set_camera_length_mm(300.0)
        assert 1000 * get(null_server, "indicated_camera_length") != 300.0
        assert await mode_of(parts).camera_length_mm() == 300.0
    async with connected(clock, null_server) as parts:
        assert parts.geometry["camera_length_mm"] == 300.0


@really
async def test_no_magnification_is_not_taken_for_one(clock: RealClock) -> None:
    """As on a Titan 1.1, which always indicates 0 (temscript's docs/restrictions.rst)."""
    told = {"projection_mode": "IMAGING", "projection_sub_mode": "SA", "indicated_magnification": 0.0}
    async with await asyncio.start_server(partial(answer, told), "127.0.0.1", 0) as server:
        wire = TemscriptWire(clock, "thermo", "127.0.0.1", server.sockets[0].getsockname()[1], 2.0)
        mode = ThermoMode(Session(clock, wire, 1e-6), ModeOptions.read(Options("thermo", {"imaging": [3400]})))
        with pytest.raises(DeviceError, match=r"indicates no magnification \(0\).*not used"):
            await mode.magnification()
        with pytest.raises(DeviceError, match=r"\(0\).*told to go to magnification = 3400; where it is now is unknown"):
            await mode.set_magnification(3400.0)


async def answer(told: Mapping[str, Any], reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer one question as temscript's server does."""
    method, path = (await reader.readuntil(b"\r\n\r\n")).decode().split()[:2]
    content = json.dumps(told[path.removeprefix("/v1/")] if method == "GET" else None)
    head = f"HTTP/1.0 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
    writer.write((head + content).encode())
    await writer.drain()
    writer.close()


@asynccontextmanager
async def imaging(clock: RealClock, ports: tuple[int, int], index: int, **mode: Any) -> AsyncIterator[Mode]:
    """The microscope with low magnification, imaging at this index; put back into diffraction mode."""
    put(ports[0], "projection_mode", "IMAGING")
    put(ports[0], "magnification_index", index)
    try:
        async with connected(clock, *ports, mode=mode) as parts:
            yield mode_of(parts)
    finally:
        put(ports[0], "projection_mode", "IMAGING")
        put(ports[0], "magnification_index", 17)
        put(ports[0], "projection_mode", "DIFFRACTION")


@really
async def test_across_the_border_to_low_magnification_the_nearest_step_is_taken(
    clock: RealClock, moving_server: tuple[int, int]
) -> None:
    async with imaging(clock, moving_server, 20, **LISTS) as mode:
        await mode.set_mode(OpticalMode.LOW_MAG)
        assert await mode.magnification() == 1550.0
        await mode.set_mode(OpticalMode.IMAGING)
        assert await mode.magnification() == 3400.0


@really
async def test_low_magnification_that_the_devices_file_does_not_name_is_told(
    clock: RealClock, moving_server: tuple[int, int]
) -> None:
    async with imaging(clock, moving_server, 5) as mode:
        for call in (mode.mode(), mode.magnification()):
            with pytest.raises(
                DeviceError, match=r"low magnification \(LM\), which has no name here; nothing was read"
            ):
                await call
        with pytest.raises(DeviceError, match=r"images, in low magnification \(LM\), where it was asked for imaging"):
            await mode.set_mode(OpticalMode.IMAGING)


@really
async def test_in_low_angle_diffraction_the_camera_length_is_read_and_not_set(
    clock: RealClock, moving_server: tuple[int, int]
) -> None:
    async with imaging(clock, moving_server, 5, **LISTS) as mode:
        await mode.set_mode(OpticalMode.DIFFRACTION)
        assert await mode.mode() is OpticalMode.DIFFRACTION
        before_mm = await mode.camera_length_mm()
        assert before_mm == 10_200.0
        with pytest.raises(DeviceError, match=r"low-angle diffraction \(LAD\).*nothing was changed"):
            await mode.set_camera_length_mm(140.0)
        assert await mode.camera_length_mm() == before_mm


@pytest.mark.parametrize(
    "lists", [{"imaging": LISTS["imaging"]}, {"imaging": LISTS["imaging"], "imaging_first_index": 16}]
)
@really
async def test_indices_that_are_not_this_microscopes_are_told_with_where_it_is_now(
    clock: RealClock, moving_server: tuple[int, int], lists: dict[str, Any]
) -> None:
    async with imaging(clock, moving_server, 25, **lists) as mode:
        with pytest.raises(DeviceError, match=r"go to magnification = 5600 and indicates (73|4400) now, at which it"):
            await mode.set_magnification(5600.0)


@really
async def test_a_first_index_of_its_own_finds_the_step(clock: RealClock, moving_server: tuple[int, int]) -> None:
    lists = {"imaging": [5600, 7200, 8800], "imaging_first_index": 19}
    async with imaging(clock, moving_server, 25, **lists) as mode:
        await mode.set_magnification(7200.0)
        assert await mode.magnification() == 7200.0


@really
async def test_after_our_change_of_mode_the_diffraction_lens_is_not_set_in_another_one(
    clock: RealClock, null_server: int
) -> None:
    async with connected(clock, null_server) as parts:
        assert parts.optics is not None
        await parts.optics.set_focus(100)
        await mode_of(parts).set_mode(OpticalMode.IMAGING)
        try:
            with pytest.raises(DeviceError, match="mode IMAGING, where Focus is another lens"):
                await parts.optics.set_focus(200)
        finally:
            await mode_of(parts).set_mode(OpticalMode.DIFFRACTION)
    assert get(null_server, "defocus") == pytest.approx(100e-6)


async def by_its_mode(mode: Mode) -> None:
    await mode.set_mode(OpticalMode.IMAGING)
    await mode.set_mode(OpticalMode.DIFFRACTION)


async def by_its_camera_length(mode: Mode) -> None:
    await mode.set_camera_length_mm(500.0)


@pytest.mark.parametrize("change", [by_its_mode, by_its_camera_length])
@really
async def test_a_focus_that_our_change_brought_along_is_not_taken_for_somebody_elses(
    clock: RealClock, null_server: int, change: Callable[[Mode], Awaitable[None]]
) -> None:
    async with Proxy(null_server) as proxy, connected(clock, proxy.port, mode=NULL) as parts:
        assert parts.optics is not None
        await parts.optics.set_focus(1000)
        await change(mode_of(parts))
        put(null_server, "defocus", 2e-3)  # the null microscope has one focus for all, a real one has not
        proxy.mode = "cut"
        await proxy.idle()
        with pytest.raises(DeviceLost):
            await illumination_of(parts).spot_size()
        proxy.mode = "pass"
        assert await parts.optics.focus() == 2000


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"stagexyz": {"x_limits_nm": [1.0, -1.0]}}, r"\[stagexyz\]: x_limits_nm .* two rising numbers"),
        ({"stagexyz": {"xy_while_tilting": True}}, r"\[stagexyz\] has no option 'xy_while_tilting'"),
        ({"deflectors": {"beam_shift_limit_m": 0}}, r"\[deflectors\]: beam_shift_limit_m"),
        ({"mode": {"lm": [2, 1]}}, r"\[mode\]: lm"),
        ({"illumination": {"spot_sizes": 12}}, r"\[illumination\]: spot_sizes"),
    ],
)
@really
async def test_mistakes_in_the_options_of_parts_are_refused(
    clock: RealClock, options: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(Refused, match=complaint):
        async with THERMO.connect(clock, 0, {"port": free_port(), **options}):
            pass
