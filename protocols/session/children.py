"""What a session asks of its children: the plans of these experiments, which the register finds by their names.

Keys of the session's tables go before what is usual here; a table that its experiment does not understand, or a plan
that does not fit the instrument, is refused before anything moves.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from pydantic import BaseModel

from drivers.facts import Facts
from engine.errors import Refused
from engine.record.jsonobject import JsonDict
from engine.run.contract import AnyExperiment, Prepared
from engine.run.planfile import build_plan_from
from engine.run.registry import experiment_type, registered
from protocols.session.crystals import Crystal
from protocols.session.night import CRED, HEIGHT, RECALL, SERIALED
from protocols.session.plan import SessionPlan

NO_LATTICE_AFTER_DEG = 30.0
"""A rotation without a lattice is given up then, if nothing else is said."""
SHADOW_DEG = 8.0
"""One into whose beam a bar has come ends so much later: a bar is as wide as the tilt that is left."""
SAFETY_DEG = 1e-9
RECALLED = {"correct": "stage and beam", "within_nm": 500.0, "stage_tries": 6, "sure": 0.5}
"""The stage comes near, for what is far from the tilt axis moves most, and the beam does the rest. A neighbour that is
taken for the crystal is a crystal all the same: what it is, the rotation tells."""
FOR_DIALS = ("smv", "dials")
LOOKS = 4
"""Before a rotation that tracks, it is looked where the crystal goes."""
STEP_UM = 6.0
"""Fields side by side (one of the paper's is 6 um wide): a crystal is known again by its neighbours."""
Pair = tuple[float, float]


def height_is_known() -> bool:
    """Whether there is an experiment that measures a height."""
    return HEIGHT in registered("protocols")


@dataclass(frozen=True)
class Children:
    """Of one session. facts: of its instrument."""

    plan: SessionPlan
    facts: Facts

    def kind(self, name: str) -> AnyExperiment:
        """An experiment by its name. Refused where it is not installed."""
        return experiment_type(name)

    @cached_property
    def blocks(self) -> tuple[tuple[Pair, Pair], ...]:
        """Of each block of the region its middle, from that of the region, and its size, x and y in um."""
        plan = self.plan
        size = plan.block_um or max(plan.width_um, plan.height_um)
        columns, rows = (max(1, round(length / size)) for length in (plan.width_um, plan.height_um))
        wide, high = plan.width_um / columns, plan.height_um / rows
        return tuple(
            (((i - (columns - 1) / 2) * wide, (j - (rows - 1) / 2) * high), (wide, high))
            for j in range(rows)
            for i in (range(columns) if j % 2 == 0 else reversed(range(columns)))
        )

    def screening(self, block: int, centre_nm: Pair | None) -> BaseModel:
        """The serial run over a block, from 0. centre_nm: of the region; None where the stage stands."""
        (x_um, y_um), (wide_um, high_um) = self.blocks[block]
        told: JsonDict = {"sample": "screening", "formats": (), "width_um": wide_um, "height_um": high_um}
        told |= {"step_um": min(STEP_UM, max(wide_um, high_um))}
        if self.plan.choose.isolated:
            told["crystals"] = "isolated"
        told |= self.plan.screening
        if centre_nm is not None:
            told["centre_nm"] = (centre_nm[0] + 1000 * x_um, centre_nm[1] + 1000 * y_um)
        return self._made(SERIALED, "screening", told | {"tell_crystals": True})

    def recall(self, crystal: Crystal, neighbours: Sequence[tuple[float, float, float]]) -> BaseModel:
        """The crystal brought back."""
        screening: Any = self.screening(0, (0.0, 0.0))
        told: JsonDict = {
            "sample": "recall",
            **RECALLED,
            **{key: getattr(screening, key) for key in ("magnification", "image_brightness", "probe_brightness")},
            **self.plan.recall,
            "crystal": crystal.number,
            "x_nm": crystal.x_nm,
            "y_nm": crystal.y_nm,
            "length_nm": crystal.length_nm or 0.0,
            "neighbours": tuple(neighbours),
        }
        return self._made(RECALL, "recall", told)

    def height(self) -> BaseModel:
        """The height of the crystal under the beam."""
        told: JsonDict = {}
        known = experiment_type(HEIGHT).plan_type.model_fields
        if "sample" in known:
            told["sample"] = "height"
        return self._made(HEIGHT, "height", told | self.plan.height)

    def rotation(self) -> BaseModel:
        """The rotation of the crystal under the beam."""
        told: JsonDict = {"sample": "crystal", "rotation": "commanded", "live": True, **self._tracking}
        told["formats"] = FOR_DIALS if self.plan.dials else ()
        range_deg = abs(float(self.plan.cred.get("range_deg", 60.0)))
        if self.plan.cred.get("live", True):
            told["stop_if"] = {"shadow_deg": SHADOW_DEG}
            if range_deg > NO_LATTICE_AFTER_DEG:
                told["stop_if"]["no_lattice_after_deg"] = NO_LATTICE_AFTER_DEG
        told |= self.plan.cred
        shorter = self._shorter(told)
        return self._made(CRED, "cred", told | shorter)

    def _shorter(self, told: Mapping[str, Any]) -> JsonDict:
        """A range that gives no more than the dose that is allowed."""
        goal, kind = self.plan.goal, experiment_type(CRED)
        if goal.max_dose_e_A2 is None:
            return {}
        if goal.flux_e_A2_s is None:
            raise Refused(
                "goal.max_dose_e_A2: without goal.flux_e_A2_s nobody knows the dose; nothing was started. Measure it "
                "(credline calibrate flux) and give it."
            )
        made: Any = build_plan_from(kind, dict(told))
        most_deg = goal.max_dose_e_A2 / goal.flux_e_A2_s * made.speed_deg_s
        if abs(made.range_deg) <= most_deg + SAFETY_DEG:
            return {}
        return {"range_deg": most_deg if made.range_deg > 0 else -most_deg}

    @cached_property
    def _tracking(self) -> JsonDict:
        """The crystal is brought back by what selects it; where this instrument cannot, it is not tracked."""
        if "tracking" in self.plan.cred:
            return {}
        known = self.facts.tracking
        by = "beam shift" if known is not None and known.probe_selects else "image shift"
        told: JsonDict = {"rotation": "commanded", "tracking": "correct", "track_by": by, "prescan_images": LOOKS}
        told |= self.plan.cred
        try:
            kind = experiment_type(CRED)
            kind.prepare(build_plan_from(kind, told), self.facts)
        except Refused:
            return {"tracking": "off"}
        return {"tracking": "correct", "track_by": by, "prescan_images": LOOKS}

    def _made(self, name: str, table: str, told: JsonDict) -> BaseModel:
        try:
            made: BaseModel = build_plan_from(experiment_type(name), told)
        except Refused as error:
            raise Refused(f"{table}: {error}") from error
        return made

    def prepared(self) -> Mapping[str, Prepared]:
        """Each child's plan as it would be, prepared: Refused, with the table, for one that does not fit."""
        some = Crystal(1, 1, 1, *(self.plan.centre_nm or (0.0, 0.0)), None, None, None, None, True, None, None, None)
        plans = {
            "screening": (SERIALED, self.screening(0, self.plan.centre_nm)),
            "recall": (RECALL, self.recall(some, ())),
            "cred": (CRED, self.rotation()),
        }
        if self.sets_height:
            plans["height"] = (HEIGHT, self.height())
        prepared: dict[str, Prepared] = {}
        for table, (name, plan) in plans.items():
            try:
                prepared[table] = experiment_type(name).prepare(plan, self.facts)
            except Refused as error:
                raise Refused(f"{table}: {error}") from error
        return prepared

    @cached_property
    def no_height(self) -> str:
        """Why no height is set; empty where it is."""
        if not self.plan.set_height:
            return "set_height = false"
        if not height_is_known():
            return f"no experiment {HEIGHT!r} is installed"
        kind = experiment_type(HEIGHT)
        lacking = [part for part in kind.needs if getattr(self.facts, part, True) is None]
        if lacking:
            return f"this instrument has no {lacking[0]}"
        try:
            kind.prepare(self.height(), self.facts)
        except Refused as error:
            return str(error).replace("; nothing was started", "").rstrip(".")  # here it is no refusal
        return ""

    @property
    def sets_height(self) -> bool:
        """Whether the height of each crystal is set."""
        return not self.no_height
