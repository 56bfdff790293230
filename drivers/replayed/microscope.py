"""A microscope that answers as a recorded one did: the same results, after the same time.

`recorded_microscope` is made from what a trace's header tells of the instrument (`drivers.facts`) and from the trace's
calls and frames. The engine asks for it by its entry point, to replay a run.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from drivers.contract import Microscope
from drivers.facts import Facts
from drivers.replayed.camera import RecordedCamera
from drivers.replayed.pictures import StoredPictures
from drivers.replayed.player import PARTS, Player
from drivers.replayed.recording import Recording
from engine.clock import Clock
from engine.record.trace import Record


def recorded_microscope(
    clock: Clock, told: Mapping[str, Any], records: Sequence[Record], folder: Path | None = None
) -> Microscope:
    """The instrument of a trace whose header told its facts, of the parts that it had; with the pictures of a run
    folder. A blanker has no facts, and is always there.

    Raises DataError when these are no facts.
    """
    known = Facts.of(told)
    recording = Recording(clock, records)
    parts: dict[str, Any] = {"detector": None}
    for name, part in PARTS.items():
        facts = getattr(known, name, None)
        there = facts is not None or name == "beam"
        parts[name] = Player(recording, name, part, facts) if there else None
    if (detector := known.detector) is not None:
        stored = StoredPictures(folder) if folder is not None else None
        if stored is not None and stored.dtype and told["detector"].get("dtype") is None:
            detector = replace(detector, dtype=stored.dtype)  # before types were declared
        parts["detector"] = RecordedCamera(clock, recording, detector, stored)
    return Microscope(
        **parts,
        geometry=known.geometry,
        timing=known.timing,
        origins=known.origins,
        disagreements=known.disagreements,
        calibration=known.calibration,
        tracking=known.tracking,
        images=known.images,
    )
