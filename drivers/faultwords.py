"""The words of a fault: what hardware, host and disk do to a run on a bad day, each named, seeded and repeatable.

A fault is written in four words, `WHAT WHEN KIND VALUE`: what it befalls, at which call (or, for motion and host, at
which second of the run), what happens, and how much of it:

    beam.blank 1 hang              the first call never returns
    stage.angle 3 slow 0.4         the third takes 0.4 s longer
    stage.angle 3 error            ... is answered with an error; nothing happened
    stage.angle 3 wrong 2.5        ... is off by 2.5 (a truth value is the other one)
    beam.blank 1 ignored           ... is accepted, and nothing happens
    optics.set_focus 2 away 1.5    from this call on the device is gone for 1.5 s, then it is back
    detector.start 3 lost 20       ... is gone until it is connected anew, which fails for 20 s
    stagexyz.move_xy 1 error       the parts that an instrument may have are befallen by their names, as the others
    detector.start 3 shutter 0.3   the shutter opens 0.3 s later than the camera tells (a simulated one)
    detector.frames 4 drop         the fourth frame never comes; also double, torn, late 0.8, type (of other counts)
    detector.frames 4 dark         from the fourth on all frames are dark; also saturated, same (as the fourth)
    mode.changed 3.2 imaging       at 3.2 s an operator's hand changes the mode; also low-mag, diffraction (simulated)
    stage.motion 3.5 jump 0.4      at 3.5 s the stage jumps by 0.4 deg; also stop, reverse, slip 0.5 (stands for 0.5 s)
    host 2.0 starve 0.3            at 2 s nothing of the program runs for 0.3 s
    host 2.0 leap 5                ... the clock leaps by 5 s while the stage does not move
    disk.write 40 full             the 40th write finds the disk full, half done; also error
    disk.sync 12 slow 3            the 12th forcing to the disk takes 3 s
    compute.score 2 late           the second computation `score` ends after its limit; also dead, never
    stage.angle finalize+2 hang    the second since the run entered the state finalize (host, motion: so long after)
"""

import dataclasses
from difflib import get_close_matches

from drivers.parts import OPTIONAL_PARTS, OpticalMode
from engine.errors import Refused

COMPUTE = "compute"
DISK = "disk"
DEVICES = ("stage", "beam", "optics", "detector", *OPTIONAL_PARTS)
CALLS = {"slow": True, "hang": False, "error": False, "wrong": True, "ignored": False, "away": True, "lost": True}
ANSWERED = (
    *("angle", "is_blanked", "focus", "start"),
    *("position", "is_moving", "read", "mode", "magnification", "camera_length_mm", "spot_size", "brightness"),
)
COMPUTATIONS = {"late": False, "dead": False, "never": False}
STUCK = ("dark", "saturated", "same")
"""What frames are like from the one on that it befalls."""
FRAMES = {"drop": False, "double": False, "torn": False, "late": True, "type": False, **dict.fromkeys(STUCK, False)}
KINDS: dict[str, dict[str, bool]] = {
    "detector.start": {**CALLS, "shutter": True},
    "detector.frames": FRAMES,
    "mode.changed": dict.fromkeys(OpticalMode, False),
    "stage.motion": {"stop": False, "reverse": False, "jump": True, "slip": True},
    "host": {"starve": True, "leap": True},
    "disk.write": {"full": False, "error": False, "slow": True},
    "disk.sync": {"error": False, "slow": True},
}
"""What can befall what, and whether it has a value. What is not here is a call of a device, which CALLS befall."""
TIMED = ("host", "stage.motion", "mode.changed")
"""What is befallen at an instant."""
NO_CALLS = set(KINDS) - {"detector.start"}


@dataclasses.dataclass(frozen=True, slots=True)
class Fault:
    """One fault. when: number of the call from 1; seconds since the run began for what is `TIMED`.

    state: counted from the run's entering this state; empty for since it began.
    """

    what: str
    when: float
    kind: str
    value: float = 0.0
    state: str = ""

    @classmethod
    def parse(cls, text: str) -> "Fault":
        """A fault from its words. Raises Refused saying what there is."""
        what, since, kind, *value = [*text.split(), "", "", ""][: max(3, len(text.split()))]
        state, _, when = since.rpartition("+")
        device, _, method = what.partition(".")
        kinds = KINDS.get(what, _kinds_of(device) if method else None)
        if kinds is None or kind not in kinds:
            known = ", ".join(kinds or ["DEVICE.METHOD", "compute.NAME", *KINDS])
            elsewhere = [name for name, of_name in KINDS.items() if kind in of_name]
            near = get_close_matches(what, elsewhere, n=1)
            meant = f" Did you mean {near[0]}?" if near and what not in KINDS else ""
            unknown = kind if kinds else what
            raise Refused(f"fault {text!r}: {unknown!r} is not known; use {known}.{meant} Nothing was started.")
        try:
            number, amount = float(when), float(value[0]) if value else 0.0
        except ValueError:
            number, amount = -1.0, 0.0
        timed = what in TIMED
        when_good = 0 <= number < 1e6 and (timed or (number >= 1 and number == int(number)))
        when_good &= not since.startswith("+") and not (state and device in (DISK, COMPUTE))
        value_good = abs(amount) < 1e6 and (amount >= 0 or kind in ("wrong", "jump"))
        if not when_good or not value_good or len(value) != kinds[kind]:
            usage = f"{what} WHEN {kind}" + (" VALUE" if kinds[kind] else "")
            when_is = "" if device in (DISK, COMPUTE) else ", WHEN also as STATE+NUMBER"
            raise Refused(f"fault {text!r}: write {usage}, with plain numbers{when_is}. Nothing was started.")
        if kind == "ignored" and method in ANSWERED:
            raise Refused(
                f"fault {text!r}: {what} is asked for an answer, so it cannot be ignored. Nothing was started."
            )
        return cls(what, number, kind, amount, state)

    def __str__(self) -> str:
        kinds = KINDS.get(self.what) or _kinds_of(self.what.partition(".")[0]) or {}
        value = [f"{self.value:g}"] if kinds[self.kind] else []
        when = f"{self.state}+{self.when:g}" if self.state else f"{self.when:g}"
        return " ".join([self.what, when, self.kind, *value])


def _kinds_of(device: str) -> dict[str, bool] | None:
    """What can befall a call of a device, or a computation; None where that is neither."""
    if device == COMPUTE:
        return COMPUTATIONS
    return CALLS if device in DEVICES else None
