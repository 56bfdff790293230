"""The picture of tracking in the report: of a run that was tracked, whatever somebody wrote into its run.json."""

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from protocols.products.source import RunInfo
from protocols.products.trackingplot import tracking_plot

INFO = cast(RunInfo, SimpleNamespace(slots=40, lost_slots=np.array([7])))
SEEN = {"slot": 10, "angle_deg": -20.0, "x_nm": 120.0, "y_nm": -30.0, "sigma_nm": 15.0, "seen": "fits"}
MISSED = {"slot": 20, "angle_deg": -17.7, "reason": "nothing stands out from the film"}


@pytest.mark.parametrize(
    "told",
    [
        {"found": [SEEN, MISSED], "corrected": [{"slot": 10, "x_nm": -90.0, "y_nm": 20.0}]},
        {"found": [MISSED]},
        {"found": [SEEN, {"slot": "x"}, 7, {**SEEN, "x_nm": float("nan")}], "corrected": [None, {"slot": 3}]},
    ],
)
def test_it_is_drawn_of_what_can_be_understood(told: dict[str, Any]) -> None:
    picture = tracking_plot(INFO, told)
    assert picture is not None
    assert picture.startswith(b"\x89PNG")


@pytest.mark.parametrize("told", [None, {}, {"found": []}, {"found": "many"}, [], "tracking"])
def test_nothing_is_drawn_where_nothing_was_tracked(told: object) -> None:
    assert tracking_plot(INFO, told) is None
