"""A microscope that answers as a recorded one did: the same results, after the same time.

`describe` notes in a trace's header what a plan asks of an instrument; `RecordedMicroscope` is made from that and
from the trace's calls and frames. Calls are answered in the order in which they were recorded, each at the instant at
which it was answered then. A call that was not recorded, or with other arguments, raises `NotRecorded`.
"""

import asyncio
import builtins
import re
from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field, ValidationError

from drivers.contract import Detector, Exposure, Geometry, Microscope, Reading, Timing
from engine import errors
from engine.clock import Clock
from engine.errors import DataError, DeviceError, shown
from engine.frame import Frame, Picture, picture_type
from engine.record.framekinds import TYPE_SEEN
from engine.record.frametable import FramesFile
from engine.record.trace import Record, ends_early, jsonable

NEVER_NS = 2**62
DEG_BELIEVED = 1e6
REFUSED_TYPE = re.compile(r"[<>|](b1|[iu][1248]|f(2|4|8|16)|c(8|16|32))")
SAME_S = 1e-9


Finite = Annotated[float, Field(allow_inf_nan=False)]
Seconds = Annotated[float, Field(ge=0, le=1e6, allow_inf_nan=False)]
Pixels = Annotated[int, Field(ge=1, le=100_000)]


class NotRecorded(DeviceError):
    """The program asked the instrument for something that the recorded run did not ask for at this point."""


def describe(microscope: Microscope, exposures_s: Sequence[float], lens_change: int) -> dict[str, Any]:
    """What the parts of an instrument tell without a call, those that are there: for the header of a trace.

    exposures_s, lens_change: those that the plan makes, for cycle and settling may depend on them.
    """
    told: dict[str, Any] = {"geometry": asdict(microscope.geometry), "timing": asdict(microscope.timing)}
    if (stage := microscope.stage) is not None:
        told["stage"] = {"limits_deg": list(stage.limits_deg), "backlash_deg": stage.backlash_deg}
    if (optics := microscope.optics) is not None:
        told["optics"] = {"settling_s": optics.settling_s(lens_change)}
    if (detector := microscope.detector) is not None:
        told["detector"] = _describe_detector(detector, exposures_s)
    return told


def _describe_detector(detector: Detector, exposures_s: Sequence[float]) -> dict[str, Any]:
    dead_times_s = [(exposure_s, detector.cycle_s(exposure_s) - exposure_s) for exposure_s in exposures_s]
    dead_time_s = dead_times_s[0][1]
    others = [list(each) for each in dead_times_s if abs(each[1] - dead_time_s) > SAME_S]
    return {
        "shape": list(detector.shape),
        "dtype": detector.dtype,
        "saturation": detector.saturation,
        "wide_cross": detector.wide_cross,
        "has_pictures": detector.has_pictures,
        "flatfield": detector.flatfield is not None,
        "exposure_limits_s": list(detector.exposure_limits_s),
        "dead_time_s": dead_time_s,
        **({"dead_times_s": others} if others else {}),
    }


class StageFacts(BaseModel):
    """What a plan needs to know of a stage."""

    limits_deg: tuple[Finite, Finite]
    backlash_deg: Finite


class OpticsFacts(BaseModel):
    """What a plan needs to know of the lens: its settling after the plan's change."""

    settling_s: Seconds


class DetectorFacts(BaseModel):
    """What a plan needs to know of a camera. dead_times_s: exposures whose dead time is another, each with its own."""

    shape: tuple[Pixels, Pixels]
    dtype: Annotated[str, Field(pattern=r"^([<>|]([iu][1248]|f4))?$")] | None = None
    """`Detector.dtype`; None in a trace of a version that did not record it."""
    saturation: int
    wide_cross: bool
    flatfield: bool = False
    exposure_limits_s: tuple[Seconds, Seconds]
    dead_time_s: Seconds
    dead_times_s: tuple[tuple[Seconds, Seconds], ...] = ()

    def cycle_s(self, exposure_s: float) -> float:
        """From one start to the next, for an exposure of the plan."""
        others = (dead_s for each_s, dead_s in self.dead_times_s if each_s == exposure_s)
        return exposure_s + next(others, self.dead_time_s)


class TimingFacts(BaseModel):
    """The fields of `Timing`."""

    api_call_s: Seconds
    api_call_worst_s: Seconds
    stage_read_s: Seconds


class InstrumentFacts(BaseModel):
    """What `describe` wrote, read again from a header; None for a part that was not there. Fields that a later version
    adds are let through.
    """

    geometry: Geometry
    timing: TimingFacts
    stage: StageFacts | None = None
    optics: OpticsFacts | None = None
    detector: DetectorFacts | None = None

    @classmethod
    def of(cls, facts: Mapping[str, Any]) -> "InstrumentFacts":
        """The facts, checked. Raises DataError for a header that was damaged, or tells too little."""
        try:
            return cls.model_validate(facts)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(("instrument", *(str(part) for part in first["loc"])))
            raise DataError(
                f"trace: its header does not describe an instrument ({where}: {first['msg']}), so nothing can answer "
                "for it; nothing was changed. Take a copy of the trace from elsewhere if there is one."
            ) from error


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
        self._rows: dict[tuple[str, str, int], int] = {}
        """The rows of frames.h5 by kind, and place in the spool or slot: files of schema 1 may not know the former."""
        if (folder / "frames.h5").exists():
            try:
                self._file = FramesFile(folder / "frames.h5")
                for kind in self._file.kinds:
                    table = self._file.table(kind)
                    for column in {"index", "slot"}.intersection(table.dtype.names or ()):
                        self._rows.update({(kind, column, int(n)): row for row, n in enumerate(table[column])})
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
            raise self._damaged(f"the picture of {record['name']} {record['number']}", error) from error

    def _read(self, record: Record) -> Picture | None:
        row = self._rows.get((record["name"], "index", record["index"]))
        if row is None and record.get("slot") is not None:
            row = self._rows.get((record["name"], "slot", record["slot"]))
        if record["name"] == "snapshot" and row is None:  # as in a file of schema 1
            path = self._folder / "snapshots" / f"{record.get('slot') or 0:05d}.tiff"
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
        self.limits_deg = facts.limits_deg
        self.backlash_deg = facts.backlash_deg

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
        self._settling_s = facts.settling_s

    async def focus(self) -> int:
        """See `Optics.focus`."""
        return recorded_integer(await self._recording.call("optics.focus"))

    async def set_focus(self, value: int) -> None:
        """See `Optics.set_focus`."""
        await self._recording.answer("optics.set_focus", value)

    def settling_s(self, defocus: int) -> float:
        """See `Optics.settling_s`; what it was for the recorded run's defocus."""
        return self._settling_s


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
        self.dtype = facts.dtype or ""
        if facts.dtype is None:  # before types were declared
            self.dtype = (pictures.dtype if pictures is not None else "") or "<u2"
        self._pixel = picture_type(self.dtype or recording.dtype) or np.dtype(np.uint16)
        self.shape = facts.shape
        self.exposure_limits_s = facts.exposure_limits_s
        self.saturation = facts.saturation
        self.wide_cross = facts.wide_cross
        self.has_pictures = False
        self.flatfield: NDArray[np.float32] | None = np.ones((1, 1), np.float32) if facts.flatfield else None
        self._facts = facts

    def cycle_s(self, exposure_s: float) -> float:
        """See `Detector.cycle_s`."""
        return self._facts.cycle_s(exposure_s)

    async def arm(self, exposure: Exposure) -> None:
        """See `Detector.arm`."""
        await self._recording.answer("detector.arm", exposure)

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
                counts: Picture = np.broadcast_to(np.zeros((), self._pixel_of(record)), record.get("shape", self.shape))
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
    clock: Clock, facts: Mapping[str, Any], records: Sequence[Record], folder: Path | None = None
) -> Microscope:
    """The instrument of a trace whose header holds `facts` (from `describe`), of the parts that it had; with the
    pictures of a run folder.

    Raises DataError when these are no such facts.
    """
    known = InstrumentFacts.of(facts)
    recording = Recording(clock, records)
    parts: dict[str, Any] = {"stage": None, "beam": RecordedBeam(recording), "optics": None, "detector": None}
    if known.stage is not None:
        parts["stage"] = RecordedStage(recording, known.stage)
    if known.optics is not None:
        parts["optics"] = RecordedOptics(recording, known.optics)
    if known.detector is not None:
        stored = StoredPictures(folder) if folder is not None else None
        parts["detector"] = RecordedDetector(clock, recording, known.detector, stored)
    return Microscope(**parts, geometry=known.geometry, timing=Timing(**known.timing.model_dump()))
