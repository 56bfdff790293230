"""A part of the instrument for a person who types: its calls are awaited here, and carried out on its own loop."""

import inspect
from collections.abc import Awaitable, Callable, Sequence
from functools import wraps
from typing import Protocol, TypeVar

from engine.errors import Refused

T = TypeVar("T")


class Submit(Protocol):
    """Carries a call out on the instrument's loop, awaited on the caller's."""

    async def __call__(self, make: Callable[[], Awaitable[T]]) -> T:
        """make: makes the coroutine, there."""
        ...


SERIES = "frames"
"""Of a camera: it belongs to the instrument's own loop."""


class TypedPart:
    """`await stage.angle()`, `stage.facts`.

    part: behind the gate of the shell's run. calls: what it has, for who lists it. submit: carries a call out.
    """

    def __init__(self, name: str, part: object, calls: Sequence[str], submit: Submit) -> None:
        self._name, self._part, self._calls, self._submit = name, part, calls, submit

    def __getattr__(self, name: str) -> object:
        if name.startswith("_"):
            raise AttributeError(name)
        attribute = getattr(self._part, name)
        if name == SERIES:
            raise Refused(
                f"{self._name}.{name}: a series is not for typing; nothing was done. Say picture(exposure_s)."
            )
        if not inspect.iscoroutinefunction(attribute):
            return attribute

        @wraps(attribute)
        async def submitted(*args: object) -> object:
            return await self._submit(lambda: attribute(*args))

        return submitted

    def __dir__(self) -> list[str]:
        return list(self._calls)

    def __repr__(self) -> str:
        return f"<{self._name}: {', '.join(dir(self))}>"
