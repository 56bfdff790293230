"""The frames of an armed camera, one after the other, each looked at before it is kept.

A protocol arms its camera, makes a `Series` of it, and takes each frame from there. A camera that delivers another
frame than the one that was begun cannot be trusted any further: that frame is named in the trace and not kept.
"""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol

from engine.clock import NS_PER_S
from engine.errors import DeviceError, DeviceLost
from engine.frame import Frame, is_picture_type, picture_type, same_type
from engine.record.framekinds import TYPE_SEEN
from engine.record.spoolformat import Columns

if TYPE_CHECKING:
    import numpy as np

    from engine.run.run import Run

FRAME_OVERDUE_S = 5.0
"""So long after the end of its exposure a frame is waited for."""


class Camera(Protocol):
    """A detector (`drivers.contract.Detector`) as far as its series goes."""

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        ...

    @property
    def dtype(self) -> str:
        """Type of the counts; empty where nobody knows."""
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
        self._pixel = picture_type(camera.dtype)
        self._begun = 0

    async def start(self, exposure_s: float) -> int:
        """Begin an exposure; the instant in ns at which it began. Takes and raises as `Detector.start`."""
        start_ns = await self._camera.start(exposure_s)
        self._begun += 1
        return start_ns

    async def frame(self, exposure_s: float, columns: Columns | None = None) -> Frame:
        """The frame of the exposure under way. columns: what its record in the trace says of it if it is refused.

        Raises DeviceLost when none comes within 5 s after its exposure, DeviceError for one of another number, shape or
        type than was to come: it was not kept.
        """
        try:
            frame = await self._run.gate.next_item("detector.frames", self._frames, exposure_s + FRAME_OVERDUE_S)
        except (TimeoutError, StopAsyncIteration) as error:
            raise DeviceLost(
                f"detector: no frame {FRAME_OVERDUE_S:g} s after its exposure; it is lost, all before are kept. "
                "Check the camera's own software."
            ) from error
        wrong = dtype = ""
        if frame.number != self._begun - 1:
            came, belongs = frame.number + 1, self._begun
            wrong = f"picture {came} of its series came where {belongs} belongs, so one was lost or doubled"
        elif frame.counts.shape != self._camera.shape:
            wrong = f"a frame of {frame.counts.shape} pixels came where {self._camera.shape} belong"
        elif misfit := self._wrong_type(frame.counts.dtype):
            wrong, dtype = misfit, frame.counts.dtype.str
        if wrong:
            self._run.data.refuse(
                frame, wrong, arrived_ns=self._run.timeline.now_ns, columns=columns or {}, dtype=dtype
            )
            raise DeviceError(f"detector: {wrong}; it was not kept, all before are. Check the camera's own software.")
        return frame

    def _wrong_type(self, came: "np.dtype[Any]") -> str:
        """What is wrong with the type of a frame; settled by the first one where the camera had declared nothing."""
        if self._pixel is None and is_picture_type(came):
            self._pixel = came
            self._run.trace.record("note", TYPE_SEEN, dtype=came.str)
        if self._pixel is None:
            return f"its counts are {came.name}, and only integers of up to 64 bits and float32 can be kept"
        if same_type(came, self._pixel):
            return ""
        who = "it declared" if self._camera.dtype else "its first frame had"
        return f"a frame of {came.name} counts came where {who} {self._pixel.name}"

    async def close(self) -> None:
        """Let the camera's frames go, for a second at most: one that clings to its frame costs no data."""
        if isinstance(self._frames, AsyncGenerator):
            clock = self._run.clock
            with suppress(Exception):
                async with clock.timeout_at(clock.now_ns() + NS_PER_S):
                    await self._frames.aclose()
