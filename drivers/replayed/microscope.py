"""A microscope that answers as a recorded one did: the same results, after the same time.

`recorded_microscope` makes one from the facts in a trace's header (drivers/facts.py) and from its calls and frames.
Calls are answered in the order in which they were recorded, each at the instant at which it was answered then. A call
that was not recorded, or with other arguments, raises `NotRecorded`.
"""

import asyncio
import builtins
import re
from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drivers.contract import Microscope, Reading
from drivers.facts import DetectorFacts, Facts, OpticsFacts, StageFacts
from engine import errors
from engine.clock import Clock
from engine.errors import DataError, DeviceError, shown
from engine.frame import Frame, Picture, picture_type
from engine.record.frametable import FramesFile
from engine.record.trace import Record, ends_early, jsonable

NEVER_NS = 2**62
DEG_BELIEVED = 1e6
REFUSED_TYPE = re.compile(r"[<>|](b1|[iu][1248]|f(2|4|8|16)|c(8|16|32))")
TYPE_SEEN = "type of counts"
"""The note of a run whose camera had not declared the type of its counts: the type of its first frame, as `dtype`."""


class NotRecorded(DeviceError):
    """The program asked the instrument for something that the recorded run did not ask for at this point."""


def recorded_reading(call: Record) -> Reading:
    """The stage reading that a recorded call returned. Raises DataError when it is none."""
    result = call.get("result")
    if isinstance(result, dict) and set(result) == {"value", "t_before_ns", "t_after_ns"}:
        value, before_ns, after_ns = result["value"], result["t_before_ns"], result["t_after_ns"]
        instants = all(type(t_ns) is int and abs(t_ns) < NEVER_NS for t_ns in (before_ns, after_ns))
        if instants and isinstance(value, int | float) and abs(value) < DEG_BELIEVED:
            return Reading(float(value), before_ns, after_ns)
    raise DataError(f"trace: record {call.get('seq')} holds no stage reading; the file was damaged or edited.")


def recorded_integer(call: Record) -> int:
    """The whole number that a recorded call returned. Raises DataError when it is none."""
    value = call["result"]
    if type(value) is not int or not -(2**63) < value < 2**63:
        raise DataError(f"trace: {call['name']} was not answered by a whole number; the file was damaged or edited.")
    return int(value)


class Recording:
    """The calls and frames of a trace, handed out in order."""

    def __init__(self, clock: Clock, records: Sequence[Record]) -> None:
        self._clock = clock
        self._calls: dict[str, deque[Record]] = {}
        self.frames: deque[Record] = deque()
        self.dtype = ""
        """Of the counts, from the first frame, where the camera had not declared it."""
        for record in records:
            if record["kind"] == "call":
                self._calls.setdefault(record["name"].split(".")[0], deque()).append(record)
            elif record["kind"] in ("frame", "refused"):
                self.frames.append(record)
            elif record["kind"] == "note" and record["name"] == TYPE_SEEN:
                self.dtype = str(record.get("dtype", ""))
        self._ends_early = ends_early(records)
        # Each is answered to who began it: calls that overlap may end in another order.
        for name, calls in self._calls.items():
            self._calls[name] = deque(sorted(calls, key=lambda call: call["begin_ns"]))
        # A snapshot is recorded before the frame that came before it was written: order them as they arrived.
        self.frames = deque(sorted(self.frames, key=lambda frame: frame["arrived_ns"]))

    async def answer(self, name: str, *args: object) -> Any:
        """The recorded result of a call, at the recorded instant; or its recorded error."""
        return (await self.call(name, *args))["result"]

    async def call(self, name: str, *args: object) -> Record:
        """The same, as the whole record of the call."""
        call = self._take(name, [jsonable(arg) for arg in args])
        if call is None:
            calls = self._calls.get(name.split(".")[0])
            if self._ends_early and not calls:
                await self._clock.sleep_until(NEVER_NS)  # under way when the program was cut off
            expected = f"{calls[0]['name']}{tuple(calls[0]['args'])}" if calls else "no further call"
            raise NotRecorded(f"{name}{args}: not recorded at this point; the recorded run made {expected}.")
        return await self._again(call)

    async def _again(self, call: Record) -> Record:
        """The call once more: it ends at the recorded instant, by its recorded error if it had one."""
        try:
            await self._clock.sleep_until(NEVER_NS if call.get("given_up") else call["end_ns"])
        except asyncio.CancelledError:
            # Who is cancelled goes no earlier than he was then: on a real clock time-outs come late.
            await self._clock.sleep_until(call["end_ns"])
            raise
        if "error" in call:
            raise _error(call)
        return call

    def _take(self, name: str, args: list[object]) -> Record | None:
        """The device's next call, if it is this one; of several that began at one instant, any may be the next.

        A trace holds calls in the order of their ends: which of those began first it does not say.
        """
        calls = self._calls.get(name.split(".")[0], deque())
        for call in calls:
            if call["begin_ns"] != calls[0]["begin_ns"]:
                break
            if call["name"] == name and call["args"] == args:
                calls.remove(call)
                return call
        return None

    async def end_of_frames(self) -> None:
        """What came after the last recorded frame: an error at its instant, or nothing any more."""
        if (call := self._take("detector.frames", [])) is not None:
            await self._again(call)
        await self._clock.sleep_until(NEVER_NS)


def _error(call: Record) -> Exception:
    """A recorded error again: it is called as it was, says what it said, and is of our tree if it was."""
    name, text = call["error"], call["text"]
    kind: Any = getattr(builtins, name, Exception) if call["foreign"] else getattr(errors, name, DeviceError)
    if not issubclass(kind, Exception) or issubclass(kind, ExceptionGroup):
        kind = Exception
    error: Exception = type(name, (kind,), {"__init__": lambda *_: None, "__str__": lambda _: text})()
    return error


# What h5py and fabio raise for a damaged file, depending on where the damage is.
UNREADABLE = (OSError, RuntimeError, KeyError, ValueError, TypeError, AttributeError, IndexError)


class StoredPictures:
    """The pictures of a finished run: frames from frames.h5, snapshots from their TIFF files.

    Raises DataError, at once or when a picture is asked for, where a file is there and cannot be read.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file: FramesFile | None = None
        self._rows: dict[tuple[str, int], int] = {}
        if (folder / "frames.h5").exists():
            try:
                self._file = FramesFile(folder / "frames.h5")
                self._rows = {
                    (kind, int(slot)): row
                    for kind in self._file.kinds
                    for row, slot in enumerate(self._file.table(kind)["slot"])
                }
            except (DataError, *UNREADABLE) as error:
                self.close()
                raise self._damaged("frames.h5", error) from error

    def _damaged(self, name: str, error: Exception) -> DataError:
        return DataError(
            f"{self._folder}: {name} is damaged ({shown(error)}); nothing was changed. Without the pictures it can be "
            f"replayed: credline replay {self._folder / 'trace.jsonl'}"
        )

    @property
    def dtype(self) -> str:
        """Type of the frames in frames.h5; empty where there are none."""
        if self._file is None or not self._file.kinds:
            return ""
        try:
            return self._file.dtype(self._file.kinds[0]).str
        except UNREADABLE as error:
            raise self._damaged("frames.h5", error) from error

    def find(self, record: Record) -> Picture | None:
        """The counts of a recorded frame; None where the folder does not have them."""
        if record["kind"] == "refused":
            return None
        try:
            return self._read(record)
        except UNREADABLE as error:
            raise self._damaged(f"the picture of slot {record['slot']}", error) from error

    def _read(self, record: Record) -> Picture | None:
        if record["slot"] is None:
            return None
        row = self._rows.get((record["name"], record["slot"]))
        if record["name"] == "snapshot" and row is None:  # as in a file of schema 1
            path = self._folder / "snapshots" / f"{record['slot']:05d}.tiff"
            if not path.exists():
                return None
            import fabio

            with fabio.open(str(path)) as image:
                return np.asarray(image.data)
        return None if row is None or self._file is None else self._file.picture(record["name"], row)

    def close(self) -> None:
        """Close frames.h5; no picture is found any more."""
        self._rows = {}
        if self._file is not None:
            self._file.close()


class RecordedStage:
    """Implements `drivers.contract.Stage`."""

    def __init__(self, recording: Recording, facts: StageFacts) -> None:
        self._recording = recording
        self.facts = facts

    async def angle(self) -> Reading:
        """See `Stage.angle`."""
        return recorded_reading(await self._recording.call("stage.angle"))

    async def rotate(self, target_deg: float, speed_deg_s: float) -> None:
        """See `Stage.rotate`."""
        await self._recording.answer("stage.rotate", target_deg, speed_deg_s)

    async def release_to_pedal(self, target_deg: float, speed_deg_s: float) -> None:
        """See `Stage.release_to_pedal`."""
        await self._recording.answer("stage.release_to_pedal", target_deg, speed_deg_s)

    async def stop(self) -> None:
        """See `Stage.stop`."""
        await self._recording.answer("stage.stop")


class RecordedBeam:
    """Implements `drivers.contract.Beam`."""

    def __init__(self, recording: Recording) -> None:
        self._recording = recording

    async def blank(self) -> None:
        """See `Beam.blank`."""
        await self._recording.answer("beam.blank")

    async def unblank(self) -> None:
        """See `Beam.unblank`."""
        await self._recording.answer("beam.unblank")

    async def is_blanked(self) -> bool:
        """See `Beam.is_blanked`."""
        return bool(await self._recording.answer("beam.is_blanked"))


class RecordedOptics:
    """Implements `drivers.contract.Optics`."""

    def __init__(self, recording: Recording, facts: OpticsFacts) -> None:
        self._recording = recording
        self.facts = facts

    async def focus(self) -> int:
        """See `Optics.focus`."""
        return recorded_integer(await self._recording.call("optics.focus"))

    async def set_focus(self, value: int) -> None:
        """See `Optics.set_focus`."""
        await self._recording.answer("optics.set_focus", value)


class RecordedDetector:
    """Implements `drivers.contract.Detector`.

    Pictures are those of the run folder where it still has them; else placeholders that carry the recorded checksum.
    """

    def __init__(
        self, clock: Clock, recording: Recording, facts: DetectorFacts, pictures: StoredPictures | None
    ) -> None:
        self._pictures = pictures
        self._clock = clock
        self._recording = recording
        self.facts = facts
        self._pixel = picture_type(facts.dtype or recording.dtype) or np.dtype(np.uint16)
        self.flatfield: NDArray[np.float32] | None = np.ones((1, 1), np.float32) if facts.flatfield else None

    async def arm(self, exposures_s: Sequence[float]) -> None:
        """See `Detector.arm`."""
        await self._recording.answer("detector.arm", exposures_s)

    async def start(self, exposure_s: float) -> int:
        """See `Detector.start`."""
        return recorded_integer(await self._recording.call("detector.start", exposure_s))

    async def frames(self) -> AsyncIterator[Frame]:
        """See `Detector.frames`; each at the instant at which it arrived then."""
        while self._recording.frames:
            record = self._recording.frames[0]
            await self._clock.sleep_until(record["arrived_ns"])
            self._recording.frames.popleft()  # not before: who is cancelled while it is on its way loses none
            stored = self._pictures.find(record) if self._pictures is not None else None
            if stored is None:
                # Of the right shape and type, and of no size in memory.
                counts: Picture = np.broadcast_to(
                    np.zeros((), self._pixel_of(record)), record.get("shape", self.facts.shape)
                )
                crc = record["crc"]
            else:
                counts, crc = stored.astype(stored.dtype.newbyteorder(self._pixel.byteorder), copy=False), None
            yield Frame(counts, record["number"], record["start_ns"], record["end_ns"], crc)
        try:
            await self._recording.end_of_frames()
        except StopAsyncIteration:  # no generator may raise it: the series ended, and so does this
            return

    def _pixel_of(self, record: Record) -> "np.dtype[Any]":
        """The type of a frame: as all have it, but for one that was refused for its type."""
        name = str(record.get("dtype", ""))
        return np.dtype(name) if REFUSED_TYPE.fullmatch(name) else self._pixel

    async def disarm(self) -> None:
        """See `Detector.disarm`."""
        if self._pictures is not None:
            self._pictures.close()
        await self._recording.answer("detector.disarm")


def recorded_microscope(
    clock: Clock, told: Mapping[str, Any], records: Sequence[Record], folder: Path | None = None
) -> Microscope:
    """The instrument of a trace whose header told its facts, of the parts that it had; with the pictures of a run
    folder.

    Raises DataError when these are no facts.
    """
    known = Facts.of(told)
    recording = Recording(clock, records)
    parts: dict[str, Any] = {"stage": None, "beam": RecordedBeam(recording), "optics": None, "detector": None}
    if known.stage is not None:
        parts["stage"] = RecordedStage(recording, known.stage)
    if known.optics is not None:
        parts["optics"] = RecordedOptics(recording, known.optics)
    if (detector := known.detector) is not None:
        stored = StoredPictures(folder) if folder is not None else None
        if stored is not None and stored.dtype and told["detector"].get("dtype") is None:
            detector = replace(detector, dtype=stored.dtype)  # before types were declared
        parts["detector"] = RecordedDetector(clock, recording, detector, stored)
    return Microscope(**parts, geometry=known.geometry, timing=known.timing)
