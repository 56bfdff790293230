"""Where a pre-scan looks after it has missed the crystal at its first angle."""

from collections.abc import Callable, Mapping
from itertools import pairwise

import numpy as np
import pytest

from protocols.cred.prescanfurther import FILM_DEG, FurtherLooks, Saw
from protocols.cred.prescanplan import Look

ANGLES_DEG = (-50.0, -38.9, -5.6, 50.0)
MISSED = {-50.0: Saw.NOTHING, -38.9: Saw.NOTHING, -5.6: Saw.CRYSTAL, 50.0: Saw.DARK}


def after(saw: Mapping[float, Saw], most: int = 12) -> FurtherLooks:
    """Of a pre-scan whose looks have shown this, in their order."""
    looks = [Look(number, angle_deg) for number, angle_deg in enumerate(saw, start=3)]
    further = FurtherLooks(looks, most)
    for look in looks:
        further.saw(look, saw[look.angle_deg])
    return further


def gone(
    further: FurtherLooks, shows: Callable[[float], Saw], is_sure: Callable[[float], bool] = lambda angle_deg: True
) -> list[tuple[float, int | None]]:
    """Angles and trials of the looks that follow, where each angle shows this."""
    made = []
    while (look := further.next(is_sure)) is not None:
        made.append((look.angle_deg, look.tries))
        further.saw(look, shows(look.angle_deg))
    return made


@pytest.mark.parametrize(
    ("saw", "stood_deg"),
    [
        (dict.fromkeys(ANGLES_DEG, Saw.CRYSTAL), 0.0),
        ({**MISSED, -50.0: Saw.CRYSTAL}, 0.0),
        ({**MISSED, -50.0: Saw.EDGE}, 0.0),
        (dict.fromkeys(ANGLES_DEG, Saw.DARK), 0.0),
        ({**MISSED, -50.0: Saw.DARK, -38.9: Saw.CRYSTAL}, 0.0),
        (dict.fromkeys(ANGLES_DEG, Saw.NOTHING), -49.0),
        (dict.fromkeys(ANGLES_DEG, Saw.NOTHING), -6.0),
        (dict.fromkeys(ANGLES_DEG, Saw.NOTHING), None),
        ({**MISSED, -50.0: Saw.ASSUMED}, -50.0),
    ],
    ids=["all found", "found first", "found first in part", "dark", "dark first, then found", "stood at the first",
         "stood where it was looked", "nobody knows where it stood", "centred and pale at the first"],
)  # fmt: skip
def test_nothing_is_gone_after_where_there_is_nothing_to_gain(saw: dict[float, Saw], stood_deg: float | None) -> None:
    further = after(saw)
    assert not further.begin(stood_deg, untried=True)
    assert further.goal_deg is None
    assert further.next(lambda angle_deg: True) is None


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_the_shift_is_tried_where_the_crystal_was_found_and_then_it_goes_out_as_far_as_the_path_is_known(
    sign: float,
) -> None:
    at_deg = sign * -5.6
    last_deg = [at_deg]

    def shows(angle_deg: float) -> Saw:
        last_deg.append(angle_deg)
        return Saw.CRYSTAL

    further = after({sign * angle_deg: saw for angle_deg, saw in MISSED.items()})
    assert further.begin(0.0, untried=True)
    made = gone(further, shows, lambda angle_deg: abs(angle_deg - last_deg[-1]) < 20.0)
    tried = [(at_deg, 0), (at_deg, 1), (at_deg, None)]
    assert made == [*tried, (sign * -25.0, None), (sign * -44.0, None), (sign * -50.0, None)]

    further = after({sign * angle_deg: saw for angle_deg, saw in MISSED.items()})
    further.begin(0.0, untried=False)
    made = gone(further, shows, lambda angle_deg: False)
    assert [abs(angle_deg) for angle_deg, _ in made] == pytest.approx([5.6, *np.arange(11.6, 48.0, 6.0), 50.0])


def test_numbers_go_on_from_those_of_the_plan() -> None:
    further = after(MISSED)
    further.begin(0.0, untried=True)
    first, second = further.next(lambda angle_deg: True), further.next(lambda angle_deg: True)
    assert first is not None
    assert second is not None
    assert (first.number, second.number, further.made) == (7, 8, 2)


def test_where_it_was_found_nowhere_or_in_part_only_it_begins_where_the_stage_stood() -> None:
    for saw in (dict.fromkeys(ANGLES_DEG, Saw.NOTHING), {**MISSED, -5.6: Saw.EDGE}):
        further = after(saw)
        assert further.begin(0.004, untried=True)
        assert gone(further, lambda angle_deg: Saw.CRYSTAL)[:4] == [(0.0, 0), (0.0, 1), (0.0, None), (-50.0, None)]


def test_where_the_stage_stood_is_looked_at_though_the_rotation_does_not_go_there() -> None:
    further = after({20.0: Saw.NOTHING, 60.0: Saw.NOTHING})
    assert further.begin(0.0, untried=True)
    assert [angle_deg for angle_deg, _ in gone(further, lambda angle_deg: Saw.CRYSTAL)] == [0.0, 0.0, 0.0, 20.0]


def test_missed_on_the_way_it_goes_back_halfway_and_then_on() -> None:
    further = after(MISSED)
    further.begin(0.0, untried=False)
    shows = iter([Saw.CRYSTAL, Saw.NOTHING, Saw.NOTHING, Saw.CRYSTAL, Saw.CRYSTAL])
    assert gone(further, lambda angle_deg: next(shows)) == [
        (-5.6, None), (-50.0, None), (pytest.approx(-27.8), None), (pytest.approx(-16.7), None), (-50.0, None),
    ]  # fmt: skip


def test_a_crystal_that_is_not_found_again_is_gone_after_from_elsewhere_and_given_up_in_the_end() -> None:
    further = after({-50.0: Saw.NOTHING, -38.9: Saw.CRYSTAL, -5.6: Saw.CRYSTAL, 50.0: Saw.DARK})
    further.begin(0.0, untried=True)
    made = gone(further, lambda angle_deg: Saw.CRYSTAL if angle_deg < -30 else Saw.NOTHING)
    tried = [(-38.9, 0), (-38.9, 1), (-38.9, None)]
    assert made == [(-5.6, 0), (0.0, 0), *tried, (-50.0, None)]  # near where it was centred first
    further = after(dict.fromkeys(ANGLES_DEG, Saw.NOTHING))
    further.begin(0.0, untried=True)
    assert gone(further, lambda angle_deg: Saw.NOTHING) == [(0.0, 0)]


def test_a_look_that_is_dark_ends_it() -> None:
    further = after(MISSED)
    further.begin(0.0, untried=True)
    assert gone(further, lambda angle_deg: Saw.DARK) == [(-5.6, 0)]


@pytest.mark.parametrize("most", [0, 1, 5, 12])
def test_no_more_looks_are_made_than_the_plan_has_told(most: int) -> None:
    further = after(MISSED, most)
    further.begin(0.0, untried=True)
    turns = iter([Saw.CRYSTAL, Saw.NOTHING] * 50)
    assert len(gone(further, lambda angle_deg: next(turns))) <= most
    assert further.next(lambda angle_deg: True) is None


def test_images_that_are_not_kept_end_it_in_the_end() -> None:
    for saw in (MISSED, dict.fromkeys(ANGLES_DEG, Saw.NOTHING)):
        further = after(saw)
        further.begin(0.0, untried=True)
        made = [further.next(lambda angle_deg: True) for _ in range(20)]
        assert made[-1] is None


def test_the_last_look_is_at_the_first_angle() -> None:
    further = after(MISSED, 4)
    further.begin(0.0, untried=False)
    made = gone(further, lambda angle_deg: Saw.CRYSTAL, lambda angle_deg: False)
    assert made == [(-5.6, None), (-11.6, None), (-17.6, None), (-50.0, None)]


def test_a_crystal_that_is_not_seen_once_more_at_the_first_angle_is_gone_after() -> None:
    further = FurtherLooks([Look(1, -50.0, 0), Look(2, -50.0, 1), Look(3, -50.0), Look(4, -5.6)], 12)
    for look, saw in ((Look(1, -50.0, 0), Saw.CRYSTAL), (Look(2, -50.0, 1), Saw.NOTHING), (Look(4, -5.6), Saw.CRYSTAL)):
        further.saw(look, saw)
    assert further.begin(0.0, untried=True)
    assert (further.goal_deg, further.from_deg) == (-50.0, -5.6)


def test_a_crystal_that_does_not_stand_out_is_followed_by_its_film_in_short_steps() -> None:
    further = after({-50.0: Saw.ASSUMED, -38.9: Saw.NOTHING, 50.0: Saw.NOTHING})
    assert further.begin(0.0, untried=True)
    shows = iter([Saw.ASSUMED, *[Saw.FILM] * 50])
    made = gone(further, lambda angle_deg: next(shows))
    assert made[:4] == [(0.0, 0), (0.0, 0), (0.0, 1), (0.0, None)]
    angles = [angle_deg for angle_deg, _ in made[3:]]
    assert angles[-1] == -50.0
    assert max(a - b for a, b in pairwise(angles)) <= FILM_DEG + 2.0
