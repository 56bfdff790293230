"""What was set is put back and read twice: neither an accepted call nor one answer is believed."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from drivers.parts import Deflector
from drivers.putback import back, deflector_back
from engine.errors import DeviceError


class Lens:
    """Ignores what it is told, if asked to; its first answer after that may be the one before."""

    def __init__(self, *, ignores: bool = False, stale: bool = False) -> None:
        self.value, self.ignores, self.stale = 5, ignores, stale
        self.answer: int | None = None

    async def set_focus(self, value: int) -> None:
        self.answer = value if self.stale else None
        self.value = self.value if self.ignores else value

    async def focus(self) -> int:
        answer, self.answer = self.answer, None
        return self.value if answer is None else answer


@pytest.mark.parametrize(
    ("lens", "is_back"),
    [
        (Lens(), True),
        (Lens(ignores=True), False),
        (Lens(ignores=True, stale=True), False),
    ],
    ids=["as told", "ignores it", "ignores it and answers once as told"],
)
def test_a_lens(lens: Lens, is_back: bool) -> None:
    call = back("optics", lens.set_focus, lens.focus, 7)
    if is_back:
        asyncio.run(call)
        return
    with pytest.raises(DeviceError, match="optics: told to go back to 7, it stands at 5"):
        asyncio.run(call)


@pytest.mark.parametrize(
    ("whole_numbers", "off", "is_back"),
    [(True, 0.0, True), (True, 1.0, False), (False, 0.009, True), (False, 0.011, False)],
)
def test_deflectors_may_be_off_by_rounding_where_they_round(whole_numbers: bool, off: float, is_back: bool) -> None:
    which = Deflector.BEAM_SHIFT
    pair = [(0.0, 0.0)]

    async def set_pair(_: Deflector, x: float, y: float) -> None:
        pair[0] = (x + off, y)

    async def read(_: Deflector) -> tuple[float, float]:
        return pair[0]

    facts = SimpleNamespace(limits={which: (-50.0, 50.0)}, whole_numbers=whole_numbers)
    deflectors: Any = SimpleNamespace(facts=facts, set=set_pair, read=read)
    if is_back:
        asyncio.run(deflector_back(deflectors, which, (3.0, 4.0)))
        return
    with pytest.raises(DeviceError, match="they stand at"):
        asyncio.run(deflector_back(deflectors, which, (3.0, 4.0)))
