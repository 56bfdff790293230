"""The worker's side of a computation: finds the function, gives it its pictures, and brings its result into shape.

Runs in a worker process (`engine.run.computeprocess`), or in the program itself where computations are inline and where
`credline replay --recompute` compares. Never raises for what a function does: an `Answer` says why there is no result.
"""

import json
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from hashlib import sha256
from math import isfinite
from pathlib import Path
from pkgutil import resolve_name
from threading import Event
from typing import TYPE_CHECKING

from engine.errors import ComputationError, DataError, shown
from engine.run.compute import LIMIT_BYTES, Bulk, Computation, Json
from engine.worker import begin_worker

if TYPE_CHECKING:
    from engine.frame import Picture
    from engine.record.spool import SpooledPictures

NICENESS = 10
"""Of a worker: the loop, the camera and the disk come first. Not under virtual time, which waits for it."""

PictureOf = Callable[[int], "Picture"]
"""Gives the picture of an index in the spool. Raises DataError when it is not there."""


@dataclass(frozen=True, slots=True)
class Question:
    """What goes to the worker. trouble: what is to befall it there, `late`, `dead`, `never`, or nothing."""

    computation: Computation
    arguments: Mapping[str, Json]
    pictures: tuple[int, ...]
    earlier: tuple[Bulk, ...] = ()
    trouble: str = ""


@dataclass(frozen=True, slots=True)
class Earlier:
    """The bytes of an earlier outcome on which a computation builds. Equal ones have equal digests."""

    folder: Path
    bulk: Bulk

    @property
    def sha256(self) -> str:
        """Of the bytes."""
        return self.bulk.sha256

    def read(self) -> bytes:
        """The bytes, as they were returned. Raises DataError when they are not there any more."""
        try:
            with (self.folder / self.bulk.file).open("rb") as file:
                file.seek(self.bulk.offset)
                data = file.read(self.bulk.size_bytes)
        except OSError as error:
            raise DataError(f"{self.bulk.file}: cannot be read ({error.strerror})") from error
        if sha256(data).hexdigest() != self.bulk.sha256:
            raise DataError(f"{self.bulk.file}: is damaged at byte {self.bulk.offset}")
        return data


@dataclass(frozen=True, slots=True)
class Answer:
    """What comes back. failed: why there is no result. died: the worker is gone."""

    result: Json = None
    bulk: bytes | None = None
    failed: str = ""
    died: bool = False


def begin_computing(niceness: int) -> None:
    """The initializer of a worker process: its priority, and what every process of ours does.

    An engine that was begun with real-time priority (`chrt`) hands it on to its processes; a worker gives it back.
    """
    begin_worker()
    if sys.platform == "linux":
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    if sys.platform != "win32":
        os.nice(niceness)


def warm_up(function: str) -> str:
    """Load the function and all that it imports; why it could not be loaded, or nothing."""
    try:
        _resolved(function)
    except Exception as error:
        return f"{type(error).__name__}: {shown(error)}"
    return ""


def answer(question: Question, spool: Path) -> Answer:
    """Compute, in the worker, from pictures of this spool."""
    if question.trouble == "dead":
        os._exit(1)
    if question.trouble in ("never", "late"):
        Event().wait(None if question.trouble == "never" else question.computation.limit_s)
    spooled = _spooled(spool)

    def picture(index: int) -> "Picture":
        try:
            return spooled.picture(index)
        except DataError as error:  # a trace holds no paths
            raise DataError(f"{spool.name}: has no picture {index}") from error

    return answer_from(question, picture, spool.parent)


def let_go_of_run() -> None:
    """Keep nothing open of the run that is over."""
    _spooled.cache_clear()


@lru_cache(maxsize=1)
def _spooled(spool: Path) -> "SpooledPictures":
    from engine.record.spool import SpooledPictures  # numpy comes with it, which only a worker needs

    return SpooledPictures(spool)


def answer_from(question: Question, picture_of: PictureOf, folder: Path) -> Answer:
    """Compute from pictures found this way; what was returned beside earlier results lies in the run's folder."""

    def named(index: int) -> "Picture":
        if index not in question.pictures:
            raise DataError(f"picture {index} was not named when the computation was asked for ({question.pictures})")
        return picture_of(index)

    computation = question.computation
    try:
        more = ([Earlier(folder, bulk) for bulk in question.earlier],) if computation.builds_on else ()
        found = _resolved(computation.function)(question.arguments, named, *more)
        result, bulk = found if isinstance(found, tuple) and len(found) == 2 else (found, None)
        if bulk is not None and not isinstance(bulk, bytes):
            raise ComputationError(f"it returned a {type(bulk).__name__} beside its result, where bytes are kept")
        return Answer(_checked(result, computation.resolution), bulk)
    except Exception as error:
        return Answer(failed=f"{type(error).__name__}: {shown(error, 500)}")


def _resolved(function: str) -> Callable[..., object]:
    found: Callable[..., object] = resolve_name(function)
    if not callable(found):
        raise TypeError(f"{function} is no function")
    return found


def _checked(result: object, resolution: float | Mapping[str, float]) -> Json:
    """The result as the trace holds it. Raises ComputationError when it is no JSON or too large."""
    text = json.dumps(rounded(result, resolution), allow_nan=False, separators=(",", ":"))
    if len(text) > LIMIT_BYTES:
        raise ComputationError(
            f"its result takes {len(text)} bytes as JSON, {LIMIT_BYTES} are the most: return (result, bytes), and the "
            "bytes go to a file of the run folder"
        )
    whole: Json = json.loads(text)
    return whole


def rounded(value: object, resolution: float | Mapping[str, float]) -> Json:
    """A result with its floats rounded, numbers and arrays of numpy as plain ones. Raises ComputationError."""
    steps = resolution if isinstance(resolution, Mapping) else {}
    return _rounded(value, steps, None if isinstance(resolution, Mapping) else resolution, "result")


def _rounded(value: object, steps: Mapping[str, float], step: float | None, where: str) -> Json:
    import numpy as np

    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        if not isfinite(value):
            raise ComputationError(f"its {where} is {value}, which JSON cannot hold: return null instead")
        if step is None:
            raise ComputationError(f"its {where} has no declared resolution: name one where it is declared")
        return to_step(value, step)
    if isinstance(value, list | tuple):
        return [_rounded(item, steps, step, where) for item in value]
    if isinstance(value, Mapping):
        return {str(key): _rounded(item, steps, steps.get(str(key), step), str(key)) for key, item in value.items()}
    raise ComputationError(f"its {where} is a {type(value).__name__}, which JSON cannot hold: return plain numbers")


def to_step(value: float, step: float) -> float:
    """The nearest multiple of a step, in the fewest digits: 0.3, not 0.30000000000000004."""
    return float(round(value / step) * Decimal(repr(step))) + 0.0  # and no -0.0
