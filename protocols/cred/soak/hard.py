"""Troubles for the second way of drawing (`CredTrial.draw_hard`): they come in the safe state itself, while a state is
being left, and in pairs of which one hides the other. Random troubles meet so seldom that thousands of runs see none.
"""

import random

from protocols.cred.machine import WORKING, State

SAFE = State.FINALIZE.value
# What the safe state calls, counted since it was entered; the beam's first call is made just before.
SAFE_CALLS = (
    "beam.blank 1",
    "beam.blank 2",
    "beam.blank 3",
    f"beam.is_blanked {SAFE}+1",
    f"stage.stop {SAFE}+1",
    f"stage.stop {SAFE}+2",
    f"stage.angle {SAFE}+1",
    f"stage.angle {SAFE}+2",
    f"stage.angle {SAFE}+3",
    f"detector.disarm {SAFE}+1",
    f"optics.set_focus {SAFE}+1",
    f"optics.focus {SAFE}+1",
)
FIRST_ORDERS = ("beam.blank 1", f"stage.stop {SAFE}+1", f"stage.stop {SAFE}+1", f"optics.set_focus {SAFE}+1")
ASKED = ("beam.is_blanked", "stage.angle", "optics.focus")
# The calls of a state at which it may fail.
CALLS_OF = {
    State.RELAX: ("optics.focus", "optics.set_focus", "stage.angle", "stage.rotate", "detector.arm"),
    State.WAIT_FOR_ROTATION: ("stage.angle", "stage.angle", "stage.rotate", "stage.release_to_pedal"),
    State.DELAY: ("beam.unblank", "beam.is_blanked"),
    State.EXPOSE: ("detector.start", "stage.angle"),
    State.DEFOCUS_SNAPSHOT: ("optics.set_focus", "detector.start"),
    State.REFOCUS: ("optics.set_focus", "optics.focus", "stage.angle"),
}


class HardTroubles:
    """Draws them, sort by sort, for a run of so many slots."""

    def __init__(self, rng: random.Random, slots: int, exposure_s: float) -> None:
        self._rng, self._slots, self._exposure_s = rng, slots, exposure_s

    def on_the_way(self) -> list[str]:
        """Troubles of one sort before the end; none for any trouble of the first way."""
        return self._rng.choice([self.camera, self.stage, self.stage, self.disk, list[str]])()

    def leaving(self) -> list[str]:
        """The run ends in the middle of a state, or at the instant at which it is entered: by the operator, often with
        an order of the safe state that is accepted and not followed, or since a call fails.
        """
        rng = self._rng
        state = rng.choice(WORKING)
        if rng.random() < 0.3:
            what = rng.choice(CALLS_OF[state])
            return [f"{what} {state.value}+{rng.randint(1, 3)} {rng.choice(['error', 'hang', 'away 3'])}"]
        after_s = rng.choice([0.0, rng.uniform(0.0, 0.1), rng.uniform(0.0, 0.6), rng.uniform(0.0, 4.0)])
        troubles = [f"operator {state.value}+{after_s:.3f} {rng.choice(['stop', 'abort'])}"]
        if rng.random() < 0.4:
            troubles.append(f"{rng.choice(FIRST_ORDERS)} ignored")
        return troubles

    def safe_state(self) -> list[str]:
        """One or two troubles on the way into the safe state."""
        return [self._in_safe_state() for _ in range(self._rng.choice([1, 1, 2]))]

    def _in_safe_state(self) -> str:
        rng = self._rng
        if rng.random() < 0.15:
            after_s, value_s = rng.uniform(0.0, 0.5), rng.uniform(0.02, 2.0)
            what = rng.choice([f"host {{}} starve {value_s:.3f}", f"host {{}} leap {value_s:.3f}", "operator {} abort"])
            return what.format(f"{SAFE}+{after_s:.3f}")
        call = rng.choice(SAFE_CALLS)
        method = call.split()[0]
        seconds = round(rng.choice([rng.uniform(0.05, 1.4), rng.uniform(1.4, 9.0)]), 3)
        kinds = ["error", "hang", f"slow {seconds}", f"away {seconds}"]
        if method == "stage.angle":
            kinds.append(f"wrong {round(rng.choice([-1, 1]) * rng.uniform(0.05, 2.0), 3)}")
        elif method == "beam.is_blanked":
            kinds.append("wrong 1")
        elif method not in ASKED:
            kinds += ["ignored"] * len(kinds)  # an order that seems to be followed is the hardest to notice
        return f"{call} {rng.choice(kinds)}"

    def camera(self) -> list[str]:
        """Frames that are late, lost, doubled or torn, soon after one another."""
        rng = self._rng
        first = rng.randint(1, self._slots)
        late_s = round(self._exposure_s * rng.uniform(0.2, 3.0), 3)
        troubles = [
            f"detector.frames {first} {rng.choice(['drop', 'double', 'torn', f'late {late_s}', f'late {late_s}'])}"
        ]
        if rng.random() < 0.5:
            troubles.append(f"detector.frames {first + rng.randint(1, 3)} late {late_s}")
        return troubles

    def shutter(self) -> list[str]:
        """A shutter that opens late, once or for a row of exposures; by less than is noticed, or by far more."""
        rng = self._rng
        first, many = rng.randint(1, self._slots), rng.choice([1, 1, 2, rng.randint(3, 12), self._slots])
        late_s = self._exposure_s * rng.choice([rng.uniform(0.0, 0.3), rng.uniform(0.2, 1.0), rng.uniform(1.0, 4.0)])
        even = rng.random() < 0.5
        return [
            f"detector.start {k} shutter {late_s * (1.0 if even else rng.uniform(0.0, 1.0)):.4f}"
            for k in range(first, first + many)
        ]

    def late_row(self) -> list[str]:
        """A camera that is slower for a row of frames, and sometimes again, or still slower, later on."""
        rng = self._rng
        late_s = round(self._exposure_s * rng.uniform(0.2, 0.8), 3)
        # Longer than the median looks back, also when it has looked at as many good ones before. Each costs two slots.
        first = rng.randint(1, max(1, self._slots - 26))
        rows = rng.choice([rng.randint(4, 11), rng.randint(12, 26)])
        troubles = [f"detector.frames {k} late {late_s}" for k in range(first, first + rows)]
        if rng.random() < 0.5:
            again = first + rows + rng.randint(0, 8)
            more_s = round(late_s * rng.uniform(0.5, 2.5), 3)
            troubles += [f"detector.frames {k} late {more_s}" for k in range(again, again + rng.randint(4, 14))]
        return troubles

    def stage(self) -> list[str]:
        """The stage moves otherwise than it should, and often what would show it is slow, wrong or fails."""
        rng = self._rng
        after_s = round(rng.uniform(0.0, self._slots * (self._exposure_s + 0.012)), 3)
        state = rng.choice([State.EXPOSE, State.EXPOSE, State.DELAY, State.WAIT_FOR_ROTATION]).value
        value = round(rng.uniform(0.05, 2.0), 3)
        if state != State.EXPOSE.value:
            after_s = round(rng.uniform(0.0, 1.0), 3)
        kind = rng.choice(["stop", "reverse", f"jump {rng.choice([-1, 1]) * value}", f"slip {value}"])
        troubles = [rng.choice([f"stage.motion {state}+{after_s} {kind}", f"host {state}+{after_s} leap {value}"])]
        if rng.random() < 0.6:
            call = f"stage.angle {rng.choice([State.EXPOSE.value, SAFE])}+{rng.randint(1, 3)}"
            sign = rng.choice([-1, 1])
            troubles.append(f"{call} {rng.choice(['error', f'slow {min(value, 0.9)}', f'wrong {sign * value}'])}")
        return troubles

    def disk(self) -> list[str]:
        """The disk fails or is slow at any moment, also of the end."""
        rng = self._rng
        write, sync = rng.randint(1, 5 * self._slots), rng.randint(1, 3 * self._slots)
        value_s = round(rng.uniform(0.05, 3.0), 3)
        return [
            rng.choice(
                [
                    f"disk.write {write} full",
                    f"disk.write {write} error",
                    f"disk.sync {sync} error",
                    f"disk.write {write} slow {value_s}",
                    f"disk.sync {sync} slow {value_s}",
                ]
            )
        ]
