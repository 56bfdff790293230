"""Budgets of a plan, computed before anything moves: what each step takes, what is left, what does not fit."""

from collections.abc import Sequence
from dataclasses import dataclass

from engine.errors import Refused

MS_PER_S = 1000.0


@dataclass(frozen=True, slots=True)
class BudgetStep:
    """One step of a timed sequence. typical_s and worst_s: its usual duration and the one planned for."""

    name: str
    source: str
    typical_s: float
    worst_s: float

    @classmethod
    def fixed(cls, name: str, source: str, seconds: float) -> "BudgetStep":
        """A step that always takes the same time."""
        return cls(name, source, seconds, seconds)


@dataclass(frozen=True, slots=True)
class Budget:
    """Steps that follow one another within `available_s`."""

    name: str
    steps: Sequence[BudgetStep]
    available_s: float

    @property
    def typical_s(self) -> float:
        """Usual duration of all steps."""
        return sum(step.typical_s for step in self.steps)

    @property
    def worst_s(self) -> float:
        """Duration of all steps when each takes its worst."""
        return sum(step.worst_s for step in self.steps)

    @property
    def slack_s(self) -> float:
        """What is left in the worst case; negative when the steps do not fit."""
        return self.available_s - self.worst_s

    def check(self, remedy: str) -> None:
        """Raise Refused when the steps do not fit, naming the step that crosses the end and by how much."""
        # A plan that fits to the nanosecond fits: sums of decimal fractions are a few 1e-16 off.
        if self.slack_s > -1e-9:
            return
        end_s = 0.0
        for step in self.steps:
            end_s += step.worst_s
            if end_s > self.available_s:
                break
        raise Refused(
            f"{self.name} does not fit: {step.name!r} ends {(end_s - self.available_s) * MS_PER_S:.1f} ms and the "
            f"whole {-self.slack_s * MS_PER_S:.1f} ms after the {self.available_s * MS_PER_S:.1f} ms that there are; "
            f"nothing was started. {remedy}"
        )
