"""Watches the frames of a run as they come, and says so when they show nothing, or not what their protocol expects.

A frame is looked at after it went to the disk, while the next one is exposed: by a computation
(`engine.run.compute`), in a worker, so no slot waits for it. Looked at are the first three of a kind, then one in 0.5 s
at most, and each one after a frame that showed a trouble. It is said once, at the second such frame in a row: within
three frames of 0.5 s and more, and of the first three of any; of later shorter ones within 0.5 s and three frames. What
becomes of it is the protocol's to decide (`FrameWatch.troubles`); the watch itself ends nothing.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from engine.clock import NS_PER_S
from engine.errors import CredlineError
from engine.frame import Frame
from engine.record.framekinds import FrameKind
from engine.record.jsonobject import JsonDict, JsonObject
from engine.record.warned import WARNING
from engine.run.compute import Computation, Outcome, Verdict

if TYPE_CHECKING:
    from engine.run.run import Run

FRAME_CHECK = Computation(
    "frame_check",
    "engine.run.framecheck:check",
    latency_s=0.02,
    limit_s=2.0,
    queue="newest",
    resolution={"level": 0.01, "saturated": 1e-4},
    quick=True,
)
FIRST_FRAMES = 3
LOOK_EVERY_NS = NS_PER_S // 2
SAID_AT = 2
"""At the so-manieth frame in a row: one may be dark because the beam was switched on in its middle."""
SAME_AT = 3
SATURATED_SHARE = 0.05
"""A primary beam that is too bright for its pixels is a share of 1e-4 of a picture."""

TEXTS = {
    "dark": "the camera sees nothing: {kind} frames are dark (level {level:g} counts). Look at beam and camera",
    "light": "{kind} frames should be dark and are not (level {level:g} counts). Look whether the beam is off",
    "saturated": "{saturated:.0%} of the pixels of {kind} frames are saturated. Less beam, or a shorter exposure",
    "same": "the camera gives the same picture again and again. Look at its own software",
    "not looked at": "{kind} frames could not be looked at: {error}",
}


class CameraFacts(Protocol):
    """What is known of a detector (`drivers.facts.DetectorFacts`), as far as its pictures are judged."""

    @property
    def dark_counts(self) -> float | None:
        """What a pixel counts without light; None where nobody knows."""
        ...

    def saturation_of(self, exposure_s: float) -> int | None:
        """The largest count that a frame of this exposure can have; None where nobody knows."""
        ...


def watched_kinds(kinds: Sequence[FrameKind], instrument: JsonObject) -> list[str]:
    """The names of the kinds whose frames a run watches. instrument: as the header of its trace tells it.

    None where no kind expects anything, and none of a camera that makes no pictures.
    """
    camera = instrument.get("detector")
    if not isinstance(camera, Mapping) or not camera.get("has_pictures", True):
        return []
    return [kind.name for kind in kinds if kind.expects != "anything"]


@dataclass(slots=True)
class _Seen:
    """What was seen of one kind of frames so far."""

    kind: FrameKind
    came: int = 0
    looked_ns: int = 0
    crc: int | None = None
    alike: int = 0
    """Frames in a row with the same counts."""
    in_a_row: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Measured:
    """What else is measured of the frames of a kind."""

    function: str
    arguments: JsonObject
    heard: Callable[[int, JsonObject], None]


class FrameWatch:
    """Watches the frames of one run. kinds: those that are watched."""

    def __init__(self, run: "Run", kinds: Sequence[FrameKind]) -> None:
        self._run = run
        self._seen = {kind.name: _Seen(kind) for kind in kinds}
        self.troubles: list[str] = []
        """What was said so far, each as one sentence; for a protocol that ends by it."""
        self._said: set[str] = set()
        self._measured: dict[str, _Measured] = {}
        if kinds:
            run.compute.declare(FRAME_CHECK)

    def measure(
        self, kind: str, function: str, arguments: JsonObject, heard: Callable[[int, JsonObject], None]
    ) -> None:
        """Have a protocol's own function measure the frames that are looked at, in the same worker: no more frames
        than these, and none of a kind that is not watched. Before the run's first frame.

        function: `module:function`, called with the picture (rows, columns) and the arguments; returns JSON. heard: is
        told the frame's index in the spool and what was returned, frame by frame in their order.
        """
        self._measured[kind] = _Measured(function, arguments, heard)

    def kept(self, kind: str, frame: Frame, index: int, crc: int, exposure_s: float, camera: CameraFacts) -> None:
        """A frame went to the disk. Takes some 10 us; what it costs besides is a worker's."""
        seen = self._seen.get(kind)
        if seen is None or self._run.safety.is_begun:
            return
        seen.came += 1
        seen.alike = seen.alike + 1 if crc == seen.crc else 1
        seen.crc = crc
        suspected = any(what not in self._said for what in seen.in_a_row)
        if seen.came > FIRST_FRAMES and not suspected and frame.start_ns - seen.looked_ns < LOOK_EVERY_NS:
            return
        seen.looked_ns = frame.start_ns
        arguments: JsonDict = {
            "index": index,
            "saturation": camera.saturation_of(exposure_s),
            "dark_counts": camera.dark_counts,
            "words": seen.kind.words,
        }
        if (measured := self._measured.get(kind)) is not None:
            arguments["measure"] = {"function": measured.function, "arguments": measured.arguments}
        self._run.in_background(self._look(seen, arguments, seen.alike), f"frame check {index}")

    async def _look(self, seen: _Seen, arguments: JsonObject, alike: int) -> None:
        try:
            outcome = await self._run.compute.compute(FRAME_CHECK, arguments, (arguments["index"],))
        except CredlineError:  # the disk has failed, which it says itself
            return
        if outcome.verdict is Verdict.REPLACED:
            return
        if outcome.good and (measured := self._measured.get(seen.kind.name)) is not None:
            measured.heard(arguments["index"], outcome.fields["measured"])
        found = _found(seen.kind, outcome, alike)
        seen.in_a_row = {what: seen.in_a_row.get(what, 0) + 1 for what in found}
        for what, text in found.items():
            if what not in self._said and (what == "same" or seen.in_a_row[what] >= SAID_AT):
                self._said.add(what)
                self.troubles.append(text)
                self._run.trace.record("note", WARNING, what=what, text=text)
                self._run.write_trace()


def _found(kind: FrameKind, outcome: Outcome, alike: int) -> dict[str, str]:
    """What is wrong with a frame: by its name, in words. alike: how many in a row had the same counts."""
    if not outcome.good:
        return {"not looked at": TEXTS["not looked at"].format(kind=kind.name, error=outcome.error)}
    told = outcome.fields
    wrong = {
        "dark": kind.expects == "light" and not told["light"],
        "light": kind.expects == "dark" and told["light"],
        "saturated": told["saturated"] >= SATURATED_SHARE,
        "same": alike >= SAME_AT and (told["light"] or told["noisy"]),  # empty ones of a camera that counts are alike
    }
    found = {what: TEXTS[what].format(kind=kind.name, **told) + "." for what, is_so in wrong.items() if is_so}
    if told["words"] and not found:  # they are about a picture that is as it should be otherwise
        found["words"] = f"{kind.name} frames: {told['words']}"
    return found
