"""The frames of an armed camera, one after the other, each looked at before it is kept.

A protocol arms its camera, makes a `Series` of it, and takes each frame from there. A camera that delivers another
frame than the one that was begun cannot be trusted any further. Every frame that came is named in the trace, kept or
not, for a replay needs it again.
"""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

from engine.clock import NS_PER_S
from engine.errors import DeviceError, DeviceLost
from engine.frame import Frame, PixelType, is_picture_type, picture_type, same_type
from engine.record.framekinds import TYPE_SEEN
from engine.record.spoolformat import Columns
from engine.run import framewatch

if TYPE_CHECKING:
    from engine.run.run import Run

FRAME_OVERDUE_S = 5.0
"""So long after the end of its exposure a frame is waited for."""


class CameraFacts(framewatch.CameraFacts, Protocol):
    """What is known of a detector (`drivers.facts.DetectorFacts`), as far as its series goes."""

    @property
    def shape(self) -> tuple[int, int] | None:
        """Rows and columns, of a detector that is connected."""
        ...

    @property
    def dtype(self) -> str:
        """Type of the counts; empty where nobody knows."""
        ...


class Camera(Protocol):
    """A detector (`drivers.contract.Detector`) as far as its series goes."""

    @property
    def facts(self) -> CameraFacts:
        """What is known of it."""
        ...

    async def start(self, exposure_s: float) -> int:
        """Begin an exposure."""
        ...

    def frames(self) -> AsyncIterator[Frame]:
        """The frames of the series."""
        ...


class Series:
    """One series of a camera, behind the gate of its run and armed."""

    def __init__(self, run: "Run", camera: Camera) -> None:
        self._run = run
        self._camera = camera
        self._frames = camera.frames()
        self._facts = camera.facts  # once: each frame is looked at before the next one begins
        self._pixel = picture_type(self._facts.dtype)
        self._begun = 0
        self._exposure_s = 0.0
        self._in_hand: tuple[Frame, int, Columns] | None = None
        run.closing.append(self.close)

    async def start(self, exposure_s: float) -> int:
        """Begin an exposure; the instant in ns at which it began. Takes and raises as `Detector.start`."""
        start_ns = await self._camera.start(exposure_s)
        self._begun += 1
        return start_ns

    async def frame(self, exposure_s: float, columns: Columns | None = None) -> Frame:
        """The frame of the exposure under way, to be kept before the next one is asked for.

        columns: what the trace says of it if it is not kept. Raises DeviceLost when none comes within 5 s after its
        exposure, DeviceError for one of another number, shape or type than was to come: it was not kept.
        """
        self._refuse("the next one was asked for")
        self._exposure_s = exposure_s
        try:
            frame = await self._run.gate.next_item("detector.frames", self._frames, exposure_s + FRAME_OVERDUE_S)
        except (TimeoutError, StopAsyncIteration) as error:
            raise DeviceLost(
                f"detector: no frame {FRAME_OVERDUE_S:g} s after its exposure; it is lost, all before are kept. "
                "Check the camera's own software."
            ) from error
        self._in_hand = (frame, self._run.timeline.now_ns, columns or {})
        wrong = dtype = ""
        if frame.number != self._begun - 1:
            came, belongs = frame.number + 1, self._begun
            wrong = f"picture {came} of its series came where {belongs} belongs, so one was lost or doubled"
        elif frame.counts.shape != self._facts.shape:
            wrong = f"a frame of {frame.counts.shape} pixels came where {self._facts.shape} belong"
        elif misfit := self._wrong_type(frame.counts.dtype):
            wrong, dtype = misfit, frame.counts.dtype.str
        if wrong:
            self._refuse(wrong, dtype)
            raise DeviceError(f"detector: {wrong}; it was not kept, all before are. Check the camera's own software.")
        return frame

    async def keep(self, kind: str, frame: Frame, columns: Columns | None = None) -> bool:
        """Give the last frame to the disk; takes, returns and raises as `RunData.keep`. Who is cancelled while the disk
        is behind may try again in `Experiment.when_safe`.
        """
        if self._in_hand is None or self._in_hand[0] is not frame:
            raise ValueError("only the last frame of a series can be kept, and once")
        data = self._run.data
        kept = await data.keep(kind, frame, arrived_ns=self._in_hand[1], columns=columns)
        self._in_hand = None
        if kept:
            data.watch.kept(kind, frame, *data.last, self._exposure_s, self._facts)
        return kept

    def show(self, kind: str, frame: Frame, columns: Columns | None = None) -> None:
        """Let go of the last frame, which whoever watches may see until the next one comes (`RunData.show`)."""
        if self._in_hand is None or self._in_hand[0] is not frame:
            raise ValueError("only the last frame of a series can be shown, and once")
        arrived_ns, self._in_hand = self._in_hand[1], None
        self._run.data.show(kind, frame, arrived_ns=arrived_ns, columns=columns)

    def discard(self, why: str) -> None:
        """Let go of the last frame, which was taken for another reason than to be kept; the trace names it and why."""
        self._refuse(why)

    def _refuse(self, why: str, dtype: str = "") -> None:
        """Say of the frame in hand, if there is one, that it is not kept."""
        if self._in_hand is not None:
            (frame, arrived_ns, columns), self._in_hand = self._in_hand, None
            self._run.data.refuse(frame, why, arrived_ns=arrived_ns, columns=columns, dtype=dtype)

    def _wrong_type(self, came: PixelType) -> str:
        """What is wrong with the type of a frame; settled by the first one where the camera had declared nothing."""
        if self._pixel is None and is_picture_type(came):
            self._pixel = came
            self._run.trace.record("note", TYPE_SEEN, dtype=came.str)
        if self._pixel is None:
            return f"its counts are {came.name}, and only integers of up to 64 bits and float32 can be kept"
        if same_type(came, self._pixel):
            return ""
        who = "it declared" if self._facts.dtype else "its first frame had"
        return f"a frame of {came.name} counts came where {who} {self._pixel.name}"

    async def close(self) -> None:
        """Let the camera's frames go; the run does it once the instrument is safe.

        Takes a second at most: a camera that clings to its frame costs no data.
        """
        self._refuse("the run ended before it was kept")
        if isinstance(self._frames, AsyncGenerator):
            clock = self._run.clock
            with suppress(Exception):
                async with clock.timeout_at(clock.now_ns() + NS_PER_S):
                    await self._frames.aclose()
