"""What an operator may tell a session: which crystals come next, last or not at all, and another goal. Pure."""

import re
from dataclasses import dataclass, field

from pydantic import ValidationError

from engine.errors import Refused
from engine.record.jsonobject import JsonDict, JsonObject
from protocols.session.plan import GoalPlan

NUMBERS = re.compile(r"(next|skip|last)\s+(\d+(?:\s+\d+)*)", re.ASCII)
GOAL = re.compile(r"goal\s+([A-Za-z_0-9]+)\s+(\S+)", re.ASCII)
VERBS = ("next", "skip", "last", "goal")
SAY = (
    "Say next, skip or last and numbers of crystals, or goal with a key and its value: next 17, skip 30 31, last 5, "
    "goal data_sets 60, goal max_hours 10."
)


def is_order(words: str) -> bool:
    """Whether words begin as those for a session do."""
    return words.split(maxsplit=1)[:1] != [] and words.split(maxsplit=1)[0].lower() in VERBS


@dataclass(slots=True)
class Orders:
    """What was told so far. first: crystals that come next, in this order; last: after all others; skipped: not at all.
    goal: keys of the goal that were changed.
    """

    first: list[int] = field(default_factory=list)
    last: list[int] = field(default_factory=list)
    skipped: set[int] = field(default_factory=set)
    goal: JsonDict = field(default_factory=dict)

    def take(self, words: str) -> str:
        """Follow words; what was done, as a sentence. Raises Refused, nothing changed, for what is not understood."""
        verb, told = parsed(words)
        if verb == "goal":
            key, value = told
            self.goal = {**self.goal, str(key): value}
            return f"the goal is now {key} = {value}."
        numbers = [int(str(number)) for number in told]
        self.first = [number for number in self.first if number not in numbers]
        self.last = [number for number in self.last if number not in numbers]
        self.skipped -= set(numbers)
        if verb == "next":
            self.first = [*numbers, *self.first]
        elif verb == "last":
            self.last += numbers
        else:
            self.skipped |= set(numbers)
        done = {"next": "come next", "skip": "are skipped", "last": "come last"}[verb]
        return f"crystals {', '.join(map(str, numbers))} {done}."

    def would(self, words: str) -> str:
        """What `take` would do, nothing changed. Raises Refused as that does."""
        return Orders.of(self.as_json()).take(words)

    def goal_of(self, goal: GoalPlan) -> GoalPlan:
        """The goal as it is now."""
        return goal.model_copy(update=self.goal)

    def as_json(self) -> JsonDict:
        """For the header of a session that goes on."""
        return {"first": self.first, "last": self.last, "skipped": sorted(self.skipped), "goal": self.goal}

    @classmethod
    def of(cls, told: JsonObject) -> "Orders":
        """What `as_json` wrote."""
        return cls(list(told["first"]), list(told["last"]), set(told["skipped"]), dict(told["goal"]))


def parsed(words: str) -> tuple[str, tuple[object, ...]]:
    """A verb, and numbers of crystals, or a key of the goal with its value. Raises Refused for what is neither."""
    said = " ".join(words.split())
    if found := NUMBERS.fullmatch(said.lower()):
        return found[1], tuple(dict.fromkeys(int(number) for number in found[2].split()))
    found = GOAL.fullmatch(said)
    if found is None:
        raise Refused(f"{words!r} is not understood; nothing was changed. {SAY}")
    key, text = found[1], found[2]
    if key not in GoalPlan.model_fields:
        raise Refused(f"goal {key}: there is {', '.join(GoalPlan.model_fields)}; nothing was changed.")
    try:
        changed = GoalPlan.model_validate({key: None if text == "none" else text})
    except ValidationError as error:
        said = error.errors(include_url=False)[0]["msg"]
        raise Refused(f"goal {key} {text}: {said}; nothing was changed.") from error
    return "goal", (key, getattr(changed, key))
