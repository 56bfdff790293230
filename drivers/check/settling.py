"""How long the pattern takes to stand still after a snapshot's defocus: measured with beam and camera.

Used by `credline devices check --beam`. The beam is on meanwhile, for some ten seconds: on a place that may be spent.
The lens goes to the plan's defocus and back, and short exposures are compared with what the camera sees of a lens that
has long been in focus. Leaves the beam blanked and the lens in focus.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drivers.approach import OnClock, Waiting
from drivers.check.measure import bounded
from engine.clock import NS_PER_S, Clock, ns

TURNS = 3
# A lens stays defocused as long before it goes back, and is looked at as long after. What it shows in the second half
# of that is the lens at rest, where its hysteresis has left it this time.
AWAY_S = 1.0
LOOKED_S = 2.0
SIGMAS = 4.0
# Over so long the noise of short exposures is averaged where it is asked how much is left.
MEAN_OF_S = 0.1

Pictures = list[tuple[float, NDArray[np.float64]]]
"""What the camera saw, each with the second at which its exposure began at the earliest."""


@dataclass(frozen=True, slots=True)
class Settling:
    """What was seen. settled_s: from the end of the call that refocused until all later pictures were as those of a
    lens at rest, the longest of some turns; None where the picture tells nothing, and `why`.

    left: of each turn the pictures, each with the second at which it began and how much was left in it of what the
    defocus does to a picture: 1 all, 0 nothing.
    """

    defocus: int
    settled_s: float | None
    why: str = ""
    left: tuple[tuple[tuple[float, float], ...], ...] = ()

    def left_share(self, after_s: float) -> float:
        """How much was left in the worst turn, in the mean of the pictures of the next `MEAN_OF_S`; 0 without any."""
        shares = [[share for begin_s, share in turn if after_s <= begin_s < after_s + MEAN_OF_S] for turn in self.left]
        return max((float(np.mean(turn)) for turn in shares if turn), default=0.0)


async def turn_of_lens(
    set_focus: Callable[[int], Awaitable[None]],
    waiting: Waiting,
    focus: int,
    defocus: int,
    picture: Callable[[int | None], Awaitable[None]],
) -> None:
    """Send the lens to a defocus and back, take one picture there and as many as there are time for afterwards.

    picture: takes one; it is told the instant at which the call that sent the lens back has returned, None before. Used
    by `devices check` on a bare clock, and by `calibrate lens` within a run.
    """
    await set_focus(focus + defocus)
    await waiting.wait("lens away", waiting.now_ns + ns(AWAY_S))
    await picture(None)
    await set_focus(focus)
    back_ns = waiting.now_ns
    while waiting.now_ns < back_ns + ns(LOOKED_S):
        await picture(back_ns)


async def measure_settling(clock: Clock, microscope: Any, exposure_s: float, defocus: int) -> Settling:
    """Measure it; takes some ten seconds, beam on. Raises DeviceError when a device fails; the beam is then blanked."""
    beam, optics, detector = microscope.beam, microscope.optics, microscope.detector
    focus: int = await bounded(clock, "optics.focus", optics.focus)
    try:
        await bounded(clock, "detector.arm", lambda: detector.arm((exposure_s,)))
        frames = aiter(detector.frames())

        async def picture(back_ns: int | None) -> None:
            await bounded(clock, "detector.start", lambda: detector.start(exposure_s))
            frame = await bounded(clock, "detector.frames", lambda: anext(frames))
            counts = np.asarray(frame.counts, np.float64)
            if back_ns is None:
                away.append(counts)
            else:
                seen.append(((frame.start_bounds_ns[0] - back_ns) / NS_PER_S, counts))

        async def set_focus(value: int) -> None:
            await bounded(clock, "optics.set_focus", lambda: optics.set_focus(value))

        await bounded(clock, "beam.unblank", beam.unblank)
        turns: list[float] = []
        left: list[tuple[tuple[float, float], ...]] = []
        for _ in range(TURNS):
            seen: Pictures = []
            away: list[NDArray[np.float64]] = []
            await turn_of_lens(set_focus, OnClock(clock), focus, defocus, picture)
            reference, limit = _at_rest(seen)
            if _likeness(away[-1], reference) >= limit:
                return Settling(
                    defocus, None, "the picture is the same in and out of focus: is a specimen in the beam?"
                )
            likenesses = [(begin_s, _likeness(counts, reference)) for begin_s, counts in seen]
            turns.append(_settled_s(likenesses, limit))
            left.append(_left(likenesses, _likeness(away[-1], reference)))
    finally:
        try:
            await bounded(clock, "beam.blank", beam.blank)
        finally:
            await bounded(clock, "optics.set_focus", lambda: optics.set_focus(focus))
            await bounded(clock, "detector.disarm", detector.disarm)
    longest_s = max(turns)
    if longest_s >= LOOKED_S / 2:
        return Settling(defocus, None, f"it still moved {LOOKED_S / 2:g} s after that", tuple(left))
    return Settling(defocus, longest_s, left=tuple(left))


def _likeness(counts: NDArray[np.float64], reference: NDArray[np.float64]) -> float:
    """How like two pictures are, whatever their brightness: 1 for the same."""
    one, other = counts - counts.mean(), reference - reference.mean()
    size = float(np.sqrt((one**2).sum() * (other**2).sum()))
    return float((one * other).sum()) / size if size > 0 else 0.0


def _at_rest(seen: Pictures) -> tuple[NDArray[np.float64], float]:
    """The mean of the later pictures, and how like it one of them is at least, by the scatter of their noise."""
    pictures = [counts for begin_s, counts in seen if begin_s > LOOKED_S / 2] or [seen[-1][1]]
    total = np.sum(pictures, axis=0)
    others = [_likeness(counts, (total - counts) / max(1, len(pictures) - 1)) for counts in pictures]
    return total / len(pictures), float(np.mean(others) - SIGMAS * np.std(others))


def _left(seen: Sequence[tuple[float, float]], away: float) -> tuple[tuple[float, float], ...]:
    """How much is left in each picture, from how like a lens at rest it is; away: how like the defocused one is."""
    at_rest = float(np.median([likeness for begin_s, likeness in seen if begin_s > LOOKED_S / 2] or [seen[-1][1]]))
    return tuple((begin_s, (at_rest - likeness) / (at_rest - away)) for begin_s, likeness in seen)


def _settled_s(seen: Sequence[tuple[float, float]], limit: float) -> float:
    """When the first exposure began from which on all were as at rest, but for single ones that noise explains; the end
    of looking where none was.
    """
    unlike = [likeness < limit for _, likeness in seen]
    moving = [k for k in range(len(seen)) if unlike[k] and (k == 0 or unlike[k - 1] or unlike[k + 1 : k + 2] == [True])]
    still = max(moving, default=-1) + 1
    return max(0.0, seen[still][0]) if still < len(seen) else LOOKED_S
