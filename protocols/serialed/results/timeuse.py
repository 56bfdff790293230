"""Where the time of a run went: how long it was in each of its states, and how fast patterns came. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from engine.record.spoolformat import FrameInfo
from engine.record.trace import Record
from protocols.serialed.results.crystaltable import IMAGE, PATTERN

NS_PER_HOUR = 3.6e12


@dataclass(frozen=True, slots=True)
class TimeUse:
    """in_state_s: seconds in each state, in the order in which they were first entered. elapsed_s: from the first state
    to the last. at_hour: of each pattern, hours since the first state; images: how many there are.
    """

    in_state_s: dict[str, float]
    elapsed_s: float
    at_hour: tuple[float, ...]
    images: int

    @property
    def patterns_per_hour(self) -> float:
        """Over the whole run; 0 where it took no time."""
        return 3600 * len(self.at_hour) / self.elapsed_s if self.elapsed_s > 0 else 0.0


def time_use(records: Sequence[Record], frames: Sequence[FrameInfo]) -> TimeUse:
    """Of a run. A trace that was cut off ends with its last record."""
    states = [(record["name"], record["t_ns"]) for record in records if record["kind"] == "state"]
    begin_ns = states[0][1] if states else min((frame.start_ns for frame in frames), default=0)
    last_ns = max((record["t_ns"] for record in records if type(record.get("t_ns")) is int), default=begin_ns)
    last_ns = max(last_ns, *(frame.end_ns for frame in frames)) if frames else last_ns
    in_state: dict[str, float] = {}
    for (name, entered_ns), (_, left_ns) in pairwise([*states, ("", last_ns)]):
        in_state[name] = in_state.get(name, 0.0) + (left_ns - entered_ns) / 1e9
    at_hour = tuple((frame.end_ns - begin_ns) / NS_PER_HOUR for frame in frames if frame.kind == PATTERN)
    images = sum(frame.kind == IMAGE for frame in frames)
    return TimeUse(in_state, (last_ns - begin_ns) / 1e9, at_hour, images)
