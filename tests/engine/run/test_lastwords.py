"""What is said, for any protocol, of beam and stage of a run that was cut off: an accepted call or one answer proves
nothing.
"""

from typing import Any

import pytest

from engine.record.remains import Remains
from engine.record.trace import Record
from engine.run.lastwords import BEAM_ALARM, STAGE_ALARM, last_words


def call(name: str, **outcome: Any) -> Record:
    return {"kind": "call", "name": name, "args": [], "begin_ns": 0, "end_ns": 10**9, **(outcome or {"result": None})}


DARK = call("beam.is_blanked", result=True)


@pytest.mark.parametrize(
    ("calls", "unsafe"),
    [
        ([], {BEAM_ALARM}),
        ([call("beam.blank")], {BEAM_ALARM}),
        ([call("beam.blank"), DARK], {BEAM_ALARM}),
        ([DARK, call("beam.blank"), DARK], {BEAM_ALARM}),
        ([call("beam.blank"), call("beam.is_blanked", result=False), DARK], {BEAM_ALARM}),
        ([call("beam.blank"), DARK, call("beam.is_blanked", error="DeviceLost")], {BEAM_ALARM}),
        ([call("beam.blank"), DARK, DARK], set()),
        ([DARK, DARK, call("stage.rotate")], {STAGE_ALARM}),
        ([DARK, DARK, call("stage.rotate"), call("stage.stop")], {STAGE_ALARM}),
    ],
)
def test_only_two_answers_of_the_blanker_and_no_order_are_a_word(calls: list[Record], unsafe: set[str]) -> None:
    words = last_words(Remains({}, {}, calls, (), ["work"], cut_off=True))
    assert {alarm for alarm in (BEAM_ALARM, STAGE_ALARM) if any(alarm in told for told in words.alarms)} == unsafe
