"""The slots of a cRED plan on given hardware: how long they are, how many, how many a snapshot takes, what fits."""

import math

from drivers.facts import DetectorFacts, Facts, StageFacts, Timing
from drivers.judged import meant
from drivers.plausible import EXPOSURE, SNAPSHOT, SPEED
from engine.errors import Refused
from engine.run.budget import Budget, BudgetStep
from protocols.cred.plan import LONGEST_S, SLOTS_LIMIT, CredPlan
from protocols.cred.prescanplan import PrescanPlan
from protocols.cred.snapshotslots import SnapshotSlots
from protocols.cred.trackedby import not_taken_back
from protocols.cred.trackingfits import tracking_steps

START_DELAY_S = 0.2
ACTIVATION_THRESHOLD_DEG = 0.2
# A frame may start this share of a period late and still count as its slot's; its true angle is recorded anyway.
LATE_SHARE = 0.05
# Rotation beyond the last planned frame, so that the stage is still at speed when it ends.
RUN_OUT_DEG = 1.0


class SlotPlan:
    """The slots of a plan on given hardware: period, number, how many a snapshot takes. Refuses what cannot fit.

    Every number is in seconds or counts slots; nothing is touched.
    """

    def __init__(self, plan: CredPlan, facts: Facts) -> None:
        self.plan = plan
        stage, optics, detector, timing = facts.stage, facts.optics, facts.detector, facts.timing
        if stage is None or optics is None or detector is None:
            raise Refused("cred: needs a stage, a lens and a camera, of which this instrument lacks one; not started.")
        self.detector = detector
        self.stage = stage
        self._check_exposures(detector)
        self.period_s = detector.cycle_s(plan.exposure_s)
        self.settling_s = optics.settling_s(plan.defocus)
        self.change_s = detector.change_s if plan.snapshot_exposure_s != plan.exposure_s else 0.0
        # A camera that has to be set anew to another exposure exposes one frame for that, which is not kept: of the
        # frame after a change nobody knows well enough when it was exposed. The lens settles meanwhile.
        self.tracking_steps = tracking_steps(plan, facts)
        self.tracking_s = sum(step.worst_s for step in self.tracking_steps)
        self.not_taken_back = not_taken_back(plan.track_by, facts, beam_follows=plan.beam_follows)
        self.ready_s = max(self.settling_s, self.change_s + self.period_s if self.change_s else 0.0, self.tracking_s)
        self._check_times(detector, timing)
        self.oscillation_deg = plan.direction * plan.speed_deg_s * self.period_s
        self.slots = max(1, self._slots_in_range())
        self.tolerance_s = LATE_SHARE * self.period_s
        self.paced = detector.paced
        self.lead_s = 0.0 if detector.paced is None else detector.paced.lead_s
        self.frame = Budget(
            "diffraction frame",
            (
                BudgetStep.fixed("exposure", "plan: exposure_s", plan.exposure_s),
                BudgetStep.fixed("readout and overhead", "camera", self.period_s - plan.exposure_s),
            ),
            self.period_s,
        )
        image_s = detector.cycle_s(plan.snapshot_exposure_s)
        steps = (
            BudgetStep("defocus", "microscope call", timing.api_call_s, timing.api_call_worst_s),
            BudgetStep.fixed("snapshot exposure", "plan: snapshot_exposure_s", plan.snapshot_exposure_s),
            BudgetStep.fixed("snapshot readout", "camera", image_s - plan.snapshot_exposure_s + self.change_s),
            BudgetStep("refocus", "microscope call", timing.api_call_s, timing.api_call_worst_s),
            self._ready_step,
        )
        self.snapshot_slots = max(1, math.ceil(sum(step.worst_s for step in steps) / self.period_s - 1e-9))
        self.snapshot = Budget("snapshot cycle", steps, self.snapshot_slots * self.period_s)
        self.prescan = PrescanPlan(plan, timing, stage, detector)
        longest, unsure_nm = plan.snapshot_interval, plan.snapshot_when_unsure_nm
        shortest = longest if unsure_nm is None else plan.snapshot_interval_least
        first = longest if plan.tracking == "off" else 1  # a crystal that is tracked is seen before its first frame
        self.snapshots = SnapshotSlots(first, shortest, longest, unsure_nm, self.snapshot_slots, self.slots)
        self._check(stage)

    @property
    def _ready_step(self) -> BudgetStep:
        """What takes longest of what goes on side by side before the next frame."""
        if self.ready_s == self.settling_s:
            beside = f"; tracking within it: {self.tracking_s * 1000:.0f} ms" if self.tracking_s else ""
            return BudgetStep.fixed("settling", f"lens, for this defocus{beside}", self.settling_s)
        if self.ready_s == self.tracking_s:
            return BudgetStep.fixed("tracking", "an answer and its corrections, while the lens settles", self.ready_s)
        return BudgetStep.fixed("setting back to frames", "camera, while the lens settles", self.ready_s)

    @property
    def budgets(self) -> tuple[Budget, ...]:
        """The timed sequences of a run."""
        until_s = self.ready_s + self.snapshot.slack_s
        beside = (Budget("tracking, from refocus to the next frame", self.tracking_steps, until_s),)
        tracked = beside if self.tracking_steps else ()
        of_rotation = (self.frame, self.snapshot, *tracked) if self.plan.snapshot_interval else (self.frame,)
        return (*self.prescan.budgets, *of_rotation)

    @property
    def wake_tolerance_s(self) -> float:
        """So late a frame may be asked for, and still begins within the tolerance: of a camera that paces itself with
        the part of its slot, or so many parts later as the tolerance allows.
        """
        if self.paced is None or not self.lead_s:
            return self.tolerance_s
        return self.lead_s + self.tolerance_s // self.paced.period_s * self.paced.period_s

    @property
    def smallest_margin_s(self) -> float:
        """The tightest tolerance of the run; a machine that wakes later than this cannot run the plan."""
        margins = [self.wake_tolerance_s]
        if self.plan.snapshot_interval:
            margins.append(self.snapshot.slack_s + self.tolerance_s)
        return min(margins)

    @property
    def wedge_deg(self) -> float:
        """What the stage turns through while a snapshot is taken."""
        return abs(self.snapshot_slots * self.oscillation_deg) if self.plan.snapshot_interval else 0.0

    @property
    def travel_deg(self) -> tuple[float, float]:
        """Where the rotation begins and, run-in and run-out included, ends."""
        plan = self.plan
        return plan.start_deg, plan.start_deg + plan.range_deg + plan.direction * (self.run_in_deg + RUN_OUT_DEG)

    @property
    def run_in_deg(self) -> float:
        """By how much the stage turns, at most, before the first slot begins."""
        return ACTIVATION_THRESHOLD_DEG + self.plan.speed_deg_s * (START_DELAY_S + 0.5)

    def _slots_in_range(self) -> int:
        plan, slot_deg = self.plan, abs(self.oscillation_deg)
        if abs(plan.range_deg) > SLOTS_LIMIT * slot_deg:
            raise Refused(
                f"range_deg = {plan.range_deg:g}: at {slot_deg:.3g} deg a slot that is more than {SLOTS_LIMIT} slots; "
                "nothing was started. Raise speed_deg_s or exposure_s, or lower range_deg."
            )
        return self.slots_for(plan.range_deg)

    def slots_for(self, range_deg: float) -> int:
        """The slots of a range at the speed of the plan."""
        return round(abs(range_deg) / abs(self.oscillation_deg))

    def _check_times(self, detector: DetectorFacts, timing: Timing) -> None:
        """Refuse what an instrument says of itself when it cannot be."""
        snapshot_s = detector.cycle_s(self.plan.snapshot_exposure_s)
        for what, seconds in (
            ("detector: a frame", self.period_s),
            ("detector: a snapshot", snapshot_s),
            ("a change of exposure", detector.change_s),
            ("optics: settling", self.settling_s),
            ("timing: a call", timing.api_call_s),
            ("timing: a slow call", timing.api_call_worst_s),
        ):
            if not 0 <= seconds <= LONGEST_S or (seconds == 0 and what.startswith("detector")):
                raise Refused(f"{what} would take {seconds:g} s; nothing was started. Correct the devices file.")

    def _check_exposures(self, detector: DetectorFacts) -> None:
        shortest_s, longest_s = detector.exposure_limits_s
        for key, known in (("exposure_s", EXPOSURE), ("snapshot_exposure_s", SNAPSHOT)):
            if not shortest_s <= getattr(self.plan, key) <= longest_s:
                value_s = getattr(self.plan, key)
                raise Refused(
                    f"{key} = {value_s:g}: the detector exposes for {shortest_s:g} to {longest_s:g} s; nothing was "
                    f"started. Choose a value in between.{meant(key, value_s, known)}"
                )

    def _check(self, stage: StageFacts) -> None:
        plan = self.plan
        shortest = self.snapshots.shortest
        if plan.snapshot_interval and self.snapshot_slots >= shortest:
            # Between snapshots at least one whole slot must be left for a frame.
            key = "snapshot_interval_least" if self.snapshots.adaptive else "snapshot_interval"
            Budget(
                f"snapshot cycle with {key} = {shortest}", self.snapshot.steps, (shortest - 1) * self.period_s
            ).check(
                f"Set {key} to {self.snapshot_slots + 1} or more, or lengthen exposure_s."
                f"{meant('snapshot_exposure_s', plan.snapshot_exposure_s, SNAPSHOT)}"
            )
        if plan.rotation == "commanded" and (why := stage.no_speed(plan.speed_deg_s)):
            raise Refused(
                f"speed_deg_s = {plan.speed_deg_s:g}: {why}; nothing was started. Choose another speed, or rotation = "
                "pedal."
            )
        low_deg, high_deg = stage.limits_deg
        for angle_deg, key in zip(self.travel_deg, ("start_deg", "range_deg"), strict=True):
            if not low_deg <= angle_deg <= high_deg:
                raise Refused(
                    f"{key}: the rotation from {self.travel_deg[0]:.2f} to {self.travel_deg[1]:.2f} deg (run-in and "
                    f"run-out included) leaves the holder's {low_deg:g}..{high_deg:g} deg; nothing was started. "
                    "Choose a smaller range_deg or another start_deg."
                    f"{meant('speed_deg_s', plan.speed_deg_s, SPEED)}"
                )
        if plan.path is not None:  # that of an earlier run begins with its first snapshot and ends with its last
            between_deg = plan.snapshot_interval * abs(self.oscillation_deg) + self.run_in_deg
            for path in plan.paths:
                path.check_range(plan.start_deg, plan.start_deg + plan.range_deg, between_deg)
