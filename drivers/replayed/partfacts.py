"""The facts of the optional parts (`drivers.parts`) in a trace's header: `describe_parts` writes, `part_facts` reads.

Each stands in the header's `instrument` under the name of the part. The engine asks `describe_parts` before a run for
those parts that the experiment needs; a part that it only uses where it is there has none, and so no facts in a
replay.
"""

from collections.abc import Iterable, Mapping

from drivers.contract import OPTIONAL_PARTS, Microscope
from drivers.parts import (
    DeflectorFacts,
    Deflectors,
    Illumination,
    IlluminationFacts,
    Mode,
    ModeFacts,
    StageXYZ,
    StageXYZFacts,
)
from drivers.replayed.values import restored
from engine.errors import DataError
from engine.record.trace import jsonable

PARTS: Mapping[str, tuple[type, type]] = {
    "stagexyz": (StageXYZ, StageXYZFacts),
    "deflectors": (Deflectors, DeflectorFacts),
    "mode": (Mode, ModeFacts),
    "illumination": (Illumination, IlluminationFacts),
}
"""Of each optional part its protocol and the type of its facts."""


def describe_parts(microscope: Microscope, needs: Iterable[str]) -> dict[str, object]:
    """The facts of the optional parts among `needs`, as JSON holds them."""
    needed = [name for name in OPTIONAL_PARTS if name in needs]
    parts = {name: getattr(microscope, name) for name in needed}
    return {name: jsonable(part.facts) for name, part in parts.items() if part is not None}


def part_facts(told: Mapping[str, object]) -> dict[str, object]:
    """The facts of the optional parts of which a header tells, by part. Raises DataError for a damaged one."""
    found = {}
    for name, (_, kind) in PARTS.items():
        if told.get(name) is None:
            continue
        try:
            found[name] = restored(kind, told[name])
        except ValueError as error:
            raise DataError(
                f"trace: its header does not describe an instrument (instrument.{name}: {error}), so nothing can "
                "answer for it; nothing was changed. Take a copy of the trace from elsewhere if there is one."
            ) from error
    return found
