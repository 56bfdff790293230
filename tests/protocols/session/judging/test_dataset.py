"""What a run's result tells, and that damage to it counts as not known."""

import math

import numpy as np
import pytest

from protocols.cred.liveresult import OF_THE_LOOK
from protocols.live.computation import KEPT_OF_TOLD
from protocols.session.judging.dataset import data_set
from tests.protocols.session.judging.nights import MORDENITE, result_of

UB = MORDENITE.reciprocal_basis
SIGMA = np.array([0.01, 0.02, 0.02, 0.1, 0.1, 0.1])


def test_what_live_says_is_taken_over() -> None:
    told = data_set(result_of(MORDENITE, UB, SIGMA, "oC", -30.0, 40.0, damage={"verdict": "damage"}), 3, 17, "3_cred")
    assert told.cell == MORDENITE
    assert told.lattice == "oC"
    assert told.damage == "damage"
    assert told.orientation is not None
    assert told.orientation.tolist() == UB.tolist()
    assert (told.number, told.crystal, told.range_deg, told.ended) == (3, 17, 70.0, "range covered")


# What live says of shadows, and the parts in which reflections are measured.
SHADOWS = {
    "none": ({}, [(-30.0, 40.0)]),
    "it had ended": ({"shadowed_deg": [[-30.0, -20.0]]}, [(-20.0, 40.0)]),
    "it goes on after the last look": (
        {"shadowed_deg": [[-30.0, -20.0], [30.0, 38.0]], "in_shadow_deg": 8.0},
        [(-20.0, 30.0)],
    ),
    "all of it": ({"shadowed_deg": [[-30.0, 40.0]]}, []),
    "the crystal beside the beam": (
        {"shadowed_deg": [[30.0, 38.0]], "absent_deg": [[-30.0, -14.0], [2.0, 9.0]]},
        [(-14.0, 2.0), (9.0, 30.0), (38.0, 40.0)],
    ),
    "damaged": ({"shadowed_deg": [[-30.0, "x"]]}, [(-30.0, 40.0)]),
    "damaged otherwise": ({"shadowed_deg": "shadow"}, [(-30.0, 40.0)]),
}


@pytest.mark.parametrize(("live", "parts"), SHADOWS.values(), ids=SHADOWS)
def test_what_lies_in_a_shadow_is_not_measured(live: dict[str, object], parts: list[tuple[float, float]]) -> None:
    told = data_set(result_of(MORDENITE, UB, SIGMA, "oC", -30.0, 40.0, **live), 1, 1, "")
    assert told.parts == parts


def test_what_is_asked_of_a_look_stands_in_the_result_of_a_run() -> None:
    """And in the trace, from which that result is made: else a session would judge by less than `session merge`."""
    asked = set()

    class Told(dict):
        def get(self, name: str, default: object = None) -> object:
            asked.add(name)
            return super().get(name, default)

    result = result_of(MORDENITE, UB, SIGMA, "oC")
    data_set(result | {"live": Told(result["live"])}, 1, 1, "")
    assert len(asked) > 10
    assert asked <= set(OF_THE_LOOK) <= set(KEPT_OF_TOLD)


def test_a_cell_that_is_not_determined_is_none_and_why_is_said() -> None:
    told = data_set(result_of(MORDENITE, UB, SIGMA, "oC", determined=False, reasons=["chance"]), 1, 1, "")
    assert (told.cell, told.orientation, told.lattice, told.reasons) == (None, None, "", ("chance",))


def test_nobody_has_looked() -> None:
    told = data_set({"start_deg": None, "end_deg": None}, 1, 1, "")
    assert told.cell is None
    assert told.reasons == ("nobody has looked at it",)
    assert math.isnan(told.start_deg)
    assert told.range_deg == 0


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("primitive", [1, 2, 3]),
        ("primitive", [0, 0, 0, 0, 0, 0]),
        ("primitive", "7.5"),
        ("primitive", [7.5, 13.7, None, 90, 90, 90]),
        ("orientation", [[0, 0, 0]] * 3),
        ("orientation", [[1], [2, 3]]),
        ("orientation", None),
    ],
)
def test_a_damaged_cell_is_none(name: str, value: object) -> None:
    told = data_set(result_of(MORDENITE, UB, SIGMA, "oC", **{name: value}), 1, 1, "")
    assert told.cell is None
    assert told.orientation is None


def test_the_camera_length_is_in_all_lengths_alike() -> None:
    told = data_set(result_of(MORDENITE, UB, SIGMA, "oC", camera_length_sigma=0.01), 1, 1, "")
    known = told.covariance
    common = np.array([1, 1, 1, 0, 0, 0])
    assert common @ np.linalg.solve(known, common) < 1.1 / 0.01**2
    ratio = np.array([1, -1, 0, 0, 0, 0])
    assert ratio @ known @ ratio < 2e-5
