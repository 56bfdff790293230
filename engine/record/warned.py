"""What a run has warned of: who writes such a record, and how they are read again for run.json and for people.

Warned is of frames that show nothing (`engine.run.framewatch`), of what has changed since the instrument was looked at
before the run (`engine.run.conduct`), and, by a parent, of what its children warned of (`engine.run.children`).
"""

from collections.abc import Sequence

from engine.record.trace import Record

WARNING = "warning"
"""The note that says a trouble of the frames: `what` it is, and its `text`."""

LOOKED_AGAIN = "looked again"
"""The note of what has changed since the instrument was looked at before the run (`ExperimentType.look_again`)."""


TRUTH = "truth"
"""The note, at a run's end, of what a simulated instrument alone knows of it: for figures, never for a decision. It is
from outside the run, so no replay makes it again."""


def warnings_in(records: Sequence[Record]) -> tuple[str, ...]:
    """What a run has warned of, in order, as its records say it; of a child with its name before it."""
    said: list[str] = []
    for record in records:
        if record["kind"] == "note" and record["name"] in (WARNING, LOOKED_AGAIN):
            said.append(str(record.get("text", "")))
        elif record["kind"] == "child":
            said += [f"{record['name']}: {text}" for text in record.get("warnings", ())]
    return tuple(said)
