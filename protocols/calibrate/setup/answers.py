"""Answers to the questions of a setup: asked at the terminal, or read from a file."""

import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Protocol

from engine.errors import Refused, shown
from engine.run.planfile import read_toml


@dataclass(frozen=True, slots=True)
class Question:
    """key: of the answers file (`microscope.host`). text: for a person, with the unit. default: taken where nothing is
    answered; None for what has to be answered. among: the only answers, where there are few. instead: what to do who
    gives another that is known, a sentence each.
    """

    key: str
    text: str
    default: object = None
    among: Sequence[str] = ()
    instead: Mapping[str, str] = field(default_factory=dict)

    def checked(self, answer: object) -> object:
        """The answer. Raises Refused for one that is none of those there are."""
        if self.among and answer not in self.among:
            near = get_close_matches(str(answer), self.among, 1)
            meant = f" Did you mean {near[0]}?" if near else ""
            if known := self.instead.get(str(answer)):
                meant = f" {known}"
            raise Refused(
                f"setup: {self.key} = {shown(repr(answer))} is not one of {', '.join(self.among)}; nothing was "
                f"written.{meant}"
            )
        return answer


class Answers(Protocol):
    """Where answers come from."""

    def answer(self, question: Question) -> object:
        """The answer, as TOML would have it: a text, a number, a list. Raises Refused where there is none."""
        ...

    def given(self, table: str) -> Sequence[str]:
        """Keys below a table that somebody has answers for, though nobody asks for them as a rule."""
        ...

    def finish(self) -> None:
        """Raise Refused where answers are left that nobody asked for."""
        ...


class AnswersFile:
    """Answers of a TOML file, with keys in tables or with dots: `[microscope]` and `host`, or `microscope.host`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._left = dict(_flat(read_toml(path, "--answers")))
        self._known: list[str] = []

    def answer(self, question: Question) -> object:
        """See `Answers.answer`."""
        self._known.append(question.key)
        if question.key in self._left:
            return question.checked(self._left.pop(question.key))
        if question.default is None:
            among = f" (one of {', '.join(question.among)})" if question.among else ""
            raise Refused(
                f"--answers {self._path}: {question.key} is missing: {question.text}{among}; nothing was written."
            )
        return question.default

    def given(self, table: str) -> Sequence[str]:
        """See `Answers.given`."""
        return [key for key in self._left if key.startswith(f"{table}.")]

    def finish(self) -> None:
        """See `Answers.finish`."""
        if self._left:
            key = next(iter(self._left))
            near = get_close_matches(key, self._known, 1)
            meant = f" Did you mean {near[0]}?" if near else f" Asked for were: {', '.join(self._known)}."
            raise Refused(f"--answers {self._path}: nobody asked for {shown(key)}; nothing was written.{meant}")


class AnswersOfPerson:
    """Answers typed at the terminal; a wrong one is asked for again."""

    def answer(self, question: Question) -> object:
        """See `Answers.answer`."""
        import typer

        text = f"{question.text} ({', '.join(question.among)})" if question.among else question.text
        default = None if question.default is None else _as_text(question.default)
        while True:
            typed = typer.prompt(text, default=default, err=True)
            try:
                return question.checked(_read(typed, question))
            except Refused as error:
                typer.echo(str(error), err=True)

    def given(self, table: str) -> Sequence[str]:
        """See `Answers.given`: who answers by hand is asked for what there is to ask."""
        return ()

    def finish(self) -> None:
        """See `Answers.finish`."""


def _read(typed: str, question: Question) -> object:
    """What was typed as TOML has it; a word needs no quotes."""
    if question.among or isinstance(question.default, str):
        return typed
    try:
        return tomllib.loads(f"value = {typed.lower() if isinstance(question.default, bool) else typed}")["value"]
    except ValueError:
        return typed


def _as_text(default: object) -> str:
    return default if isinstance(default, str) else json.dumps(default)


def _flat(tables: Mapping[str, object], within: str = "") -> Mapping[str, object]:
    found: dict[str, object] = {}
    for key, value in tables.items():
        found |= _flat(value, f"{within}{key}.") if isinstance(value, Mapping) else {f"{within}{key}": value}
    return found
