"""Pictures that are made ahead are those that would be made when they are asked for, or nobody sees them."""

import asyncio
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from drivers.simulated.shots import CrystalSource, LocalStudio, Shot, develop


class Maker:
    """Makes a picture of its name and the shot's number; counts how many at once, and how many at all."""

    def __init__(self, name: int) -> None:
        self.name, self.made = name, 0

    def blank(self, *, noise_seed: int, exposure_s: float) -> NDArray[np.uint16]:
        self.made += 1
        if noise_seed < 0:
            raise ValueError("no picture")
        return np.full((1, 1), 100 * self.name + noise_seed, np.uint16)


def shot(number: int) -> Shot:
    return Shot(number, 0.0, 0.0, 0.5, 0.0, 0.0, (0.0, 0.0), number)


def made(*acts: Callable[[LocalStudio], object] | Shot) -> tuple[list[int], Maker]:
    """What a studio answers to shots, with other acts between them; closed afterwards."""
    maker = Maker(1)
    studio, pictures = LocalStudio(maker, CrystalSource()), []  # type: ignore[arg-type]
    for act in acts:
        if isinstance(act, Shot):
            pictures.append(int(asyncio.run(studio.picture(act))[0, 0]))
        else:
            act(studio)
    studio.close()
    assert develop(maker, shot(3))[0, 0] == 103  # type: ignore[arg-type]
    maker.made -= 1
    return pictures, maker


def test_what_was_foreseen_is_made_once() -> None:
    pictures, maker = made(lambda studio: studio.foresee(shot(4)), shot(4), shot(5))
    assert (pictures, maker.made) == ([104, 105], 2)


def test_what_was_foreseen_and_did_not_come_is_nobodys_picture() -> None:
    pictures, _ = made(lambda studio: studio.foresee(shot(4)), shot(5), shot(4))
    assert pictures == [105, 104]
    pictures, _ = made(lambda studio: [studio.foresee(shot(n)) for n in (4, 5, 6)], shot(6))
    assert pictures == [106]


def test_another_specimen_is_not_seen_as_the_one_before() -> None:
    class Source(CrystalSource):
        def maker(self, *_: object) -> Maker:  # type: ignore[override]
            return Maker(2)

    def shown(studio: LocalStudio) -> None:
        studio._maker.geometry = studio._maker.settings = None  # type: ignore[assignment]
        studio.show(Source())

    pictures, _ = made(lambda studio: studio.foresee(shot(4)), shown, shot(4))
    assert pictures == [204]


def test_what_goes_wrong_ahead_goes_wrong_when_it_is_asked_for() -> None:
    wrong: list[str] = []

    def asked(studio: LocalStudio) -> None:
        studio.foresee(shot(-1))
        try:
            asyncio.run(studio.picture(shot(-1)))
        except ValueError as error:
            wrong.append(str(error))

    pictures, _ = made(asked, lambda studio: studio.foresee(shot(-1)), shot(7))
    assert (wrong, pictures) == (["no picture"], [107])
