"""A stage that strays, a host that is starved, a disk that fails."""

import asyncio
import errno
from pathlib import Path

import pytest

from drivers.faults import FaultyDisk
from drivers.faultwords import Fault
from engine.clock import ns
from engine.clock.virtual import VirtualClock
from tests.drivers.faults.bench import bench
from tests.engine.virtually import virtual


@pytest.mark.parametrize(
    ("words", "before_deg", "after_deg"),
    [
        # One deg/s from 0 on: what is moved in the second before the fault at 2 s, and in the second after.
        ("stage.motion 2 stop", 1.0, 0.0),
        ("stage.motion 2 reverse", 1.0, -1.0),
        ("stage.motion 2 jump 0.4", 1.0, 1.4),
        ("stage.motion 2 jump -0.4", 1.0, 0.6),
        ("stage.motion 2 slip 0.3", 1.0, 0.7),
    ],
)
@virtual
async def test_the_stage_itself_strays(clock: VirtualClock, words: str, before_deg: float, after_deg: float) -> None:
    async with bench(clock, words) as on:
        await on.turning()
        await on.clock.sleep_s(2.5)
        at = [on.truth.angle_deg(ns(second)) for second in (1.0, 1.999_999, 3.0)]
        assert at[1] - at[0] == pytest.approx(before_deg, abs=0.01)
        assert at[2] - at[1] == pytest.approx(after_deg, abs=0.01)
        assert on.injected == [words]


@pytest.mark.parametrize("words", ["stage.motion 0.5 stop", "stage.motion 0.5 jump 3"])
@virtual
async def test_a_stage_that_stands_does_not_stray(clock: VirtualClock, words: str) -> None:
    async with bench(clock, words) as on:
        await on.clock.sleep_s(1.0)
        assert on.truth.angle_deg(clock.now_ns()) == 0.0
        assert on.injected == []
        assert on.faults.came_about == []


@virtual
async def test_while_the_host_is_starved_timers_come_late_and_the_stage_turns_on(clock: VirtualClock) -> None:
    async with bench(clock, "host 2.0 starve 0.3") as on:
        await on.turning()
        assert await clock.sleep_until(ns(2.1)) == ns(2.3)
        moved_deg = on.truth.angle_deg(ns(2.3)) - on.truth.angle_deg(ns(2.0))
        assert moved_deg == pytest.approx(0.3, abs=0.01)
        assert on.injected == ["host 2 starve 0.3"]


@virtual
async def test_when_the_hosts_clock_leaps_the_stage_does_not(clock: VirtualClock) -> None:
    async with bench(clock, "host 2.0 leap 5") as on:
        await on.turning()
        assert await clock.sleep_until(ns(2.1)) == ns(7.0)
        assert on.truth.angle_deg(ns(7.0)) == pytest.approx(on.truth.angle_deg(ns(2.0)), abs=0.01)


def disk(clock: VirtualClock, *faults: str) -> FaultyDisk:
    return FaultyDisk(clock, [Fault.parse(words) for words in faults])


@pytest.mark.parametrize(("kind", "number"), [("full", errno.ENOSPC), ("error", errno.EIO)])
@virtual
async def test_of_a_write_that_fails_half_is_done(clock: VirtualClock, tmp_path: Path, kind: str, number: int) -> None:
    faulty = disk(clock, f"disk.write 2 {kind}")
    with (tmp_path / "file").open("wb", buffering=0) as file:
        faulty.write(file, b"first,")
        with pytest.raises(OSError) as caught:  # noqa: PT011 its number is asked next
            faulty.write(file, memoryview(b"second"))
        faulty.write(file, b",third")
    assert caught.value.errno == number
    assert (tmp_path / "file").read_bytes() == b"first,sec,third"
    assert [str(fault) for fault in faulty.happened] == [f"disk.write 2 {kind}"]


@virtual
async def test_a_sync_fails_by_its_own_number(clock: VirtualClock, tmp_path: Path) -> None:
    faulty = disk(clock, "disk.sync 2 error")
    with (tmp_path / "file").open("wb", buffering=0) as file:
        for _ in range(5):
            faulty.write(file, b".")
        faulty.sync(file)
        with pytest.raises(OSError, match="Input/output error"):
            faulty.sync(file)


@virtual
async def test_a_slow_disk_takes_virtual_time_and_nothing_else(clock: VirtualClock, tmp_path: Path) -> None:
    faulty = disk(clock, "disk.write 1 slow 2", "disk.sync 1 slow 3")
    with (tmp_path / "file").open("wb", buffering=0) as file:
        await asyncio.to_thread(faulty.write, file, b"whole")
        assert clock.now_ns() == ns(2)
        await asyncio.to_thread(faulty.sync, file)
        assert clock.now_ns() == ns(5)
    assert (tmp_path / "file").read_bytes() == b"whole"


@virtual
async def test_faults_of_the_disk_are_told_at_the_beginning(clock: VirtualClock) -> None:
    async with bench(clock, "disk.write 7 full", "beam.blank 1 error", "disk.sync 3 slow 1") as on:
        assert on.injected == ["disk.write 7 full", "disk.sync 3 slow 1"]
        assert on.faults.came_about == []  # planned, not met yet
