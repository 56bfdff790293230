"""Bugs in the angles of frames."""

from dataclasses import replace
from typing import Any

import protocols.cred.results as results
import protocols.cred.rotation.stagewatch as stagewatch
from benchmarks.plantedbugs.registry import Swap, bug
from protocols.cred.records import Collected
from protocols.cred.rotation.angles import fit_rotation, is_astray, is_beyond_plan
from protocols.cred.rotation.stagewatch import StageWatch


@bug("angles from the plan's speed")
def _() -> list[Swap]:
    def rotation_of(collected: Collected, slots: Any) -> Any:
        stopped_ns = collected.stage_stopped_ns
        nominal_deg_s = slots.oscillation_deg / slots.period_s
        turning = [r for r in collected.readings if stopped_ns is None or r.t_after_ns <= stopped_ns]
        fit, first = fit_rotation(turning, nominal_deg_s), fit_rotation(turning[:1], nominal_deg_s)
        return fit and first and replace(fit, rate_deg_s=nominal_deg_s, reference_ns=first.reference_ns,
                                 angle_at_reference_deg=first.angle_at_reference_deg)  # fmt: skip

    return [(results, "rotation_of", rotation_of)]


@bug("a stage that strays is not noticed")
def _() -> list[Swap]:
    return [(stagewatch, "is_astray", lambda *_: False)]


@bug("a reading compared with the last one alone")
def _() -> list[Swap]:
    return [
        (stagewatch, "is_astray", lambda readings, *rest: is_astray(readings[-1:], *rest)),
        (stagewatch, "is_beyond_plan", lambda readings, *rest: is_beyond_plan(readings[-1:], *rest)),
    ]


@bug("no second look at a stage that strays")
def _() -> list[Swap]:
    async def look(self: StageWatch) -> None:
        reading = await self.angle()
        if self._is_astray(self.readings, reading):
            return self._left_out(reading)
        self.readings.append(reading)
        return None

    return [(StageWatch, "look", look)]
