"""How long the beam was on, by calls to the blanker."""

from typing import Any

import pytest

from engine.record.beamtime import beam_on_s

S = 1_000_000_000


def call(name: str, begin_s: float, end_s: float, **more: Any) -> dict[str, Any]:
    return {
        "kind": "call",
        "name": name,
        "t_ns": int(end_s * S),
        "begin_ns": int(begin_s * S),
        "end_ns": int(end_s * S),
    } | more


def note(at_s: float) -> dict[str, Any]:
    return {"kind": "note", "name": "x", "t_ns": int(at_s * S)}


ON = call("beam.unblank", 1.0, 1.1)


@pytest.mark.parametrize(
    ("records", "seconds"),
    [
        ([], 0.0),
        ([call("beam.blank", 0.5, 0.6)], 0.0),
        ([ON, call("beam.blank", 3.0, 3.2)], 2.2),
        ([ON, call("beam.unblank", 2.0, 2.1), call("beam.blank", 3.0, 3.2)], 2.2),
        ([ON, call("beam.blank", 2.0, 2.1, error="DeviceError"), call("beam.blank", 3.0, 3.2)], 2.2),
        ([ON, call("beam.blank", 2.0, 2.1, given_up=True), note(9.0)], 8.0),
        ([ON, note(4.0)], 3.0),
        ([ON, call("beam.blank", 2.0, 2.0), call("beam.unblank", 5.0, 5.1), call("beam.blank", 6.0, 6.0)], 2.0),
        ([call("beam.unblank", 1.0, 1.1, error="DeviceLost"), call("beam.blank", 2.0, 2.5)], 1.5),
    ],
)
def test_the_beam_counts_from_the_first_word_to_the_answer_that_it_is_off(records: Any, seconds: float) -> None:
    assert beam_on_s(records) == pytest.approx(seconds)
