"""What a run has set, put back where it was found, and read again: an accepted call is no part that was set.

Each is read twice, for an answer may be the one before (docs/decisions/0009-safe-state.md); 35 ms a call. They raise
DeviceError where the part says that it stands elsewhere.
"""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from drivers.parts import Deflector, Deflectors
from engine.errors import DeviceError

Value = TypeVar("Value")

ROUNDED = 1e-4
"""By this share of its range a pair may be off what it was told, on an instrument that does not take whole numbers."""


async def deflector_back(deflectors: Deflectors, which: Deflector, wanted: tuple[float, float]) -> None:
    """Set a pair of deflectors."""
    low, high = deflectors.facts.limits[which]
    rounded = 0.0 if deflectors.facts.whole_numbers else ROUNDED * (high - low)
    await deflectors.set(which, *wanted)
    for _ in range(2):
        there = await deflectors.read(which)
        if any(abs(now - then) > rounded for now, then in zip(there, wanted, strict=True)):
            raise DeviceError(f"deflectors: told to set {which} to {wanted}, they stand at {there}. Set it by hand.")


async def back(
    name: str, set_to: Callable[[Value], Awaitable[object]], read: Callable[[], Awaitable[Value]], wanted: Value
) -> None:
    """Set a part that takes its values exactly, and has a call that reads them."""
    await set_to(wanted)
    for _ in range(2):
        if (there := await read()) != wanted:
            raise DeviceError(f"{name}: told to go back to {wanted}, it stands at {there}. Set it by hand.")
