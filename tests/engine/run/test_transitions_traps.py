"""The nine traps of transitions 0.9.3: each shown on the plain AsyncMachine, and absent or guarded in StrictMachine.

When one of the `plain` tests fails after an update of transitions, that trap is gone: read engine/run/machine.py again.
"""

import asyncio
from contextlib import suppress
from contextvars import ContextVar
from enum import Enum
from types import SimpleNamespace
from typing import Any

import pytest
from transitions.extensions.asyncio import AsyncMachine, AsyncTimeout

from engine.clock.virtual import VirtualClock
from engine.errors import MachineError
from engine.run.machine import StrictMachine, Transition, _CancellableMachine
from tests.engine.virtually import virtual

GO = {"trigger": "go", "source": "a", "dest": "b"}
ON = {"trigger": "on", "source": "b", "dest": "c"}
STOP = {"trigger": "stop", "source": ["a", "b", "c"], "dest": "stopped"}


def plain(machine: type[AsyncMachine] = AsyncMachine, **options: Any) -> Any:
    """A model of four states whose machine is left as transitions makes it; callbacks are put on the model."""
    model = SimpleNamespace()
    states = options.pop("states", ["a", "b", "c", "stopped"])
    machine(model, states=states, transitions=[GO, ON, STOP], initial="a", **options)
    return model


def strict(entered: Any = None) -> StrictMachine:
    """The same machine, strict."""
    State = Enum("State", {"A": "a", "B": "b", "C": "c", "STOPPED": "stopped"})
    a, b, c, stopped = State
    return StrictMachine(
        State,
        [Transition("go", [a], b), Transition("on", [b], c), Transition("stop", [a, b, c], stopped)],
        a,
        [stopped],
        entered,
    )


async def slow(*_: object) -> None:
    await asyncio.sleep(1)


async def broken(*_: object) -> None:
    raise ValueError("broken callback")


# 1 --- cancellation is swallowed


@virtual
async def test_1_plain_swallows_a_timeout(clock: VirtualClock) -> None:
    """`process_context` catches CancelledError, so the trigger returns False and no TimeoutError is raised."""
    machine = plain(queued=True, states=["a", {"name": "b", "on_enter": slow}, "c", "stopped"])
    async with asyncio.timeout(0.05):
        assert await machine.go() is False
        after_the_timeout = True
    assert after_the_timeout


@virtual
async def test_1_plain_goes_on_after_its_task_group_was_cancelled(clock: VirtualClock) -> None:
    """What a TaskGroup cancels goes on after the trigger as if nothing had happened."""
    machine = plain(queued=True, states=["a", {"name": "b", "on_enter": slow}, "c", "stopped"])
    went_on = []

    async def owner() -> None:
        await machine.go()
        went_on.append(True)

    with suppress(ExceptionGroup):
        async with asyncio.TaskGroup() as group:
            group.create_task(owner())
            await asyncio.sleep(0.1)
            raise ValueError
    assert went_on == [True]


@virtual
async def test_1_strict_lets_cancellation_through(clock: VirtualClock) -> None:
    """The subclass awaits the event itself: the timeout is a TimeoutError."""
    machine = plain(_CancellableMachine, queued=True, states=["a", {"name": "b", "on_enter": slow}, "c", "stopped"])
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await machine.go()
    assert isinstance(strict()._machine, _CancellableMachine)


@virtual
async def test_1_strict_is_cancelled_or_has_fired_at_whatever_moment(clock: VirtualClock) -> None:
    """Cancelled after any number of turns of the loop, `fire` ends cancelled, or it was through before."""
    outcomes = set()
    for turns in range(12):
        machine = strict(lambda *_: None)
        task = asyncio.create_task(machine.fire("go"))
        for _ in range(turns):
            await asyncio.sleep(0)
        was_through = task.done()
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled() is not was_through
        assert not was_through or machine.state.value == "b"
        outcomes.add(was_through)
    assert outcomes == {False, True}


# 2 --- on_exception eats cancellation


@virtual
async def test_2_plain_hands_cancellation_to_on_exception(clock: VirtualClock) -> None:
    """With `on_exception`, CancelledError is handled like any error, and the task does not end cancelled."""
    seen = []
    for machine_type in (AsyncMachine, _CancellableMachine):
        machine = plain(
            machine_type,
            queued=True,
            send_event=True,
            states=["a", {"name": "b", "on_enter": slow}, "c", "stopped"],
            on_exception=lambda event: seen.append(type(event.error)),
        )
        task = asyncio.create_task(machine.go())
        await asyncio.sleep(0.1)
        task.cancel()
        await asyncio.wait([task])
        assert not task.cancelled()
    assert seen == [asyncio.CancelledError] * 2


def test_2_strict_has_no_on_exception() -> None:
    """Errors go to the owner, who awaits `fire`."""
    assert strict()._machine.on_exception == []


# 3 --- a trigger within a trigger


@virtual
async def test_3_plain_unqueued_cancels_the_running_trigger(clock: VirtualClock) -> None:
    """A second trigger cancels the first in the middle of its callback, which nobody is told."""
    ended = []

    async def on_enter() -> None:
        try:
            await asyncio.sleep(1)
        finally:
            ended.append(clock.now_ns())

    machine = plain(states=["a", {"name": "b", "on_enter": on_enter}, "c", "stopped"])
    first = asyncio.create_task(machine.go())
    await asyncio.sleep(0.1)
    assert await machine.stop() is True
    assert await first is False
    assert ended == [100_000_000]


@virtual
async def test_3_plain_queued_says_true_before_anything_happened(clock: VirtualClock) -> None:
    """A queued trigger returns True at once, so its value means nothing."""
    machine = plain(queued=True, states=["a", {"name": "b", "on_enter": slow}, "c", "stopped"])
    first = asyncio.create_task(machine.go())
    await asyncio.sleep(0.1)
    assert await machine.stop() is True
    assert machine.state == "b"
    await first
    assert machine.state == "stopped"


@virtual
async def test_3_plain_queued_says_true_when_a_guard_refused(clock: VirtualClock) -> None:
    """Also a transition that a condition refused returns True."""
    machine = plain(queued=True)
    guarded = AsyncMachine(
        model=machine, states=["a", "b"], initial="a", queued=True, model_attribute="other", auto_transitions=False
    )
    guarded.add_transition("leave", "a", "b", conditions=lambda: False)
    assert await machine.leave() is True
    assert machine.other == "a"


@virtual
async def test_3_strict_has_entered_the_state_when_fire_returns(clock: VirtualClock) -> None:
    """`fire` returns nothing to misread; its return means the state is entered and recorded."""
    entered: list[str] = []
    machine = strict(lambda state, trigger: entered.append(f"{trigger} {state.value}"))
    assert await machine.fire("go") is None
    assert machine.state.value == "b"
    assert entered == ["go b"]


@virtual
async def test_3_strict_refuses_a_second_trigger_while_one_is_under_way(clock: VirtualClock) -> None:
    """A machine has one owner; a second one is told so instead of being queued."""
    machine = strict(lambda *_: None)
    first, second = (asyncio.create_task(machine.fire(trigger)) for trigger in ("go", "stop"))
    await asyncio.wait([first, second])
    assert first.exception() is None
    assert isinstance(second.exception(), MachineError)
    assert machine.state.value == "b"
    await machine.fire("stop")
    assert machine.state.value == "stopped"


# 4 --- an exception empties the queue


@virtual
async def test_4_plain_drops_a_queued_stop_when_a_callback_fails(clock: VirtualClock) -> None:
    """A `stop` that had returned True is gone: never send an abort through the queue."""

    async def fail_later() -> None:
        await asyncio.sleep(1)
        raise ValueError

    machine = plain(queued=True, states=["a", {"name": "b", "on_enter": fail_later}, "c", "stopped"])
    first = asyncio.create_task(machine.go())
    await asyncio.sleep(0.1)
    assert await machine.stop() is True
    with pytest.raises(ValueError):  # noqa: PT011 any message
        await first
    await asyncio.sleep(10)
    assert machine.state == "b"


@virtual
async def test_4_strict_can_be_stopped_after_a_failure(clock: VirtualClock) -> None:
    """The failure reaches the owner, and the next trigger works."""

    def entered(state: Enum, _: str) -> None:
        if state.value == "b":
            raise ValueError("full disk")

    machine = strict(entered)
    with pytest.raises(ValueError, match="full disk"):
        await machine.fire("go")
    await machine.fire("stop")
    assert machine.state.value == "stopped"


# 5 --- the state after an exception


@virtual
async def test_5_plain_is_in_the_new_state_after_a_failed_on_enter(clock: VirtualClock) -> None:
    """on_enter runs after the change."""
    machine = plain(queued=True, states=["a", {"name": "b", "on_enter": broken}, "c", "stopped"])
    with pytest.raises(ValueError, match="broken"):
        await machine.go()
    assert machine.state == "b"


@virtual
async def test_5_plain_is_in_the_old_state_after_a_failed_on_exit(clock: VirtualClock) -> None:
    """on_exit runs before the change."""
    machine = plain(queued=True, states=[{"name": "a", "on_exit": broken}, "b", "c", "stopped"])
    with pytest.raises(ValueError, match="broken"):
        await machine.go()
    assert machine.state == "a"


@virtual
async def test_5_strict_has_one_callback_and_is_then_in_the_new_state(clock: VirtualClock) -> None:
    """There is only `entered`, so after its failure there is one answer: the new state."""

    def entered(*_: object) -> None:
        raise ValueError("broken")

    machine = strict(entered)
    with pytest.raises(ValueError, match="broken"):
        await machine.fire("go")
    assert machine.state.value == "b"


# 6 --- misspelt callbacks


@virtual
async def test_6_plain_finds_a_misspelt_callback_after_the_state_changed(clock: VirtualClock) -> None:
    """Names of callbacks are looked up when they are due."""
    machine = plain(queued=True, states=["a", {"name": "b", "on_enter": "recrod"}, "c", "stopped"])
    with pytest.raises(AttributeError):
        await machine.go()
    assert machine.state == "b"


def test_6_strict_takes_no_callbacks_by_name() -> None:
    """Neither a state nor a transition can name one."""
    with pytest.raises(TypeError):
        Transition("go", (), None, after="recrod")  # type: ignore[call-arg, arg-type]
    machine = strict()._machine
    callbacks: list[object] = [func for state in machine.states.values() for func in (*state.on_enter, *state.on_exit)]
    ways = [way for event in machine.events.values() for found in event.transitions.values() for way in found]
    callbacks += [func for way in ways for func in (*way.prepare, *way.conditions, *way.before, *way.after)]
    assert callbacks == []


# 7 --- callbacks are tasks


PLACE: ContextVar[str] = ContextVar("place", default="nowhere")


@virtual
async def test_7_plain_loses_context_variables_set_in_callbacks(clock: VirtualClock) -> None:
    """Callbacks are gathered as tasks with a context of their own."""
    machine = plain(queued=True, states=["a", {"name": "b", "on_enter": lambda: PLACE.set("b")}, "c", "stopped"])
    await machine.go()
    assert PLACE.get() == "nowhere"


@virtual
async def test_7_plain_runs_several_conditions_at_once(clock: VirtualClock) -> None:
    """A second condition is evaluated although the first has refused."""
    asked = []

    async def refuse() -> bool:
        asked.append("first")
        await asyncio.sleep(0)
        return False

    async def second() -> bool:
        asked.append("second")
        return True

    machine = plain(queued=True)
    guarded = AsyncMachine(model=machine, states=["a", "b"], initial="a", model_attribute="other")
    guarded.add_transition("leave", "a", "b", conditions=[refuse, second])
    await machine.leave()
    assert asked == ["first", "second"]


@virtual
async def test_7_strict_shows_the_owners_context_to_entered(clock: VirtualClock) -> None:
    """What the owner bound (structlog's fields) is there when the state is recorded; there are no conditions."""
    seen = []
    machine = strict(lambda *_: seen.append(PLACE.get()))
    token = PLACE.set("run 7")
    await machine.fire("go")
    PLACE.reset(token)
    assert seen == ["run 7"]


# 8 --- shortcuts past every guard


@virtual
async def test_8_plain_adds_a_way_from_everywhere_to_everywhere(clock: VirtualClock) -> None:
    """`auto_transitions` is on by default and adds `to_<state>`."""
    machine = plain(queued=True)
    await machine.to_c()
    assert machine.state == "c"


@virtual
async def test_8_strict_has_only_the_transitions_it_was_given(clock: VirtualClock) -> None:
    """No `to_<state>`, neither as a method nor as a trigger."""
    machine = strict()
    assert set(machine._machine.events) == {"go", "on", "stop"}
    assert not hasattr(machine, "to_C")
    with pytest.raises(MachineError):
        await machine.fire("to_C")


# 9 --- states with a timeout


class WithTimeout(AsyncMachine):
    state_cls = AsyncTimeout  # type: ignore[assignment]  # the stubs of transitions know only nested states


@virtual
async def test_9_plain_timeout_states_run_a_detached_task_whose_errors_vanish(clock: VirtualClock) -> None:
    """The timer belongs to no TaskGroup, and what its callback raises is only logged."""
    reached = []

    async def on_timeout() -> None:
        reached.append(clock.now_ns())
        raise ValueError("nobody hears this")

    states = ["a", {"name": "b", "timeout": 2, "on_timeout": on_timeout}, "c", "stopped"]
    async with asyncio.TaskGroup() as group:
        machine = plain(WithTimeout, queued=True, states=states)
        await group.create_task(machine.go())
    assert reached == []  # the group is over, the timer is not
    await asyncio.sleep(3)
    assert reached == [2_000_000_000]


@virtual
async def test_9_strict_leaves_no_task_behind(clock: VirtualClock) -> None:
    """States have no timers: time is the activity's, on the engine's clock."""
    machine = strict(lambda *_: None)
    for trigger in ("go", "on", "stop"):
        await machine.fire(trigger)
        assert asyncio.all_tasks() == {asyncio.current_task()}
    assert not issubclass(machine._machine.state_cls, AsyncTimeout)
