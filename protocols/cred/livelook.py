"""The cell on the screen while the crystal turns: every few degrees a look at all frames so far, and one line of it.

A look is a computation (`engine.run.compute`) in a worker; no slot waits for it, and its outcome is in the trace, so a
replay says the same without pictures. What it decides, where the plan has `stop_at` or `stop_if`, is
`protocols.cred.livedecision`. Asked for where the plan says `live = true`, of a camera that makes pictures.
"""

import dataclasses
from typing import TYPE_CHECKING, Any

from drivers.facts import DetectorFacts, Geometry
from engine.errors import CredlineError
from engine.frame import Frame
from engine.run.compute import Computation, Verdict
from protocols.cred.livedecision import Decision, decide
from protocols.cred.plan import CredPlan
from protocols.cred.rotation.angles import RotationFit, fit_rotation
from protocols.cred.rotation.stagewatch import StageWatch
from protocols.live.words import line_of

if TYPE_CHECKING:
    from engine.run.run import Run

LOOK = Computation(
    "live", "protocols.live.computation:look_at", latency_s=1.5, limit_s=15.0, queue="newest", resolution=1e-7
)
EVERY_DEG = 3.0
MOST_FRAMES = 1200
"""So many stand in the arguments of a look at most; a longer run is not looked at any more."""
DIGITS = 4


class LiveLook:
    """Of one run. `flatfield`: its index in the spool, once it is there. `decision`: that the run is over, once a look
    has decided it.
    """

    def __init__(
        self, run: "Run", plan: CredPlan, watch: StageWatch, geometry: Geometry, camera: DetectorFacts
    ) -> None:
        self._run, self._plan, self._watch, self._geometry, self._camera = run, plan, watch, geometry, camera
        self.decision: Decision | None = None
        self.flatfield: int | None = None
        self._frames: list[tuple[int, int, int, int]] = []
        self._looked_deg = 0.0
        run.compute.declare(LOOK)

    def kept(self, slot: int, frame: Frame, exposure_s: float) -> None:
        """A diffraction frame went to the disk. Some 10 us, and 1 ms where a look is due."""
        index, _ = self._run.data.last
        self._frames.append((index, slot, frame.start_ns, frame.end_ns))
        fit = self._watch.recent_fit
        if fit is None or self._run.safety.is_begun or len(self._frames) > MOST_FRAMES:
            return
        turned_deg = abs(fit.angle_deg(frame.end_ns) - fit.angle_deg(self._frames[0][2]))
        if turned_deg < self._looked_deg + EVERY_DEG:
            return
        whole = fit_rotation(self._watch.readings, self._watch.rate_deg_s)
        if whole is None:
            return
        self._looked_deg = turned_deg
        self._run.in_background(self._look(self._arguments(whole, exposure_s)), f"look after {turned_deg:.1f} deg")

    def _arguments(self, fit: RotationFit, exposure_s: float) -> dict[str, Any]:
        rows = [
            [index, slot, round(fit.angle_deg(start_ns), DIGITS), round(fit.angle_deg(end_ns), DIGITS)]
            for index, slot, start_ns, end_ns in self._frames
        ]
        return {
            "frames": rows,
            "flatfield": self.flatfield,
            "geometry": dataclasses.asdict(self._geometry),
            "wide_cross": self._camera.wide_cross,
            "saturation": self._camera.saturation_of(exposure_s),
        }

    async def _look(self, arguments: dict[str, Any]) -> None:
        pictures = [row[0] for row in arguments["frames"]]
        if self.flatfield is not None:
            pictures.append(self.flatfield)
        try:
            outcome = await self._run.compute.compute(LOOK, arguments, pictures)
        except CredlineError:  # the disk has failed, which it says itself
            return
        if outcome.verdict is Verdict.REPLACED:
            return
        told: Any = outcome.result
        if outcome.good:
            self._told(told)
        else:
            self._say(f"no look at the crystal: {outcome.error}")

    def _told(self, told: dict[str, Any]) -> None:
        """Say it, and keep the first decision; the run ends by it with the frame under way or the next."""
        self._say(line_of(told).strip())
        if self.decision is None and (decision := decide(told, self._plan)) is not None:
            self.decision = decision
            self._run.trace.record("note", "decision", key=decision.key, text=decision.reason)
            self._run.write_trace()

    def _say(self, text: str) -> None:
        self._run.trace.record("note", "operator", text=text)
        self._run.write_trace()
