"""A simulated instrument that stays as a program left it, so that the next one goes on from there."""

import json
from pathlib import Path
from typing import Any

import pytest

from drivers.parts import Deflector, OpticalMode
from drivers.simulated.microscope import SIMULATED_TIMING
from engine.clock.virtual import VirtualClock
from engine.errors import DeviceError, Refused
from tests.engine.virtually import virtual

GRID: dict[str, Any] = {"grid": {"seed": 3, "film": "continuous"}}


@virtual
async def test_stage_and_lenses_are_where_the_last_program_left_them(clock: VirtualClock, tmp_path: Path) -> None:
    options = {**GRID, "left_as": str(tmp_path / "left.json")}
    async with SIMULATED_TIMING.connect(clock, 1, options) as parts:
        first = parts.assembled()
        assert first.truth is not None
        assert first.stage is not None
        assert first.stagexyz is not None
        assert first.deflectors is not None
        assert first.mode is not None
        assert first.illumination is not None
        await first.stagexyz.move_xy(20_000.0, -9_000.0)
        await clock.sleep_s(3.0)
        await first.stagexyz.move_xy(15_000.0, -7_000.0)  # play along x
        await clock.sleep_s(3.0)
        await first.stagexyz.move_z(1_200.0)
        await first.stage.rotate(12.0, 5.0)
        await first.deflectors.set(Deflector.BEAM_SHIFT, 33_000.0, 32_000.0)
        await first.deflectors.set(Deflector.BEAM_SHIFT, 32_900.0, 32_500.0)
        await first.mode.set_mode(OpticalMode.IMAGING)
        await first.mode.set_magnification(5000.0)
        await first.illumination.set_brightness(31_000)
        await clock.sleep_s(9.0)
        view = first.truth.view  # type: ignore[attr-defined]
        stood = view.translation.specimen_nm(clock.now_ns()), view._on_grid_nm(clock.now_ns())
    async with SIMULATED_TIMING.connect(clock, 7, options) as parts:
        second = parts.assembled()
        assert second.truth is not None
        assert second.stage is not None
        assert second.stagexyz is not None
        assert second.deflectors is not None
        assert second.mode is not None
        assert second.illumination is not None
        view = second.truth.view  # type: ignore[attr-defined]
        assert (view.translation.specimen_nm(clock.now_ns()), view._on_grid_nm(clock.now_ns())) == stood
        assert (await second.stage.angle()).value == pytest.approx(12.0, abs=0.02)
        assert await second.deflectors.read(Deflector.BEAM_SHIFT) == (32_900.0, 32_500.0)
        assert await second.mode.mode() is OpticalMode.IMAGING
        assert await second.mode.magnification() == 5000.0
        assert await second.illumination.brightness() == 31_000
        read = await second.stagexyz.position()
        assert (read.x_nm, read.z_nm) == pytest.approx((15_000.0, 1_200.0), abs=20.0)


@virtual
async def test_without_a_file_it_is_as_the_options_say(clock: VirtualClock, tmp_path: Path) -> None:
    path = tmp_path / "left.json"
    async with SIMULATED_TIMING.connect(clock, 1, {"start_deg": 5.0, "left_as": str(path)}) as parts:
        assert not path.exists()
        stage = parts.assembled().stage
        assert stage is not None
        assert (await stage.angle()).value == pytest.approx(5.0, abs=0.02)
    assert json.loads(path.read_text())["tilt_deg"] == 5.0


@pytest.mark.parametrize("text", ["nothing", "{}", '{"what": "something else"}', "[1]"])
@virtual
async def test_another_file_is_refused_and_left_as_it_is(clock: VirtualClock, tmp_path: Path, text: str) -> None:
    path = tmp_path / "left.json"
    path.write_text(text)
    with pytest.raises(DeviceError, match="does not tell how a simulated instrument was left"):
        async with SIMULATED_TIMING.connect(clock, 1, {"left_as": str(path)}):
            pass
    assert path.read_text() == text


@pytest.mark.parametrize(("given", "said"), [(7, "is no file name"), ("nowhere/left.json", "folder does not exist")])
@virtual
async def test_what_is_no_file_is_refused(clock: VirtualClock, given: Any, said: str) -> None:
    with pytest.raises(Refused, match=f"left_as = .*{said}"):
        async with SIMULATED_TIMING.connect(clock, 1, {"left_as": given}):
            pass
