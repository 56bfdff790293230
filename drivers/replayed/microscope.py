"""A microscope that answers as a recorded one did: the same results, after the same time.

`recorded_microscope` is made from what a trace's header tells of the instrument (`drivers.replayed.facts`) and from the
trace's calls and frames. The engine asks for it by its entry point, to replay a run.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from drivers.contract import Beam, Microscope, Optics, Stage, Timing
from drivers.replayed.camera import RecordedCamera
from drivers.replayed.facts import InstrumentFacts
from drivers.replayed.partfacts import PARTS, part_facts
from drivers.replayed.pictures import StoredPictures
from drivers.replayed.player import Player
from drivers.replayed.recording import Recording
from engine.clock import Clock
from engine.record.trace import Record


def recorded_microscope(
    clock: Clock, facts: Mapping[str, Any], records: Sequence[Record], folder: Path | None = None
) -> Microscope:
    """The instrument of a trace whose header holds `facts`, of the parts that it had; with the pictures of a run
    folder. An optional part is there where the header tells of it, or the run called it.

    Raises DataError when these are no such facts.
    """
    known = InstrumentFacts.of(facts)
    recording = Recording(clock, records)
    parts: dict[str, Any] = {"stage": None, "beam": Player(recording, "beam", Beam, {}), "optics": None}
    if (stage := known.stage) is not None:
        told = {"limits_deg": stage.limits_deg, "backlash_deg": stage.backlash_deg}
        parts["stage"] = Player(recording, "stage", Stage, told)
    if (optics := known.optics) is not None:
        # What it was for the recorded run's defocus.
        parts["optics"] = Player(recording, "optics", Optics, {"settling_s": lambda _: optics.settling_s})
    parts["detector"] = None
    if known.detector is not None:
        stored = StoredPictures(folder) if folder is not None else None
        parts["detector"] = RecordedCamera(clock, recording, known.detector, stored)
    optional = part_facts(facts)
    for name, (part, _) in PARTS.items():
        if name in optional or recording.has_calls_of(name):
            parts[name] = Player(recording, name, part, {"facts": optional[name]} if name in optional else {})
    return Microscope(**parts, geometry=known.geometry, timing=Timing(**known.timing.model_dump()))
