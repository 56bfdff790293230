"""Values out of JSON as the live part gave them: readings, pairs, modes, numbers, and the facts of a part.

A trace holds the result of a call as `engine.record.trace.jsonable` writes it; which type it had is what the contract
of the part says that the call returns. What has not that type was damaged, and is refused with the number of its
record.
"""

import inspect
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from enum import Enum
from functools import cache
from types import NoneType, UnionType
from typing import TypeVar, Union, get_args, get_origin, get_type_hints

from drivers.contract import Reading
from drivers.replayed.recording import NEVER_NS
from engine.errors import DataError
from engine.record.schema import NS_LIMIT
from engine.record.trace import Record

DEG_BELIEVED = 1e6
Value = TypeVar("Value")


@cache
def results_of(part: type) -> Mapping[str, object]:
    """The calls of a part (a protocol of `drivers.contract` or `drivers.parts`), each with what it returns."""
    return {
        name: get_type_hints(method)["return"]
        for name, method in inspect.getmembers(part, inspect.iscoroutinefunction)
        if not name.startswith("_")
    }


def recorded_result(call: Record, kind: object) -> object:
    """What a recorded call returned, of the type that it had. kind: the type, as an annotation says it.

    A call that returns nothing is not looked at: what it gave all the same is given again. Raises DataError for what
    has not that type.
    """
    if kind is NoneType:
        return call["result"]
    try:
        return restored(kind, call["result"])
    except ValueError as error:
        raise DataError(
            f"trace: record {call.get('seq')}, {call['name']}, was not answered by {_words(kind)} ({error}); the file "
            "was damaged or edited."
        ) from error


def recorded_as(call: Record, kind: type[Value]) -> Value:
    """The same for who knows the type. Raises DataError for what has it not."""
    found = recorded_result(call, kind)
    if not isinstance(found, kind):
        raise TypeError(f"{kind} was read as {type(found)}")
    return found


def restored(kind: object, told: object) -> object:
    """A value of this type from what JSON held. Raises ValueError, in words, for what cannot be one.

    kind: a number, text, bool or enum, a dataclass of these, a tuple or a mapping of them, or several of these (`|`).
    A number stays as it was written, whole or not: a replay writes it again.
    """
    origin, of = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        return _one_of(of, told)
    if origin is tuple:
        return _items(of, told)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        if not isinstance(told, Mapping):
            raise ValueError(f"{_short(told)} is no table")
        return {restored(of[0], key): restored(of[1], value) for key, value in told.items()}
    if not isinstance(kind, type):
        raise TypeError(f"{kind} cannot be read from a trace")
    if is_dataclass(kind):
        return _fields(kind, told)
    if issubclass(kind, Enum):
        return kind(told)
    if kind is NoneType and told is None:
        return None
    if kind is str and isinstance(told, str):
        return told
    # What answers yes or no may have done so by a number.
    whole = type(told) is int and -NS_LIMIT < told < NS_LIMIT
    numbers = {bool: whole or type(told) is bool, int: whole, float: whole or type(told) is float}
    if numbers.get(kind, False):
        return told
    raise ValueError(f"{_short(told)} is no {_words(kind)}")


def _one_of(kinds: tuple[object, ...], told: object) -> object:
    for kind in kinds:
        try:
            return restored(kind, told)
        except ValueError:
            continue
    raise ValueError(f"{_short(told)} is nothing of what it may be")


def _items(kinds: tuple[object, ...], told: object) -> tuple[object, ...]:
    if not isinstance(told, list | tuple):
        raise ValueError(f"{_short(told)} is no list")
    wanted = kinds if Ellipsis not in kinds else kinds[:1] * len(told)
    if len(told) != len(wanted):
        raise ValueError(f"{len(told)} items instead of {len(wanted)}")
    return tuple(restored(kind, item) for kind, item in zip(wanted, told, strict=True))


def _fields(kind: type, told: object) -> object:
    """A dataclass; fields that a later version added are let through."""
    if not isinstance(told, Mapping):
        raise ValueError(f"{_short(told)} is no table")
    hints = _hints(kind)
    given: dict[str, object] = {}
    for item in fields(kind):
        if item.name in told:
            try:
                given[item.name] = restored(hints[item.name], told[item.name])
            except ValueError as error:
                raise ValueError(f"{item.name}: {error}") from error
        elif item.default is MISSING and item.default_factory is MISSING:
            raise ValueError(f"{item.name} is missing")
    made: object = kind(**given)
    instants = (value for name, value in given.items() if name.endswith("_ns") and isinstance(value, int))
    if any(abs(t_ns) >= NEVER_NS for t_ns in instants):
        raise ValueError("an instant that cannot be")
    if isinstance(made, Reading) and not abs(made.value) < DEG_BELIEVED:
        raise ValueError(f"{made.value:g} degrees")
    return made


@cache
def _hints(kind: type) -> Mapping[str, object]:
    return get_type_hints(kind)


def _words(kind: object) -> str:
    if not isinstance(kind, type):
        return str(kind)
    return {int: "whole number", float: "number", bool: "yes or no", Reading: "stage reading"}.get(kind, kind.__name__)


def _short(told: object) -> str:
    return repr(told)[:40]
