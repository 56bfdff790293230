"""Exposures of a serial run: the beam on for each alone, and a camera that lost one armed anew.

The beam is unblanked so that it is on when everything stands, and blanked at the end of the exposure, while the camera
reads out: where the camera tells when it exposes. Of another one the frame is waited for.
"""

from collections.abc import Awaitable, Callable, Sequence

from drivers.contract import Beam, Detector
from engine.clock import ns
from engine.errors import DeviceError
from engine.frame import Frame
from engine.record.spoolformat import Columns
from engine.run.run import Run
from engine.run.series import Series

EXACT_NS = 5_000_000
"""A camera whose exposures are known to begin within this is taken at its word."""
TRIES = 2
MOST_LOST = 4
"""So many exposures in a row without a frame: the camera cannot be worked with."""


class Exposures:
    """The camera of a run, armed for these exposures, and the beam. lost: exposures that gave no frame."""

    def __init__(self, run: Run, beam: Beam, detector: Detector, exposures_s: Sequence[float], call_s: float) -> None:
        self._run, self._beam, self._detector = run, beam, detector
        self._exposures_s = tuple(dict.fromkeys(exposures_s))
        self._call_ns = ns(call_s)
        self._series: Series | None = None
        self._exact = False
        self._lost_in_a_row = 0
        self.lost = 0

    async def arm(self) -> None:
        """Anew, whatever was under way. Raises DeviceError."""
        await self._detector.disarm()
        await self._detector.arm(self._exposures_s)
        self._series = Series(self._run, self._detector)

    async def take(
        self,
        kind: str,
        exposure_s: float,
        columns: dict[str, int | float | str | None],
        stands_ns: int,
        during: Callable[[], Awaitable[None]] | None = None,
    ) -> int | None:
        """Expose when everything stands, at `stands_ns` or now; the frame's index in the spool, None where it was lost.

        during: calls that are made during the exposure, when nobody else needs the interface; may add to `columns`.

        A frame that does not come, or is another one, is tried once more. The beam is blanked in any case. Raises
        DeviceError when the camera gives none at all.
        """
        for _ in range(TRIES):
            try:
                frame = await self._expose(exposure_s, columns, stands_ns, during)
            except DeviceError as error:
                await self._beam.blank()
                self.lost += 1
                self._lost_in_a_row += 1
                if self._lost_in_a_row >= MOST_LOST:
                    raise
                self._run.trace.record("note", "operator", text=f"{error} The camera is armed anew.")
                await self.arm()
                continue
            self._lost_in_a_row = 0
            await self._given.keep(kind, frame, columns)
            return self._run.data.last[0]
        return None

    @property
    def _given(self) -> Series:
        if self._series is None:
            raise DeviceError("detector: not armed; no exposure was made.")
        return self._series

    async def _until(self, name: str, instant_ns: int) -> None:
        """Wait, where it is not over."""
        if instant_ns > self._run.timeline.now_ns:
            await self._run.timeline.wait(name, instant_ns, precise=True)

    async def _expose(
        self, exposure_s: float, columns: Columns, stands_ns: int, during: Callable[[], Awaitable[None]] | None
    ) -> Frame:
        series = self._given
        await self._until("unblank", stands_ns - self._call_ns)
        await self._beam.unblank()
        await self._until("stands", stands_ns)
        start_ns = await series.start(exposure_s)
        if during is not None:
            await during()
        if self._exact:
            await self._until("exposed", start_ns + ns(exposure_s))
            await self._beam.blank()
            return await series.frame(exposure_s, columns)
        frame = await series.frame(exposure_s, columns)
        await self._beam.blank()
        begin, end = frame.start_bounds_ns, frame.end_bounds_ns
        self._exact = self._detector.facts.paced is None and max(begin[1] - begin[0], end[1] - end[0]) <= EXACT_NS
        return frame
