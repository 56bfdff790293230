"""The stage readings of a run, from its trace: those that the run took for its fit of the angles.

The run notes each reading that it takes, and each that it leaves out (`protocols.cred.rotation.stagewatch`). Traces of
schema 1 hold no such notes; there the calls tell, as far as they can.
"""

from drivers.contract import Reading
from engine.clock import NS_PER_S
from engine.record.remains import Remains
from engine.record.trace import Record
from protocols.cred.records import Collected
from protocols.cred.rotation.angles import middle_ns

TAKEN = "stage reading"
LEFT_OUT = "stage reading left out"
# Where the stage was before its first reading is known for so long back: a reading, and the wait for its turn.
FIRST_KNOWN_NS = NS_PER_S // 2
DEG_BELIEVED = 1e6
NS_BELIEVED = 2**62


def readings_of(collected: Collected, remains: Remains) -> None:
    """Put into `collected` the readings and since when, and until when, the stage turned steadily."""
    if remains.header.get("recorded_schema") == 1:
        _from_calls(collected, remains)
        return
    for record in remains.records:
        if record["kind"] != "note":
            continue
        if record["name"] == TAKEN and (reading := reading_from(record, "angle_deg")) is not None:
            collected.readings.append(reading)
        elif record["name"] == LEFT_OUT:
            collected.readings = [r for r in collected.readings if middle_ns(r) != record.get("at_ns")]
            steady_ns = record.get("steady_from_ns")
            if type(steady_ns) is int:
                collected.steady_from_ns = steady_ns
    if collected.readings and collected.frames:
        first = collected.readings[0]
        if first.t_after_ns > collected.frames[0].start_ns + FIRST_KNOWN_NS:
            # It failed at first, or was slow: what the stage did before it, no reading tells.
            collected.steady_from_ns = max(collected.steady_from_ns, first.t_before_ns)


def reading_from(told: Record, value: str) -> Reading | None:
    """The reading in a record or in a call's result; None where it is none."""
    angle_deg, before_ns, after_ns = (told.get(key) for key in (value, "t_before_ns", "t_after_ns"))
    if type(before_ns) is not int or type(after_ns) is not int or not isinstance(angle_deg, int | float):
        return None
    if not -NS_BELIEVED < before_ns <= after_ns < NS_BELIEVED or not abs(angle_deg) < DEG_BELIEVED:
        return None
    return Reading(float(angle_deg), before_ns, after_ns)


def _from_calls(collected: Collected, remains: Remains) -> None:
    """Since the first frame began and until the stage was stopped, without those that were left out."""
    seen: list[Reading] = []
    failed = False
    for record in remains.records:
        if record["kind"] == "note" and record["name"] == LEFT_OUT:
            after = [middle_ns(r) for r in seen if middle_ns(r) > (record.get("at_ns") or 0)]
            if len(after) > 1:  # it had been taken for good, and two later ones were against it
                collected.steady_from_ns = after[0]
            collected.readings = [r for r in collected.readings if middle_ns(r) != record.get("at_ns")]
        if record["kind"] != "call" or record["name"] not in ("stage.angle", "stage.stop"):
            continue
        if record["name"] == "stage.stop":
            if failed and collected.readings:  # where the stage was since then, nothing tells
                since_ns = middle_ns(collected.readings[-1])
                collected.stage_stopped_ns = min(collected.stage_stopped_ns or since_ns, since_ns)
            return
        result = record.get("result")
        reading = reading_from(result, "value") if isinstance(result, dict) else None
        failed = reading is None
        if reading is not None and reading.t_before_ns >= collected.frames[0].start_ns:
            seen.append(reading)
            collected.readings.append(reading)
