"""Machines are sound by construction, and a trigger that does not fit changes nothing."""

from collections.abc import Sequence
from enum import Enum

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.clock.virtual import VirtualClock
from engine.errors import MachineError
from engine.run.machine import StrictMachine, Transition
from tests.engine.virtually import virtual


class State(Enum):
    IDLE = "idle"
    AT_WORK = "at-work"
    DONE = "done"


IDLE, AT_WORK, DONE = State
BEGIN = Transition("begin", [IDLE], AT_WORK)
END = Transition("end", [AT_WORK], DONE)


def test_a_sound_machine_begins_in_its_initial_state() -> None:
    machine = StrictMachine(State, [BEGIN, END], IDLE, [DONE])
    assert machine.state is IDLE
    assert not machine.at_end


@pytest.mark.parametrize(
    ("transitions", "final", "words"),
    [
        ([BEGIN], [DONE], "'done' cannot be reached from 'idle'"),
        ([BEGIN, Transition("skip", [IDLE], DONE)], [DONE], "'at-work' is a dead end"),
        ([BEGIN, END, Transition("again", [DONE], IDLE)], [DONE], "'done' is final but has a way out"),
        ([BEGIN, END, Transition("begin", [IDLE], DONE)], [DONE], "'begin' leaves 'idle' twice"),
        ([BEGIN, Transition("end", [AT_WORK, AT_WORK], DONE)], [DONE], "'end' leaves 'at-work' twice"),
        ([BEGIN, END], [], "'idle' is a dead end"),
        ([Transition("be gin", [IDLE], AT_WORK), END], [DONE], "'be gin' is not a usable name"),
        ([Transition("fire", [IDLE], AT_WORK), END], [DONE], "'fire' is not a usable name"),
        ([Transition("initial", [IDLE], AT_WORK), END], [DONE], "'initial' is not a usable name"),
        ([Transition("state", [IDLE], AT_WORK), END], [DONE], "'state' is not a usable name"),
    ],
)
def test_a_malformed_machine_is_refused(transitions: Sequence[Transition], final: Sequence[State], words: str) -> None:
    with pytest.raises(MachineError, match=words):
        StrictMachine(State, transitions, IDLE, final)


def test_a_state_from_which_no_end_can_be_reached_is_a_dead_end() -> None:
    loop = Transition("again", [AT_WORK], AT_WORK)
    skip = Transition("skip", [IDLE], DONE)
    with pytest.raises(MachineError, match="'at-work'"):
        StrictMachine(State, [BEGIN, loop, skip], IDLE, [DONE])


@virtual
async def test_every_state_boundary_is_told_with_its_trigger(clock: VirtualClock) -> None:
    told: list[tuple[Enum, str]] = []
    machine = StrictMachine(State, [BEGIN, END], IDLE, [DONE], lambda state, trigger: told.append((state, trigger)))
    await machine.fire("begin")
    await machine.fire("end")
    assert told == [(AT_WORK, "begin"), (DONE, "end")]
    assert machine.at_end


@pytest.mark.parametrize("trigger", ["end", "finish", "fire", "state", "at_end", "is_IDLE", "may_begin", "_check", ""])
@virtual
async def test_a_trigger_that_does_not_fit_raises_and_changes_nothing(clock: VirtualClock, trigger: str) -> None:
    told: list[Enum] = []
    machine = StrictMachine(State, [BEGIN, END], IDLE, [DONE], lambda state, _: told.append(state))
    with pytest.raises(MachineError, match=r"idle.*unchanged"):
        await machine.fire(trigger)
    assert machine.state is IDLE
    assert told == []
    await machine.fire("begin")
    assert machine.state is AT_WORK


@virtual
async def test_a_final_state_cannot_be_left(clock: VirtualClock) -> None:
    machine = StrictMachine(State, [BEGIN, END], IDLE, [DONE])
    await machine.fire("begin")
    await machine.fire("end")
    for trigger in ("begin", "end"):
        with pytest.raises(MachineError, match="'done'"):
            await machine.fire(trigger)
    assert machine.state is DONE


@given(triggers=st.lists(st.sampled_from(["begin", "end", "back"])))
@virtual
async def test_the_state_is_what_the_table_says_after_any_triggers(clock: VirtualClock, triggers: list[str]) -> None:
    back = Transition("back", [AT_WORK], IDLE)
    machine = StrictMachine(State, [BEGIN, END, back], IDLE, [DONE])
    table = {("begin", IDLE): AT_WORK, ("end", AT_WORK): DONE, ("back", AT_WORK): IDLE}
    state = IDLE
    for trigger in triggers:
        if (trigger, state) in table:
            await machine.fire(trigger)
            state = table[trigger, state]
        else:
            with pytest.raises(MachineError):
                await machine.fire(trigger)
        assert machine.state is state


@virtual
async def test_two_machines_of_one_kind_do_not_share_their_state(clock: VirtualClock) -> None:
    first, second = (StrictMachine(State, [BEGIN, END], IDLE, [DONE]) for _ in range(2))
    await first.fire("begin")
    assert (first.state, second.state) == (AT_WORK, IDLE)


def test_the_diagram_shows_every_state_and_every_way() -> None:
    assert StrictMachine(State, [BEGIN, END], IDLE, [DONE]).mermaid() == (
        "stateDiagram-v2\n"
        "    [*] --> idle\n"
        '    state "at-work" as at_work\n'
        "    idle --> at_work: begin\n"
        "    at_work --> done: end\n"
        "    done --> [*]\n"
    )
