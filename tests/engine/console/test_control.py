"""Who steers: one page at a time; asked, refused, handed over, gone. On virtual time."""

import asyncio

import pytest

from engine.clock.virtual import VirtualClock, VirtualLoop
from engine.console.control import ANSWER_S, GONE_S, Control, Page
from engine.errors import Refused

ANNA, BO, CARL = Page("a", "Anna"), Page("b", "Bo"), Page("c", "Carl")


@pytest.fixture
def on_time():
    """Plays a scene with a control, and a function that lets time go by while pages are open."""

    def play(scene):
        async def opened():
            loop = asyncio.get_running_loop()
            assert isinstance(loop, VirtualLoop)
            clock = VirtualClock(loop)
            control = Control(clock)

            async def passes(seconds, *pages):
                for _ in range(round(seconds)):
                    control.present([page.by for page in pages])
                    await clock.sleep_s(1)
                control.present([page.by for page in pages])

            control.present(["a", "b", "c"])
            return await scene(control, passes)

        with asyncio.Runner(loop_factory=VirtualLoop) as runner:
            return runner.run(opened())

    return play


def test_whoever_comes_first_steers_and_the_others_are_refused_by_name(on_time):
    async def scene(control, passes):
        control.claim(ANNA)
        control.claim(ANNA)
        with pytest.raises(Refused, match="Anna steers; nothing was done"):
            control.claim(BO)

    on_time(scene)


def test_who_asks_and_is_not_refused_steers_after_twenty_seconds(on_time):
    async def scene(control, passes):
        control.claim(ANNA)
        assert "has 20 s to refuse" in control.take(BO)
        await passes(ANSWER_S - 1, ANNA, BO)
        before = control.told()
        await passes(2, ANNA, BO)
        return before, control.told()

    before, after = on_time(scene)
    assert (before["who"], before["asks_who"]) == ("Anna", "Bo")
    assert 0 < before["left_s"] <= 2
    assert (after["who"], after["asks"]) == ("Bo", None)


def test_who_is_refused_watches_and_is_told_by_whom(on_time):
    async def scene(control, passes):
        control.claim(ANNA)
        control.take(BO)
        control.refuse(ANNA)
        await passes(ANSWER_S + 5, ANNA, BO)
        with pytest.raises(Refused):
            control.claim(BO)
        return control.told()

    told = on_time(scene)
    assert (told["holder"], told["refused"], told["refused_by"]) == ("a", "b", "Anna")


def test_who_steers_may_take_another_name_and_whoever_asks_asks_still(on_time):
    async def scene(control, passes):
        control.claim(ANNA)
        control.take(BO)
        assert control.take(Page("a", "Anna Maria")) == "this page steers"
        return control.told()

    told = on_time(scene)
    assert (told["who"], told["asks_who"]) == ("Anna Maria", "Bo")


def test_only_who_steers_refuses_or_hands_over(on_time):
    async def scene(control, passes):
        control.claim(ANNA)
        control.take(BO)
        for act in (control.refuse, control.hand_over):
            with pytest.raises(Refused, match="does not steer"):
                act(BO)
        with pytest.raises(Refused, match="Bo has asked Anna before"):
            control.take(CARL)
        control.hand_over(ANNA)
        control.claim(BO)
        with pytest.raises(Refused, match="nobody asks"):
            control.refuse(BO)

    on_time(scene)


def test_a_page_that_is_handed_over_to_nobody_leaves_it_to_the_next(on_time):
    async def scene(control, passes):
        control.claim(ANNA)
        control.hand_over(ANNA)
        control.claim(CARL)
        return control.told()

    assert on_time(scene)["who"] == "Carl"


def test_a_page_that_is_gone_steers_no_more_and_one_that_is_loaded_anew_does(on_time):
    async def scene(control, passes):
        control.claim(ANNA)
        await passes(GONE_S - 3, BO)  # a reload
        with pytest.raises(Refused):
            control.claim(BO)
        await passes(GONE_S + 1, BO)
        control.claim(BO)
        return control.told()

    assert on_time(scene)["who"] == "Bo"


def test_who_asks_a_page_that_goes_does_not_wait_for_it(on_time):
    async def scene(control, passes):
        control.claim(ANNA)
        control.take(BO)
        await passes(GONE_S + 1, BO)
        return control.told()

    assert on_time(scene)["who"] == "Bo"
