"""The simulated Timepix: exposure, 8 ms readout and 3-4 ms overhead a frame, one frame at a time."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from drivers.facts import DetectorFacts
from drivers.selfpaced.framequeue import FrameQueue, frames_of
from drivers.simulated.latency import generator
from drivers.simulated.shots import Shot, Studio
from engine.clock import Clock, ns
from engine.errors import DeviceBusy, DeviceError, Refused, shown
from engine.frame import Frame, Picture, picture_type


@dataclass(frozen=True, slots=True)
class DetectorSettings:
    """Times of the camera, from Cichocka et al. (2018): 8 ms readout, "approximately 3-4 ms" overhead.

    slow_first_s: extra time of the first frames after arming, as users report of some detectors; empty = none.
    change_s: from a start until the shutter opens after an exposure of another length, which the frame's bounds say;
        declared_change_s is what the camera says of it beforehand.
    tells_instants: whether it says when it exposed; else only between which instants, as of a camera that is asked and
        answers: from the question on, and until the answer.
    dtype: of the counts, as numpy writes it ("<u2"); what does not fit into whole numbers is clipped.
    """

    readout_s: float = 0.008
    overhead_s: tuple[float, float] = (0.003, 0.004)
    arm_s: float = 0.15
    exposure_limits_s: tuple[float, float] = (0.001, 10.0)
    slow_first_s: tuple[float, ...] = ()
    dtype: str = "<u2"
    change_s: float = 0.0
    declared_change_s: float = 0.0
    tells_instants: bool = True

    def facts(
        self, shape: tuple[int, int], saturation: int, wide_cross: bool, has_pictures: bool, flatfield: bool
    ) -> DetectorFacts:
        """See `Detector.facts`. Raises Refused for a type that is none of counts."""
        pixel = picture_type(self.dtype)
        if pixel is None:
            raise Refused(
                f"devices: [detector] dtype = {shown(repr(self.dtype))} is no type of counts; nothing was started. "
                "Write one as numpy does: '<u2', '>i4', '|i1', '<f4'."
            )
        return DetectorFacts(
            shape,
            self.dtype,
            saturation if pixel.kind == "f" else min(saturation, int(np.iinfo(pixel).max)),
            self.exposure_limits_s,
            self.readout_s,
            self.overhead_s[1],
            wide_cross,
            has_pictures,
            flatfield,
            dark_counts=0.0 if has_pictures else None,
            change_s=self.declared_change_s,
        )


class Timepix:
    """Implements `drivers.contract.Detector`.

    look: makes the shot of an exposure from (number, begin_ns, end_ns, exposure_s), asking stage, lens and blanker.
    look_ahead: what it will most likely be, asked when the shutter opens; None where nobody can tell.
    """

    def __init__(
        self,
        clock: Clock,
        seed: int,
        settings: DetectorSettings,
        studio: Studio,
        look: Callable[[int, int, int, float], Shot],
        shape: tuple[int, int],
        saturation: int,
        wide_cross: bool,
        flatfield: NDArray[np.float32] | None,
        has_pictures: bool = True,
        look_ahead: Callable[[int, int, int, float], Shot | None] = lambda *_: None,
    ) -> None:
        self.facts = settings.facts(shape, saturation, wide_cross, has_pictures, flatfield is not None)
        self.flatfield = flatfield
        self._clock = clock
        self._settings = settings
        self._studio = studio
        self._look, self._look_ahead = look, look_ahead
        self._pixel = np.dtype(settings.dtype)
        self._rng = generator(seed, "detector")
        self._number = 0
        self._set_to_s = 0.0
        self._change_ns = 0
        self._held_ns = self._next_held_ns = 0
        self.read_out: list[tuple[int, int]] = []
        """Begin and end of every exposure that became a frame, for the truth."""
        self.write_hidden: Callable[[Path], None] = lambda path: None
        """Writes what the camera hides, for the truth."""
        self._queue: FrameQueue | None = None
        self._exposing: asyncio.Task[None] | None = None

    async def arm(self, exposures_s: Sequence[float]) -> None:
        """See `Detector.arm`."""
        self._check(exposures_s, "not armed")
        await self.disarm()
        await self._studio.open()
        await self._clock.sleep_s(self._settings.arm_s)
        self._number = 0
        self._queue = asyncio.Queue()

    async def start(self, exposure_s: float) -> int:
        """See `Detector.start`."""
        if self._queue is None:
            raise DeviceError("detector: not armed; no exposure was made. Arm it first.")
        self._check((exposure_s,), "nothing was exposed")
        if self._exposing is not None and not self._exposing.done():
            raise DeviceBusy("detector: an exposure is under way; no new one was begun. Wait for its frame.")
        begin_ns = self._clock.now_ns()
        self._change_ns = ns(self._settings.change_s) if self._set_to_s not in (0.0, exposure_s) else 0
        self._held_ns, self._next_held_ns = self._next_held_ns, 0
        self._exposing = asyncio.get_running_loop().create_task(
            self._expose(self._queue, self._number, begin_ns, exposure_s), name="detector exposure"
        )
        self._number += 1
        self._set_to_s = exposure_s
        return begin_ns

    def hold_shutter(self, seconds: float) -> None:
        """See `Truth.hold_shutter`."""
        self._next_held_ns = ns(seconds)

    def hide(self, write_hidden: Callable[[Path], None]) -> None:
        """From now on its response is known to the truth alone. write_hidden: writes that."""
        self.flatfield, self.facts = None, replace(self.facts, flatfield=False)
        self.write_hidden = write_hidden

    def _check(self, exposures_s: Sequence[float], state: str) -> None:
        if why := self.facts.cannot_expose(exposures_s):
            raise DeviceError(f"detector: {why}; {state}. Choose another exposure.")

    async def _expose(self, queue: FrameQueue, number: int, told_ns: int, exposure_s: float) -> None:
        begin_ns = told_ns + self._change_ns + self._held_ns
        end_ns = begin_ns + ns(exposure_s)
        ready_s = self._settings.readout_s + float(self._rng.uniform(*self._settings.overhead_s))
        if number < len(self._settings.slow_first_s):
            ready_s += self._settings.slow_first_s[number]
        ready_ns = end_ns + ns(ready_s)
        try:
            if self._clock.is_virtual:
                if (likely := self._look_ahead(number, begin_ns, end_ns, exposure_s)) is not None:
                    self._studio.foresee(likely)
                # The beam may be blanked meanwhile, so what the picture is shows when its time has passed.
                await self._clock.sleep_until(ready_ns)
                counts = await self._studio.picture(self._look(number, begin_ns, end_ns, exposure_s))
            else:
                counts = await self._studio.picture(self._look(number, begin_ns, end_ns, exposure_s))
                await self._clock.sleep_until(ready_ns, precise=True)
            self.read_out.append((begin_ns, end_ns))
            told_end_ns = told_ns + ns(exposure_s)
            open_ns = self._change_ns if self._settings.tells_instants else self._clock.now_ns() - told_end_ns
            queue.put_nowait(
                Frame(
                    self._as_declared(counts),
                    number,
                    told_ns,
                    told_end_ns,
                    start_bounds_ns=(told_ns, told_ns + open_ns),
                    end_bounds_ns=(told_end_ns, told_end_ns + open_ns),
                )
            )
        except Exception as error:
            queue.put_nowait(error)

    def _as_declared(self, counts: NDArray[np.uint16]) -> Picture:
        if self._pixel == counts.dtype:
            return counts
        fitting = counts if self._pixel.kind == "f" else np.minimum(counts, min(65535, int(np.iinfo(self._pixel).max)))
        return fitting.astype(self._pixel)

    def frames(self) -> AsyncIterator[Frame]:
        """See `Detector.frames`."""
        return frames_of(self._queue)  # of the one armed now, also if it is disarmed before the first is taken

    async def disarm(self) -> None:
        """See `Detector.disarm`."""
        if self._exposing is not None:
            self._exposing.cancel()
            await asyncio.wait([self._exposing])
            self._exposing = None
        if self._queue is not None:
            self._queue.put_nowait(None)
            self._queue = None

    def close(self) -> None:
        """Let the picture process go."""
        self._studio.close()
