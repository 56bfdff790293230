"""What the engine itself uses of a microscope, in types: nothing here is made or called by its name.

A driver's microscope (`drivers.contract.Microscope`) is more than that, and an experiment sees all of it. Parts and
facts that only experiments use are therefore not named here.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol

from engine.record.disk import Disk
from engine.record.jsonobject import JsonDict
from engine.record.trace import Trace
from engine.run.safety import HasParts
from engine.run.watchdog import SecondConnection


class Facts(Protocol):
    """What is known of an instrument without a call (`drivers.facts.Facts`)."""

    def as_dict(self) -> JsonDict:
        """As the header of a trace holds them."""
        ...

    @property
    def questions(self) -> Sequence[str]:
        """What to ask about the instrument before a run: what can be and is unusual, one line each."""
        ...


class Fault(Protocol):
    """Something that befell an instrument, or was to (`drivers.faultwords.Fault`)."""

    @property
    def what(self) -> str:
        """What it befalls: a call, `host`, `disk.write`."""
        ...

    @property
    def kind(self) -> str:
        """What happens to it."""
        ...

    @property
    def when(self) -> float:
        """The how manieth call, or the seconds after which."""
        ...

    @property
    def value(self) -> float:
        """For how long, or by how much."""
        ...

    @property
    def state(self) -> str:
        """Since which state `when` counts; empty for the whole run."""
        ...


class Faults(Protocol):
    """The faults of a rehearsal of bad days (`drivers.faults.Faults`)."""

    @property
    def asked(self) -> Sequence[Fault]:
        """All of them."""
        ...

    @property
    def came_about(self) -> Sequence[Fault]:
        """What has happened so far."""
        ...

    @property
    def never_came(self) -> Sequence[Fault]:
        """What has not happened."""
        ...

    @property
    def disk(self) -> Disk | None:
        """The disk that they befall; None where they befall none."""
        ...

    def begin(self, trace: Trace) -> None:
        """A run begins."""
        ...

    async def end(self) -> None:
        """The innermost run has ended."""
        ...

    def of_computation(self, name: str, number: int) -> str | None:
        """What befalls a computation."""
        ...

    def around(self, microscope: "Microscope") -> "Microscope":
        """A microscope with these faults around its devices."""
        ...

    def reconnect(self, devices: Sequence[str]) -> None:
        """These are about to be connected anew. Raises DeviceLost while one of them cannot be reached."""
        ...


class Specimen(Protocol):
    """What lies in a simulated instrument (`drivers.parts.Specimen`)."""

    def set(self, told: Mapping[str, object], child: Sequence[int] = ()) -> None:
        """Before a run: what its plan says of it."""
        ...


class Microscope(HasParts, Protocol):
    """A connected instrument."""

    @property
    def facts(self) -> Facts:
        """What is known of it now."""
        ...

    @property
    def faults(self) -> Faults | None:
        """None on good days."""
        ...

    @property
    def second_connection(self) -> SecondConnection | None:
        """For the watchdog."""
        ...

    @property
    def specimens(self) -> Sequence[Specimen]:
        """Of the simulated parts."""
        ...
