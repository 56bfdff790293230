"""What a protocol brings for being soaked: plans and troubles to draw, and rules to judge by.

`Trial` alone soaks any protocol: its default plan, troubles of devices, host, disk and operator, and the rules that
hold for every run. A protocol that knows more draws and judges more.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.errors import Refused
from engine.record.endings import Ending, Status
from engine.record.jsonobject import JsonDict, JsonObject
from engine.record.trace import Record

if TYPE_CHECKING:
    from engine.run.microscope import Fault
    from engine.run.run import Run

OPERATOR = "operator"

Rules = Iterator[tuple[str, bool, str]]
"""Of each rule: its name, whether it holds, and what was found."""

CALLS = (
    "stage.angle", "stage.rotate", "stage.stop", "beam.blank", "beam.unblank", "beam.is_blanked",
    "optics.focus", "optics.set_focus", "detector.arm", "detector.start", "detector.disarm",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Case:
    """One experiment: its seed, the keys of its plan, and its troubles.

    A trouble is a fault in the words of `drivers.faultwords`, or `operator WHEN stop|abort|tell WORDS`.
    """

    seed: int
    plan: JsonObject
    troubles: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class OperatorCommand:
    """What the operator of a case does so long after the run began, or after it first entered a state.

    wish: `stop`, `abort` or `tell`; words: what is told.
    """

    when_s: float
    wish: str
    state: str = ""
    words: str = ""

    @property
    def status(self) -> Status | None:
        """How a run ends by it; None where it goes on."""
        return {"stop": Status.STOPPED, "abort": Status.ABORTED}.get(self.wish)

    def give(self, run: "Run") -> None:
        """Do it."""
        if self.wish == "tell":
            run.commands.tell(self.words)
        elif self.wish == "stop":
            run.commands.stop("soak")
        else:
            run.commands.abort("soak")


def command_of(words: str) -> OperatorCommand:
    """The command in `operator SECONDS stop|abort|tell WORDS`, SECONDS also as `STATE+SECONDS`. Raises Refused."""
    match words.split():
        case [_, since, wish, *said] if not since.startswith("+"):
            state, _, when = since.rpartition("+")
            right = bool(said) if wish == "tell" else wish in ("stop", "abort") and not said
            if right and when.replace(".", "", 1).isdecimal():
                return OperatorCommand(float(when), wish, state, " ".join(said))
    raise Refused(
        f"fault {words!r}: write {OPERATOR} SECONDS stop, or abort, or tell WORDS; SECONDS also as STATE+SECONDS. "
        "Nothing was started."
    )


@dataclass(slots=True)
class SoakedRun:
    """What is left of a run, for its judges. steps: lines about broken rules found while it was under way."""

    case: Case
    folder: Path
    document: JsonDict
    ending: Ending
    alarms: tuple[str, ...]
    run: "Run"
    microscope: Any  # a judge asks a simulation for its truth, of whatever kind that is
    trace: list[Record]
    came_about: "Sequence[Fault]"
    never_came: "Sequence[Fault]"
    steps: list[str] = field(default_factory=list)

    def of(self, kind: str, name: str | None = None) -> list[Record]:
        """The records of a kind, and of a name where one is given."""
        return [r for r in self.trace if r["kind"] == kind and name in (None, r["name"])]

    def time_of(self, kind: str, name: str) -> int | None:
        """When the first record of that kind and name was made, in ns."""
        return next((r["t_ns"] for r in self.trace if r["kind"] == kind and r["name"] == name), None)

    def since_ns(self, state: str) -> int:
        """When a state was entered first, in ns; never (2^62) for one that was not. Without a name, when the run began:
        the instrument was looked at before.
        """
        entered_ns = self.time_of("state", state) if state else self.run.trace.first["t_ns"]
        return 2**62 if entered_ns is None else entered_ns


class Trial:
    """The trial of any protocol; one that brings its own derives from it."""

    def draw(self, rng: random.Random) -> tuple[JsonDict, list[str]]:
        """A random plan, short in virtual time, and random troubles for it."""
        return {}, [self.trouble(rng) for _ in range(rng.choice([0, 1, 1, 2, 3]))]

    def draw_hard(self, rng: random.Random) -> tuple[JsonDict, list[str]]:
        """The second way of drawing: troubles that come together, where they hurt most. Here as the first."""
        return self.draw(rng)

    def instrument(self, case: Case) -> JsonDict:
        """Options of the simulated instrument that a case is for: one whose troubles not every camera can have.

        `driver` is one of them, by default `simulated-timing`. By the case alone, so that it is the same in every try.
        """
        return {}

    def trouble(self, rng: random.Random) -> str:
        """One trouble that can befall any protocol."""
        at_s, value = round(rng.uniform(0.0, 20.0), 3), round(rng.uniform(0.02, 3.0), 3)
        call = f"{rng.choice(CALLS)} {rng.randint(1, 6)}"
        return rng.choice(
            [
                f"{call} error",
                f"{call} hang",
                f"{call} slow {value}",
                f"{call} away {value}",
                f"detector.frames {rng.randint(1, 10)} {rng.choice(['drop', 'double', 'torn'])}",
                f"detector.frames {rng.randint(1, 10)} late {value}",
                f"host {at_s} {rng.choice(['starve', 'leap'])} {value}",
                f"disk.write {rng.randint(1, 40)} {rng.choice(['full', 'error'])}",
                f"disk.{rng.choice(['write', 'sync'])} {rng.randint(1, 20)} slow {value}",
                f"operator {at_s} {rng.choice(['stop', 'abort'])}",
            ]
        )

    def simpler(self, plan: JsonObject) -> Iterator[JsonDict]:
        """Plans that are simpler than this one in one respect each."""
        yield from ()

    def watch(self, record: Record, before: Sequence[Record]) -> str | None:
        """What is wrong at this step of a run, or None; called with every record as it is made."""
        return None

    def ended_itself(self, soaked: SoakedRun) -> bool:
        """Whether the plan let the run end itself for what it saw; else one without trouble has to be done."""
        return False

    def judge(self, soaked: SoakedRun) -> Rules:
        """Every rule of the protocol: its name, whether it holds, and what was found where it does not."""
        yield from ()
