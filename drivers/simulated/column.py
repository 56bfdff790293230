"""The simulated electron column: the diffraction lens with its inertia and hysteresis, and the beam blanker."""

import math
from dataclasses import dataclass

from drivers.facts import OpticsFacts
from drivers.simulated.latency import Interface
from drivers.simulated.register import Register
from engine.clock import NS_PER_S, Clock

# A pattern counts as standing still when the primary beam is within this of its place (the paper: under 0.2 px).
STILL_PX = 0.15
NOTHING_PX = 1e-12


FULL_DEFOCUS = 1500
"""The defocus at which snapshots have their full size; others scale with it."""


@dataclass(frozen=True, slots=True)
class LensSettings:
    """Properties of IL1; the slow time constant is chosen so that 1500 units of defocus settle in about 350 ms.

    focus: lens value in focus. shift_px: displacement of the primary beam per 1000 units of defocus, along the fast
    and slow axes (the aperture is not quite centred). fast_s, slow_s: time constants of the approach to a new value;
    the current follows fast, the iron slowly, for `slow_share` of the way. hysteresis_px: displacement of the
    primary beam before the lens was ever toggled; each toggle leaves `hysteresis_left` of it.
    """

    focus: int = 31_000
    shift_px: tuple[float, float] = (6.4, 4.8)
    fast_s: float = 0.01
    slow_s: float = 0.168
    slow_share: float = 0.1
    hysteresis_px: tuple[float, float] = (1.4, -0.9)
    hysteresis_left: float = 0.35

    @property
    def facts(self) -> OpticsFacts:
        """How it settles: the slow part is away by the longer the farther it was, in time constants."""
        slow_px = math.hypot(*self.shift_px) / 1000 * self.slow_share  # that one unit of defocus displaces the beam by
        if slow_px < NOTHING_PX:
            return OpticsFacts(0.0)
        return OpticsFacts(0.0, self.slow_s, STILL_PX / slow_px)


@dataclass(frozen=True, slots=True)
class _Change:
    """From `begin_ns` the lens approaches `target`; `fast` and `slow` are what it was away from it then."""

    begin_ns: int
    target: int
    fast: float
    slow: float
    toggles: int


class Lens:
    """Implements `drivers.contract.Optics`, and tells the pictures where the beam is at any past instant."""

    def __init__(self, clock: Clock, interface: Interface, settings: LensSettings) -> None:
        self.facts = settings.facts
        self._interface = interface
        self._settings = settings
        self._changes = [_Change(clock.now_ns(), settings.focus, 0.0, 0.0, 0)]

    def hide(self, settings: LensSettings) -> None:
        """From now on it is another lens than its facts tell; it stays where it is."""
        self._settings = settings

    async def focus(self) -> int:
        """See `Optics.focus`."""
        async with self._interface.call():
            return self._changes[-1].target

    async def set_focus(self, value: int) -> None:
        """See `Optics.set_focus`. The request reaches the lens in the middle of the call."""
        async with self._interface.call() as (begin_ns, end_ns):
            reached_ns = (begin_ns + end_ns) // 2
            before = self._changes[-1]
            fast, slow = self._away(before, reached_ns)
            jump, share = before.target - value, self._settings.slow_share
            back = value == self._settings.focus and jump != 0
            self._changes.append(
                _Change(reached_ns, value, fast + (1 - share) * jump, slow + share * jump, before.toggles + back)
            )

    @property
    def is_in_focus(self) -> bool:
        """Whether it was last sent to where the operator left it."""
        return self._changes[-1].target == self._settings.focus

    def _away(self, change: _Change, t_ns: int) -> tuple[float, float]:
        elapsed_s = (t_ns - change.begin_ns) / NS_PER_S
        return (
            change.fast * math.exp(-elapsed_s / self._settings.fast_s),
            change.slow * math.exp(-elapsed_s / self._settings.slow_s),
        )

    def value_at(self, t_ns: int) -> float:
        """True lens value at an instant."""
        change = self._change_at(t_ns)
        return change.target + sum(self._away(change, t_ns))

    def defocus_at(self, t_ns: int) -> float:
        """True lens value minus the value in focus."""
        return self.value_at(t_ns) - self._settings.focus

    def beam_shift_px(self, begin_ns: int, end_ns: int) -> tuple[float, float]:
        """Mean displacement of the primary beam during an exposure, (fast, slow) pixels."""
        # The mean of the exponential over the exposure, by Simpson's rule: smooth on the scale of the exposure.
        middle_ns = (begin_ns + end_ns) // 2
        defocus = (self.defocus_at(begin_ns) + 4 * self.defocus_at(middle_ns) + self.defocus_at(end_ns)) / 6
        left = self._settings.hysteresis_left ** self._change_at(begin_ns).toggles
        fast, slow = (
            shift * defocus / 1000 + hysteresis * left
            for shift, hysteresis in zip(self._settings.shift_px, self._settings.hysteresis_px, strict=True)
        )
        return fast, slow

    def _change_at(self, t_ns: int) -> _Change:
        return next((change for change in reversed(self._changes) if change.begin_ns <= t_ns), self._changes[0])


class Blanker:
    """Implements `drivers.contract.Beam`; begins as the operator left it.

    register: where its state is kept if another program may read and set it; that is seen at the next look, by
    `is_blanked` and at the beginning of an exposure.
    """

    def __init__(self, clock: Clock, interface: Interface, *, beam_on: bool, register: Register | None = None) -> None:
        self._clock = clock
        self._interface = interface
        self._register = register
        blanked = not beam_on if register is None else register.is_blanked()
        self._changes: list[tuple[int, bool]] = [(clock.now_ns(), blanked)]

    def leave(self, *, beam_on: bool) -> None:
        """Be like this from now on, as an operator left it."""
        if self._register is not None:
            self._register.set_blanked(not beam_on)
        if self._changes[-1][1] is beam_on:
            self._changes.append((self._clock.now_ns(), not beam_on))

    async def blank(self) -> None:
        """See `Beam.blank`."""
        await self._set(True)

    async def unblank(self) -> None:
        """See `Beam.unblank`."""
        await self._set(False)

    async def _set(self, blanked: bool) -> None:
        async with self._interface.call():
            if self._register is not None:
                self._register.set_blanked(blanked)
            self._changes.append((self._clock.now_ns(), blanked))

    async def is_blanked(self) -> bool:
        """See `Beam.is_blanked`."""
        async with self._interface.call():
            self._look()
            return self._changes[-1][1]

    def _look(self) -> None:
        """Notice what another program did to the blanker; when it did is not known, so it counts from now."""
        if self._register is not None and (blanked := self._register.is_blanked()) is not self._changes[-1][1]:
            self._changes.append((self._clock.now_ns(), blanked))

    @property
    def closed(self) -> bool:
        """Whether it is closed, without asking through the interface."""
        self._look()
        return self._changes[-1][1]

    @property
    def is_shared(self) -> bool:
        """Whether another program can blank and unblank as well."""
        return self._register is not None

    def share_on(self, begin_ns: int, end_ns: int) -> float:
        """Fraction of an interval during which the beam was on the crystal."""
        return self.on_ns(begin_ns, end_ns) / max(1, end_ns - begin_ns)

    def on_ns(self, begin_ns: int, end_ns: int) -> int:
        """Time in an interval during which the beam was on the crystal."""
        self._look()
        on_ns, before_ns, blanked = 0, begin_ns, True
        for change_ns, then in self._changes:
            if change_ns > begin_ns:
                until_ns = min(change_ns, end_ns)
                on_ns += 0 if blanked else max(0, until_ns - before_ns)
                before_ns = max(before_ns, until_ns)
            blanked = then
        return on_ns + (0 if blanked else end_ns - before_ns)
