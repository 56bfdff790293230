"""Lines with `pip install` in docs and messages work from a clone: credline is not on a package index."""

import re
import tomllib
from pathlib import Path

HOUSE = Path(__file__).parents[1]
ROOMS = ("docs", "drivers", "engine", "protocols", "examples")


def texts() -> dict[str, str]:
    files = [HOUSE / "README.md", *(path for room in ROOMS for path in (HOUSE / room).rglob("*.[mp][dy]"))]
    told = {path.relative_to(HOUSE).as_posix(): path.read_text(encoding="utf-8") for path in files}
    return {name: text for name, text in told.items() if not name.startswith("docs/decisions/")}


def test_nothing_is_installed_from_where_it_is_not() -> None:
    assert [name for name, text in texts().items() if re.search(r"pip install ['\"]?credline\b", text)] == []


def test_the_extras_that_are_named_are_there() -> None:
    project = tomllib.loads((HOUSE / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    named = {extra for text in texts().values() for extra in re.findall(r"-e ['\"]\.\[(\w+)\]", text)}
    assert named
    assert named <= set(project["optional-dependencies"])
