"""One part of a recorded microscope, whichever it is: every call is answered as it was then, at the same instant.

`Player` is made with the protocol of the part (`drivers.contract`, `drivers.parts`): that says which calls there are
and of what type their answers are, so a new part needs nothing here. What a part tells without a call comes from the
header of the trace. A part stands in a trace by the name given to `run.gate.wrap`: that of its field in `Microscope`.
"""

from collections.abc import Awaitable, Callable, Mapping
from functools import update_wrapper

from drivers.replayed.recording import NotRecorded, Recording
from drivers.replayed.values import recorded_result, results_of

Call = Callable[..., Awaitable[object]]


class Player:
    """Implements any part of a microscope from a recording.

    name: as in the trace. part: its protocol. known: what it tells without a call, by the names of the protocol.

    Each call returns what the recorded one returned, of the type that the protocol says, or raises its error, at the
    recorded instant. Raises NotRecorded for a call that was not made then, or with other arguments, and for what the
    header does not tell; DataError for an answer that was damaged.
    """

    def __init__(self, recording: Recording, name: str, part: type, known: Mapping[str, object]) -> None:
        self._recording = recording
        self._name = name
        self._part = part
        self._known = known

    def __getattr__(self, attribute: str) -> object:
        """What the header tells, or a call of the part."""
        if attribute in self._known:
            return self._known[attribute]
        if attribute in results_of(self._part):
            return self._call(attribute)
        if attribute in vars(self._part):
            raise NotRecorded(
                f"{self._name}.{attribute}: the header of this trace does not tell it; nothing was asked. Name "
                f"{self._name!r} in the protocol's `needs` and record the run anew."
            )
        raise AttributeError(f"{self._part.__name__} has no {attribute!r}", name=attribute, obj=self)

    def _call(self, method: str) -> Call:
        """The call as the live part has it: a coroutine function."""

        async def call(*args: object) -> object:
            return await self.answer(method, *args)

        return update_wrapper(call, vars(self._part)[method])

    async def answer(self, method: str, *args: object) -> object:
        """The recorded answer to a call, of its type, at its instant; or its recorded error."""
        call = await self._recording.call(f"{self._name}.{method}", *args)
        return recorded_result(call, results_of(self._part)[method])
