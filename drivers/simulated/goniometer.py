"""The simulated goniometer: backlash, acceleration, constant speed, limits, readings that take time, a pedal.

The motion is a function of time, known as soon as it is commanded, so the true angle at any instant (also inside
an exposure) needs no simulation step.
"""

from dataclasses import dataclass, replace

from drivers.contract import Reading
from drivers.facts import StageFacts
from drivers.simulated.latency import Interface, generator
from engine.clock import NS_PER_S, Clock, ns
from engine.errors import DeviceError

MECHANICAL_LIMIT_DEG = 80.0


@dataclass(frozen=True, slots=True)
class GoniometerSettings:
    """Properties of the stage; round values chosen here where no measurement is published.

    speed_error: true speed over nominal speed minus 1 is drawn from a normal distribution of this width.
    speed_share: true over nominal speed beside that, of all speeds. encoder_deg: standard deviation of a reading's
    value; pedal_wait_s: earliest and latest press of the pedal.
    """

    limits_deg: tuple[float, float] = (-MECHANICAL_LIMIT_DEG, MECHANICAL_LIMIT_DEG)
    acceleration_s: float = 0.15
    backlash_deg: float = 0.05
    speed_error: float = 0.001
    speed_share: float = 1.0
    encoder_deg: float = 0.002
    stage_read_s: float = 0.035
    pedal_wait_s: tuple[float, float] = (0.5, 3.0)
    stops_at_deg: float | None = None

    @property
    def facts(self) -> StageFacts:
        """See `Stage.facts`."""
        return StageFacts(self.limits_deg, self.backlash_deg)


@dataclass(frozen=True, slots=True)
class Motion:
    """From `begin_ns` at `from_deg`: backlash for `dead_s`, ramp to `speed_deg_s` (signed), stop at `to_deg`."""

    begin_ns: int
    from_deg: float
    to_deg: float
    speed_deg_s: float
    dead_s: float
    ramp_s: float

    def angle_deg(self, t_ns: int) -> float:
        """True angle at `t_ns`; the stage stops dead at the end of its travel."""
        elapsed_s = (t_ns - self.begin_ns) / NS_PER_S - self.dead_s
        if elapsed_s <= 0 or self.speed_deg_s == 0:
            return self.from_deg
        if elapsed_s < self.ramp_s:
            moved_deg = self.speed_deg_s * elapsed_s * elapsed_s / (2 * self.ramp_s)
        else:
            moved_deg = self.speed_deg_s * (elapsed_s - self.ramp_s / 2)
        return self.from_deg + (
            min(moved_deg, self.to_deg - self.from_deg)
            if self.speed_deg_s > 0
            else max(moved_deg, self.to_deg - self.from_deg)
        )


class Goniometer:
    """Implements `drivers.contract.Stage`."""

    def __init__(
        self, clock: Clock, interface: Interface, seed: int, settings: GoniometerSettings, start_deg: float = 0.0
    ) -> None:
        self.facts = settings.facts
        self._clock = clock
        self._interface = interface
        self._settings = settings
        self._rng = generator(seed, "goniometer")
        self._speed_factor = 1.0 + settings.speed_error * float(self._rng.standard_normal())
        # Where within a call the instrument samples the angle is a property of its interface, unknown to the
        # engine and the same for all calls of a run, with a little scatter.
        self._sampled_at = float(self._rng.uniform(0.2, 0.8))
        self._direction = 1.0
        self._motions = [Motion(clock.now_ns(), start_deg, start_deg, 0.0, 0.0, settings.acceleration_s)]

    def hide(self, settings: GoniometerSettings, sampled_at: float) -> None:
        """From now on it is another goniometer than its facts tell; it stays where it is. sampled_at: the share of a
        reading's call that is over when the angle is taken.
        """
        self._settings, self._sampled_at = settings, sampled_at

    @property
    def speed_share(self) -> float:
        """True over nominal speed."""
        return self._speed_factor * self._settings.speed_share

    def angle_deg(self, t_ns: int) -> float:
        """True angle at an instant, for the pictures and the truth file."""
        for motion in reversed(self._motions):
            if motion.begin_ns <= t_ns:
                return motion.angle_deg(t_ns)
        return self._motions[0].from_deg

    def is_rotating(self, t_ns: int) -> bool:
        """Whether it moves at `t_ns` or will later, unless somebody does something."""
        last = self._motions[-1]
        return last.speed_deg_s != 0 and (last.begin_ns > t_ns or last.angle_deg(t_ns) != last.to_deg)

    def disturb(self, kind: str, value: float) -> bool:
        """See `Truth.disturb_stage`; a slip holds the stage where it is and lets it go on at full speed."""
        now_ns = self._clock.now_ns()
        motion = next((m for m in reversed(self._motions) if m.begin_ns <= now_ns), self._motions[0])
        here_deg = motion.angle_deg(now_ns)
        if motion.speed_deg_s == 0 or here_deg in (motion.from_deg, motion.to_deg):
            return False
        standing = Motion(now_ns, here_deg, here_deg, 0.0, 0.0, 0.0)
        onward = replace(motion, begin_ns=now_ns, from_deg=here_deg, dead_s=0.0, ramp_s=0.0)
        if kind == "stop":
            self._motions.append(standing)
        elif kind == "reverse":
            back_deg = self._settings.limits_deg[0 if motion.speed_deg_s > 0 else 1]
            self._motions.append(replace(onward, to_deg=back_deg, speed_deg_s=-motion.speed_deg_s))
        elif kind == "jump":
            forward = motion.speed_deg_s > 0
            there_deg = (min if forward else max)(here_deg + value, motion.to_deg)
            self._motions.append(replace(onward, from_deg=there_deg))
        else:
            self._motions += [standing, replace(onward, begin_ns=now_ns + ns(value))]
        return True

    def leave(self, angle_deg: float) -> None:
        """Stand here from now on, as an operator left it."""
        now_ns = self._clock.now_ns()
        if self.angle_deg(now_ns) != angle_deg or self.is_rotating(now_ns):
            self._forget_after(now_ns)
            self._motions.append(Motion(now_ns, angle_deg, angle_deg, 0.0, 0.0, self._settings.acceleration_s))

    async def angle(self) -> Reading:
        """See `Stage.angle`."""
        async with self._interface.call(self._settings.stage_read_s) as (begin_ns, end_ns):
            share = min(max(self._sampled_at + 0.05 * float(self._rng.standard_normal()), 0.0), 1.0)
            true_deg = self.angle_deg(begin_ns + round(share * (end_ns - begin_ns)))
            value_deg = true_deg + self._settings.encoder_deg * float(self._rng.standard_normal())
        return Reading(value_deg, begin_ns, end_ns)

    async def rotate(self, target_deg: float, speed_deg_s: float) -> None:
        """See `Stage.rotate`."""
        low_deg, high_deg = self._settings.limits_deg
        if not low_deg <= target_deg <= high_deg:
            raise DeviceError(
                f"stage: {target_deg:.2f} deg is outside the holder's limits {low_deg:g}..{high_deg:g} deg; "
                "nothing moved. Choose a smaller range."
            )
        if not speed_deg_s > 0:
            raise DeviceError(f"stage: cannot rotate at {speed_deg_s:g} deg/s; nothing moved. Give a positive speed.")
        async with self._interface.call():
            self._begin(self._clock.now_ns(), target_deg, speed_deg_s)

    async def release_to_pedal(self, target_deg: float, speed_deg_s: float) -> None:
        """See `Stage.release_to_pedal`: the simulated operator presses after a while and holds to the target."""
        wait_s = float(self._rng.uniform(*self._settings.pedal_wait_s))
        self._begin(self._clock.now_ns() + ns(wait_s), target_deg, speed_deg_s)

    async def stop(self) -> None:
        """See `Stage.stop`."""
        async with self._interface.call():
            now_ns = self._clock.now_ns()
            angle_deg = self.angle_deg(now_ns)
            self._forget_after(now_ns)
            self._motions.append(Motion(now_ns, angle_deg, angle_deg, 0.0, 0.0, self._settings.acceleration_s))

    def _forget_after(self, t_ns: int) -> None:
        """What was to come does not: the press of a pedal, the end of a slip."""
        while self._motions[-1].begin_ns > t_ns:
            self._motions.pop()

    def _begin(self, begin_ns: int, target_deg: float, speed_deg_s: float) -> None:
        self._forget_after(begin_ns)
        from_deg = self.angle_deg(begin_ns)
        stops_at = self._settings.stops_at_deg
        if stops_at is not None and min(from_deg, target_deg) <= stops_at <= max(from_deg, target_deg):
            target_deg = stops_at
        low_deg, high_deg = self._settings.limits_deg
        target_deg = min(max(target_deg, low_deg), high_deg)
        direction = 1.0 if target_deg >= from_deg else -1.0
        speed = speed_deg_s * self.speed_share
        dead_s = self._settings.backlash_deg / speed if direction != self._direction else 0.0
        self._direction = direction
        self._motions.append(
            Motion(begin_ns, from_deg, target_deg, direction * speed, dead_s, self._settings.acceleration_s)
        )
