"""What packages register under the entry points of `credline.<group>`, in types; `engine.run.registry` loads them.

Experiments are in `engine.run.contract`. What drivers promise is in `drivers.contract`; here is what the engine asks.
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from engine.clock import Clock
from engine.frame import Picture
from engine.record.jsonobject import JsonObject
from engine.record.trace import Record
from engine.run.microscope import Facts, Microscope


class ConnectedParts(Protocol):
    """What a driver has connected (`drivers.contract.Parts`)."""

    def assembled(
        self,
        others: "Mapping[str, ConnectedParts] | None" = None,
        geometry: Mapping[str, float] | None = None,
        timing: Mapping[str, float] | None = None,
        instrument: Path | None = None,
    ) -> Microscope:
        """A microscope of these parts and others. Raises Refused for a part or a figure that nobody has.

        geometry, timing: what was typed. instrument: the file of what was calibrated.
        """
        ...


class Driver(Protocol):
    """Of `credline.drivers`."""

    def connect(
        self, clock: Clock, seed: int, options: JsonObject
    ) -> AbstractAsyncContextManager[ConnectedParts, bool | None]:
        """The device, connected. Raises Refused for its options, DeviceError when it cannot be reached."""
        ...


class DeclaredFacts(Protocol):
    """What is known of an instrument, and from where (`drivers.declared.KnownFacts`)."""

    @property
    def facts(self) -> Facts:
        """What a plan is prepared from."""
        ...

    @property
    def rows(self) -> Sequence[tuple[str, str, str]]:
        """For a person: part, its facts with their values, where they come from."""
        ...

    @property
    def unknown(self) -> Mapping[str, str]:
        """What only the connected instrument tells, by its name, with who tells it."""
        ...

    @property
    def differences(self) -> Sequence[str]:
        """Where the instrument tells otherwise than its drivers declare, a line each."""
        ...

    # Any, as in the contract of experiments: the facts of the drivers, of which the engine knows only that they are.
    def asked(self, told: Any) -> "DeclaredFacts":
        """The same instrument, connected, with the facts that it tells."""
        ...


class DeclaredByDriver(Protocol):
    """What a driver says of its parts from its options alone (`drivers.declared.Declared`)."""

    def assembled(
        self,
        others: "Mapping[str, DeclaredByDriver] | None" = None,
        geometry: Mapping[str, float] | None = None,
        timing: Mapping[str, float] | None = None,
        instrument: Path | None = None,
    ) -> DeclaredFacts:
        """What is known of an instrument of these parts and others. Raises Refused as `ConnectedParts.assembled`."""
        ...


@runtime_checkable
class Declares(Protocol):
    """A driver that says what it is without being connected."""

    def facts(self, options: JsonObject) -> DeclaredByDriver:
        """From its options alone, asking nobody. Raises Refused for its options, as `connect`."""
        ...


class Inject(Protocol):
    """Of `credline.faults`."""

    def __call__(self, microscope: Microscope, clock: Clock, faults: Sequence[str]) -> Microscope:
        """The microscope with faults around its parts. Raises Refused for words that are no fault."""
        ...


class RecordedMicroscope(Protocol):
    """`microscope` of `credline.recorded`."""

    def __call__(
        self, clock: Clock, told: JsonObject, records: Sequence[Record], folder: Path | None = None
    ) -> Microscope:
        """The instrument of a trace, which answers as it did then."""
        ...


class Latency(Protocol):
    """How long calls take."""

    @property
    def fixed_s(self) -> float | None:
        """The time, where it is one."""
        ...


class Latencies(Protocol):
    """`latency` of `credline.recorded`: a class of latencies."""

    def parse(self, word: str) -> Latency:
        """A time, a factor, or `resample`. Raises Refused for anything else."""
        ...

    def __call__(self, *, drawn_s: tuple[float, ...]) -> Latency:
        """Drawn from these times."""
        ...


class WhatIfMicroscope(Protocol):
    """`what_if` of `credline.recorded`."""

    def __call__(
        self,
        clock: Clock,
        records: list[Record],
        changes: Mapping[str, Latency],
        *,
        settling_s: float | None,
        dead_time_s: float | None,
        beam_on: bool,
        seed: int,
    ) -> Microscope:
        """The instrument of a trace, with other latencies."""
        ...


class PicturesOfRun(Protocol):
    """Pictures of a run folder."""

    def find(self, record: Record) -> Picture | None:
        """Those of a recorded frame."""
        ...

    def close(self) -> None:
        """Let the file go."""
        ...


class Pictures(Protocol):
    """`pictures` of `credline.recorded`."""

    def __call__(self, folder: Path) -> PicturesOfRun:
        """The pictures of this folder."""
        ...
