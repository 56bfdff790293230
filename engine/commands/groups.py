"""Groups of commands that protocols and drivers add, each loaded when one of its commands is used and not before.

The command line shows them from their names and the first lines of their modules, which are read and not run: help
costs no import of anybody's package, and a package that cannot be imported spoils no other command.
"""

import ast
import tokenize
from importlib.machinery import ModuleSpec, PathFinder
from importlib.metadata import EntryPoint
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from typer import Typer
from typer.core import TyperCommand
from typer.main import get_group

from engine.errors import Refused

BEFORE_DOCSTRING = {tokenize.ENCODING, tokenize.COMMENT, tokenize.NL}


class PromisedGroup(TyperCommand):
    """Stands for a group of commands until it is used; then the typer app of its entry point takes its place."""

    def __init__(self, name: str, point: EntryPoint) -> None:
        super().__init__(name, help=first_line(point.module))
        self._called = name
        self._point = point

    def make_context(self, *words: Any, **named: Any) -> Any:
        """Read the words that follow as the loaded group does (the types here are the command line library's own).

        Raises Refused when the group cannot be loaded.
        """
        app = self._loaded()
        whole = Typer(rich_markup_mode=None)  # the looks of a group are those of what it is part of
        if app.registered_callback is None and len(app.registered_commands) == 1:  # one command, and no group
            whole.callback()(lambda: None)
            whole.registered_commands = app.registered_commands
            (command,) = get_group(whole).commands.values()
            return command.make_context(*words, **named)
        whole.add_typer(app, name=self._called)
        return get_group(whole).commands[self._called].make_context(*words, **named)

    def _loaded(self) -> Typer:
        try:
            app = self._point.load()
        except Exception as error:  # somebody's package
            raise Refused(
                f"{self._called}: its commands, {self._point.value}, cannot be loaded "
                f"({type(error).__name__}: {error}); nothing was done. Repair or remove its package."
            ) from error
        if not isinstance(app, Typer):
            raise Refused(f"{self._called}: {self._point.value} is no typer app; nothing was done.")
        return app


def first_line(module: str) -> str:
    """The first line of a module's docstring, without importing it; empty when it cannot be found."""
    try:
        spec = _spec(module)
        if spec is None or spec.origin is None:
            return ""
        docstring = _docstring(Path(spec.origin))
    except (ImportError, OSError, SyntaxError, ValueError, tokenize.TokenError):
        return ""
    return docstring.strip().partition("\n")[0]


def _docstring(source: Path) -> str:
    """The docstring of a source file, of which no more is read than that: to parse it all takes some 10 ms."""
    with source.open("rb") as file:
        for token in tokenize.tokenize(file.readline):
            if token.type == tokenize.STRING:
                value = ast.literal_eval(token.string)
                return value if isinstance(value, str) else ""
            if token.type not in BEFORE_DOCSTRING:
                break
    return ""


def _spec(module: str) -> ModuleSpec | None:
    """Where a module lies. Unlike `find_spec`, it does not import the packages that the module is in."""
    top, *below = module.split(".")
    name, spec = top, find_spec(top)
    for part in below:
        if spec is None or spec.submodule_search_locations is None:
            return None
        name = f"{name}.{part}"
        spec = PathFinder.find_spec(name, list(spec.submodule_search_locations))
    return spec
