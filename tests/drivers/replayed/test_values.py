"""Values come back out of JSON as the live part gave them, and what was damaged is refused with its record."""

import json
from typing import Any

import pytest

from drivers.contract import Detector, Reading
from drivers.parts import (
    Deflector,
    DeflectorFacts,
    IlluminationFacts,
    ModeFacts,
    OpticalMode,
    PositionReading,
    StageXYZFacts,
)
from drivers.replayed.player import PARTS
from drivers.replayed.values import recorded_as, recorded_result, restored, results_of
from engine.errors import DataError
from engine.record.trace import jsonable

GIVEN: list[tuple[Any, object]] = [
    (Reading, Reading(-12.5, 10, 20)),
    (PositionReading, PositionReading(1.0, -2.5, 0.0, 10, 20)),
    (tuple[float, float], (1.5, 2)),
    (OpticalMode, OpticalMode.LOW_MAG),
    (bool, True),
    (bool, 1),
    (int, 3),
    (float, 40_000),
    (float, 0.1),
    (type(None), None),
    (int | None, None),
    (StageXYZFacts, StageXYZFacts(((-1.0, 1.0), (-2.0, 2.0), (-3.0, 3)), 400.0, True, False)),
    (DeflectorFacts, DeflectorFacts({Deflector.BEAM_TILT: (0.0, 65535.0)}, True, 0.03)),
    (ModeFacts, ModeFacts((OpticalMode.IMAGING,), {OpticalMode.IMAGING: (50.0, 100.0)}, (), 0.6)),
    (IlluminationFacts, IlluminationFacts((1, 2, 3), (0.0, 1.0), False)),
]


@pytest.mark.parametrize(("kind", "value"), GIVEN, ids=[repr(value)[:40] for _, value in GIVEN])
def test_a_value_comes_back_as_it_was_given(kind: Any, value: object) -> None:
    again = recorded_result({"seq": 1, "name": "a.b", "result": json.loads(json.dumps(jsonable(value)))}, kind)
    assert again == value
    assert repr(again) == repr(value)  # 1 is no True, and 2 no 2.0


DAMAGED: list[tuple[Any, object]] = [
    (Reading, {"value": 1.0, "t_before_ns": 1}),
    (Reading, {"value": 1e7, "t_before_ns": 1, "t_after_ns": 2}),
    (Reading, {"value": float("nan"), "t_before_ns": 1, "t_after_ns": 2}),
    (Reading, {"value": True, "t_before_ns": 1, "t_after_ns": 2}),
    (Reading, {"value": 1.0, "t_before_ns": 1, "t_after_ns": 2**62}),
    (Reading, 3.0),
    (tuple[float, float], [1.0]),
    (tuple[float, float], [1.0, "2"]),
    (OpticalMode, "darkness"),
    (OpticalMode, None),
    (bool, "yes"),
    (int, 3.0),
    (int, True),
    (int, 2**63),
    (float, None),
]


@pytest.mark.parametrize(("kind", "told"), DAMAGED, ids=[f"{told!r}"[:50] for _, told in DAMAGED])
def test_what_cannot_be_such_a_value_is_refused_with_its_record(kind: Any, told: object) -> None:
    with pytest.raises(DataError, match=r"record 7, stage\.angle, was not answered by .*damaged or edited"):
        recorded_result({"seq": 7, "name": "stage.angle", "result": told}, kind)


def test_who_knows_the_type_gets_it_typed() -> None:
    assert recorded_as({"seq": 1, "name": "optics.focus", "result": 31000}, int) == 31000


@pytest.mark.parametrize("part", [*PARTS.values(), Detector])
def test_every_call_of_every_part_returns_what_can_be_read_again(part: type) -> None:
    """A type that `restored` does not know raises TypeError; what JSON held is damaged for all that it knows."""
    assert results_of(part)
    for kind in results_of(part).values():
        if kind is not type(None):
            with pytest.raises(ValueError, match=r"is no|instead of|not a valid"):
                restored(kind, [[]])
