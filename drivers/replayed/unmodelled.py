"""The optional parts in a what-if: nobody knows how they would have answered, so a question about them is refused.

The what-if microscope has models of stage, beam, optics and detector: it asks here for the others. A recorded run that
called one of them cannot be asked "what if?"; where it never did, the part is there and refuses to be called.
"""

from collections.abc import Awaitable, Callable, Iterable
from functools import update_wrapper

from drivers.facts import Facts
from drivers.parts import OPTIONAL_PARTS
from drivers.replayed.player import PARTS
from drivers.replayed.recording import device_of
from drivers.replayed.values import results_of
from engine.errors import DeviceError, Refused
from engine.record.trace import Record


class UnmodelledPart:
    """Has the facts of a part; every call of it raises DeviceError, nothing done."""

    def __init__(self, name: str, part: type, facts: object) -> None:
        self._name = name
        self._part = part
        self.facts = facts

    def __getattr__(self, method: str) -> Callable[..., Awaitable[object]]:
        """A call of the part."""
        if method not in results_of(self._part):
            raise AttributeError(f"{self._part.__name__} has no {method!r}", name=method, obj=self)

        async def call(*_: object) -> object:
            raise DeviceError(
                f"{self._name}.{method}: the recorded run never called its {self._name}, so nobody knows what it would "
                "have done; nothing was done. Make a run of it instead."
            )

        return update_wrapper(call, vars(self._part)[method])


def unmodelled_parts(known: Facts, records: Iterable[Record]) -> dict[str, UnmodelledPart]:
    """The optional parts that an instrument had, none of them called in the recorded run.

    Raises Refused for a run that called one, naming it.
    """
    devices = [device_of(record) for record in records if record["kind"] == "call"]
    if used := [name for name in OPTIONAL_PARTS if name in devices]:
        calls = devices.count(used[0])
        raise Refused(
            f"--what-if: this run used its {used[0]} ({calls} call{'s' if calls > 1 else ''}), and a recording cannot "
            "tell how that would have answered at other times. Nothing was computed. Make a run of it instead."
        )
    facts = {name: getattr(known, name) for name in OPTIONAL_PARTS}
    return {name: UnmodelledPart(name, PARTS[name], each) for name, each in facts.items() if each is not None}
