"""What is known of the instrument when a cRED run was cut off: the last words of beam, stage and lens.

The trace reaches the disk at every state boundary, so calls of the last state may be missing: what a state does to
the instrument counts as done from the moment that it was entered, and nothing counts as safe without its own word.
"""

from collections.abc import Sequence
from dataclasses import replace

from engine.record.remains import Remains
from engine.record.trace import Record
from engine.run.lastwords import BLANKER, LastWords, at, last_call, made_safe, told_dark_twice, watched
from protocols.cred.finish import plan_of
from protocols.cred.machine import ENDS, PRESCAN, State
from protocols.cred.plan import CredPlan

BEAM_ALARM = "THE BEAM MAY STILL BE ON THE CRYSTAL"
STAGE_ALARM = "THE STAGE MAY STILL BE ROTATING"
LENS_ALARM = "the lens may be left defocused"

BEFORE_BEAM = (State.RELAX.value, State.WAIT_FOR_ROTATION.value)
UNBLANKING = (State.PRESCAN_SNAPSHOT.value, State.DELAY.value)
"""A word of a blanked beam holds until one of these is entered."""
WITH_DEFOCUS = (
    *(State.RELAX.value, State.DEFOCUS_SNAPSHOT.value, State.REFOCUS.value),
    *(state.value for state in PRESCAN),
)
END_NAMES = tuple(end.value for end in ENDS)


def cred_last_words(remains: Remains) -> LastWords:
    """Read them from the trace, as far as it goes, and from the states that trace or journal know."""
    states = remains.states
    if states[-1:] and states[-1] in END_NAMES:
        remains = replace(remains, cut_off=False)
    if (safe := made_safe(remains)) is not None:
        return safe
    if not states:
        return LastWords((), ("nothing had been moved yet",))
    plan = plan_of(remains.plan)
    known = [record for record in remains.records if record["kind"] == "call"]
    behind = sum(record["kind"] == "state" for record in remains.records) < len(states)
    words = (
        watched(_beam(known, states, plan, _unblanked_since(remains.records, states)), remains),
        _stage(known, states, plan),
        _lens(known, states, plan, behind),
    )
    alarms = tuple(f"{alarm} ({word})" for alarm, word in words if alarm)
    return LastWords(alarms, tuple(word for alarm, word in words if not alarm))


def _unblanked_since(records: Sequence[Record], states: Sequence[str]) -> bool:
    """Whether a state that unblanks was entered after the last word of the beam."""
    entered = at_word = 0
    for record in records:
        entered += record["kind"] == "state"
        if record["kind"] == "call" and record["name"].startswith("beam."):
            at_word = entered
    return any(state in UNBLANKING for state in states[at_word:])


def _beam(
    calls: Sequence[Record], states: Sequence[str], plan: CredPlan | None, unblanked_since: bool
) -> tuple[str, str]:
    call = last_call(calls, *BLANKER)
    if call is not None and call["name"] != "beam.unblank" and unblanked_since:
        return BEAM_ALARM, f"the run was in state {states[-1]!r} and left no word of the beam"
    if call is not None and call["name"] == "beam.is_blanked":
        if told_dark_twice(calls):
            return "", f"the beam was blanked when it was looked at {at(call)}"
        if call.get("result") is True:
            return BEAM_ALARM, f"last word: blanked, by one answer {at(call)}"
        return BEAM_ALARM, f"last word: not found blanked {at(call)}"
    if call is not None and call["name"] == "beam.blank" and "result" in call:
        return BEAM_ALARM, f"last word: told to blank {at(call)}, and whether it closed is not known"
    if call is not None and call["name"] == "beam.unblank":
        return BEAM_ALARM, f"last word: unblanked {at(call)}"
    if plan is not None and plan.unblank and all(state in BEFORE_BEAM for state in states):
        return "", "the beam had not been touched"
    return BEAM_ALARM, f"the run was in state {states[-1]!r} and left no word of the beam"


def _stage(calls: Sequence[Record], states: Sequence[str], plan: CredPlan | None) -> tuple[str, str]:
    call = last_call(calls, "stage.stop", "stage.rotate", "stage.release_to_pedal")
    if call is not None and call["name"] == "stage.stop" and "result" in call:
        return STAGE_ALARM, f"last word: told to stop {at(call)}, and whether it stands is not known"
    if states == [State.RELAX.value] and plan is not None and plan.rotation == "pedal":
        return "", "the stage had not been moved"
    if call is not None and call["name"] == "stage.rotate":
        return STAGE_ALARM, f"last word: set in motion {at(call)}"
    return STAGE_ALARM, f"the run was in state {states[-1]!r} and left no word of a stop"


def _lens(calls: Sequence[Record], states: Sequence[str], plan: CredPlan | None, behind: bool) -> tuple[str, str]:
    focus = next((call.get("result") for call in calls if call["name"] == "optics.focus"), None)
    call = last_call(calls, "optics.set_focus")
    if plan is not None and not plan.snapshot_interval:
        return "", "the lens had not been touched"
    if states[-1] in WITH_DEFOCUS or (states[-1] == State.FINALIZE.value and behind):
        in_focus = f"; its value in focus is {focus}" if focus is not None else ""
        return LENS_ALARM, f"the run was in state {states[-1]!r}{in_focus}"
    if call is not None and (call["args"] != [focus] or "result" not in call):
        return LENS_ALARM, f"last word: set to {call['args']} {at(call)}; its value in focus is {focus}"
    return "", "the lens was in focus"
