"""The watchdog: a small process that takes the beam off the specimen when the engine cannot any more.

`python -m engine.run.watchdogprocess`, started by `engine.run.watchdog` when an instrument is opened. Its standard
input is a pipe that only the engine holds: a line says how to blank the beam; the lines after it say that all is well,
which runs are under way, which of them is safe, and at last that the instrument is let go. The end of that pipe before
is the end of the engine; no line for too long means that the engine does not answer. Either way the beam is blanked
through a connection of its own.

It counts looks instead of reading a clock: when the whole machine stood still, that was one look, not many.
"""

import importlib
import json
import os
import queue
import signal
import sys
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypedDict

BEAT = b".\n"
"""From the engine: all is well. What else it says is a line of JSON with one of these keys."""
RUNS, BETWEEN, SAFE, BLANK, CLOSED = "runs", "between", "safe", "blank", "closed"
"""The folders of the runs under way, the innermost last; that there is none, and where the last one lies; that the run
of a folder is safe; that one is not, so that the beam is to be blanked; that the instrument is let go."""
GONE = b""

LOOK_S = 0.25
AGAIN_S = 1.0
LAST_WORDS_S = 2.0
ATTEMPTS = 300
"""About five minutes, and far more if every attempt takes its whole limit; then only a person can help."""


class Order(TypedDict):
    """The first line: how to blank the beam, and how long the engine may be silent."""

    function: str
    arguments: dict[str, object]
    limit_s: float
    silence_s: float


class WritingThread:
    """Does one writing job after the other in a thread: a disk or terminal that hangs must not hold up the blanking."""

    def __init__(self) -> None:
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def put(self, job: Callable[[], None]) -> None:
        """Queue a job; returns at once."""
        self._jobs.put(job)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()

    def finish(self) -> None:
        """Wait until all is written, but not for ever."""
        self._jobs.put(None)
        self._thread.join(LAST_WORDS_S)


class WatchdogProcess:
    """What the process knows: how to blank, what it heard from the engine, where it writes what it does."""

    def __init__(self, order: Order) -> None:
        module, _, name = order["function"].partition(":")
        self._blank: Callable[..., bool] = getattr(importlib.import_module(module), name)
        self._arguments = order["arguments"]
        self._limit_s = order["limit_s"]
        self._silence_s = order["silence_s"]
        self._folders: list[Path] = []
        """Where it writes what it does: into each of the runs under way."""
        self._file_writing, self._terminal_writing = WritingThread(), WritingThread()
        self._heard: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._over = False

    def watch(self) -> None:
        """Until the instrument is let go, or the engine is gone."""
        threading.Thread(target=_listen, args=(self._heard,), daemon=True).start()
        looks, silent = round(self._silence_s / LOOK_S), 0
        while not self._over:
            word = self._hear(LOOK_S)
            if word is None:
                silent += 1
                if silent == looks:  # once: whoever puts the beam on again while the engine hangs is a person
                    self._act(f"the program did not answer for {self._silence_s:g} s")
                continue
            silent = 0
            if word == BLANK:
                self._act("the program could not make everything safe itself")
            elif word == "gone":
                self._act("the program ended before the beam was known to be off")
        self._file_writing.finish()
        self._terminal_writing.finish()

    def _hear(self, limit_s: float) -> str | None:
        """What the engine says next, in a word; None for silence."""
        try:
            line = self._heard.get(timeout=limit_s)
        except queue.Empty:
            return None
        if line == GONE:
            self._over = True
            return "gone"
        try:
            ((word, told),) = json.loads(line).items()
        except (AttributeError, ValueError):
            return "beat"  # also a line that came in halves: that it came is enough
        if word == RUNS:
            self._watch_runs([Path(name) for name in told])
        elif word == BETWEEN:
            self._folders = [Path(told)]
        elif word == SAFE:
            self._note("safe", folders=[Path(told)])
        self._over |= word == CLOSED
        return str(word)

    def _watch_runs(self, runs: list[Path]) -> None:
        new = [run for run in runs if run not in self._folders]
        self._folders = runs
        self._note("watching", folders=new, pid=os.getpid(), engine_pid=os.getppid(), silence_s=self._silence_s)

    def _act(self, why: str) -> None:
        """Blank the beam, again and again until it is known to be off; say so to whoever is there."""
        self._note("blanking", why=why)
        cause = ""
        for attempt in range(1, ATTEMPTS + 1):
            blanked, cause = self._attempt()
            if blanked:
                self._note("blanked", why=why, attempts=attempt)
                self._cry(f"credline watchdog: {why}; the beam was blanked, and read back as blanked")
                tell(blanked=True, why=why)
                return
            if attempt == 1:
                self._note("not blanked", why=why, cause=cause)
                self._cry(f"credline watchdog: {why}. THE BEAM MAY STILL BE ON THE SPECIMEN ({cause}); trying again")
                tell(blanked=False, why=why, cause=cause)
            if self._hear(AGAIN_S) == SAFE:
                return  # the engine came back and did it
        self._note("given up", why=why, cause=cause, attempts=ATTEMPTS)
        self._cry(f"credline watchdog: given up after {ATTEMPTS} attempts. BLANK THE BEAM BY HAND ({cause})")

    def _attempt(self) -> tuple[bool, str]:
        """One attempt, in a thread: a connection that hangs must not keep the next from being made."""
        outcome: queue.SimpleQueue[tuple[bool, str]] = queue.SimpleQueue()

        def attempt() -> None:
            try:
                blanked = self._blank(**self._arguments)
            except BaseException as error:
                outcome.put((False, f"{type(error).__name__}: {error}"))
            else:
                outcome.put((blanked is True, "it was asked to, and reads as not blanked"))

        threading.Thread(target=attempt, daemon=True).start()
        try:
            return outcome.get(timeout=self._limit_s)
        except queue.Empty:
            return False, f"no answer for {self._limit_s:g} s"

    def _note(self, what: str, *, folders: list[Path] | None = None, **fields: object) -> None:
        """A line in the file of these folders; of all runs under way, for each is recovered by itself."""
        from engine.clock import utc_now  # brings asyncio with it: not while the run waits for us to be ready

        line = json.dumps({"utc": utc_now().isoformat(), "what": what, **fields}) + "\n"
        for folder in self._folders if folders is None else folders:
            self._file_writing.put(partial(self._write_line, folder / "watchdog.jsonl", line))

    def _write_line(self, path: Path, line: str) -> None:
        try:
            with path.open("a", encoding="utf-8", newline="\n") as file:
                file.write(line)
        except OSError as error:
            self._cry(f"credline watchdog: {path} could not be written ({error})")

    def _cry(self, text: str) -> None:
        """A line for the person at the terminal; it may be closed."""
        self._terminal_writing.put(lambda: _write(2, text))


def tell(**fields: object) -> None:
    """A line for the engine; it may be gone."""
    _write(1, json.dumps(fields))


def _write(descriptor: int, text: str) -> None:
    try:
        os.write(descriptor, text.encode() + b"\n")
    except OSError:
        pass


def _listen(heard: "queue.SimpleQueue[bytes]") -> None:
    """Hand on the engine's lines one by one, and an empty one at the end of the pipe."""
    rest = b""
    while True:
        try:
            received = os.read(0, 4096)
        except OSError:
            received = b""
        if not received:
            heard.put(GONE)
            return
        *lines, rest = (rest + received).split(b"\n")
        for line in lines:
            heard.put(line or b" ")


def _read_line() -> Order:
    line = bytearray()
    while not line.endswith(b"\n"):
        byte = os.read(0, 1)
        if not byte:
            sys.exit(0)  # the engine ended before it had told what there is to watch
        line += byte
    order: Order = json.loads(line)
    return order


def main() -> None:
    """The process: take the order, watch, end."""
    # What is meant for the engine, or for all programs of a terminal, is not meant for the one that watches it.
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK", "SIGPIPE"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    order = _read_line()
    try:
        watchdog = WatchdogProcess(order)
    except Exception as error:
        tell(ready=False, cause=f"{type(error).__name__}: {error}")
        return
    tell(ready=True)
    watchdog.watch()
    os._exit(0)  # without waiting for an attempt that hangs


if __name__ == "__main__":
    main()
