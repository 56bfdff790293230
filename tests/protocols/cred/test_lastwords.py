"""What is said of beam, stage and lens when a run was cut off: nothing is called safe without its own word."""

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from engine.record.remains import Remains
from engine.record.trace import Record
from engine.run.lastwords import LastWords
from protocols.cred.lastwords import BEAM_ALARM, LENS_ALARM, STAGE_ALARM, cred_last_words
from protocols.cred.missing import NO_WORD, missing_slots
from protocols.cred.plan import CredPlan

PLAN = CredPlan()


def last_words(
    records: list[Record], states: list[str], plan: CredPlan, watchdog: Sequence[Mapping[str, object]] = ()
) -> LastWords:
    asked = plan.model_dump(mode="json")
    return cred_last_words(Remains({}, asked, records, (), states, cut_off=True, watchdog=watchdog))


STATES = ["relax", "wait-for-rotation", "delay", "expose", "defocus-snapshot", "refocus", "expose"]


def call(name: str, *args: object, **outcome: Any) -> Record:
    outcome = outcome or {"result": None}
    return {"kind": "call", "name": name, "args": list(args), "begin_ns": 0, "end_ns": 10**9, **outcome}


def state(name: str) -> Record:
    return {"kind": "state", "name": name, "trigger": ""}


FOCUS = call("optics.focus", result=31000)
UNTIL_EXPOSE = [
    state("relax"), FOCUS, call("optics.set_focus", 32500), call("optics.set_focus", 31000),
    state("wait-for-rotation"), call("stage.release_to_pedal", 1.0, 0.45), state("delay"), call("beam.unblank"),
    state("expose"),
]  # fmt: skip

DARK = call("beam.is_blanked", result=True)
LOOKING = ["relax", "prescan-goto", "prescan-snapshot", "prescan-return"]
UNTIL_LOOK = [
    state("relax"), FOCUS, state("prescan-goto"), call("beam.blank"), DARK, DARK,
    call("optics.set_focus", 32500), call("stage.rotate", -30.0, 10.0), state("prescan-snapshot"),
]  # fmt: skip

CASES: dict[str, tuple[list[Record], list[str], set[str]]] = {
    "nothing began": ([], [], set()),
    "in relax": ([state("relax")], STATES[:1], {LENS_ALARM}),
    "waiting": (UNTIL_EXPOSE[:6], STATES[:2], {STAGE_ALARM}),
    "in the delay, the call not written any more": (UNTIL_EXPOSE[:7], STATES[:3], {BEAM_ALARM, STAGE_ALARM}),
    "exposing": (UNTIL_EXPOSE, STATES[:4], {BEAM_ALARM, STAGE_ALARM}),
    "exposing, the trace lost": ([], STATES[:4], {BEAM_ALARM, STAGE_ALARM}),
    "exposing, the trace ends before the beam": (UNTIL_EXPOSE[:5], STATES[:4], {BEAM_ALARM, STAGE_ALARM}),
    "at a snapshot": ([*UNTIL_EXPOSE, state("defocus-snapshot")], STATES[:5], {BEAM_ALARM, STAGE_ALARM, LENS_ALARM}),
    "finalizing, nothing written": (
        [*UNTIL_EXPOSE, state("finalize")], [*STATES[:4], "finalize"], {BEAM_ALARM, STAGE_ALARM},
    ),
    "finalizing, the beam told to be off": (
        [*UNTIL_EXPOSE, state("finalize"), call("beam.blank")], [*STATES[:4], "finalize"], {BEAM_ALARM, STAGE_ALARM},
    ),
    "finalizing, the beam off by one answer": (
        [*UNTIL_EXPOSE, state("finalize"), call("beam.blank"), DARK], [*STATES[:4], "finalize"],
        {BEAM_ALARM, STAGE_ALARM},
    ),
    "finalizing, the beam off by two": (
        [*UNTIL_EXPOSE, state("finalize"), call("beam.blank"), DARK, DARK], [*STATES[:4], "finalize"], {STAGE_ALARM},
    ),
    "finalizing, the beam off by two answers, of which another call was between": (
        [*UNTIL_EXPOSE, state("finalize"), DARK, call("beam.blank"), DARK], [*STATES[:4], "finalize"],
        {BEAM_ALARM, STAGE_ALARM},
    ),
    "finalizing, the blanker did not answer": (
        [*UNTIL_EXPOSE, state("finalize"), call("beam.blank", error="DeviceLost"), call("stage.stop")],
        [*STATES[:4], "finalize"],
        {BEAM_ALARM, STAGE_ALARM},
    ),
    "finalizing, the beam not off when it was looked at": (
        [
            *UNTIL_EXPOSE, state("finalize"),
            call("beam.blank"), call("stage.stop"), call("beam.is_blanked", result=False),
        ],
        [*STATES[:4], "finalize"],
        {BEAM_ALARM, STAGE_ALARM},
    ),
    "on the way to a look before the rotation": (UNTIL_LOOK[:-1], LOOKING[:2], {STAGE_ALARM, LENS_ALARM}),
    "at such a look": (UNTIL_LOOK, LOOKING[:3], {BEAM_ALARM, STAGE_ALARM, LENS_ALARM}),
    "after such a look": (
        [*UNTIL_LOOK, call("beam.unblank"), call("beam.blank"), DARK, DARK, state("prescan-return")],
        [*LOOKING[:3], "prescan-return"],
        {STAGE_ALARM, LENS_ALARM},
    ),
    "exposing after such looks, the trace ends before the beam": (
        [*UNTIL_LOOK, call("beam.unblank"), call("beam.blank"), DARK, DARK, state("prescan-return")],
        [*LOOKING, *STATES[1:4]],
        {BEAM_ALARM, STAGE_ALARM, LENS_ALARM},
    ),
    "safe": (
        [*UNTIL_EXPOSE, state("finalize"), {"kind": "note", "name": "safe state", "alarms": 0}],
        [*STATES[:4], "finalize"],
        set(),
    ),
    "safe but for the beam": (
        [
            *UNTIL_EXPOSE, state("finalize"),
            {"kind": "fault", "name": "blank the beam", "reason": "no answer", "alarm": BEAM_ALARM},
            {"kind": "note", "name": "safe state", "alarms": 1},
        ],
        [*STATES[:4], "finalize"],
        {BEAM_ALARM},
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_only_what_has_its_own_word_is_safe(case: str) -> None:
    records, states, unsafe = CASES[case]
    words = last_words(records, states, PLAN)
    assert {alarm for alarm in (BEAM_ALARM, STAGE_ALARM, LENS_ALARM) if any(alarm in a for a in words.alarms)} == unsafe
    assert len(words.alarms) == len(unsafe)


def test_the_last_word_is_quoted() -> None:
    words = last_words(UNTIL_EXPOSE, STATES[:4], PLAN)
    assert words.alarms[0] == f"{BEAM_ALARM} (last word: unblanked at 1.000 s)"


def test_a_beam_that_the_plan_leaves_on_is_on_from_the_beginning() -> None:
    plan = CredPlan(unblank=False)
    assert BEAM_ALARM in last_words([state("relax")], STATES[:1], plan).alarms[0]


def test_the_watchdog_has_the_last_word_on_the_beam() -> None:
    blanked = [{"what": "watching"}, {"what": "blanked", "utc": "2026-11-20T10:00:00+00:00"}]
    words = last_words(UNTIL_EXPOSE, STATES[:4], PLAN, blanked)
    assert not any(BEAM_ALARM in alarm for alarm in words.alarms)
    assert any("the watchdog blanked the beam at 2026" in note for note in words.notes)
    failed = [{"what": "given up", "cause": "no answer"}]
    words = last_words(UNTIL_EXPOSE, STATES[:4], PLAN, failed)
    assert any(BEAM_ALARM in alarm and "could not blank it: no answer" in alarm for alarm in words.alarms)


def test_no_slot_is_missing_without_a_reason() -> None:
    missing = missing_slots({1, 2, 3, 7, 8}, {5}, {4: "late", 10: "in flight"}, 2)
    assert missing == {4: "late", 9: NO_WORD, 10: "in flight"}
    assert missing_slots({1, 2, 8}, {4}, {}, None) == {3: NO_WORD}  # the length of a snapshot's cycle is not known
    assert missing_slots({1, 2, 8}, {4}, {6: "late"}, 2) == {3: NO_WORD, 6: "late", 7: NO_WORD}
    assert missing_slots(set(), set(), {}, 2) == {}
