"""The optional parts behind Instamatic's TEM server, against that server itself (PyPI instamatic 2.2.2, simulated).

What only a real JEOL does (a flag that comes late, a stage that can be stopped, camera lengths in cm) is told by a
server of a few lines that speaks the same protocol.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from drivers.approach import OnClock, arrive_xy
from drivers.conformance import (
    Bench,
    Body,
    DeflectorsConformance,
    IlluminationConformance,
    ModeConformance,
    StageXYZConformance,
)
from drivers.contract import Parts
from drivers.instamatic.microscope import INSTAMATIC
from drivers.parts import Deflector, Mode, OpticalMode
from drivers.simulated.microscope import SIMULATED_TIMING
from engine.clock import RealClock
from engine.errors import DeviceBusy, DeviceError, DeviceLost, Refused
from tests.drivers.counterparts import free_port
from tests.drivers.instamaticprocess import STAGE, raw_call, stand_at_zero, temserver
from tests.drivers.optionalparts import at_rest, deflectors_of, illumination_of, mode_of, stage_of
from tests.drivers.proxy import Proxy
from tests.engine.virtually import really

pytestmark = pytest.mark.realtime

# The ranges of the simulated microscope, from its config/microscope/simulate.yaml; the server takes no others.
RANGES = {
    "lowmag": [50, 80, 100, 150, 200, 250, 300, 400, 500, 600, 800, 1000],
    "mag1": [2500, 3000, 4000, 5000, 6000, 8000, 10_000, 12_000, 15_000, 20_000],
    "diff": [150, 200, 250, 300, 400, 500, 600, 800, 1000],
}
PROMPT = {"flag_late_s": 0.0}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """A TEM server that speaks JSON: its port."""
    with temserver(tmp_path_factory.mktemp("temserver")) as (port, _):
        yield port


@asynccontextmanager
async def connected(clock: RealClock, port: int, **options: Any) -> AsyncIterator[Parts]:
    tables = {"stagexyz": PROMPT, "mode": RANGES, **options}
    async with INSTAMATIC.connect(clock, 0, {"port": port, **STAGE, "timeout_s": 2, **tables}) as parts:
        yield parts


# --- against the server


@pytest.mark.counterpart
class TestParts(StageXYZConformance, DeflectorsConformance, ModeConformance, IlluminationConformance):
    @pytest.fixture
    def bench(self, server: int) -> Bench:
        def run(body: Body) -> None:
            async def on_the_real_clock() -> None:
                clock = RealClock()
                async with (
                    connected(clock, server) as parts,
                    SIMULATED_TIMING.connect(clock, 7, {}) as camera,
                ):
                    await body(clock, parts.assembled({"detector": camera}))

            asyncio.run(on_the_real_clock())

        # 100 um/s: a move that takes half a second, so that it is under way when it is looked at.
        return Bench(run, distance_nm=50_000.0, scatter_nm=1.0)


FUNCTIONS = {
    Deflector.BEAM_SHIFT: "BeamShift",
    Deflector.BEAM_TILT: "BeamTilt",
    Deflector.IMAGE_SHIFT: "ImageShift1",
    Deflector.DIFFRACTION_SHIFT: "DiffShift",
}


@pytest.mark.counterpart
@pytest.mark.parametrize("which", Deflector)
@really
async def test_a_pair_is_the_one_that_other_clients_see(clock: RealClock, server: int, which: Deflector) -> None:
    async with connected(clock, server) as parts:
        await deflectors_of(parts).set(which, 1234.0, 43_210.0)
    assert raw_call(server)(f"get{FUNCTIONS[which]}") == [200, [1234, 43_210]]


@pytest.mark.counterpart
@really
async def test_place_spot_and_brightness_are_those_that_other_clients_see(clock: RealClock, server: int) -> None:
    async with connected(clock, server) as parts:
        await illumination_of(parts).set_spot_size(4)
        await illumination_of(parts).set_brightness(5555.0)
        await arrive_xy(stage_of(parts), OnClock(clock), 3_000.4, -2_000.0)
    call = raw_call(server)
    assert call("getSpotSize") == [200, 4]
    assert call("getBrightness") == [200, 5555]
    _, where = call("getStagePosition")
    assert where[:2] == [3_000, -2_000]


@pytest.mark.counterpart
@pytest.mark.parametrize("protocol", ["msgpack", "pickle"])
@really
async def test_the_other_protocols_carry_the_parts_as_well(clock: RealClock, tmp_path: Path, protocol: str) -> None:
    with temserver(tmp_path, protocol) as (port, _):
        async with connected(clock, port, protocol=protocol) as parts:
            await deflectors_of(parts).set(Deflector.BEAM_TILT, 7.0, 65_535.0)
            assert await deflectors_of(parts).read(Deflector.BEAM_TILT) == (7, 65_535)
            await mode_of(parts).set_mode(OpticalMode.IMAGING)
            await mode_of(parts).set_magnification(4000.0)
            assert await mode_of(parts).magnification() == 4000.0
            await illumination_of(parts).set_spot_size(2)
            assert await illumination_of(parts).spot_size() == 2
            await stage_of(parts).move_z(1_000.0)
            await at_rest(clock, stage_of(parts))
            assert (await stage_of(parts).position()).z_nm == 1_000.0


@pytest.mark.counterpart
@pytest.mark.parametrize("allowed", [False, True])
@really
async def test_whether_it_moves_while_the_stage_tilts_is_an_option(
    clock: RealClock, server: int, allowed: bool
) -> None:
    stand_at_zero(server)
    async with connected(clock, server, stagexyz={**PROMPT, "xy_while_tilting": allowed}) as parts:
        stage = stage_of(parts)
        assert parts.stage is not None
        await parts.stage.rotate(10.0, 2.0)
        assert await stage.is_moving() is True  # the one flag is for the tilt as well
        begin = await stage.position()
        if allowed:
            await stage.move_xy(begin.x_nm, begin.y_nm + 1_000.0)
            with pytest.raises(DeviceBusy):  # a tilt, or that move: the flag does not tell
                await stage.move_z(begin.z_nm)
        else:
            with pytest.raises(DeviceBusy, match="nothing else was begun"):
                await stage.move_xy(begin.x_nm, begin.y_nm + 1_000.0)
        await parts.stage.stop()
        await at_rest(clock, stage)
        assert (await stage.position()).y_nm == begin.y_nm + (1_000.0 if allowed else 0.0)


@pytest.mark.counterpart
@really
async def test_a_stage_that_ignores_stop_is_told_as_going_on(clock: RealClock, server: int) -> None:
    async with connected(clock, server) as parts:
        stage = stage_of(parts)
        begin = await stage.position()
        await stage.move_xy(begin.x_nm + 150_000.0, begin.y_nm)
        with pytest.raises(DeviceError, match="still moves; it goes on to its end"):
            await stage.stop()
        await at_rest(clock, stage)
        assert (await stage.position()).x_nm == begin.x_nm + 150_000.0


@asynccontextmanager
async def interrupted(clock: RealClock, port: int) -> AsyncIterator[tuple[Parts, Callable[[], Awaitable[None]]]]:
    """The driver in diffraction mode behind a proxy, and what cuts its line: the next call connects again."""
    async with Proxy(port) as proxy, connected(clock, proxy.port) as parts:

        async def cut() -> None:
            proxy.mode = "cut"
            await proxy.idle()
            proxy.mode = "pass"
            with pytest.raises(DeviceLost, match="closed the connection"):
                await illumination_of(parts).spot_size()

        try:
            yield parts, cut
        finally:
            raw_call(port)("setFunctionMode", "diff")


@pytest.mark.counterpart
@really
async def test_our_own_change_of_mode_is_not_taken_for_somebody_elses(clock: RealClock, server: int) -> None:
    async with interrupted(clock, server) as (parts, cut):
        await mode_of(parts).set_mode(OpticalMode.IMAGING)
        await cut()
        assert await mode_of(parts).mode() is OpticalMode.IMAGING


@pytest.mark.counterpart
@really
async def test_somebody_elses_change_of_mode_is_told_after_ours(clock: RealClock, server: int) -> None:
    async with interrupted(clock, server) as (parts, cut):
        await mode_of(parts).set_mode(OpticalMode.IMAGING)
        raw_call(server)("setFunctionMode", "lowmag")
        await cut()
        with pytest.raises(DeviceError, match=r"the mode is lowmag \(was mag1\).*This call was not made"):
            await mode_of(parts).mode()


async def by_its_mode(mode: Mode) -> None:
    await mode.set_mode(OpticalMode.IMAGING)
    await mode.set_mode(OpticalMode.DIFFRACTION)


async def by_its_camera_length(mode: Mode) -> None:
    await mode.set_camera_length_mm(await mode.camera_length_mm())


@pytest.mark.counterpart
@pytest.mark.parametrize("change", [by_its_mode, by_its_camera_length])
@really
async def test_a_focus_that_our_change_brought_along_is_not_taken_for_somebody_elses(
    clock: RealClock, server: int, change: Callable[[Mode], Awaitable[None]]
) -> None:
    async with interrupted(clock, server) as (parts, cut):
        assert parts.optics is not None
        await parts.optics.set_focus(1000)
        await change(mode_of(parts))
        raw_call(server)("setDiffFocus", 2000)  # the simulated microscope has one for all, a real one has not
        await cut()
        assert await parts.optics.focus() == 2000


@pytest.mark.counterpart
@pytest.mark.parametrize(("other", "ours"), [("mag2", "mag1"), ("mag1", "samag")])
@really
async def test_an_imaging_mode_that_the_devices_file_does_not_name_is_told_and_can_be_left(
    clock: RealClock, server: int, other: str, ours: str
) -> None:
    async with connected(clock, server, mode={"imaging": ours}) as parts:
        mode = mode_of(parts)
        raw_call(server)("setFunctionMode", other)
        try:
            with pytest.raises(DeviceError, match=f"is in {other}, which has no name here; nothing was read"):
                await mode.magnification()
            await mode.set_mode(OpticalMode.IMAGING)
            assert raw_call(server)("getFunctionMode") == [200, ours]
            assert await mode.mode() is OpticalMode.IMAGING
        finally:
            raw_call(server)("setFunctionMode", "diff")


@pytest.mark.counterpart
@really
async def test_without_ranges_magnification_and_camera_length_are_read_only(clock: RealClock, server: int) -> None:
    async with connected(clock, server, mode={}) as parts:
        mode = mode_of(parts)
        before_mm = await mode.camera_length_mm()
        assert before_mm == raw_call(server)("getMagnification")[1]
        with pytest.raises(DeviceError, match="not known; nothing was changed"):
            await mode.set_camera_length_mm(before_mm)


@pytest.mark.counterpart
@really
async def test_a_step_that_instamatics_ranges_do_not_have_is_told_with_the_remedy(
    clock: RealClock, server: int
) -> None:
    async with connected(clock, server, mode={"diff": [155]}) as parts:
        before_mm = await mode_of(parts).camera_length_mm()
        with pytest.raises(DeviceError, match=r"No such camera length.*Write the ranges of Instamatic's"):
            await mode_of(parts).set_camera_length_mm(155.0)
        assert await mode_of(parts).camera_length_mm() == before_mm


# --- what only a JEOL does

Answers = Mapping[str, Callable[..., Any]]
STANDING: Answers = {
    "getFunctionMode": lambda: "diff",
    "isBeamBlanked": lambda: True,
    "getDiffFocus": lambda: 1000,
    "getHTValue": lambda: 200_000,
    "getRotationSpeed": lambda: 12,
    "setRotationSpeed": lambda value: None,
    "getStagePosition": lambda: [0, 0, 0, 0.0, 0.0],
}


class JeolServer(asyncio.Protocol):
    """One connection to a server that answers as a JEOL would. asked: the functions that it was asked for."""

    def __init__(self, answers: Answers, asked: list[str]) -> None:
        self._answers = answers
        self._asked = asked

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        request = json.loads(data)
        name = request["func_name"]
        reply: list[Any] = [500, ["AttributeError", [f"no attribute {name}"]]]
        if (function := self._answers.get(name) or STANDING.get(name)) is not None:
            self._asked.append(name)
            reply = [200, function(*request.get("args", []), **request.get("kwargs", {}))]
        self._transport.write(json.dumps(reply).encode())


@asynccontextmanager
async def jeol(clock: RealClock, answers: Answers, **options: Any) -> AsyncIterator[tuple[list[str], Parts]]:
    """A server that answers as a JEOL would: the functions that it was asked for, and the driver's parts."""
    asked: list[str] = []
    loop = asyncio.get_running_loop()
    async with await loop.create_server(lambda: JeolServer(answers, asked), "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with INSTAMATIC.connect(clock, 0, {"port": port, "timeout_s": 2, **options}) as parts:
            yield asked, parts
        await asyncio.sleep(0.02)  # the server sees that the client has gone


@really
async def test_a_flag_that_comes_late_is_not_taken_for_the_end_of_the_move(clock: RealClock) -> None:
    begun_ns: list[int] = []

    def is_moving() -> int:
        after_ns = clock.now_ns() - begun_ns[-1] if begun_ns else 0
        return 4 if 300_000_000 <= after_ns < 600_000_000 else 0

    def begin(**kwargs: Any) -> None:
        begun_ns.append(clock.now_ns())

    answers: Answers = {"isStageMoving": is_moving, "setStagePosition": begin}
    async with jeol(clock, answers) as (_, parts):
        stage = stage_of(parts)
        assert await stage.is_moving() is False
        await stage.move_xy(10_000.0, 0.0)
        assert await stage.is_moving() is True
        with pytest.raises(DeviceBusy):
            await stage.move_z(0.0)
        await at_rest(clock, stage)
        assert clock.now_ns() - begun_ns[-1] >= 600_000_000
        assert len(begun_ns) == 1


@really
async def test_a_stage_that_stops_is_known_to_stand(clock: RealClock) -> None:
    moving = [0]

    def begin(*, x: int, y: int, wait: bool) -> None:
        assert (x, y, wait) == (10_000, -5, False)
        moving[0] = 4

    def stop() -> None:
        moving[0] = 0

    answers: Answers = {"isStageMoving": lambda: moving[0], "setStagePosition": begin, "stopStage": stop}
    async with jeol(clock, answers, stagexyz=PROMPT) as (asked, parts):
        stage = stage_of(parts)
        await stage.stop()
        assert "stopStage" not in asked
        await stage.move_xy(10_000.0, -5.0)
        assert await stage.is_moving() is True
        await stage.stop()
        assert asked.count("stopStage") == 1
        assert await stage.is_moving() is False


@pytest.mark.parametrize(
    ("unit", "told", "steps"), [("mm", 250, [150, 250]), ("cm", 25, [15, 25]), ("m", 0.25, [0.15, 0.25])]
)
@really
async def test_camera_lengths_are_mm_whatever_the_microscope_tells(
    clock: RealClock, unit: str, told: float, steps: list[float]
) -> None:
    sent: list[float] = []
    answers: Answers = {"getMagnification": lambda: told, "setMagnification": sent.append}
    async with jeol(clock, answers, mode={"camera_length_unit": unit, "diff": steps}) as (asked, parts):
        mode = mode_of(parts)
        assert await mode.camera_length_mm() == 250.0
        assert mode.facts.camera_lengths_mm == (150.0, 250.0)
        await mode.set_camera_length_mm(150.0)
        assert sent == steps[:1]
        assert "getMagnificationRanges" not in asked


NO_ANSWERS = {
    "one value of two": ("getBeamShift", [5], lambda parts: deflectors_of(parts).read(Deflector.BEAM_SHIFT)),
    "a half": ("getBeamShift", [5, 0.5], lambda parts: deflectors_of(parts).read(Deflector.BEAM_SHIFT)),
    "a place for a spot": ("getSpotSize", [0, 0, 0, 0.0, 0.0], lambda parts: illumination_of(parts).spot_size()),
    "a mode for a brightness": ("getBrightness", "diff", lambda parts: illumination_of(parts).brightness()),
    "a pair for a camera length": ("getMagnification", [1, 2], lambda parts: mode_of(parts).camera_length_mm()),
}


@pytest.mark.parametrize(("function", "answer", "ask"), NO_ANSWERS.values(), ids=NO_ANSWERS)
@really
async def test_an_answer_of_another_shape_is_a_fault_and_no_value(
    clock: RealClock, function: str, answer: Any, ask: Callable[[Parts], Any]
) -> None:
    answers: dict[str, Callable[..., Any]] = {}
    async with jeol(clock, answers) as (_, parts):
        answers[function] = lambda: answer
        with pytest.raises(DeviceError, match=f"the answer to {function} is not one.*another client"):
            await ask(parts)


# --- options

BAD_OPTIONS: Mapping[str, tuple[dict[str, Any], str]] = {
    "a part that is no table": ({"stagexyz": 3}, r"stagexyz = 3 is not a table; write \[microscope.stagexyz\]"),
    "a key that does not exist": (
        {"mode": {"mag3": [1]}},
        r"instamatic: \[mode\] has no option 'mag3'",
    ),
    "limits the wrong way round": ({"stagexyz": {"z_limits_nm": [9, -9]}}, r"\[stagexyz\]: z_limits_nm = .*two rising"),
    "a text for a yes": ({"stagexyz": {"xy_while_tilting": "no"}}, "xy_while_tilting = 'no' is not true or false"),
    "ranges that fall": (
        {"mode": {"diff": [200, 150]}},
        r"diff = \[200, 150\] is not a list of rising numbers above 0",
    ),
    "a range with nothing": ({"mode": {"lowmag": [0, 1]}}, "lowmag = .*above 0"),
    "a unit that is none": ({"mode": {"camera_length_unit": "inch"}}, "'inch' is not one of mm, cm, m"),
    "an imaging mode that is none": ({"mode": {"imaging": "diff"}}, "'diff' is not one of mag1, mag2, samag"),
    "no spots": ({"illumination": {"spot_sizes": 0}}, "spot_sizes = 0 is not a whole number from 1 to 20"),
    "a long rest": ({"deflectors": {"settling_s": 60}}, "settling_s = 60 is not a number from 0 to 5"),
}


@pytest.mark.parametrize(("options", "says"), BAD_OPTIONS.values(), ids=BAD_OPTIONS)
@really
async def test_an_option_that_cannot_be_is_refused_before_anything_is_done(
    clock: RealClock, options: dict[str, Any], says: str
) -> None:
    with pytest.raises(Refused, match=f"{says}.*nothing was started|nothing was started.*{says}"):
        async with INSTAMATIC.connect(clock, 0, {"port": free_port(), **options}):
            pass
