"""Reads the stage while it turns: timed readings for the fit of the angles, and whether it turns as it should.

A single reading is believed only where constant speed explains it; otherwise the stage is asked again, and it is either
the first value that was wrong, or the stage that stopped, jumped, slipped or turned back. What is not known to have
been exposed at constant speed is not kept.
"""

from collections.abc import Sequence
from statistics import median

from drivers.contract import Reading, Stage
from engine.clock import NS_PER_MS, NS_PER_S, ns
from engine.errors import DeviceError, DeviceLost
from engine.run.run import Run
from engine.run.safety import moved_deg
from engine.run.series import FRAME_OVERDUE_S
from protocols.cred.plan import CredPlan
from protocols.cred.prescanplan import GOTO_SPEED_DEG_S, REST_S
from protocols.cred.readings import LEFT_OUT, TAKEN
from protocols.cred.rotation.angles import (
    COMMANDED_SHARE,
    ENCODER_DEG,
    PEDAL_SHARE,
    RECENT,
    SIGMAS,
    RotationFit,
    fit_rotation,
    has_stopped,
    is_astray,
    is_beyond_plan,
    middle_ns,
)
from protocols.cred.slotplan import ACTIVATION_THRESHOLD_DEG, START_DELAY_S

POLL_NS = 5 * NS_PER_MS
AGAIN_S = 0.2
THERE_DEG = ACTIVATION_THRESHOLD_DEG / 4
"""So near to an angle the stage has come to it."""
LAST_READING_S = 1.0
# So long the stop of a stage that was seen to turn is looked at, and that of one which may have begun to turn.
STANDS_S = 1.0
MAY_STAND_S = 2.0
AT_END_DEG = 0.05
# A reading that took as long says nothing of the angle at any instant.
USELESS_NS = NS_PER_S


class StageWatch:
    """The stage of one run, watched. stage: behind the run's gate. target_deg: where its rotation is to end."""

    def __init__(self, run: Run, stage: Stage, plan: CredPlan, target_deg: float) -> None:
        self._run = run
        self._timeline = run.timeline
        self._stage = stage
        self.readings: list[Reading] = []
        self.stopped_ns: int | None = None
        """Until when the stage is known to have turned at constant speed."""
        self._steady_from_ns = 0
        self.range_deg, self._end_deg = plan.range_deg, plan.start_deg + plan.range_deg
        self._target_deg = target_deg
        self._share = COMMANDED_SHARE if plan.rotation == "commanded" else PEDAL_SHARE
        self._last_from: int | None = None
        """How many readings there were before the two last ones."""
        self.rate_deg_s = plan.direction * plan.speed_deg_s
        """Of the plan, until the readings tell it better."""
        self.stood_deg: float | None = None
        """Where it stood before it was told to go anywhere."""
        self.may_turn = False
        """Whether it was told to turn, or left to the pedal, so that its stop is worth a look."""
        self.turning = False
        """Whether it was seen to turn: backlash and acceleration are over."""
        self.recent_fit: RotationFit | None = None
        """For the angles shown while the run goes on."""

    async def angle(self) -> Reading:
        """Read the stage; an error is answered by asking once more, for a reading changes nothing."""
        try:
            return await self._stage.angle()
        except DeviceLost:
            raise
        except DeviceError:
            await self._timeline.wait("again", self._timeline.now_ns + ns(AGAIN_S))
            return await self._stage.angle()

    async def rest_deg(self) -> float:
        """Where the stage stands: the middle one of three readings, so that a wrong one does no harm."""
        return median([(await self.angle()).value for _ in range(3)])

    async def go_to(self, angle_deg: float, what: str) -> None:
        """Go to an angle and stand there. what: names it in words. Takes as long as the way does, and half a second.

        Raises DeviceLost where it is not reached in time.
        """
        here_deg = await self.rest_deg()
        self.stood_deg = here_deg if self.stood_deg is None else self.stood_deg
        self.may_turn = True
        await self._stage.rotate(angle_deg, GOTO_SPEED_DEG_S)
        overdue_ns = self._timeline.now_ns + ns(2 * abs(angle_deg - here_deg) / GOTO_SPEED_DEG_S + FRAME_OVERDUE_S)
        while abs(await self.poll_deg() - angle_deg) > THERE_DEG:
            if self._timeline.now_ns > overdue_ns:
                raise DeviceLost(
                    f"stage: {what} = {angle_deg:g} was not reached in time; the stage stands elsewhere. "
                    "Check the holder and the stage's own limits."
                )
        # Readings scatter: let the motion end before its rest is taken as the mark for the start.
        await self._timeline.wait("start reached", self._timeline.now_ns + ns(REST_S))

    async def poll_deg(self) -> float:
        """Read the stage, but no more often than makes sense, however fast it answers."""
        begin_ns = self._timeline.now_ns
        reading = await self.angle()
        if self._timeline.now_ns < begin_ns + POLL_NS:
            await self._timeline.wait("poll", begin_ns + POLL_NS)
        return reading.value

    async def look(self) -> None:
        """Take a timed reading for the fit, and see whether the stage still turns as it did."""
        reading = await self.angle()
        if self._is_over():
            return  # another look has found its end meanwhile
        if reading.t_after_ns - reading.t_before_ns > USELESS_NS:
            self._left_out(reading)
            return
        readings, rate_deg_s = self.readings, self.rate_deg_s
        if readings and (self._is_at_end(reading) or self._is_astray(readings, reading)):
            await self._timeline.wait("look again", reading.t_after_ns + ns(AGAIN_S))
            again = await self.angle()
            if self._is_over():
                return
            if self._is_at_end(again):
                # Nobody knows since when it stands there.
                self._ended(again, middle_ns(again), readings[-1].t_before_ns)
                reading = again
            elif not self._is_astray(readings, again) and not self._have_jumped(reading, again):
                if not self._is_astray([reading], again):
                    # They agree, so it was not wrong: the speed was known less well than it seemed.
                    self._taken(reading)
                elif len(readings) == 1:
                    # The first one may be the wrong one, of a stage that has jumped since.
                    self._steady_from_ns = middle_ns(again)
                    self._left_out(reading, steady_from_ns=self._steady_from_ns)
                else:
                    self._left_out(reading)
                reading = again
            elif len(readings) == 1 and not self._steady_from_ns and not self._is_astray([reading], again):
                # Two against one: nobody knows what the stage did until now.
                self._steady_from_ns = middle_ns(reading)
                self._left_out(readings.pop(), steady_from_ns=self._steady_from_ns)
            elif not (has_stopped(reading, again, rate_deg_s) and self._stopped(again)):
                self._astray(again)
                return
            elif reading.t_after_ns <= (self.stopped_ns or 0):
                # It was astray though the stage still turned: it was wrong, and has no word in the fit.
                self._left_out(reading)
                return
        self._taken(reading)
        self.recent_fit = fit_rotation(readings[-3:], rate_deg_s)

    def _taken(self, reading: Reading) -> None:
        self.readings.append(reading)
        self._run.trace.record(
            "note", TAKEN, angle_deg=reading.value, t_before_ns=reading.t_before_ns, t_after_ns=reading.t_after_ns
        )

    def _is_over(self) -> bool:
        return self.stopped_ns is not None

    def _is_at_end(self, reading: Reading) -> bool:
        """Whether the stage has come to where its rotation was to end."""
        return (self._target_deg - reading.value) * self.rate_deg_s < AT_END_DEG * abs(self.rate_deg_s)

    def _is_astray(self, before: Sequence[Reading], now: Reading) -> bool:
        return is_astray(before, now, self.rate_deg_s, self._share)

    def _have_jumped(self, reading: Reading, again: Reading) -> bool:
        """Whether two readings that agree are where no speed that the plan allows could have taken the stage. The
        later one alone may seem to fit: the longer the time, the farther a speed that is off can have taken it.
        """
        beyond = is_beyond_plan(self.readings, reading, self.rate_deg_s, self._share)
        return beyond and not self._is_astray([reading], again)

    def _left_out(self, reading: Reading, **since: int) -> None:
        self._run.trace.record("note", LEFT_OUT, angle_deg=reading.value, at_ns=middle_ns(reading), **since)

    def _stopped(self, reading: Reading) -> bool:
        """Find out when: where the line through the readings before reaches the angle at which the stage stands.

        False when it stands where it cannot have come to by then.
        """
        fit = fit_rotation(self.readings, self.rate_deg_s)
        if fit is None or fit.rate_deg_s * self.rate_deg_s <= 0:
            return False
        stopped_ns = fit.reference_ns + round((reading.value - fit.angle_at_reference_deg) / fit.rate_deg_s * NS_PER_S)
        if not self.readings[-1].t_before_ns <= stopped_ns <= reading.t_after_ns:
            return False
        # No frame that could have seen it standing is kept: the uncertainty of the line is taken off.
        open_deg = fit.offset_uncertainty_deg
        if fit.readings > 1:
            open_deg += 3 * fit.rate_uncertainty_deg_s * abs(stopped_ns - fit.reference_ns) / NS_PER_S
        open_ns = round(open_deg / abs(fit.rate_deg_s) * NS_PER_S)
        self._ended(reading, stopped_ns, max(stopped_ns - open_ns, self.readings[-1].t_before_ns))
        return True

    def _ended(self, reading: Reading, at_ns: int, until_ns: int) -> None:
        """The rotation is over: what was exposed after `until_ns` is not kept."""
        self.stopped_ns = until_ns
        self._run.trace.record("note", "stage stopped", angle_deg=reading.value, at_ns=at_ns, kept_until_ns=until_ns)

    def _astray(self, reading: Reading) -> None:
        """The stage is not where constant speed would have taken it: what was exposed since the last reading is not
        kept, and with fewer than three readings nobody knows where it was before.

        Of the two last ones, made at once, the first may be wrong and the stage have jumped before. So may the last
        good one: wrong by as much as the stage had jumped before it, it lies on the line. What was exposed since the
        one before it may be off by as much as the stage is now.
        """
        readings = self.readings[: self._last_from]
        until_ns = (readings[-1] if len(readings) >= 3 else readings[0]).t_before_ns
        self.stopped_ns = until_ns
        fit = fit_rotation(readings[-RECENT:], self.rate_deg_s)
        off_deg = abs(reading.value - fit.angle_deg(middle_ns(reading))) if fit else 0.0
        self._run.trace.record(
            "note",
            "stage astray",
            angle_deg=reading.value,
            kept_until_ns=until_ns,
            doubtful_from_ns=readings[-2].t_before_ns if len(readings) >= 2 else until_ns,
            off_deg=off_deg,
        )
        self._run.commands.fail(
            f"stage: stands at {reading.value:.2f} deg, where its rotation at constant speed cannot have taken it "
            f"({off_deg:.2f} deg off); frames until the last good reading are kept, the angles of those since the one "
            "before it with so much more uncertainty. Check the goniometer, the holder and the pedals."
        )

    def begin_at(self, angle_deg: float) -> None:
        """The rotation begins there, and ends where the plan says."""
        self.range_deg = self._end_deg - angle_deg

    def slots_for_range(self, period_s: float) -> int | None:
        """The slots that the range needs at the speed the stage really has; None while that is not known well."""
        if self.stopped_ns is not None:
            return None
        fit = fit_rotation(self.readings[-RECENT:], self.rate_deg_s)
        if fit is None or fit.readings < 3 or fit.rate_uncertainty_deg_s > 0.001 * abs(fit.rate_deg_s):
            return None
        self.rate_deg_s = fit.rate_deg_s
        return round(abs(self.range_deg / (fit.rate_deg_s * period_s)))

    async def stop(self) -> None:
        """Stop the rotation, after two last readings for the fit, and make sure that it stands.

        They may not hold up the stop: without them nothing tells where the stage was since the one before. Two, for
        a wrong one would hide a jump of its own size.
        """
        if self.readings and self.stopped_ns is None and self._last_from is None:
            self._last_from = len(self.readings)
            try:
                async with self._timeline.clock.timeout_at(self._timeline.clock.now_ns() + ns(LAST_READING_S)):
                    await self.look()
                    await self.look()
            except Exception:  # whatever is wrong with the reading, the stop comes next
                self.stopped_ns = self.readings[self._last_from - 1].t_before_ns
                self._run.trace.record("note", "stage not read", kept_until_ns=self.stopped_ns)
        await self._stage.stop()
        if self.may_turn:
            await self._see_it_stand()
            await self._stage.stop()  # it may have stood by itself, and the stop was not heard

    async def _see_it_stand(self) -> None:
        """Ask the stage itself: an accepted stop is no standing stage. Raises DeviceError where it turns on, or where
        that cannot be told in the time there is.
        """
        rate_deg_s = abs(self.rate_deg_s)
        # Long enough to tell a slow rotation from the scatter of readings.
        moved_s, longest_s = max(AGAIN_S, 9 * ENCODER_DEG / rate_deg_s), STANDS_S
        if not self.turning:
            # It may have begun this moment. It stands until its backlash is over, and has to be seen to move after
            # that: by the third of its way by which a stage that turns is told.
            begun_s = self._stage.facts.backlash_deg / rate_deg_s + START_DELAY_S
            moved_s, longest_s = max(moved_s, 1.5 * begun_s), MAY_STAND_S
        looked_s = min(moved_s, longest_s)
        # By what it would move in the time that was meant: a wait that became longer excuses no further way. One that
        # was not seen to turn has no way to run out either.
        allowed_deg = max(rate_deg_s * looked_s / 3, 1.5 * ENCODER_DEG) if self.turning else SIGMAS * ENCODER_DEG
        if await moved_deg(self._stage, self._timeline, looked_s) >= allowed_deg:
            raise DeviceError("stage: told to stop, it turns on. Stop it at the microscope.")
        if moved_s > MAY_STAND_S:
            raise DeviceError(
                f"stage: told to stop before it was seen to turn; at {rate_deg_s:g} deg/s it cannot be told in "
                f"{MAY_STAND_S:g} s whether it stands. Look at the microscope."
            )
