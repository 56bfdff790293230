"""What the steps of a field take, and the hardware's own limit: the waits that no program can avoid. Pure.

Calls go one after the other through one interface. What the instrument does by itself goes on beside them: a stage that
moves, lenses that settle, a camera that reads out. The stage's own time is not known beforehand: of a run it is taken
from its trace (`protocols.serialed.limit`), for a forecast it is assumed.
"""

from dataclasses import dataclass

from drivers.facts import DetectorFacts, Facts
from drivers.geometry import per_px_A
from engine.errors import Refused
from engine.run.budget import Budget, BudgetStep
from protocols.serialed.plan import SerialedPlan

STAGE_S = 2.0
"""What a stage is assumed to take to the next field where nobody knows: what the first paper's totals leave for it."""
MOVE_LIMIT_S = 30.0
FIND_S = 2.0
CALLS = "calls"


@dataclass(frozen=True)
class SerialedBudgets:
    """Of one plan on one instrument. Times in s, of one field or one pattern."""

    plan: SerialedPlan
    facts: Facts

    @property
    def _call(self) -> tuple[float, float]:
        return self.facts.timing.api_call_s, self.facts.timing.api_call_worst_s

    @property
    def _camera(self) -> DetectorFacts:
        if self.facts.detector is None:
            raise Refused("serialed: this instrument has no camera; nothing was started.")
        return self.facts.detector

    @property
    def _mode_s(self) -> float:
        return 0.0 if self.facts.mode is None else self.facts.mode.settling_s

    @property
    def _coils_s(self) -> float:
        return 0.0 if self.facts.deflectors is None else self.facts.deflectors.settling_s

    def _calls(self, name: str, number: int = 1) -> BudgetStep:
        typical, worst = self._call
        return BudgetStep(name, CALLS, number * typical, number * worst)

    @property
    def image(self) -> Budget:
        """An image, from the beam's coming on to its going off."""
        return self._exposure("an image", self.plan.image_exposure_s)

    @property
    def pattern(self) -> Budget:
        """A pattern likewise, with the shift to its crystal."""
        exposed = self._exposure("a pattern", self.plan.pattern_exposure_s)
        settled = BudgetStep.fixed("beam stands", "deflectors", self._coils_s)
        steps = (self._calls("beam shift"), settled, *exposed.steps)
        return Budget("a pattern", steps, sum(step.worst_s for step in steps))

    def _exposure(self, name: str, exposure_s: float) -> Budget:
        camera = BudgetStep.fixed("exposure and readout", "camera", self._camera.cycle_s(exposure_s))
        steps = (self._calls("unblank"), camera, self._calls("blank"))
        return Budget(name, steps, sum(step.worst_s for step in steps))

    @property
    def change(self) -> Budget:
        """From image to pattern, or back."""
        lenses = BudgetStep.fixed("lenses stand", "mode", self._mode_s)
        condenser = BudgetStep.fixed("condenser stands", "plan", self.plan.condenser_settling_s)
        steps = (self._calls("mode", 2), self._calls("brightness"), lenses, condenser)
        return Budget("image to pattern, or back", steps, sum(step.worst_s for step in steps))

    # What a step may take before it is marked as over its budget: twice its worst, for one lost frame is tried again.
    @property
    def image_s(self) -> float:
        """An image, once everything stands."""
        return 2 * self.image.worst_s + self._mode_s + self.plan.condenser_settling_s + self.plan.stage_settling_s

    @property
    def pattern_s(self) -> float:
        """A pattern, once its beam shift is set."""
        return 2 * self.pattern.worst_s + self._mode_s

    @property
    def move_s(self) -> float:
        """The stage to the next field."""
        return MOVE_LIMIT_S + self.plan.stage_settling_s

    @property
    def find_s(self) -> float:
        """The finder, where it is waited for."""
        return FIND_S

    @property
    def focus_s(self) -> float:
        """To the probe, with the finder."""
        return 2 * self.change.worst_s + FIND_S

    @property
    def restore_s(self) -> float:
        """Back to the image."""
        return 2 * self.change.worst_s + self._call[1]

    @property
    def shift_s(self) -> float:
        """To the next crystal, from below."""
        return 4 * self._call[1] + 2 * self._coils_s

    def check_s(self, looks: int) -> float:
        """Looks at the probe in the image."""
        return 2 * (self.plan.condenser_settling_s + self._call[1]) + looks * (self.pattern_s + self.shift_s + 0.2)

    @property
    def inverse_A_per_px(self) -> float:
        """1/A of a pixel of the patterns."""
        geometry = self.facts.geometry
        return per_px_A(geometry.pixel_size_mm, geometry.camera_length_mm, geometry.wavelength_A)

    def pattern_limit_s(self) -> float:
        """The least that a pattern takes: the shift's call, the beam stands while the blanker opens, the exposure, the
        camera reads out while the blanker closes.
        """
        call_s, camera = self._call[0], self._camera
        over_s = camera.cycle_s(self.plan.pattern_exposure_s) - self.plan.pattern_exposure_s
        return call_s + max(call_s, self._coils_s) + self.plan.pattern_exposure_s + max(call_s, over_s)

    def image_limit_s(self) -> float:
        """The least that an image takes when everything stands: exposure, and the blanker after it."""
        camera = self._camera
        over_s = camera.cycle_s(self.plan.image_exposure_s) - self.plan.image_exposure_s
        return self.plan.image_exposure_s + max(self._call[0], over_s)

    def focus_limit_s(self, mode_call_s: float) -> float:
        """The least from the end of an image to the first beam shift's call: the lenses' call, then they settle while
        the condenser is set and settles. The first shift is made, and the blanker opened, while they settle.
        """
        call_s = self._call[0]
        beside_s = max(self._mode_s, call_s + self.plan.condenser_settling_s)
        hidden_s = call_s + max(call_s, self._coils_s)
        return mode_call_s + max(beside_s - hidden_s, call_s)

    def arrival_limit_s(self, stage_s: float, mode_call_s: float, *, restored: bool) -> float:
        """The least from a field's last blanking to the next image: the stage's call, its way and settling, beside
        which lenses, condenser and coils go back where they had been changed; the blanker opens at its end.
        """
        call_s = self._call[0]
        ready_s = stage_s + self.plan.stage_settling_s
        if restored:
            ready_s = max(ready_s, mode_call_s + max(self._mode_s, 2 * call_s + self.plan.condenser_settling_s))
        return call_s + max(ready_s, call_s)

    def field_s(self, crystals: float, stage_s: float = STAGE_S) -> float:
        """What a field with so many crystals is likely to take."""
        mode_call_s = 2 * self._call[0]
        if crystals <= 0:
            return self.arrival_limit_s(stage_s, mode_call_s, restored=False) + self.image_limit_s() + FIND_S / 10
        return (
            self.arrival_limit_s(stage_s, mode_call_s, restored=True)
            + self.image_limit_s()
            + self.focus_limit_s(mode_call_s)
            + crystals * self.pattern_limit_s()
        )
