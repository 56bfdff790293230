"""The tables of a devices file for the parts that not every instrument has: taken, mixed, and refused with a remedy."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any

import pytest

from drivers.contract import Microscope
from drivers.parts import OPTIONAL_PARTS, OpticalMode
from engine.clock.virtual import VirtualClock, VirtualLoop
from engine.errors import Refused
from engine.run.devicesfile import connect_devices

OF_SIMULATED = '[microscope]\ndriver = "simulated-timing"\n'
Look = Callable[[Microscope], Coroutine[Any, Any, None]]


def connected(folder: Path, text: str, look: Look, options: Mapping[str, Any] | None = None) -> None:
    """Write a devices file, connect what it says and look at it, on a virtual clock."""
    path = folder / "devices.toml"
    path.write_text(text, encoding="utf-8")

    async def on(clock: VirtualClock) -> None:
        async with connect_devices(str(path), clock, 1, options or {}) as microscope:
            assert isinstance(microscope, Microscope)
            await look(microscope)

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        loop = runner.get_loop()
        assert isinstance(loop, VirtualLoop)
        runner.run(on(VirtualClock(loop)))


async def nothing(microscope: Microscope) -> None:
    raise AssertionError("the instrument must not be connected")


def test_a_microscope_brings_its_parts_with_its_own_settings(tmp_path: Path) -> None:
    text = f"""{OF_SIMULATED}
[microscope.stagexyz]
backlash_nm = 150.0
[microscope.mode]
mode = "imaging"
[microscope.illumination]
spot_sizes = 3
"""

    async def look(microscope: Microscope) -> None:
        assert all(getattr(microscope, name) is not None for name in OPTIONAL_PARTS)
        assert microscope.stagexyz is not None
        assert microscope.stagexyz.facts.backlash_nm == 150.0
        assert microscope.mode is not None
        assert await microscope.mode.mode() is OpticalMode.IMAGING
        assert microscope.illumination is not None
        assert microscope.illumination.facts.spot_sizes == (1, 2, 3)

    connected(tmp_path, text, look)


@pytest.mark.parametrize("name", OPTIONAL_PARTS)
def test_each_part_may_come_from_a_driver_of_its_own(tmp_path: Path, name: str) -> None:
    settings: dict[str, tuple[str, Callable[[Microscope], object], object]] = {
        "stagexyz": ("backlash_nm = 77.0", lambda m: m.stagexyz and m.stagexyz.facts.backlash_nm, 77.0),
        "deflectors": ("time_s = 0.0", lambda m: m.deflectors and m.deflectors.facts.settling_s, 0.0),
        "mode": ("settling_s = 9.0", lambda m: m.mode and m.mode.facts.settling_s, 9.0),
        "illumination": ("spot_sizes = 2", lambda m: m.illumination and m.illumination.facts.spot_sizes, (1, 2)),
    }
    setting, seen, value = settings[name]
    text = f'{OF_SIMULATED}[{name}]\ndriver = "simulated-timing"\n[{name}.{name}]\n{setting}\n'

    async def own(microscope: Microscope) -> None:
        assert seen(microscope) == value

    async def the_microscopes(microscope: Microscope) -> None:
        assert seen(microscope) not in (value, None)

    connected(tmp_path, text, own)
    connected(tmp_path, OF_SIMULATED, the_microscopes)


@pytest.mark.parametrize("name", OPTIONAL_PARTS)
def test_a_driver_that_has_no_such_part_is_refused(tmp_path: Path, name: str) -> None:
    from drivers.contract import Parts
    from drivers.simulated.microscope import SIMULATED_TIMING

    async def refused(clock: VirtualClock) -> None:
        async with SIMULATED_TIMING.connect(clock, 1, {}) as parts:
            with pytest.raises(Refused, match=rf"driver of \[{name}\] has no {name}; nothing was started. Leave"):
                parts.assembled({name: Parts()})

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        loop = runner.get_loop()
        assert isinstance(loop, VirtualLoop)
        runner.run(refused(VirtualClock(loop)))


MISTAKES = {
    "a table that does not exist": (
        f'{OF_SIMULATED}[stagexy]\ndriver = "simulated"\n',
        r"\[stagexy\] is not known.*stagexyz",
    ),
    "a driver that does not exist": (
        f'{OF_SIMULATED}[deflectors]\ndriver = "coils"\n',
        r"\[deflectors\] driver = 'coils'",
    ),
    "a table without a driver": (f"{OF_SIMULATED}[mode]\n", r"\[mode\] has no driver.*\[microscope.mode\]"),
    "a part that is no table": (f"illumination = 3\n{OF_SIMULATED}", r"illumination = 3 is not a table"),
    "a key that does not exist": (
        f"{OF_SIMULATED}[microscope.stagexyz]\nspeed = 1.0\n",
        r"\[stagexyz\] has no key 'speed'",
    ),
    "a value that cannot be": (f"{OF_SIMULATED}[microscope.mode]\nmode = 3\n", r"\[mode\] mode = 3"),
}


@pytest.mark.parametrize(("text", "says"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_refused_and_named(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(Refused, match=says):
        connected(tmp_path, text, nothing)
