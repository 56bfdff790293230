"""A microscope made from a recorded run, with other latencies: it answers, but takes another time over it.

Where `drivers.replayed.microscope` repeats a run exactly, this one can be asked things in another order or number: the
stage goes where the recorded readings say it went, calls take recorded, scaled, fixed or resampled times.
"""

import asyncio
import zlib
from collections import deque
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass
from itertools import count
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drivers.contract import Microscope, Reading
from drivers.facts import DetectorFacts, Facts, OpticsFacts, StageFacts, Timing
from drivers.plausible import CALL
from drivers.replayed.unmodelled import unmodelled_parts
from drivers.replayed.values import recorded_as
from engine.clock import NS_PER_S, Clock, ns
from engine.errors import DeviceError, Refused
from engine.frame import Frame
from engine.record.trace import Record

LONGEST_BARE_S = CALL.possible[1]
"""A longer time is only taken with its unit."""
TEM_DEVICES = ("stage", "beam", "optics")


@dataclass(frozen=True, slots=True)
class Latency:
    """How long calls take: `fixed_s`, or the recorded times in their order times `scale`, or drawn from them.

    drawn_s: times of another trace to draw from instead.
    """

    fixed_s: float | None = None
    scale: float = 1.0
    resample: bool = False
    drawn_s: tuple[float, ...] = ()

    @classmethod
    def parse(cls, word: str) -> "Latency":
        """`60ms`, `0.06s` or `0.06` (fixed), `x1.5` (scaled), `resample`. Raises Refused for anything else, and for a
        number without a unit that no call takes in seconds.
        """
        try:
            if word == "resample":
                return cls(resample=True)
            if word.startswith("x"):
                scale = float(word[1:])
                return cls(scale=scale) if 0 < scale < 1e6 else cls._refuse(word)
            seconds = float(word[:-2]) / 1000 if word.endswith("ms") else float(word.removesuffix("s"))
        except ValueError:
            return cls._refuse(word)
        if not word.endswith("s") and seconds > LONGEST_BARE_S:
            raise Refused(f"latency {word!r}: that is {word} s; write {word}ms if ms were meant, else {word}s.")
        return cls(fixed_s=seconds) if 0 <= seconds < 3600 else cls._refuse(word)

    @staticmethod
    def _refuse(word: str) -> "Latency":
        raise Refused(f"latency {word!r}: write a time (60ms, 0.06s), a factor (x1.5) or 'resample'.")


def _seed(name: str) -> int:
    return zlib.crc32(name.encode("utf-8", "backslashreplace"))


class Latencies:
    """The times of all calls of a recorded run, as changed. Names are `device.method`, or `api_latency` for the TEM."""

    def __init__(self, records: Iterable[Record], changes: Mapping[str, Latency], seed: int) -> None:
        self._changes = changes
        self._seed = seed
        self._recorded: dict[str, list[float]] = {}
        for record in records:
            if record["kind"] == "call" and "error" not in record:
                took_s = (record["end_ns"] - record["begin_ns"]) / NS_PER_S
                self._recorded.setdefault(record["name"], []).append(took_s)
        self._next = {name: deque(times) for name, times in self._recorded.items()}
        self._rngs = {name: np.random.default_rng([seed, _seed(name)]) for name in self._recorded}
        for name in changes:
            if name != "api_latency" and name not in self._recorded:
                raise Refused(
                    f"--what-if {name}: the run has no such call; it has {', '.join(sorted(self._recorded))}."
                )

    def seconds(self, name: str) -> float:
        """How long the next call of this name takes."""
        change = self._changes.get(name)
        if change is None and name.split(".")[0] in TEM_DEVICES:
            change = self._changes.get("api_latency")
        if change is not None and change.fixed_s is not None:
            # A request to the operator is no call to the interface and takes none of its time.
            return 0.0 if name == "stage.release_to_pedal" else change.fixed_s
        times = self._recorded.get(name)
        if change is not None and change.drawn_s and name != "stage.release_to_pedal":
            rng = self._rngs.setdefault(name, np.random.default_rng([self._seed, _seed(name)]))
            return float(rng.choice(change.drawn_s))
        if not times:
            return 0.0
        following = self._next[name]
        if following and not (change and change.resample):
            taken = following.popleft()
        else:
            taken = float(self._rngs[name].choice(times))
        return taken * (change.scale if change else 1.0)


class Course:
    """Where the stage was, from the recorded readings: one stretch of readings for each motion that was asked for."""

    def __init__(self, records: Iterable[Record]) -> None:
        self._stretches: list[tuple[int, list[tuple[int, float]]]] = [(0, [])]
        self._stands_deg: float | None = None
        stopped = False
        for record in records:
            if record["kind"] != "call" or "error" in record:
                continue
            if record["name"] == "stage.stop":
                stopped = len(self._stretches) > 1  # what is read from now on tells nothing of the motion
            elif record["name"] == "stage.angle" and not stopped:
                reading = recorded_as(record, Reading)
                middle_ns = (reading.t_before_ns + reading.t_after_ns) // 2
                self._stretches[-1][1].append((middle_ns, reading.value))
            elif record["name"] in ("stage.rotate", "stage.release_to_pedal"):
                rest = self._stretches[-1][1][-1:]
                self._stretches.append((record["end_ns"], [(record["end_ns"], angle) for _, angle in rest]))
                stopped = False
        readings = sum(len(points) for _, points in self._stretches)
        if len(self._stretches) > 1 and (readings < 2 or not self._stretches[0][1]):
            raise Refused("this run has fewer than two stage readings, so nobody knows where the stage was.")
        self._now = 0
        self._offset_ns = 0

    def begin(self, now_ns: int) -> None:
        """The next motion was asked for, at another time than in the recorded run."""
        self._stands_deg = None
        self._now = min(self._now + 1, len(self._stretches) - 1)
        self._offset_ns = now_ns - self._stretches[self._now][0]

    def stop(self, now_ns: int) -> None:
        """The motion was stopped: from now on it stands."""
        if self._stretches[self._now][1]:
            self._stands_deg = self.angle_deg(now_ns)

    def angle_deg(self, t_ns: int) -> float:
        """Angle at an instant; at rest before the first motion, and past the last reading it goes on as before it."""
        if self._stands_deg is not None:
            return self._stands_deg
        points = self._stretches[self._now][1]
        if not points:
            raise DeviceError("stage: the recorded run never read it, so nobody knows where it was; it did not move.")
        if self._now == 0 or len(points) < 2:
            return points[-1][1]
        times = [float(t) for t, _ in points]
        angles = [angle for _, angle in points]
        t = float(t_ns - self._offset_ns)
        if t > times[-1] and self._now == len(self._stretches) - 1:
            rate = (angles[-1] - angles[-2]) / max(times[-1] - times[-2], 1.0)
            return angles[-1] + rate * (t - times[-1])
        return float(np.interp(t, times, angles))


class _Interface:
    """One connection to the microscope: calls queue up, as they did when recorded."""

    def __init__(self, clock: Clock, latencies: Latencies) -> None:
        self.clock = clock
        self._latencies = latencies
        self._lock = asyncio.Lock()

    async def call(self, name: str) -> tuple[int, int]:
        """Take the time of one call; begin and end."""
        async with self._lock:
            begin_ns = self.clock.now_ns()
            await self.clock.sleep_s(self._latencies.seconds(name))
            return begin_ns, self.clock.now_ns()


class WhatIfStage:
    """Implements `drivers.contract.Stage`."""

    def __init__(self, interface: _Interface, course: Course, facts: StageFacts) -> None:
        self._interface = interface
        self._course = course
        self.facts = facts

    async def angle(self) -> Reading:
        """See `Stage.angle`."""
        begin_ns, end_ns = await self._interface.call("stage.angle")
        return Reading(self._course.angle_deg((begin_ns + end_ns) // 2), begin_ns, end_ns)

    async def rotate(self, target_deg: float, speed_deg_s: float) -> None:
        """See `Stage.rotate`."""
        await self._interface.call("stage.rotate")
        self._course.begin(self._interface.clock.now_ns())

    async def release_to_pedal(self, target_deg: float, speed_deg_s: float) -> None:
        """See `Stage.release_to_pedal`."""
        await self._interface.call("stage.release_to_pedal")
        self._course.begin(self._interface.clock.now_ns())

    async def stop(self) -> None:
        """See `Stage.stop`."""
        await self._interface.call("stage.stop")
        self._course.stop(self._interface.clock.now_ns())


class WhatIfBeam:
    """Implements `drivers.contract.Beam`."""

    def __init__(self, interface: _Interface, *, on: bool) -> None:
        self._interface = interface
        self._blanked = not on

    async def blank(self) -> None:
        """See `Beam.blank`."""
        await self._interface.call("beam.blank")
        self._blanked = True

    async def unblank(self) -> None:
        """See `Beam.unblank`."""
        await self._interface.call("beam.unblank")
        self._blanked = False

    async def is_blanked(self) -> bool:
        """See `Beam.is_blanked`."""
        await self._interface.call("beam.is_blanked")
        return self._blanked


class WhatIfOptics:
    """Implements `drivers.contract.Optics`."""

    def __init__(self, interface: _Interface, focus: int, facts: OpticsFacts) -> None:
        self._interface = interface
        self._focus = focus
        self.facts = facts

    async def focus(self) -> int:
        """See `Optics.focus`."""
        await self._interface.call("optics.focus")
        return self._focus

    async def set_focus(self, value: int) -> None:
        """See `Optics.set_focus`."""
        await self._interface.call("optics.set_focus")
        self._focus = value


class WhatIfDetector:
    """Implements `drivers.contract.Detector`: exposures as asked, readout and overhead as recorded, no pictures."""

    def __init__(
        self,
        clock: Clock,
        records: Iterable[Record],
        latencies: Latencies,
        facts: DetectorFacts,
        slower: float,
    ) -> None:
        self._clock = clock
        self._latencies = latencies
        self.facts = facts
        self.flatfield: NDArray[np.float32] | None = None
        frames = sorted((r for r in records if r["kind"] == "frame"), key=lambda frame: int(frame["arrived_ns"]))
        readouts = [frame["arrived_ns"] - frame["end_ns"] for frame in frames] or [ns(facts.dead_time_s)]
        self._recorded = [round(slower * readout) for readout in readouts]
        self._next = deque(self._recorded)
        self._queue: asyncio.Queue[tuple[int, int]] = asyncio.Queue()
        self._lead_ns = ns(facts.paced.lead_s) if facts.paced is not None else 0
        self._placeholder = np.broadcast_to(np.zeros((), facts.dtype or "<u2"), facts.known_shape)

    async def arm(self, exposures_s: Sequence[float]) -> None:
        """See `Detector.arm`."""
        await self._clock.sleep_s(self._latencies.seconds("detector.arm"))

    async def start(self, exposure_s: float) -> int:
        """See `Detector.start`."""
        if not self._queue.empty():
            raise DeviceError("detector: an exposure is under way; no new one was begun.")
        await self._clock.sleep_s(self._latencies.seconds("detector.start"))
        begin_ns = self._clock.now_ns() + self._lead_ns
        self._queue.put_nowait((begin_ns, begin_ns + ns(exposure_s)))
        return begin_ns

    async def part_begin_ns(self, at_ns: int) -> int:
        """See `PacedDetector.part_begin_ns`: whenever it is wanted, for which part would have begun nobody knows."""
        return at_ns

    async def frames(self) -> AsyncIterator[Frame]:
        """See `Detector.frames`. Each series counts from 0."""
        for number in count():
            begin_ns, end_ns = await self._queue.get()
            if not self._next:
                self._next.extend(self._recorded)
            await self._clock.sleep_until(end_ns + self._next.popleft())
            yield Frame(self._placeholder, number, begin_ns, end_ns)

    async def disarm(self) -> None:
        """See `Detector.disarm`."""
        await self._clock.sleep_s(self._latencies.seconds("detector.disarm"))


def what_if_microscope(
    clock: Clock,
    records: list[Record],
    changes: Mapping[str, Latency],
    *,
    settling_s: float | None,
    dead_time_s: float | None,
    beam_on: bool,
    seed: int,
) -> Microscope:
    """The instrument of a trace, of the parts that it had, with other latencies, settling time or camera dead time.

    Raises Refused for a run that called an optional part (`drivers.parts`): of these there is no model.
    """
    facts = Facts.of(records[0]["instrument"])
    parts: dict[str, Any] = dict(unmodelled_parts(facts, records))
    latencies = Latencies(records, changes, seed)
    interface = _Interface(clock, latencies)
    asked = (r for r in records if r["kind"] == "call" and r["name"] == "optics.focus" and "error" not in r)
    focus = next((recorded_as(call, int) for call in asked), 0)
    timing = facts.timing
    api = changes.get("api_latency")
    if api is not None and api.fixed_s is not None:
        timing = Timing(api.fixed_s, api.fixed_s, api.fixed_s)
    elif api is not None and api.drawn_s:
        median_s, worst_s = (float(value) for value in np.percentile(api.drawn_s, (50, 99.5)))
        timing = Timing(median_s, worst_s, median_s)
    elif api is not None:
        timing = Timing(*(seconds * api.scale for seconds in astuple(timing)))
    parts |= {"stage": None, "beam": WhatIfBeam(interface, on=beam_on), "optics": None, "detector": None}
    if facts.stage is not None:
        parts["stage"] = WhatIfStage(interface, Course(records), facts.stage)
    if facts.optics is not None:
        optics = facts.optics if settling_s is None else OpticsFacts(settling_s)
        parts["optics"] = WhatIfOptics(interface, focus, optics)
    if (detector := facts.detector) is not None:
        slower = 1.0
        if dead_time_s is not None:
            slower = dead_time_s / detector.dead_time_s if detector.dead_time_s else 1.0
            detector = detector.with_dead_time(dead_time_s)
        parts["detector"] = WhatIfDetector(clock, records, latencies, detector, slower)
    return Microscope(
        **parts,
        geometry=facts.geometry,
        timing=timing,
        origins=facts.origins,
        disagreements=facts.disagreements,
        calibration=facts.calibration,
        tracking=facts.tracking,
        images=facts.images,
    )
