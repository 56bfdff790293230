"""`credline devices list`: the drivers that are installed, what each has and takes, and the devices files at hand.

Nothing is connected: what a driver has, and the options it reads, it tells by its `facts` (docs/driver-writing.md).
"""

import os
import sys
import textwrap
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from pathlib import Path

from drivers.options import Asked, options_asked
from engine.commands.options import DEVICES_VARIABLE
from engine.errors import CredlineError, Refused, shown
from engine.run.devicesfile import PARTS
from engine.run.registry import registered

INDENT = "    "
SMALL_BYTES = 1_000_000
"""No devices file is larger; others are not read."""


@dataclass(frozen=True, slots=True)
class ListedDriver:
    """A driver as the list shows it. problem: why it cannot be told what it has; '' where it can."""

    name: str
    parts: tuple[str, ...]
    what: str
    options: tuple[Asked, ...]
    problem: str = ""


@dataclass(frozen=True, slots=True)
class ListedFile:
    """A devices file and the driver of each of its parts."""

    path: Path
    drivers: Mapping[str, str]


def listed_drivers() -> list[ListedDriver]:
    """All drivers that are installed, also those of packages of a lab's own. Connects nothing."""
    return [_listed(name, point) for name, point in sorted(registered("drivers").items())]


def _listed(name: str, point: EntryPoint) -> ListedDriver:
    try:
        driver = point.load()
    except Exception as error:  # somebody's package
        return ListedDriver(name, (), "", (), f"cannot be loaded ({type(error).__name__}: {shown(error)})")
    lines = (sys.modules[point.module].__doc__ or "").strip().partition("\n\n")[0]
    what = " ".join(lines.split())
    if not hasattr(driver, "facts"):
        return ListedDriver(name, (), what, (), "does not tell its parts and options without being connected")
    with options_asked() as asked:
        try:
            declared = driver.facts({})
        except CredlineError as error:
            return ListedDriver(name, (), what, tuple(asked), f"needs options to tell its parts: {error}")
        except Exception as error:  # somebody's driver
            told = f"its parts cannot be told ({type(error).__name__}: {shown(error)})"
            return ListedDriver(name, (), what, tuple(asked), told)
    parts = tuple(part for part in PARTS if getattr(declared, part, None) is not None)
    return ListedDriver(name, parts, what, tuple({option.key: option for option in asked}.values()))


def driver_lines(driver: ListedDriver, width: int, *, whole: bool) -> Iterator[str]:
    """A driver for a person, folded to a width. whole: with each option and what may stand there."""
    head = f"{driver.name}: {', '.join(driver.parts)}" if driver.parts else driver.name
    yield from _folded(head, width, "", hanging=INDENT)
    texts = [driver.what, driver.problem and f"{driver.problem}."]
    if driver.options and not whole:
        names = dict.fromkeys(option.key.partition(".")[0] for option in driver.options)
        texts.append(f"options: {', '.join(names)}")
    for text in texts:
        yield from _folded(text, width, INDENT)
    for option in driver.options if whole else ():
        default = f" = {option.default}" if option.default else ""
        yield from _folded(f"{option.key}{default}: {option.wanted}", width, INDENT, hanging=INDENT)


def _folded(text: str, width: int, indent: str, hanging: str = "") -> list[str]:
    return textwrap.wrap(text, width, initial_indent=indent, subsequent_indent=indent + hanging, break_on_hyphens=False)


def drivers_named(name: str | None) -> list[ListedDriver]:
    """The driver of a name, or all. Raises Refused for a name that there is not."""
    drivers = listed_drivers()
    if name is None:
        return drivers
    found = [driver for driver in drivers if driver.name == name]
    if not found:
        names = ", ".join(driver.name for driver in drivers) or "none"
        raise Refused(f"devices list {shown(name)}: no driver of that name; installed are: {names}.")
    return found


def devices_files(folder: Path) -> list[ListedFile]:
    """The devices files in a folder, and the one of the variable; other TOML files are passed over."""
    found = sorted(folder.glob("*.toml"))
    said = os.environ.get(DEVICES_VARIABLE, "")
    if said.endswith(".toml") and Path(said).resolve() not in [path.resolve() for path in found]:
        found.insert(0, Path(said))
    return [file for path in found if (file := _devices_file(path)) is not None]


def _devices_file(path: Path) -> ListedFile | None:
    try:
        if path.stat().st_size > SMALL_BYTES:
            return None
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    microscope = tables.get("microscope")
    if not isinstance(microscope, dict) or not isinstance(microscope.get("driver"), str):
        return None
    parts = ("microscope", *PARTS)
    named = {part: table.get("driver") for part in parts if isinstance(table := tables.get(part), dict)}
    return ListedFile(path, {part: shown(driver) for part, driver in named.items() if isinstance(driver, str)})


def file_line(file: ListedFile) -> str:
    """A devices file for a person: which driver for what, and whether the variable names it."""
    drivers = ", ".join(f"{part} {driver}" for part, driver in file.drivers.items())
    said = os.environ.get(DEVICES_VARIABLE, "")
    chosen_by = f"; {DEVICES_VARIABLE} names it" if said and Path(said).resolve() == file.path.resolve() else ""
    return f"{file.path}: {drivers}{chosen_by}"
