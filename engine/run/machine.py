"""State machines: `transitions`' AsyncMachine behind one strict subclass.

Transitions are instant and activities are tasks: entering a state only records; the work of a state runs in the
run's own task and reports the trigger of the next transition. The traps of transitions 0.9.3 that make this
necessary are listed, and tested, in tests/engine/run/test_transitions_traps.py.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import Enum

from transitions import EventData
from transitions import MachineError as UnknownTrigger
from transitions.extensions.asyncio import AsyncMachine

from engine.errors import MachineError

FINISH = "finish"
"""The trigger that leads from every working state to the finalizing one."""


@dataclass(frozen=True, slots=True)
class Transition:
    """`trigger` leads from each of `sources` to `dest`."""

    trigger: str
    sources: Sequence[Enum]
    dest: Enum


class _CancellableMachine(AsyncMachine):
    """AsyncMachine swallows cancellation in `process_context`; here it propagates."""

    async def process_context(self, func: Callable[[], Awaitable[None]], model: object) -> bool:
        return bool(await self._process_async(func, model))


class StrictMachine:
    """A machine that is sound by construction, driven by one owner.

    Every state can be reached from the initial one, every state but the final ones can be left, final ones
    cannot; a trigger that the present state does not know raises MachineError and changes nothing.
    """

    def __init__(
        self,
        states: type[Enum],
        transitions: Sequence[Transition],
        initial: Enum,
        final: Sequence[Enum],
        entered: Callable[[Enum, str], None] | None = None,
    ) -> None:
        self.states = states
        self.transitions = tuple(transitions)
        self.initial = initial
        self.final = frozenset(final)
        self._entered = entered
        self._firing = False
        self.state: Enum = initial  # kept by AsyncMachine, whose model this object is
        self._check()
        self._machine = _CancellableMachine(
            model=self,
            states=states,
            transitions=[
                {"trigger": t.trigger, "source": source, "dest": t.dest} for t in transitions for source in t.sources
            ],
            initial=initial,
            auto_transitions=False,
            queued=True,
            send_event=True,
            after_state_change=self._after_change,
        )

    def _after_change(self, event: EventData) -> None:
        if self._entered is not None:
            self._entered(self.state, event.event.name)

    def _check(self) -> None:
        """Refuse machines with doubled triggers, unreachable states, dead ends or ways out of a final state."""
        seen: set[tuple[str, Enum]] = set()
        leaving: dict[Enum, set[Enum]] = {state: set() for state in self.states}
        for t in self.transitions:
            if not t.trigger.isidentifier() or hasattr(self, t.trigger):
                raise MachineError(f"trigger {t.trigger!r} is not a usable name")
            for source in t.sources:
                if (t.trigger, source) in seen:
                    raise MachineError(f"trigger {t.trigger!r} leaves {source.value!r} twice")
                seen.add((t.trigger, source))
                leaving[source].add(t.dest)
        reached, edge = {self.initial}, [self.initial]
        while edge:
            for dest in leaving[edge.pop()] - reached:
                reached.add(dest)
                edge.append(dest)
        ending = set(self.final)
        while more := {state for state in self.states if state not in ending and leaving[state] & ending}:
            ending |= more
        for state in self.states:
            if state not in reached:
                raise MachineError(f"state {state.value!r} cannot be reached from {self.initial.value!r}")
            if state in self.final and leaving[state]:
                raise MachineError(f"state {state.value!r} is final but has a way out")
        for state in self.states:
            if state not in ending:
                raise MachineError(f"state {state.value!r} is a dead end: no final state can be reached from it")

    @property
    def finalizing(self) -> Enum:
        """The state to which FINISH leads, in which the instrument is made safe and the data are written."""
        return next(t.dest for t in self.transitions if t.trigger == FINISH)

    @property
    def at_end(self) -> bool:
        """Whether the present state is final."""
        return self.state in self.final

    async def fire(self, trigger: str) -> None:
        """Take the transition `trigger` from the present state; its state is entered when this returns.

        Raises MachineError, and changes nothing, while another transition is under way: a machine has one owner.
        """
        method: Callable[[], Awaitable[bool]] | None = getattr(self, trigger, None)
        if method is None or trigger not in {t.trigger for t in self.transitions}:
            raise MachineError(f"no trigger {trigger!r}; state {self.state.value!r} unchanged")
        if self._firing:
            raise MachineError(f"trigger {trigger!r} was sent while another transition is under way; it was not taken")
        self._firing = True
        try:
            await method()
        except UnknownTrigger as error:
            raise MachineError(
                f"trigger {trigger!r} does not leave state {self.state.value!r}; the state is unchanged"
            ) from error
        finally:
            self._firing = False

    def mermaid(self) -> str:
        """The machine as a Mermaid state diagram, for docs."""
        lines = ["stateDiagram-v2", f"    [*] --> {_node(self.initial)}"]
        lines += [
            f'    state "{state.value}" as {_node(state)}' for state in self.states if _node(state) != state.value
        ]
        lines += [
            f"    {_node(source)} --> {_node(t.dest)}: {t.trigger}" for t in self.transitions for source in t.sources
        ]
        lines += [f"    {_node(state)} --> [*]" for state in self.states if state in self.final]
        return "\n".join(lines) + "\n"


def _node(state: Enum) -> str:
    return str(state.value).replace("-", "_")
