"""The cell on the screen while the crystal turns: new frames are searched at once, and every few degrees it is looked.

Both are computations (`protocols.live.computation`) in workers; no slot waits for them, and their outcomes are in the
trace, so a replay says the same without pictures. Frames are never searched twice; where they come faster than they are
searched, some are left out and that is said. What a look decides, where the plan has `stop_at` or `stop_if`, is
`protocols.cred.livedecision`. Asked for where the plan says `live = true`, of a camera that makes pictures.
"""

import dataclasses
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any

from drivers.facts import DetectorFacts, Geometry
from engine.clock import NS_PER_MS
from engine.errors import CredlineError
from engine.frame import Frame
from engine.record.jsonobject import JsonDict, JsonObject
from engine.run.compute import Computation, Outcome, Verdict
from protocols.cred.livedecision import Decision, decide
from protocols.cred.plan import CredPlan
from protocols.cred.rotation.angles import RECENT, fit_rotation
from protocols.cred.rotation.stagewatch import StageWatch
from protocols.live.words import line_of

if TYPE_CHECKING:
    from engine.run.run import Run

SEARCH = Computation(
    "live_frames",
    "protocols.live.computation:search",
    latency_s=0.05,
    limit_s=5.0,
    resolution={"beam_px": 1e-3, "width_px": 1e-3, "resolution_A": 1e-3, "background": 1e-4, "rings_A": 1e-3},
    quick=True,
)
LOOK = Computation(
    "live",
    "protocols.live.computation:look_at",
    latency_s=1.5,
    limit_s=15.0,
    resolution=1e-7,
    builds_on=SEARCH.name,
)
EVERY_DEG = 3.0
SEARCH_EVERY_NS = 40 * NS_PER_MS
"""Frames that come faster are searched some at a time: what each computation costs the loop is then bounded."""
AT_ONCE = 16
"""Frames of one computation at most."""
MOST_WAITING = 64
"""With more, all but the newest AT_ONCE are left out: a whole stretch, for reflections need neighbouring frames."""
BEAM_FRAMES = 5
"""In so many frames the primary beam is looked for."""


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A frame on the disk that waits to be searched. index: in the spool."""

    index: int
    slot: int
    start_ns: int
    end_ns: int
    exposure_s: float


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
        self._rate_deg_s = watch.rate_deg_s
        self._waiting: list[_Waiting] = []
        self._searching = False
        self._asked_ns = 0
        self._looked_for_beam = 0
        self._beams_px: list[tuple[float, float]] = []
        self._first_ns: int | None = None
        self._looked_deg = 0.0
        self._looking = False
        self._looks_left_out = 0
        self._fit: Any = None
        self._left_out = 0
        self._said: set[str] = set()
        run.compute.declare(SEARCH, LOOK)

    def kept(self, slot: int, frame: Frame, exposure_s: float) -> None:
        """A diffraction frame went to the disk. Some 10 us, and 0.1 ms where a search is due."""
        if self._run.safety.is_begun:
            return
        index, _ = self._run.data.last
        self._waiting.append(_Waiting(index, slot, frame.start_ns, frame.end_ns, exposure_s))
        if self._is_due and not self._searching:
            self._searching = True
            frames = self._next_frames()  # here: a replay takes no notice of what came before a task was begun
            self._run.in_background(self._search(frames), f"search from slot {frames[0].slot}")

    @property
    def _is_due(self) -> bool:
        return bool(self._waiting) and self._waiting[-1].end_ns - self._asked_ns >= SEARCH_EVERY_NS

    async def _search(self, frames: list[_Waiting]) -> None:
        """Search these, and then what waits, as long as a search is due."""
        try:
            while frames and not self._run.safety.is_begun:
                outcome = await self._search_in(frames)
                if outcome.verdict is Verdict.DEAD:  # the next worker may fare better
                    outcome = await self._search_in(frames)
                self._searched(frames, outcome)
                frames = self._next_frames() if self._is_due else []
        except CredlineError:  # the disk has failed, which it says itself
            return
        finally:
            self._searching = False

    def _next_frames(self) -> list[_Waiting]:
        if len(self._waiting) > MOST_WAITING:
            self._leave_out(len(self._waiting) - AT_ONCE, "they come faster than they are searched")
            self._waiting = self._waiting[-AT_ONCE:]
        frames, self._waiting = self._waiting[:AT_ONCE], self._waiting[AT_ONCE:]
        self._asked_ns = frames[-1].end_ns
        return frames

    async def _search_in(self, frames: list[_Waiting]) -> Outcome:
        pictures = [frame.index for frame in frames] + ([] if self.flatfield is None else [self.flatfield])
        return await self._run.compute.compute(SEARCH, self._search_arguments(frames), pictures)

    @property
    def _beam_px(self) -> list[float] | None:
        if not self._beams_px:
            return None
        return [round(median(beam[k] for beam in self._beams_px), 2) for k in (0, 1)]

    def _search_arguments(self, frames: list[_Waiting]) -> JsonDict:
        beam_px = self._beam_px
        return {
            "frames": [[frame.index, frame.slot, frame.start_ns, frame.end_ns] for frame in frames],
            "flatfield": self.flatfield,
            "geometry": dataclasses.asdict(self._geometry),
            "wide_cross": self._camera.wide_cross,
            "saturation": self._camera.saturation_of(frames[0].exposure_s),
            # A search has a mask about the beam, which takes 20 ms: not anew for a hundredth of a pixel.
            "beam_px": None if beam_px is None else [round(2 * place) / 2 for place in beam_px],
            "look_for_beam": self._looked_for_beam < BEAM_FRAMES,
        }

    def _searched(self, frames: list[_Waiting], outcome: Outcome) -> None:
        """Some frames were searched, or could not be."""
        if not outcome.good:
            self._leave_out(len(frames), outcome.error)
            return
        told = outcome.fields
        self._looked_for_beam += len(frames)
        self._beams_px += [(beam[0], beam[1]) for beam in told["beam_px"]]
        for values in told["frames"]:
            self._seen(values)
        if self._first_ns is None:
            self._first_ns = frames[0].start_ns
        fit = self._watch.recent_fit
        if fit is None:
            return
        turned_deg = abs(fit.angle_deg(frames[-1].end_ns) - fit.angle_deg(self._first_ns))
        if turned_deg < self._looked_deg + EVERY_DEG:
            return
        self._looked_deg = turned_deg
        if self._looking:
            self._looks_left_out += 1
        elif (arguments := self._look_arguments()) is not None:
            self._looking = True
            self._run.in_background(self._look(arguments), f"look after {turned_deg:.1f} deg")

    def _seen(self, values: JsonObject) -> None:
        """What one frame tells, as `protocols.live.framevalues.FrameValues` and its slot; it stands in the trace."""

    def _look_arguments(self) -> JsonDict | None:
        whole = fit_rotation(self._watch.readings[-RECENT:], self._watch.rate_deg_s)
        if whole is None:
            return None
        return {
            "stage": [whole.angle_at_reference_deg, whole.reference_ns, whole.rate_deg_s],
            "rate_deg_s": self._rate_deg_s,
            "geometry": dataclasses.asdict(self._geometry),
            "beam_px": self._beam_px,
            "fit": self._fit,
        }

    async def _look(self, arguments: JsonDict) -> None:
        try:
            outcome = await self._run.compute.compute(LOOK, arguments)
        except CredlineError:  # the disk has failed, which it says itself
            return
        finally:
            self._looking = False
        if outcome.good:
            told = outcome.fields
            self._fit = told["fit"]
            self._told(told)
        else:
            self._say(f"no look at the crystal: {outcome.error}")

    def _told(self, told: JsonDict) -> None:
        """What a look tells, as `protocols.live.look` and `computation.KEPT_OF_TOLD` name it: said, and the first
        decision is kept; the run ends by it with the frame under way or the next.
        """
        text = line_of(told).strip()
        if self._looks_left_out:
            text += f"; {self._looks_left_out} looks were left out before it, for it turns faster than it is looked at"
            self._looks_left_out = 0
        if self._left_out:
            text += f"; without {self._left_out} frames"
        self._say(text)
        if self.decision is None and (decision := decide(told, self._plan)) is not None:
            self.decision = decision
            self._run.trace.record("note", "decision", key=decision.key, text=decision.reason)
            self._run.write_trace()

    def _leave_out(self, frames: int, why: str) -> None:
        """Frames are not searched. Why is said the first time; how many are left out is said with each look."""
        self._left_out += frames
        if why not in self._said:
            self._said.add(why)
            self._say(f"look at the crystal: {frames} frames are left out of it ({why})")

    def _say(self, text: str) -> None:
        self._run.trace.record("note", "operator", text=text)
        self._run.write_trace()
