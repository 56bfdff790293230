"""What is known of an instrument when a run was cut off: the last words of its parts in the trace.

The trace reaches the disk at every state boundary, so calls of the last state may be missing: nothing counts as safe
without its own word. A protocol that knows more of its states says more (`ExperimentType.last_words`).
"""

from collections.abc import Sequence
from dataclasses import dataclass

from engine.clock import NS_PER_S
from engine.record.remains import Remains
from engine.record.trace import Record

BEAM_ALARM = "THE BEAM MAY STILL BE ON"
STAGE_ALARM = "THE STAGE MAY STILL BE MOVING"
BLANKER = ("beam.blank", "beam.unblank", "beam.is_blanked")
MOVES = ("rotate", "release_to_pedal", "move_xy", "move_z")


@dataclass(frozen=True, slots=True)
class LastWords:
    """alarms: what may be unsafe, each with what is known of it. notes: what is known to be safe, or untouched."""

    alarms: tuple[str, ...]
    notes: tuple[str, ...]


def made_safe(remains: Remains) -> LastWords | None:
    """What a run that reached its safe state says of it; None for one that did not."""
    reached = any(record["kind"] == "note" and record["name"] == "safe state" for record in remains.records)
    if not (reached or remains.data_written or not remains.cut_off):
        return None
    failed = {
        record["alarm"]: f"{record['alarm']} ({record['name']} failed: {record['reason']})"
        for record in remains.records
        if record.get("alarm")
    }
    return LastWords(tuple(failed.values()), () if failed else ("the instrument had been made safe before that",))


def last_words(remains: Remains) -> LastWords:
    """The last words of beam and stage, for any protocol."""
    if (safe := made_safe(remains)) is not None:
        return safe
    if not remains.states:
        return LastWords((), ("nothing had been moved yet",))
    calls = [record for record in remains.records if record["kind"] == "call"]
    words = [watched(_beam(calls), remains), _stage(calls)]
    alarms = tuple(f"{alarm} ({word})" for alarm, word in words if alarm)
    return LastWords(alarms, tuple(word for alarm, word in words if not alarm))


def last_call(calls: Sequence[Record], *names: str) -> Record | None:
    """The last of these calls to have been begun, in the order in which they ended."""
    found = [call for call in calls if call["name"] in names]
    return found[-1] if found else None


def told_dark_twice(calls: Sequence[Record]) -> bool:
    """Whether the last two words of the beam are answers that it is blanked: one may be wrong, and an accepted call is
    no closed blanker (`engine.run.safety.sure_of`).
    """
    words = [call for call in calls if call["name"] in BLANKER][-2:]
    return len(words) == 2 and all(word["name"] == "beam.is_blanked" and word.get("result") is True for word in words)


def at(call: Record) -> str:
    """When a call ended, for the end of a sentence."""
    end_ns = call["end_ns"]
    return f"at {end_ns / NS_PER_S:.3f} s" if type(end_ns) is int else "at an unknown time"


def watched(beam: tuple[str, str], remains: Remains) -> tuple[str, str]:
    """An alarm about the beam and its word, with what the watchdog did about it when the program had ended."""
    did = [line for line in remains.watchdog if line.get("what") in ("blanked", "not blanked", "given up")]
    if not beam[0] or not did:
        return beam
    if did[-1]["what"] == "blanked":
        return "", f"the watchdog blanked the beam at {did[-1].get('utc')}"
    return beam[0], f"{beam[1]}; the watchdog could not blank it: {did[-1].get('cause')}"


def _beam(calls: Sequence[Record]) -> tuple[str, str]:
    call = last_call(calls, *BLANKER)
    if call is None:
        return BEAM_ALARM, "the run left no word of the beam"
    if told_dark_twice(calls):
        return "", f"the beam was blanked when it was looked at {at(call)}"
    if call["name"] == "beam.is_blanked" and call.get("result") is True:
        return BEAM_ALARM, f"last word: blanked, by one answer {at(call)}"
    if call["name"] == "beam.blank" and "result" in call:
        return BEAM_ALARM, f"last word: blanked {at(call)}, and what came after is not known"
    return BEAM_ALARM, f"last word: {call['name']} {at(call)}"


def _stage(calls: Sequence[Record]) -> tuple[str, str]:
    motions = [f"{part}.{move}" for part in ("stage", "stagexyz") for move in MOVES]
    call = last_call(calls, "stage.stop", *motions)
    if call is None:
        return "", "the stage had not been moved"
    if call["name"] == "stage.stop" and "result" in call:
        return STAGE_ALARM, f"last word: told to stop {at(call)}, and whether it stands is not known"
    return STAGE_ALARM, f"last word: {call['name']} {at(call)}"
