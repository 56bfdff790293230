"""What is fuzzed is a target: a reader of something that somebody else wrote, with whole inputs to begin from.

A target takes one input and either makes something of it or raises a `CredlineError` of one line. Anything else, be it
an exception of another kind, a file destroyed by a refusal or an output that no reader takes, is a bug.
"""

import io
import shutil
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from random import Random

from engine.errors import CredlineError

MESSAGE_LIMIT = 3000
"""A refusal is a line that a person can read; the name of a temporary folder is part of it."""

Use = Callable[[Path, bytes], object]
Make = Callable[[Random], bytes]


class Broken(AssertionError):
    """An input brought something that must not be, without an exception of its own."""


@dataclass(frozen=True, slots=True)
class Target:
    """One reader. share: of a hundred inputs, roughly. make: an input; use: feeds it, with an empty folder at hand."""

    name: str
    share: int
    make: Make
    use: Use


def feed(target: Target, folder: Path, content: bytes) -> str:
    """One input to one target, in a folder that is emptied first: `taken` or `refused`; a bug is raised."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            target.use(folder, content)
    except CredlineError as error:
        text = str(error)
        if "internal error" in text:
            raise Broken(text) from error
        if not text or "\n" in text or len(text) > MESSAGE_LIMIT:
            what = f"{type(error).__name__} of {len(text)} characters"
            raise Broken(f"no readable line: {what}, {text[:300]!r}") from error
        text.encode("utf-8", "backslashreplace")
        return "refused"
    return "taken"
