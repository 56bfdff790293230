"""One part of a recorded microscope, whichever it is: every call is answered as it was then, at the same instant.

`Player` is made with the protocol of the part (`drivers.contract`, `drivers.parts`): that says which calls there are
and of what type their answers are, so a new part needs no code here. A part stands in a trace by the name given to
`run.gate.wrap`: that of its field in `Microscope`.
"""

from collections.abc import Awaitable, Callable, Mapping
from functools import update_wrapper

from drivers.contract import Beam, Optics, Stage
from drivers.parts import Deflectors, Illumination, Mode, StageXYZ
from drivers.replayed.recording import Recording
from drivers.replayed.values import recorded_result, results_of

Call = Callable[..., Awaitable[object]]

PARTS: Mapping[str, type] = {
    "stage": Stage,
    "beam": Beam,
    "optics": Optics,
    "stagexyz": StageXYZ,
    "deflectors": Deflectors,
    "mode": Mode,
    "illumination": Illumination,
}
"""The parts that answer calls only, each with its protocol; the camera gives frames as well."""


class Player:
    """Implements any part of a microscope from a recording.

    name: as in the trace. part: its protocol. facts: what it tells without a call, from the header of the trace.

    Each call returns what the recorded one returned, of the type that the protocol says, or raises its error, at the
    recorded instant. Raises NotRecorded for a call that was not made then, or with other arguments; DataError for an
    answer that was damaged.
    """

    def __init__(self, recording: Recording, name: str, part: type, facts: object) -> None:
        self._recording = recording
        self._name = name
        self._part = part
        self.facts = facts

    def __getattr__(self, method: str) -> Call:
        """A call of the part."""
        if method not in results_of(self._part):
            raise AttributeError(f"{self._part.__name__} has no {method!r}", name=method, obj=self)
        return self._call(method)

    def _call(self, method: str) -> Call:
        """The call as the live part has it: a coroutine function."""

        async def call(*args: object) -> object:
            return await self.answer(method, *args)

        return update_wrapper(call, getattr(self._part, method))

    async def answer(self, method: str, *args: object) -> object:
        """The recorded answer to a call, of its type, at its instant; or its recorded error."""
        call = await self._recording.call(f"{self._name}.{method}", *args)
        return recorded_result(call, results_of(self._part)[method])
