"""One program on one run folder and on one instrument; a lock lives no longer than the program that took it."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from drivers.contract import Parts
from drivers.simulated.microscope import SIMULATED_TIMING
from engine.clock.virtual import VirtualClock
from engine.errors import DataError, Refused
from engine.record.lock import alone_in, drop_lock, instruments_locked, lock_folder, take_lock
from engine.run import devicesfile as config
from engine.run.devicesfile import connect_devices
from tests.engine.virtually import virtual

HOLDER = """
import sys
from engine.record.lock import instruments_locked
with instruments_locked(sys.argv[1:]):
    print("locked", flush=True)
    sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def _locks_of_this_test(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "locks"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr("tempfile.tempdir", str(folder))


def holder(*addresses: str) -> subprocess.Popen[str]:
    """Another program that holds these instruments until its standard input ends."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, *addresses], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "locked\n"
    return process


def end(process: subprocess.Popen[str]) -> None:
    process.communicate(timeout=60)


def test_a_second_program_is_told_which_instrument_who_has_it_since_when_and_what_to_do() -> None:
    other = holder("merlin 127.0.0.1:6341")
    with (
        pytest.raises(
            Refused,
            match=rf"^devices: merlin 127\.0\.0\.1:6341 is in use by process {other.pid} \(.*\) since 20.*UTC; "
            "nothing was started. Wait until that has ended, or stop it.$",
        ),
        instruments_locked(["merlin 127.0.0.1:6341"]),
    ):
        pytest.fail("two programs have one camera")
    end(other)
    with instruments_locked(["merlin 127.0.0.1:6341"]):
        pass


@pytest.mark.skipif(sys.platform == "win32", reason="kill -9 as on Unix")
def test_the_lock_is_gone_with_the_program_that_held_it() -> None:
    other = holder("merlin 127.0.0.1:6341")
    os.kill(other.pid, signal.SIGKILL)
    end(other)
    with instruments_locked(["merlin 127.0.0.1:6341"]):
        pass


def test_different_instruments_do_not_know_of_each_other() -> None:
    # Alike in their readable words, and as long as no file name may be.
    addresses = ["serval 10.0.0.1:8080", "serval 10.0.0.1/8080", "x" * 5000 + "1", "x" * 5000 + "2", "Ω/..\\:*?", ""]
    other = holder(*addresses)
    with instruments_locked(["serval 10.0.0.1:8081"]):
        pass
    for address in addresses:
        with pytest.raises(Refused, match="in use"), instruments_locked([address]):
            pass
    end(other)


def test_nothing_of_a_lock_is_left() -> None:
    with instruments_locked(["a", "a", "b"]):  # one instrument may have several parts
        assert len(list(lock_folder().iterdir())) == 2
    assert list(lock_folder().iterdir()) == []


def test_if_one_of_several_is_taken_none_is_kept() -> None:
    other = holder("b")
    with pytest.raises(Refused, match="devices: b is in use"), instruments_locked(["a", "b", "c"]):
        pass
    with instruments_locked(["a", "c"]):
        pass
    end(other)


def test_where_no_lock_can_be_made_nothing_is_driven(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "file"
    file.write_text("in the way")
    monkeypatch.setattr("tempfile.tempdir", str(file))
    with pytest.raises(Refused, match=r"no lock for a can be made .*nothing was started. Set TMPDIR"):
        instruments_locked(["a"]).__enter__()


@pytest.mark.skipif(sys.platform == "win32", reason="an open file cannot be deleted there")
def test_a_lock_that_was_deleted_between_opening_and_locking_it_is_taken_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fcntl

    flock = fcntl.flock
    deleted: list[bool] = []

    def late(descriptor: int, how: int) -> None:
        if not deleted:  # who held it lets go just now, and deletes it
            (tmp_path / "run.lock").unlink()
            deleted.append(True)
        flock(descriptor, how)

    monkeypatch.setattr(fcntl, "flock", late)
    ours = take_lock(tmp_path)
    assert ours is not None
    assert deleted
    assert take_lock(tmp_path) is None  # nobody else believes to have it as well
    drop_lock(tmp_path, ours)
    assert not (tmp_path / "run.lock").exists()


def test_a_run_folder_has_one_program_at_a_time(tmp_path: Path) -> None:
    with alone_in(tmp_path), pytest.raises(DataError, match="still at work on this run; nothing was touched"):
        alone_in(tmp_path).__enter__()
    with alone_in(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == [tmp_path / "locks"]


# --- devices


@virtual
async def test_connected_devices_are_locked_until_they_are_let_go(clock: VirtualClock, tmp_path: Path) -> None:
    file = tmp_path / "devices.toml"
    file.write_text(f"[microscope]\ndriver = 'simulated-timing'\nregister = '{tmp_path / 'instrument'}'\n")
    async with connect_devices(str(file), clock, 1, {}):
        with pytest.raises(Refused, match=f"simulated instrument {tmp_path / 'instrument'} is in use by process"):
            async with connect_devices(str(file), clock, 1, {}):
                pass
    async with connect_devices(str(file), clock, 1, {}):
        pass


@virtual
async def test_an_instrument_of_ones_own_is_shared_with_nobody(clock: VirtualClock) -> None:
    async with (
        connect_devices("simulated-timing", clock, 1, {}),
        connect_devices("simulated-timing", clock, 1, {}),
    ):
        assert list(lock_folder().iterdir()) == []


@virtual
async def test_a_device_is_locked_before_it_is_connected(clock: VirtualClock, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []

    class Entry:
        takes_plan_options = False

        def address(self, options: object) -> str:
            asked.append(options)
            return "somewhere"

        def connect(self, *_: object) -> Parts:
            raise AssertionError("a device that another program has was connected")

    class Point:
        def load(self) -> object:
            return Entry()

    monkeypatch.setattr(config, "registered", lambda _: {"lab": Point(), "simulated-timing": SIMULATED_TIMING})
    other = holder("somewhere")
    with pytest.raises(Refused, match="somewhere is in use"):
        async with connect_devices("lab", clock, 1, {"start_deg": 1.0}):
            pass
    assert asked == [{}]  # what a plan says of a simulation is no option of this driver
    end(other)
