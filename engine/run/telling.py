"""What an operator tells a run while it goes, as words that its experiment understands: `credline tell RUN WORDS`.

Another program appends a line to a file in the run folder; a thread of the run looks whether it grows, and the words
enter the run as a command (`engine.run.commands`), which a replay gives again. Only on the real clock: a virtual run is
over before anybody has said a word. The file goes with the run, for its words stand in the trace.
"""

import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event, Thread

from engine.errors import CredlineError, Refused, StorageError
from engine.record.document import RunDocument
from engine.record.lock import is_at_work
from engine.record.trace import Trace
from engine.run.contract import Experiment
from engine.run.registry import experiment_type

FILE = "told.jsonl"
LOOK_S = 0.25
LONGEST = 1000
"""Letters of what is told at once."""


def tell(folder: Path, words: str) -> str:
    """Tell the run in this folder something; the words as the run takes them. Returns when they are in its file: it
    hears them within half a second.

    Raises Refused, nothing told, where no run is under way, or it would not understand; DataError for a folder that is
    no run's, StorageError where the file cannot be written.
    """
    document = RunDocument.read(folder)
    if document.parent is not None:
        raise Refused(
            f"{folder}: this run is performed within another one; nothing was told. Tell that one: what is told to it "
            "is handed on."
        )
    if document.has_ended or not is_at_work(folder):
        raise Refused(f"{folder}: no run is under way there; nothing was told.")
    if document.clock == "virtual":
        raise Refused(f"{folder}: a run on a virtual clock hears nobody; nothing was told.")
    words = experiment_type(document.protocol).understood(words, document)
    line = json.dumps(words[:LONGEST]).encode() + b"\n"
    try:
        with (folder / FILE).open("ab", buffering=0) as file:
            file.write(line)
    except OSError as error:
        raise StorageError(
            f"{folder / FILE}: cannot be written ({error.strerror or error}); nothing was told. See to the disk, then "
            "tell it again."
        ) from error
    return words


@contextmanager
def hearing(folder: Path, heard: Callable[[str], None]) -> Iterator[None]:
    """While this is open, `heard` is called, on the running loop, with all that is told to the run in this folder."""
    loop, over = asyncio.get_running_loop(), Event()
    file = folder / FILE

    def listen() -> None:
        known = 0
        while not over.wait(LOOK_S):
            with suppress(OSError, RuntimeError):  # no word so far; or the loop is closed
                if file.stat().st_size > known:
                    said, known = _said(file, known)
                    for words in said:
                        loop.call_soon_threadsafe(heard, words)

    thread = Thread(target=listen, name="hearing", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        with suppress(OSError):
            file.unlink(missing_ok=True)


def _said(file: Path, begin: int) -> tuple[list[str], int]:
    """What the whole lines of a file say from a place on, and where these end; what are no words is left out."""
    said = []
    with file.open("rb") as opened:
        opened.seek(begin)
        for line in opened:
            if not line.endswith(b"\n"):
                break
            begin += len(line)
            with suppress(ValueError):
                if isinstance(words := json.loads(line), str):
                    said.append(words[:LONGEST])
    return said, begin


def pass_on(words: str, experiment: Experiment, trace: Trace) -> None:
    """Let an experiment take what was told; what it does not is said to the operator, and changes nothing."""
    try:
        experiment.heard(words)
    except CredlineError as error:
        trace.record("note", "operator", text=str(error))
