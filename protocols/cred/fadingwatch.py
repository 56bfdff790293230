"""Diffraction frames of a tracked run that fade between two snapshots: said once, and the next snapshot comes sooner.

What is scattered is measured by the computation that looks at frames anyway (`engine.run.framewatch`), in its worker,
while the next frame is exposed; what it tells is judged by `protocols.tracking.fading`.
"""

from typing import TYPE_CHECKING

from drivers.facts import Geometry
from engine.record.jsonobject import JsonObject
from protocols.cred.records import DIFFRACTION
from protocols.cred.snapshotslots import NextSnapshot
from protocols.tracking.fading import BEFORE, LAST, Intensity, fading

if TYPE_CHECKING:
    from engine.run.run import Run

FADING = "fading"
"""The event of a run that says in words what frames show. index: in the spool, of the last of them."""


class FadingWatch:
    """Of one run. exposure_s: of its frames."""

    def __init__(self, run: "Run", next_snapshot: NextSnapshot, geometry: Geometry, exposure_s: float) -> None:
        self._run, self._next = run, next_snapshot
        self._frames: list[Intensity] = []
        self._fades = self._said = False
        arguments = {"beam_px": [geometry.beam_fast_px, geometry.beam_slow_px], "exposure_s": exposure_s}
        run.data.watch.measure(DIFFRACTION.name, "protocols.tracking.fading:measured", arguments, self._measured)

    def _measured(self, index: int, told: JsonObject) -> None:
        self._frames = [*self._frames, Intensity(told["beam"], told["scattered"])][-LAST - BEFORE :]
        words = fading(self._frames)
        if words is not None and not self._fades:
            self._run.trace.record("tracking", FADING, index=index, text=words)
            self._next.sooner("frames fade")
            if not self._said:
                self._said = True
                self._run.trace.record("note", "operator", text=f"Tracking: {words}.")
        self._fades = words is not None
