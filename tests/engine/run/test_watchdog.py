"""The watchdog: when it blanks the beam, when it does not, and what the run that it watches makes of it.

All on the real clock: the watchdog is a process of its own. Its limits are shortened where that takes nothing away.
"""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from drivers.contract import SecondConnection
from engine.clock import RealClock
from engine.record.endings import Ending, Status
from engine.run.watchdog import watchdog
from tests.engine.small_experiment import Rehearsal, State
from tests.engine.virtually import really

pytestmark = pytest.mark.realtime

HERE = "tests.engine.blankers"
ROOT = Path(__file__).parents[3]


@dataclass
class Dog:
    """A watchdog process with the test in the engine's place."""

    process: "subprocess.Popen[bytes]"
    folder: Path
    log: Path
    errors: Path
    told: list[dict[str, Any]] = field(default_factory=list)

    def begin(self, *around: Path) -> None:
        """A run begins, inside of others."""
        if not self.told:
            assert self.hear() == {"ready": True}
        self.tell(runs=[str(folder) for folder in (*around, self.folder)])

    def tell(self, **words: object) -> None:
        self.say(json.dumps(words).encode() + b"\n")

    def beat(self) -> None:
        self.say(b".\n")

    def safe(self) -> None:
        self.tell(safe=str(self.folder))

    def close(self) -> None:
        """The instrument is let go."""
        self.tell(closed=True)

    def say(self, line: bytes) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line)
        self.process.stdin.flush()

    def hear(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        self.told.append(json.loads(line))
        return self.told[-1]

    def hang_up(self) -> None:
        """As the end of the engine does, however it ended."""
        assert self.process.stdin is not None
        self.process.stdin.close()

    def gone(self) -> int:
        return self.process.wait(60)

    def did(self, folder: Path | None = None) -> list[str]:
        lines = ((folder or self.folder) / "watchdog.jsonl").read_text().splitlines()
        return [json.loads(line)["what"] for line in lines]

    def attempts(self) -> int:
        return len(self.log.read_text().splitlines()) if self.log.exists() else 0


@contextmanager
def dog(
    folder: Path, function: str, *, silence_s: float = 60.0, limit_s: float = 30.0, errors: int | None = None
) -> Iterator[Dog]:
    log = folder / "attempts"
    with (folder / "errors").open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "engine.run.watchdogprocess"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=file if errors is None else errors,
            cwd=ROOT,
            start_new_session=True,
        )
    kept = Dog(process, folder, log, folder / "errors")
    order = {"function": function, "arguments": {"log": str(log)}, "silence_s": silence_s, "limit_s": limit_s}
    try:
        kept.say(json.dumps(order).encode() + b"\n")
        yield kept
    finally:
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()


# --- the process


def test_the_end_of_the_engine_blanks_the_beam(tmp_path: Path) -> None:
    with dog(tmp_path, f"{HERE}:obedient") as process:
        process.begin()
        process.beat()
        process.hang_up()
        assert process.gone() == 0
    assert process.attempts() == 1
    assert process.did() == ["watching", "blanking", "blanked"]
    assert "the program ended before the beam was known to be off; the beam was blanked" in process.errors.read_text()


def test_an_engine_that_closes_its_instrument_is_left_alone(tmp_path: Path) -> None:
    with dog(tmp_path, f"{HERE}:obedient") as process:
        process.begin()
        process.beat()
        process.safe()
        process.close()
        assert process.gone() == 0
    assert process.attempts() == 0
    assert process.did() == ["watching", "safe"]
    assert process.errors.read_text() == ""


def test_silence_blanks_the_beam_once_and_the_watch_goes_on(tmp_path: Path) -> None:
    with dog(tmp_path, f"{HERE}:obedient", silence_s=0.5) as process:
        process.begin()
        for attempt in (1, 2):  # the engine came back, and fell silent again
            told = process.hear()
            assert told == {"blanked": True, "why": "the program did not answer for 0.5 s"}
            assert process.attempts() == attempt
            process.beat()
        process.safe()
        process.close()
        assert process.gone() == 0
    assert process.did() == ["watching", "blanking", "blanked", "blanking", "blanked", "safe"]


def test_an_engine_that_could_not_blank_the_beam_itself_may_ask(tmp_path: Path) -> None:
    with dog(tmp_path, f"{HERE}:obedient") as process:
        process.begin()
        process.tell(blank=str(tmp_path))
        assert process.hear()["blanked"]
        process.close()
        assert process.gone() == 0
    assert process.attempts() == 1


@pytest.mark.parametrize(
    ("function", "cause"),
    [
        ("unreachable_at_first", "ConnectionRefusedError: nobody there"),
        ("stuck_at_first", "no answer for 1 s"),
        ("unverified_at_first", "it was asked to, and reads as not blanked"),
    ],
)
def test_it_tries_until_the_beam_is_known_to_be_off(tmp_path: Path, function: str, cause: str) -> None:
    with dog(tmp_path, f"{HERE}:{function}", limit_s=1.0) as process:
        process.begin()
        process.hang_up()
        assert process.hear() == {
            "blanked": False,
            "why": "the program ended before the beam was known to be off",
            "cause": cause,
        }
        assert process.hear()["blanked"]
        assert process.gone() == 0
    assert process.attempts() == 2
    assert process.did() == ["watching", "blanking", "not blanked", "blanked"]
    assert "THE BEAM MAY STILL BE ON THE SPECIMEN" in process.errors.read_text()


def test_it_stops_trying_when_the_engine_came_back_and_did_it(tmp_path: Path) -> None:
    with dog(tmp_path, f"{HERE}:unreachable", silence_s=0.5) as process:
        process.begin()
        assert not process.hear()["blanked"]
        process.beat()
        process.safe()
        process.close()
        assert process.gone() == 0
    assert process.did()[-1] == "safe"


@pytest.mark.parametrize("function", ["no.such.module:blank", f"{HERE}:no_such_function", "nonsense"])
def test_a_second_connection_that_does_not_exist_is_said_at_the_start(tmp_path: Path, function: str) -> None:
    with dog(tmp_path, function) as process:
        told = process.hear()
        assert told["ready"] is False
        assert "Error" in told["cause"]
        assert process.gone() == 0


@pytest.mark.skipif(sys.platform == "win32", reason="signals as on Unix")
def test_what_is_meant_for_the_engine_does_not_end_it(tmp_path: Path) -> None:
    with dog(tmp_path, f"{HERE}:obedient") as process:
        process.begin()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            os.kill(process.process.pid, number)
        process.beat()
        process.hang_up()
        assert process.gone() == 0
    assert process.attempts() == 1


def test_a_run_folder_that_cannot_be_written_does_not_keep_the_beam_on(tmp_path: Path) -> None:
    (tmp_path / "watchdog.jsonl").mkdir()
    with dog(tmp_path, f"{HERE}:obedient") as process:
        process.begin()
        process.hang_up()
        assert process.gone() == 0
    assert process.attempts() == 1
    assert "could not be written" in process.errors.read_text()


@pytest.mark.skipif(sys.platform == "win32", reason="pipes as on Unix")
def test_a_terminal_that_holds_its_output_back_does_not_keep_the_beam_on(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(writer, bytes(65536))
    os.set_blocking(writer, True)
    with dog(tmp_path, f"{HERE}:unreachable_at_first", errors=writer) as process:
        process.begin()
        process.hang_up()
        assert process.gone() == 0
    os.close(reader)
    os.close(writer)
    assert process.attempts() == 2
    assert process.did() == ["watching", "blanking", "not blanked", "blanked"]


def test_it_watches_before_the_first_run_has_begun(tmp_path: Path) -> None:
    with dog(tmp_path, f"{HERE}:obedient") as process:
        process.hear()
        process.hang_up()
        assert process.gone() == 0
    assert process.attempts() == 1
    assert not (tmp_path / "watchdog.jsonl").exists()
    assert "the beam was blanked" in process.errors.read_text()


def test_it_watches_between_two_runs_and_says_what_it_did_where_the_last_one_lies(tmp_path: Path) -> None:
    first = tmp_path / "first"
    first.mkdir()
    with dog(tmp_path, f"{HERE}:obedient") as process:
        process.folder = first
        process.begin()
        process.safe()
        process.tell(between=str(tmp_path))
        process.hang_up()
        assert process.gone() == 0
    assert process.did(first) == ["watching", "safe"]
    assert process.did(tmp_path) == ["blanking", "blanked"]


def test_what_it_did_in_a_child_stands_in_the_folders_of_child_and_parent(tmp_path: Path) -> None:
    parent, child = tmp_path / "day_001", tmp_path / "day_001" / "1_toy"
    child.mkdir(parents=True)
    with dog(tmp_path, f"{HERE}:obedient") as process:
        process.folder = parent
        process.begin()
        process.folder = child
        process.begin(parent)
        process.hang_up()
        assert process.gone() == 0
    assert process.attempts() == 1
    assert process.did(parent) == process.did(child) == ["watching", "blanking", "blanked"]


def test_a_line_that_came_in_halves_is_a_sign_of_life(tmp_path: Path) -> None:
    with dog(tmp_path, f"{HERE}:obedient") as process:
        process.begin()
        process.say(b'{"ru.\n')
        process.safe()
        process.close()
        assert process.gone() == 0
    assert process.attempts() == 0


# --- the run


async def drive(experiment: Rehearsal, second: SecondConnection) -> Ending:
    async with watchdog(second, experiment.run.clock) as dog, dog.watching(experiment.run):
        return await experiment.drive()


async def prepare() -> str:
    return "prepared"


@contextmanager
def on_the_real_clock(clock: RealClock, folder: Path) -> Iterator[Rehearsal]:
    experiment = Rehearsal(clock, folder)  # type: ignore[arg-type]
    experiment.works[State.PREPARE] = prepare
    try:
        yield experiment
    finally:
        experiment.close()


def second(folder: Path, function: str = "obedient") -> SecondConnection:
    return SecondConnection(f"{HERE}:{function}", {"log": str(folder / "attempts")})


def attempts(folder: Path) -> int:
    path = folder / "attempts"
    return len(path.read_text().splitlines()) if path.exists() else 0


@really
async def test_a_run_that_goes_well_does_not_need_it(clock: RealClock, tmp_path: Path) -> None:
    with on_the_real_clock(clock, tmp_path) as experiment:

        async def measure() -> str:
            await clock.sleep_s(0.1)
            return "finish"

        experiment.works[State.MEASURE] = measure
        ending = await drive(experiment, second(tmp_path))
        assert ending.status is Status.DONE
        assert experiment.run.document.watchdog == "watching"
        assert "safe" in (tmp_path / "watchdog.jsonl").read_text()
        assert attempts(tmp_path) == 0
        assert not [record for record in experiment.records if record["name"] == "watchdog"]
    assert asyncio.all_tasks() == {asyncio.current_task()}


@really
async def test_a_loop_that_stands_still_costs_the_run_and_not_the_crystal(clock: RealClock, tmp_path: Path) -> None:
    with on_the_real_clock(clock, tmp_path) as experiment:

        async def measure() -> str:
            overdue = time.monotonic() + 40
            while not attempts(tmp_path) and time.monotonic() < overdue:
                time.sleep(0.1)  # noqa: ASYNC251 what no driver should do
            await clock.sleep_s(30)
            return "finish"

        experiment.works[State.MEASURE] = measure
        ending = await drive(experiment, second(tmp_path))
    assert ending.status is Status.FAILED
    assert ending.reason.startswith("watchdog: the program did not answer for 3 s; it blanked the beam")
    assert experiment.made_safe == ["blank", "stop rotation", "disarm", "refocus"]
    assert attempts(tmp_path) == 1


@really
async def test_a_loop_that_stands_still_between_runs_has_its_beam_blanked_and_the_next_run_goes_well(
    clock: RealClock, tmp_path: Path
) -> None:
    async with watchdog(second(tmp_path), clock) as dog:
        overdue = time.monotonic() + 40
        while not attempts(tmp_path) and time.monotonic() < overdue:
            time.sleep(0.1)  # noqa: ASYNC251 what no driver should do
        await clock.sleep_s(0.3)  # it hears of it
        with on_the_real_clock(clock, tmp_path) as experiment:

            async def measure() -> str:
                return "finish"

            experiment.works[State.MEASURE] = measure
            async with dog.watching(experiment.run):
                ending = await experiment.drive()
    assert ending.status is Status.DONE
    assert attempts(tmp_path) == 1


@really
async def test_what_the_run_could_not_make_safe_the_watchdog_tries(clock: RealClock, tmp_path: Path) -> None:
    with on_the_real_clock(clock, tmp_path) as experiment:

        async def measure() -> str:
            return "finish"

        async def lost() -> None:
            raise ConnectionResetError("the blanker is gone")

        experiment.works[State.MEASURE] = measure
        experiment.actions["blank"] = lost
        await drive(experiment, second(tmp_path))
        assert attempts(tmp_path) == 1
        ours, its = experiment.run.alarms
        assert ours.startswith("THE BEAM MAY BE ON")
        assert its.startswith("watchdog: the program could not make everything safe itself; it blanked the beam")


@pytest.mark.parametrize("function", ["no_such_function", "obedient"])
@really
async def test_a_run_goes_on_without_a_watchdog_and_says_so(clock: RealClock, tmp_path: Path, function: str) -> None:
    with on_the_real_clock(clock, tmp_path) as experiment:

        async def measure() -> str:
            overdue = time.monotonic() + 40
            if function == "obedient":  # which is then killed
                notes = tmp_path / "watchdog.jsonl"
                while not (notes.exists() and notes.stat().st_size) and time.monotonic() < overdue:
                    await clock.sleep_s(0.05)
                os.kill(json.loads(notes.read_text())["pid"], getattr(signal, "SIGKILL", signal.SIGTERM))
            while experiment.run.document.watchdog == "watching" and time.monotonic() < overdue:
                await clock.sleep_s(0.05)
            return "finish"

        experiment.works[State.MEASURE] = measure
        ending = await drive(experiment, second(tmp_path, function))
        assert ending.status is Status.DONE
        (note,) = [record for record in experiment.records if record["name"] == "watchdog"]
        assert note["text"] == experiment.run.document.watchdog
        said = {"no_such_function": "could not be started (AttributeError", "obedient": "ended before the run"}
        assert said[function] in note["text"]


@really
async def test_a_run_that_was_never_made_safe_is_made_so_at_the_end(clock: RealClock, tmp_path: Path) -> None:
    with on_the_real_clock(clock, tmp_path) as experiment:
        async with watchdog(second(tmp_path), clock) as dog, dog.watching(experiment.run):
            pass
    assert attempts(tmp_path) == 1


@really
async def test_an_instrument_on_which_no_run_began_is_not_touched(clock: RealClock, tmp_path: Path) -> None:
    async with watchdog(second(tmp_path), clock):
        pass
    assert attempts(tmp_path) == 0


@really
async def test_without_a_second_connection_nothing_is_different(clock: RealClock, tmp_path: Path) -> None:
    with on_the_real_clock(clock, tmp_path) as experiment:
        async with watchdog(None, clock) as dog, dog.watching(experiment.run):
            assert len(asyncio.all_tasks()) == 1
        assert experiment.run.document.watchdog is None
        assert not (tmp_path / "watchdog.jsonl").exists()
