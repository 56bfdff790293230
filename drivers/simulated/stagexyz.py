"""The simulated translation of the stage: finite speed, lost motion after a change of direction, landing scatter.

As with the goniometer a motion is a function of time, known as soon as it is commanded. The encoder tells where the
drive is; the specimen follows it with play, so that it lies elsewhere after an arrival from the other side.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from drivers.parts import Limits, PositionReading, StageXYZFacts
from drivers.simulated.latency import Interface, generator
from engine.clock import NS_PER_S, Clock
from engine.errors import DeviceBusy, DeviceError, Refused

Z = 2
"""Of the axes."""


@dataclass(frozen=True, slots=True)
class StageXYZSettings:
    """Properties of the translation; round values chosen here where no measurement is published.

    start_nm: where it stands at first. backlash_nm: by how much the specimen stays behind after a change of direction.
    reproducibility_nm: standard deviation of where the specimen comes to lie, of one arrival from the same side to the
    next; z_reproducibility_nm: the same along z, below 0 for as along x and y. encoder_nm: standard deviation of a
    reading. xy_while_tilting: see `StageXYZFacts`. overshoot_nm: by how much the specimen goes on past where it comes
    to lie; settling_s: the time constant of its way back.
    """

    start_nm: tuple[float, float, float] = (0.0, 0.0, 0.0)
    x_limits_nm: tuple[float, float] = (-1e6, 1e6)
    y_limits_nm: tuple[float, float] = (-1e6, 1e6)
    z_limits_nm: tuple[float, float] = (-200e3, 200e3)
    xy_speed_nm_s: float = 50e3
    z_speed_nm_s: float = 10e3
    backlash_nm: float = 400.0
    reproducibility_nm: float = 20.0
    z_reproducibility_nm: float = -1.0
    encoder_nm: float = 2.0
    xy_while_tilting: bool = True
    overshoot_nm: float = 0.0
    settling_s: float = 0.0

    @property
    def facts(self) -> StageXYZFacts:
        """See `StageXYZ.facts`. Raises Refused for a beginning past the limits and for speeds that are none."""
        limits: tuple[Limits, Limits, Limits] = (self.x_limits_nm, self.y_limits_nm, self.z_limits_nm)
        facts = StageXYZFacts(limits, self.backlash_nm, self.xy_while_tilting, tilt_counts_as_moving=False)
        if (said := facts.outside(*self.start_nm)) is not None:
            raise Refused(f"devices: [stagexyz] start_nm: {said}; nothing was started.")
        if not min(self.xy_speed_nm_s, self.z_speed_nm_s) > 0:
            raise Refused("devices: [stagexyz] xy_speed_nm_s and z_speed_nm_s are above 0; nothing was started.")
        return facts


@dataclass(frozen=True, slots=True)
class _Travel:
    """From `begin_ns` the drive of one axis goes from `from_nm` to `to_nm`.

    lay_nm: where the specimen was then. scatter_nm: how far off it was, and will be at the end.
    """

    begin_ns: int
    from_nm: float
    to_nm: float
    speed_nm_s: float
    lay_nm: float
    scatter_nm: tuple[float, float]

    @property
    def end_ns(self) -> int:
        return self.begin_ns + round(abs(self.to_nm - self.from_nm) / self.speed_nm_s * NS_PER_S)

    def share(self, t_ns: int) -> float:
        """How much of the way is done."""
        if t_ns >= self.end_ns:
            return 1.0
        return max(0, t_ns - self.begin_ns) / (self.end_ns - self.begin_ns)

    def drive_nm(self, t_ns: int) -> float:
        """Where the drive is."""
        share = self.share(t_ns)
        return self.to_nm * share + self.from_nm * (1.0 - share)

    def scatter_at(self, t_ns: int) -> float:
        """How far off the specimen is; a drive that does not move changes nothing."""
        before_nm, after_nm = self.scatter_nm
        return before_nm + (after_nm - before_nm) * self.share(t_ns)

    def specimen_nm(self, t_ns: int, play_nm: float) -> float:
        """Where the specimen is: the drive takes it along from below at once, from above when the play is used up."""
        lowest_nm = self.drive_nm(t_ns) + self.scatter_at(t_ns)
        return min(max(self.lay_nm, lowest_nm), lowest_nm + play_nm)

    def beyond_nm(self, t_ns: int, overshoot_nm: float, settling_s: float) -> float:
        """How far the specimen is past that by its momentum: more and more on the way, no farther than the way was
        long, and less and less once the drive stands.
        """
        way_nm = self.to_nm - self.from_nm
        past_nm = max(-abs(way_nm), min(abs(way_nm), math.copysign(overshoot_nm, way_nm))) * self.share(t_ns)
        since_s = max(0, t_ns - self.end_ns) / NS_PER_S
        return past_nm * math.exp(-since_s / settling_s)


class _Axis:
    """One axis, with all that it ever did; at first as somebody left it who arrived from below."""

    def __init__(self, start_nm: float, speed_nm_s: float, settings: StageXYZSettings, begin_ns: int) -> None:
        self._speed_nm_s = speed_nm_s
        self.hide(settings)
        self._travels = [_Travel(begin_ns, start_nm, start_nm, speed_nm_s, start_nm, (0.0, 0.0))]

    def _at(self, t_ns: int) -> _Travel:
        return next((each for each in reversed(self._travels) if each.begin_ns <= t_ns), self._travels[0])

    def drive_nm(self, t_ns: int) -> float:
        return self._at(t_ns).drive_nm(t_ns)

    def arrived_ns(self, t_ns: int) -> int:
        return min(t_ns, self._at(t_ns).end_ns)

    def specimen_nm(self, t_ns: int) -> float:
        travel = self._at(t_ns)
        rests_nm = travel.specimen_nm(t_ns, self._play_nm)
        if not (self._overshoot_nm and self._settling_s):
            return rests_nm
        return rests_nm + travel.beyond_nm(t_ns, self._overshoot_nm, self._settling_s)

    def is_moving(self, t_ns: int) -> bool:
        return t_ns < self._travels[-1].end_ns

    def hide(self, settings: StageXYZSettings) -> None:
        """From now on it has this play and this momentum."""
        self._play_nm = settings.backlash_nm
        self._overshoot_nm, self._settling_s = settings.overshoot_nm, settings.settling_s

    def kept(self, t_ns: int) -> tuple[float, float, float]:
        """Where the drive is, where the specimen lies, and how far off it is by its scatter."""
        travel = self._at(t_ns)
        return travel.drive_nm(t_ns), travel.specimen_nm(t_ns, self._play_nm), travel.scatter_at(t_ns)

    def resume(self, t_ns: int, drive_nm: float, lay_nm: float, scatter_nm: float) -> None:
        """It stands so, and never did anything else."""
        off_nm = scatter_nm, scatter_nm
        self._travels = [_Travel(t_ns, drive_nm, drive_nm, self._speed_nm_s, lay_nm, off_nm)]

    def go(self, t_ns: int, to_nm: float, scatter_nm: float) -> None:
        """The drive sets out, unless it is there."""
        if to_nm != (from_nm := self.drive_nm(t_ns)):
            off_nm = (self._at(t_ns).scatter_at(t_ns), scatter_nm)
            lay_nm = self._at(t_ns).specimen_nm(t_ns, self._play_nm)
            self._travels.append(_Travel(t_ns, from_nm, to_nm, self._speed_nm_s, lay_nm, off_nm))

    def stop(self, t_ns: int) -> None:
        """The drive stands where it is, and the specimen where that brought it."""
        here_nm, off_nm = self.drive_nm(t_ns), self._at(t_ns).scatter_at(t_ns)
        lay_nm = self._at(t_ns).specimen_nm(t_ns, self._play_nm)
        self._travels.append(_Travel(t_ns, here_nm, here_nm, self._speed_nm_s, lay_nm, (off_nm, off_nm)))


class Translation:
    """Implements `drivers.parts.StageXYZ`. is_tilting: whether the goniometer turns at an instant, or will.

    Raises Refused for a beginning past the limits and for speeds that are none.
    """

    def __init__(
        self,
        clock: Clock,
        interface: Interface,
        seed: int,
        settings: StageXYZSettings,
        read_s: float,
        is_tilting: Callable[[int], bool],
    ) -> None:
        self._clock = clock
        self._interface = interface
        self._settings = settings
        self._read_s = read_s
        self._is_tilting = is_tilting
        self._rng: np.random.Generator = generator(seed, "stagexyz")
        self.facts = settings.facts
        speeds = (settings.xy_speed_nm_s, settings.xy_speed_nm_s, settings.z_speed_nm_s)
        self._axes = tuple(
            _Axis(start_nm, speed_nm_s, settings, clock.now_ns())
            for start_nm, speed_nm_s in zip(settings.start_nm, speeds, strict=True)
        )

    def hide(self, settings: StageXYZSettings) -> None:
        """From now on play and scatter are others than the settings say."""
        self._settings = settings
        for axis in self._axes:
            axis.hide(settings)

    def kept(self, t_ns: int) -> list[tuple[float, float, float]]:
        """How each axis stands, for `resume`."""
        return [axis.kept(t_ns) for axis in self._axes]

    def resume(self, axes: Sequence[tuple[float, float, float]]) -> None:
        """All stands as it was left."""
        for axis, (drive_nm, lay_nm, scatter_nm) in zip(self._axes, axes, strict=True):
            axis.resume(self._clock.now_ns(), float(drive_nm), float(lay_nm), float(scatter_nm))

    def moved_nm(self, t_ns: int) -> tuple[float, float, float]:
        """How far the specimen truly was at an instant from where it lay at the beginning."""
        (x, y, z), (x0, y0, z0) = self.specimen_nm(t_ns), self._settings.start_nm
        return x - x0, y - y0, z - z0

    def specimen_nm(self, t_ns: int) -> tuple[float, float, float]:
        """Where the specimen truly was at an instant, past or present: the reading, with play and scatter added."""
        x_nm, y_nm, z_nm = (axis.specimen_nm(t_ns) for axis in self._axes)
        return x_nm, y_nm, z_nm

    def stood_s(self, t_ns: int) -> float:
        """For how long it had stood at an instant; 0 while it moves."""
        return (t_ns - max(axis.arrived_ns(t_ns) for axis in self._axes)) / NS_PER_S

    async def position(self) -> PositionReading:
        """See `StageXYZ.position`; true in the middle of the call, but for the encoder's noise."""
        async with self._interface.call(self._read_s) as (begin_ns, end_ns):
            middle_ns = (begin_ns + end_ns) // 2
            x_nm, y_nm, z_nm = (
                axis.drive_nm(middle_ns) + self._settings.encoder_nm * float(self._rng.standard_normal())
                for axis in self._axes
            )
            return PositionReading(x_nm, y_nm, z_nm, begin_ns, end_ns)

    async def move_xy(self, x_nm: float, y_nm: float) -> None:
        """See `StageXYZ.move_xy`."""
        self._require(self.facts.outside(x_nm=x_nm, y_nm=y_nm))
        async with self._interface.call() as (_, now_ns):
            if not self._settings.xy_while_tilting and self._is_tilting(now_ns):
                raise DeviceBusy("stagexyz: the stage tilts; nothing moved. Wait until it stands.")
            self._go(now_ns, {0: x_nm, 1: y_nm})

    async def move_z(self, z_nm: float) -> None:
        """See `StageXYZ.move_z`."""
        self._require(self.facts.outside(z_nm=z_nm))
        async with self._interface.call() as (_, now_ns):
            self._go(now_ns, {2: z_nm})

    def _require(self, outside: str | None) -> None:
        if outside is not None:
            raise DeviceError(f"stagexyz: {outside}; nothing moved. Choose a place within the limits of the stage.")

    def _go(self, now_ns: int, targets_nm: dict[int, float]) -> None:
        if self.moves(now_ns):
            raise DeviceBusy("stagexyz: the stage still moves; nothing else was begun. Wait until it stands.")
        for number, to_nm in targets_nm.items():
            sigma_nm = self._settings.reproducibility_nm
            if number == Z and self._settings.z_reproducibility_nm >= 0.0:
                sigma_nm = self._settings.z_reproducibility_nm
            scatter_nm = sigma_nm * float(self._rng.standard_normal())
            self._axes[number].go(now_ns, to_nm, scatter_nm)

    def moves(self, t_ns: int) -> bool:
        """Whether any axis moves at an instant."""
        return any(axis.is_moving(t_ns) for axis in self._axes)

    async def is_moving(self) -> bool:
        """See `StageXYZ.is_moving`."""
        async with self._interface.call() as (_, now_ns):
            return self.moves(now_ns)

    async def stop(self) -> None:
        """See `StageXYZ.stop`: it stands at once."""
        async with self._interface.call() as (_, now_ns):
            for axis in self._axes:
                if axis.is_moving(now_ns):
                    axis.stop(now_ns)
