"""What is known of the instrument when a cRED run was cut off: the last words of beam, stage and lens.

The trace reaches the disk at every state boundary, so calls of the last state may be missing: what a state does to
the instrument counts as done from the moment that it was entered, and nothing counts as safe without its own word.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from engine.clock import NS_PER_S
from engine.record.trace import Record
from protocols.cred.machine import ENDS, State
from protocols.cred.plan import CredPlan

BEAM_ALARM = "THE BEAM MAY STILL BE ON THE CRYSTAL"
STAGE_ALARM = "THE STAGE MAY STILL BE ROTATING"
LENS_ALARM = "the lens may be left defocused"

BEFORE_BEAM = (State.RELAX.value, State.WAIT_FOR_ROTATION.value)
WITH_DEFOCUS = (State.RELAX.value, State.DEFOCUS_SNAPSHOT.value, State.REFOCUS.value)
END_NAMES = tuple(end.value for end in ENDS)


@dataclass(frozen=True, slots=True)
class LastWords:
    """alarms: what may be unsafe, each with what is known of it. notes: what is known to be safe, or untouched."""

    alarms: tuple[str, ...]
    notes: tuple[str, ...]


def last_words(
    records: Sequence[Record],
    states: Sequence[str],
    plan: CredPlan | None,
    watchdog: Sequence[Mapping[str, object]] = (),
    *,
    over: bool,
) -> LastWords:
    """Read them from the trace, as far as it goes, and from the states that trace or journal know.

    watchdog: what the watchdog wrote into the run folder. over: whether the run had written its data, which it does
    only when the instrument is safe.
    """
    safe = [record for record in records if record["kind"] == "note" and record["name"] == "safe state"]
    if safe or over or (states and states[-1] in END_NAMES):
        failed = {r["alarm"]: f"{r['alarm']} ({r['name']} failed: {r['reason']})" for r in records if r.get("alarm")}
        return LastWords(tuple(failed.values()), () if failed else ("the instrument had been made safe before that",))
    if not states:
        return LastWords((), ("nothing had been moved yet",))
    known = [record for record in records if record["kind"] == "call"]
    behind = sum(record["kind"] == "state" for record in records) < len(states)
    alarms: list[str] = []
    notes: list[str] = []
    for alarm, word in (
        _watched(_beam(known, states, plan), watchdog),
        _stage(known, states, plan),
        _lens(known, states, plan, behind),
    ):
        (alarms if alarm else notes).append(f"{alarm} ({word})" if alarm else word)
    return LastWords(tuple(alarms), tuple(notes))


def _last(calls: Sequence[Record], *names: str) -> Record | None:
    """The last of these calls to have been begun, in the order in which they ended."""
    found = [call for call in calls if call["name"] in names]
    return found[-1] if found else None


def _at(call: Record) -> str:
    end_ns = call["end_ns"]
    return f"at {end_ns / NS_PER_S:.3f} s" if type(end_ns) is int else "at an unknown time"


def _beam(calls: Sequence[Record], states: Sequence[str], plan: CredPlan | None) -> tuple[str, str]:
    finalizing = states[-1] == State.FINALIZE.value
    call = _last(calls, "beam.blank", "beam.unblank", "beam.is_blanked")
    if call is not None and call["name"] == "beam.is_blanked":
        if call.get("result") is True:
            return "", f"the beam was blanked when it was looked at {_at(call)}"
        return BEAM_ALARM, f"last word: not found blanked {_at(call)}"
    if call is not None and call["name"] == "beam.blank" and "result" in call and finalizing:
        return "", f"the beam was blanked {_at(call)}"
    if call is not None and call["name"] == "beam.unblank":
        return BEAM_ALARM, f"last word: unblanked {_at(call)}"
    if plan is not None and plan.unblank and all(state in BEFORE_BEAM for state in states):
        return "", "the beam had not been touched"
    return BEAM_ALARM, f"the run was in state {states[-1]!r} and left no word of the beam"


def _watched(beam: tuple[str, str], watchdog: Sequence[Mapping[str, object]]) -> tuple[str, str]:
    """The same, with what the watchdog did about the beam when the program had ended."""
    did = [line for line in watchdog if line.get("what") in ("blanked", "not blanked", "given up")]
    if not beam[0] or not did:
        return beam
    if did[-1]["what"] == "blanked":
        return "", f"the watchdog blanked the beam at {did[-1].get('utc')}"
    return beam[0], f"{beam[1]}; the watchdog could not blank it: {did[-1].get('cause')}"


def _stage(calls: Sequence[Record], states: Sequence[str], plan: CredPlan | None) -> tuple[str, str]:
    call = _last(calls, "stage.stop", "stage.rotate", "stage.release_to_pedal")
    if call is not None and call["name"] == "stage.stop" and "result" in call:
        return "", f"the rotation was stopped {_at(call)}"
    if states == [State.RELAX.value] and plan is not None and plan.rotation == "pedal":
        return "", "the stage had not been moved"
    if call is not None and call["name"] == "stage.rotate":
        return STAGE_ALARM, f"last word: set in motion {_at(call)}"
    return STAGE_ALARM, f"the run was in state {states[-1]!r} and left no word of a stop"


def _lens(calls: Sequence[Record], states: Sequence[str], plan: CredPlan | None, behind: bool) -> tuple[str, str]:
    focus = next((call.get("result") for call in calls if call["name"] == "optics.focus"), None)
    call = _last(calls, "optics.set_focus")
    if plan is not None and not plan.snapshot_interval:
        return "", "the lens had not been touched"
    if states[-1] in WITH_DEFOCUS or (states[-1] == State.FINALIZE.value and behind):
        in_focus = f"; its value in focus is {focus}" if focus is not None else ""
        return LENS_ALARM, f"the run was in state {states[-1]!r}{in_focus}"
    if call is not None and (call["args"] != [focus] or "result" not in call):
        return LENS_ALARM, f"last word: set to {call['args']} {_at(call)}; its value in focus is {focus}"
    return "", "the lens was in focus"
