"""A devices file: the instrument it names, connected; and measured figures written into it.

A devices file (TOML) has a table `[microscope]` with `driver` and its options, `[detector]`, `[stage]`, `[beam]`,
`[optics]`, `[stagexyz]`, `[deflectors]`, `[mode]`, `[illumination]` for parts taken from other drivers, and
`[geometry]` and `[timing]` for what is known of the instrument and its drivers do not tell. Above all tables it may
name the file of what was calibrated, `instrument = "FILE"`, by a path that begins at the devices file.
"""

import re
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, TypedDict, runtime_checkable

from engine.clock import Clock, ns
from engine.errors import DeviceError, Refused, StorageError, shown
from engine.record.folder import write_atomically
from engine.record.jsonobject import JsonDict
from engine.record.lock import instruments_locked
from engine.run.planfile import read_toml
from engine.run.registry import inject, registered

if TYPE_CHECKING:
    from engine.run.entries import ConnectedParts, Driver
    from engine.run.microscope import Microscope

    Connection = AbstractAsyncContextManager[ConnectedParts, bool | None]

PARTS = ("stage", "beam", "optics", "detector", "stagexyz", "deflectors", "mode", "illumination")
NEEDED = PARTS[:4]
"""Those that every instrument has."""
FACTS = ("geometry", "timing")
INSTRUMENT = "instrument"
"""The key of the file of what was calibrated."""
BYTE_ORDER_MARK = "\ufeff"
"""With which editors of Windows begin a text."""
LET_GO_S = 2.0
"""So long a lost connection may take to be let go before the new one is made."""


class Written(TypedDict, total=False):
    """What a devices file says beside drivers, as the parts of an instrument are assembled with it."""

    geometry: Mapping[str, float]
    timing: Mapping[str, float]
    instrument: Path


@runtime_checkable
class _Addressed(Protocol):
    """A driver that tells where its instrument is, so that no two programs drive it."""

    def address(self, options: JsonDict) -> str | None: ...


@runtime_checkable
class _Simulated(Protocol):
    """A driver that says whether it takes what a plan tells of a simulation (`ExperimentType.device_options`)."""

    takes_plan_options: bool


@runtime_checkable
class _OfParts(Protocol):
    """A driver that tells without a connection which parts it has; of another one all are expected."""

    gives: Sequence[str]


class _Driver:
    """One driver of a devices file, with its connection, which can be made anew."""

    def __init__(self, connect: "Callable[[], Connection]") -> None:
        self._connect = connect
        self._connection: Connection | None = None
        self._parts: ConnectedParts | None = None

    @property
    def parts(self) -> "ConnectedParts":
        """What it connected, at last."""
        if self._parts is None:
            raise RuntimeError("a driver has no parts before it was connected")
        return self._parts

    async def __aenter__(self) -> None:
        connection = self._connect()
        self._parts = await connection.__aenter__()
        self._connection = connection

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> bool | None:
        connection, self._connection = self._connection, None
        return None if connection is None else await connection.__aexit__(kind, error, where)


class Connections:
    """The drivers of an instrument, connected, and the microscope that they make together."""

    def __init__(self, clock: Clock, drivers: Mapping[str, _Driver], written: Written) -> None:
        self._clock, self._drivers, self._written = clock, drivers, written
        self._microscope: Microscope | None = None

    @property
    def microscope(self) -> "Microscope":
        """What they make together, since it was assembled."""
        if self._microscope is None:
            raise RuntimeError("a microscope is not there before it was assembled")
        return self._microscope

    def assemble(self) -> None:
        """Make the microscope of what is connected. Raises Refused for a part or a figure that nobody has."""
        others = {part: driver.parts for part, driver in self._drivers.items() if part != "microscope"}
        self._microscope = self._drivers["microscope"].parts.assembled(others, **self._written)

    def inject(self, faults: Sequence[str]) -> None:
        """Put faults around the microscope (`drivers.faults`). Raises Refused for words that are no fault."""
        self._microscope = inject()(self.microscope, self._clock, faults)

    async def reconnect(self, part: str) -> Mapping[str, object]:
        """Connect a part anew, with its driver whatever else that connects; the parts that are new, by their names.

        The old connection is let go first, for many devices have one at a time. The others are not touched, nor is the
        instrument's lock. Raises Refused for a part that this instrument has not, DeviceError when it cannot be
        connected: then the instrument is as it was, so the part is as lost as it was.
        """
        if part not in PARTS or getattr(self.microscope, part) is None:
            raise Refused(f"{part}: this instrument has none; nothing was connected anew.")
        driver, before = self._drivers.get(part, self._drivers["microscope"]), self.microscope
        names = [
            name
            for name in PARTS
            if self._drivers.get(name, self._drivers["microscope"]) is driver and getattr(before, name) is not None
        ]
        try:
            if before.faults is not None:
                before.faults.reconnect(names)
            with suppress(Exception):  # it is lost: what it says at its end helps nobody
                async with self._clock.timeout_at(self._clock.now_ns() + ns(LET_GO_S)):
                    await driver.__aexit__(None, None, None)
            await driver.__aenter__()
            self.assemble()
        except Exception as error:
            raise DeviceError(
                f"{part}: could not be connected anew ({error or type(error).__name__}); the instrument is as it was, "
                f"without the {part}. Look at its power and its cable, then try again."
            ) from error
        if before.faults is not None:
            self._microscope = before.faults.around(self.microscope)
        return {name: getattr(self.microscope, name) for name in names}


@asynccontextmanager
async def connect_devices(
    name: str, clock: Clock, seed: int, options: Mapping[str, object], faults: Sequence[str] = ()
) -> AsyncIterator["Microscope"]:
    """The microscope alone of `connected`, for who connects nothing anew. Raises as that."""
    async with connected(name, clock, seed, options, faults) as connections:
        yield connections.microscope


@asynccontextmanager
async def connected(
    name: str, clock: Clock, seed: int, options: Mapping[str, object], faults: Sequence[str] = ()
) -> AsyncIterator[Connections]:
    """A registered driver, or those that a devices file mixes, locked and connected.

    options: what the plan tells simulated devices. faults: what is to befall it (`drivers.faults`).
    Raises Refused for names and keys that are not known and for an instrument that another program drives,
    DeviceError when a device cannot be reached.
    """
    entries, written = read_devices(name, options)
    addresses = [entry.address(given) for entry, given in entries.values() if isinstance(entry, _Addressed)]
    async with AsyncExitStack() as stack:
        stack.enter_context(instruments_locked([address for address in addresses if address is not None]))
        drivers = {
            part: _Driver(partial(entry.connect, clock, seed, given)) for part, (entry, given) in entries.items()
        }
        for driver in drivers.values():
            await stack.enter_async_context(driver)
        connections = Connections(clock, drivers, written)
        connections.assemble()
        if faults:
            connections.inject(faults)
        yield connections


def read_devices(name: str, options: Mapping[str, object]) -> "tuple[dict[str, tuple[Driver, JsonDict]], Written]":
    """The drivers that a devices file names, each with its options, and what else it says of the instrument.

    Raises Refused for names and tables that are not known.
    """
    drivers = registered("drivers")
    tables: JsonDict = {"microscope": {"driver": name}}
    if name not in drivers:
        if not name.endswith(".toml") and not Path(name).is_dir():
            raise Refused(
                f"--devices {name}: no driver of that name; registered are: {', '.join(sorted(drivers))}. "
                "Or give a devices file (.toml)."
            )
        tables = read_toml(Path(name), "--devices")
    written: Written = {}
    if INSTRUMENT in tables:
        written["instrument"] = _instrument_file(name, tables.pop(INSTRUMENT))
    if unknown := sorted(set(tables) - {"microscope", *PARTS, *FACTS}):
        if not any(isinstance(table, dict) for table in tables.values()):
            raise Refused(f"--devices {name}: has no table of a devices file. If it is a plan, name it with --config.")
        known = "], [".join(("microscope", *PARTS, *FACTS))
        raise Refused(f"--devices {name}: table [{shown(unknown[0])}] is not known; use [{known}].")
    if "microscope" not in tables:
        raise Refused(f"--devices {name}: the table [microscope] with its driver is missing.")
    entries: dict[str, tuple[Driver, JsonDict]] = {}
    for part, table in tables.items():
        if not isinstance(table, dict):
            raise Refused(
                f"--devices {name}: {part} = {shown(repr(table))} is not a table; write [{part}] and its keys below."
            )
        table = dict(table)
        if part == "geometry":
            written["geometry"] = table
            continue
        if part == "timing":
            written["timing"] = table
            continue
        if "driver" not in table:
            raise Refused(f"--devices {name}: {_without_driver(part, sorted(drivers))}")
        driver = table.pop("driver")
        if not isinstance(driver, str) or driver not in drivers:
            raise Refused(
                f"--devices {name}: [{part}] driver = {shown(repr(driver))} is not one of: "
                f"{', '.join(sorted(drivers))}."
            )
        entry: Driver = drivers[driver].load()
        entries[part] = (
            entry,
            {**options, **table} if (isinstance(entry, _Simulated) and entry.takes_plan_options) else table,
        )
    _check_gives(name, entries)
    return entries, written


def instrument_file(name: str) -> Path | None:
    """The file of what was calibrated that a devices file names; None where none is named, or it is a driver's name.

    Raises Refused as `read_devices`.
    """
    return read_devices(name, {})[1].get("instrument")


def _instrument_file(name: str, given: object) -> Path:
    """Where it is. It need not exist: then nothing was calibrated yet."""
    if not isinstance(given, str) or not given.endswith(".toml"):
        raise Refused(
            f"--devices {name}: {INSTRUMENT} = {shown(repr(given))} is no name of a file; nothing was started. Write "
            f'{INSTRUMENT} = "NAME.toml", above all tables; a calibration makes the file.'
        )
    return Path(name).parent / given


def _without_driver(part: str, drivers: Sequence[str]) -> str:
    if part == "microscope":
        return f"[microscope] has no driver; nothing was started. Write driver = one of: {', '.join(drivers)}."
    return (
        f"[{part}] has no driver, and is for a {part} that another driver has than the microscope's; nothing was "
        f"started. Write its driver, or the options of the microscope's own {part} into [microscope.{part}]."
    )


def _check_gives(name: str, entries: "Mapping[str, tuple[Driver, JsonDict]]") -> None:
    """Refuse what a driver says that it has not, before anything is connected."""
    gives = {part: entry.gives for part, (entry, _) in entries.items() if isinstance(entry, _OfParts)}
    for part, given in gives.items():
        if part != "microscope" and part not in given:
            raise Refused(
                f"--devices {name}: the driver of [{part}] has only: {', '.join(given)}; nothing was started."
            )
    given = gives.get("microscope", PARTS)
    if missing := [part for part in NEEDED if part not in given and part not in entries]:
        remedy = (
            f"Write a devices file: [microscope] with the driver of the microscope, and [{given[0]}] with this one."
            if "stage" in missing
            else f"Write a devices file that has a table [{missing[0]}] with its driver as well."
        )
        raise Refused(
            f"--devices {name}: this driver has only: {', '.join(given)}; there is no {', no '.join(missing)}; nothing "
            f"was started. {remedy}"
        )


def update_devices_file(path: Path, tables: Mapping[str, Mapping[str, float]], remark: str) -> str:
    """Set keys in tables (`timing`, `microscope.rotation`) of a devices file; the new text.

    remark: a comment for each of these tables; the one of an earlier check is replaced. The file is replaced as a
    whole, so that it is never half written. Raises Refused when it is no TOML, StorageError when it cannot be written.
    """
    try:
        import tomlkit
        from tomlkit.exceptions import TOMLKitError
    except ImportError as error:
        raise Refused("devices check: writing into the file needs tomlkit: pip install tomlkit.") from error
    try:
        # newline="": the line ends of a file from Windows are kept.
        with path.open(encoding="utf-8", newline="") as file:
            before = file.read()
        document = tomlkit.parse(before.removeprefix(BYTE_ORDER_MARK))
    except (OSError, TOMLKitError) as error:
        raise Refused(f"{path}: cannot be read as TOML ({error}); it was left as it is.") from error
    for name, figures in tables.items():
        table: Any = document  # tomlkit tells no types of what lies in a document
        for key in name.split("."):
            if key not in table:
                text = document.as_string()
                if table is document and text and not text.endswith(("\n\n", "\r\n\r\n")):
                    document.add(tomlkit.nl())
                table[key] = tomlkit.table()
            table = table[key]
        for key, value in figures.items():
            table[key] = value
            table[key].comment(remark)
    text = BYTE_ORDER_MARK * before.startswith(BYTE_ORDER_MARK) + tomlkit.dumps(document)
    if "\r\n" in before:
        text = re.sub(r"(?<!\r)\n", "\r\n", text)
    try:
        write_atomically(path, text.encode("utf-8"))
    except OSError as error:
        raise StorageError(f"{path}: cannot be written ({error.strerror}); it was left as it is.") from error
    return text
