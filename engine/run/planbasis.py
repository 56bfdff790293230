"""What a plan is prepared from: facts as the drivers declare them, or as the connected instrument tells them.

Called by `credline plan`. `declared_basis` reads the devices file and nothing else: nobody is asked, no lock is taken,
so a plan is made anywhere, also while a run is under way. `told_basis` connects the instrument, which does nothing but
tell.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from engine.clock import Clock
from engine.errors import Refused
from engine.run.devicesfile import connect_devices, read_devices
from engine.run.entries import DeclaredFacts, Declares
from engine.run.microscope import Facts


@dataclass(frozen=True, slots=True)
class PlanBasis:
    """Facts, and for a person where they come from.

    rows: part, facts with their values, origin. unknown: by its name each fact that nobody knows so far, with who tells
    it. differences: where the instrument tells otherwise than its drivers declare, a line each. undeclared: drivers of
    a connected instrument that declare nothing, so that there was nothing to compare with.
    """

    facts: Facts
    rows: Sequence[tuple[str, str, str]] = ()
    unknown: Mapping[str, str] = field(default_factory=dict)
    differences: Sequence[str] = ()
    undeclared: Sequence[str] = ()


def declared_basis(name: str, options: Mapping[str, object]) -> PlanBasis:
    """What is known of an instrument that is not connected. name, options: as of `connect_devices`.

    Raises Refused for names and keys that are not known, and for a driver that does not declare.
    """
    known, undeclared = _declared(name, options)
    if known is None:
        raise Refused(
            f"--devices {name}: the driver {undeclared[0]} does not declare what it is without being connected, so no "
            "plan can be made from this alone; nothing was asked. Use credline plan --connected, which asks the "
            "instrument."
        )
    return PlanBasis(known.facts, known.rows, known.unknown)


async def told_basis(name: str, clock: Clock, options: Mapping[str, object]) -> PlanBasis:
    """What the instrument tells, connected and let go again; locked meanwhile. Raises as `connect_devices`."""
    async with connect_devices(name, clock, 0, options) as microscope:
        facts = microscope.facts
    known, undeclared = _declared(name, options)
    if known is None:
        return PlanBasis(facts, undeclared=undeclared)
    told = known.asked(facts)
    return PlanBasis(facts, told.rows, told.unknown, told.differences)


def _declared(name: str, options: Mapping[str, object]) -> tuple[DeclaredFacts | None, Sequence[str]]:
    """What all drivers together declare; None, and those that do not, where one does not."""
    entries, tables = read_devices(name, options)
    declared = {part: entry.facts(given) for part, (entry, given) in entries.items() if isinstance(entry, Declares)}
    undeclared = [f"of [{part}]" for part in entries if part not in declared]
    if undeclared:
        return None, undeclared
    own = declared.pop("microscope")
    return own.assembled(declared, **tables), ()
