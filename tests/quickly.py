"""Of cases that try the same with other inputs, a few for `make test` and all for `.ci/run`."""

from collections.abc import Iterable
from typing import Any

import pytest


def quick(number: int, cases: Iterable[Any]) -> list[Any]:
    """The cases, for `pytest.mark.parametrize`: the first `number` of them as they are, the others `long`."""
    return [
        case
        if place < number
        else pytest.param(*(case if isinstance(case, tuple) else (case,)), marks=pytest.mark.long)
        for place, case in enumerate(cases)
    ]


def _values(case: Any) -> tuple[Any, ...]:
    return case if isinstance(case, tuple) else (case,)
