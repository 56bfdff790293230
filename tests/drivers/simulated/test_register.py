"""The register of a simulated instrument: its blanker stays as it is when the program goes, and others can set it."""

import subprocess
import sys
from pathlib import Path

import pytest

from drivers.contract import Microscope
from drivers.simulated.microscope import SIMULATED, SIMULATED_TIMING
from drivers.simulated.register import Register, blank_beam
from engine.clock.virtual import VirtualClock
from engine.errors import DeviceError, Refused
from tests.engine.virtually import virtual


def register(path: Path, *, blanked: bool = True) -> Register:
    made = Register(path)
    made.switch_on(blanked=blanked)
    return made


def blank_from_another_process(path: Path) -> None:
    program = f"from drivers.simulated.register import blank_beam; assert blank_beam({str(path)!r})"
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


@virtual
async def test_the_instrument_is_found_as_it_was_left(clock: VirtualClock, tmp_path: Path) -> None:
    options = {"register": str(tmp_path / "instrument")}
    async with SIMULATED_TIMING.connect(clock, 1, {**options, "beam_on": False}) as parts:
        assert parts.beam is not None
        await parts.beam.unblank()
    assert not Register(tmp_path / "instrument").is_blanked()
    async with SIMULATED_TIMING.connect(clock, 1, {**options, "beam_on": False}) as parts:
        assert parts.beam is not None
        assert not await parts.beam.is_blanked()


@virtual
async def test_what_another_process_does_is_seen_and_the_pictures_go_dark(clock: VirtualClock, tmp_path: Path) -> None:
    path = tmp_path / "instrument"
    async with SIMULATED.connect(clock, 1, {"register": str(path), "beam_on": True}) as parts:
        microscope: Microscope = parts.assembled()
        detector = microscope.detector
        await detector.arm((0.1, 0.01))
        frames = detector.frames()
        await detector.start(0.1)
        lit = await anext(frames)
        await detector.start(0.1)
        during = await anext(frames)
        blank_from_another_process(path)
        await clock.sleep_s(0.05)
        assert await microscope.beam.is_blanked()
        await detector.start(0.1)
        dark = await anext(frames)
        assert lit.counts.sum() > 1000
        assert during.counts.sum() > 1000
        assert dark.counts.sum() < lit.counts.sum() / 100
        await microscope.beam.unblank()
        await detector.start(0.1)
        assert (await anext(frames)).counts.sum() > 1000


@virtual
async def test_with_a_register_the_instrument_has_an_address_and_a_second_connection(
    clock: VirtualClock, tmp_path: Path
) -> None:
    options = {"register": str(tmp_path / "a" / ".." / "instrument")}
    (tmp_path / "a").mkdir()
    assert SIMULATED_TIMING.address(options) == f"simulated instrument {tmp_path / 'instrument'}"
    assert SIMULATED_TIMING.address(options) == SIMULATED.address(options)
    assert SIMULATED_TIMING.address({}) is None
    async with SIMULATED_TIMING.connect(clock, 1, options) as parts:
        second = parts.assembled().second_connection
        assert second is not None
        assert (second.function, dict(second.arguments)) == (
            "drivers.simulated.register:blank_beam",
            {"path": str(tmp_path / "instrument")},
        )
        camera_only = parts.assembled({"detector": parts})
        assert camera_only.second_connection == second
    async with SIMULATED_TIMING.connect(clock, 1, {}) as parts:
        assert parts.assembled().second_connection is None


def test_a_second_connection_blanks_and_reads_back(tmp_path: Path) -> None:
    made = register(tmp_path / "instrument", blanked=False)
    assert blank_beam(str(tmp_path / "instrument"))
    assert made.is_blanked()


@pytest.mark.parametrize("content", [b"", b"shopping list", b"credline simulated instrument, beam blanked: 7\n"])
def test_a_file_that_is_no_register_is_left_as_it_is(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "list.txt"
    path.write_bytes(content)
    for attempt in (lambda: register(path), lambda: blank_beam(str(path)), lambda: Register(path).set_blanked(False)):
        with pytest.raises(DeviceError, match="is no register of a simulated instrument; left as it is"):
            attempt()
    assert path.read_bytes() == content


def test_a_register_that_is_gone_is_said(tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match="cannot be reached"):
        blank_beam(str(tmp_path / "instrument"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("given", "words"), [(3, "is no file name"), ("", "is no file name"), ("no/folder/file", "does not exist")]
)
def test_a_register_that_cannot_be_is_refused(given: object, words: str) -> None:
    with pytest.raises(Refused, match=f"register = .*{words}.*nothing was started"):
        SIMULATED_TIMING.address({"register": given})
