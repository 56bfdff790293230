"""An answer that is waited for later than it was asked."""

import asyncio
from typing import Generic, TypeVar

T = TypeVar("T")


class Answer(Generic[T]):
    """Given once by work in the background, taken by whoever needs it, as often as he likes."""

    def __init__(self) -> None:
        self._given = asyncio.Event()
        self._value: T

    def give(self, value: T) -> None:
        """There it is."""
        self._value = value
        self._given.set()

    async def get(self) -> T:
        """The answer, when it is there. Who is cancelled while waiting takes nothing away from others."""
        await self._given.wait()
        return self._value
