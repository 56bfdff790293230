"""A devices file: the instrument it names, connected; and measured figures written into it.

A devices file (TOML) has a table `[microscope]` with `driver` and its options, `[detector]`, `[stage]`, `[beam]`,
`[optics]`, `[stagexyz]`, `[deflectors]`, `[mode]`, `[illumination]` for parts taken from other drivers, and
`[geometry]` and `[timing]` for what is known of the instrument and its drivers do not tell.
"""

import re
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from engine.clock import Clock
from engine.errors import Refused, StorageError, shown
from engine.record.folder import write_atomically
from engine.record.lock import instruments_locked
from engine.run.planfile import read_toml
from engine.run.registry import registered

PARTS = ("stage", "beam", "optics", "detector", "stagexyz", "deflectors", "mode", "illumination")
FACTS = ("geometry", "timing")


@asynccontextmanager
async def connect_devices(
    name: str, clock: Clock, seed: int, options: Mapping[str, Any], faults: Sequence[str] = ()
) -> AsyncIterator[Any]:
    """The microscope of a registered driver, or of a devices file that mixes drivers.

    options: what the plan tells simulated devices. faults: what is to befall it (`drivers.faults`).
    Raises Refused for names and keys that are not known and for an instrument that another program drives,
    DeviceError when a device cannot be reached.
    """
    drivers = registered("drivers")
    tables: dict[str, Any] = {"microscope": {"driver": name}}
    if name not in drivers:
        if not name.endswith(".toml"):
            raise Refused(
                f"--devices {name}: no driver of that name; registered are: {', '.join(sorted(drivers))}. "
                "Or give a devices file (.toml)."
            )
        tables = read_toml(Path(name), "--devices")
    if unknown := sorted(set(tables) - {"microscope", *PARTS, *FACTS}):
        known = "], [".join(("microscope", *PARTS, *FACTS))
        raise Refused(f"--devices {name}: table [{shown(unknown[0])}] is not known; use [{known}].")
    if "microscope" not in tables:
        raise Refused(f"--devices {name}: the table [microscope] with its driver is missing.")
    entries: dict[str, tuple[Any, dict[str, Any]]] = {}
    facts: dict[str, Any] = {}
    for part, table in tables.items():
        if not isinstance(table, dict):
            written = shown(repr(table))
            raise Refused(f"--devices {name}: {part} = {written} is not a table; write [{part}] and its keys below.")
        table = dict(table)
        if part in FACTS:
            facts[part] = table
            continue
        driver = table.pop("driver", None)
        if not isinstance(driver, str) or driver not in drivers:
            raise Refused(
                f"--devices {name}: [{part}] driver = {shown(repr(driver))} is not one of: "
                f"{', '.join(sorted(drivers))}."
            )
        entry = drivers[driver].load()
        entries[part] = entry, {**options, **table} if getattr(entry, "takes_plan_options", False) else table
    addresses = [entry.address(given) for entry, given in entries.values() if hasattr(entry, "address")]
    async with AsyncExitStack() as stack:
        stack.enter_context(instruments_locked([address for address in addresses if address is not None]))
        connected: dict[str, Any] = {}
        for part, (entry, given) in entries.items():
            connected[part] = await stack.enter_async_context(entry.connect(clock, seed, given))
        whole = connected.pop("microscope")
        microscope = whole.assembled(connected, **facts)
        yield registered("faults")["inject"].load()(microscope, clock, faults) if faults else microscope


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
        document = tomlkit.parse(before)
    except (OSError, TOMLKitError) as error:
        raise Refused(f"{path}: cannot be read as TOML ({error}); it was left as it is.") from error
    for name, figures in tables.items():
        table: Any = document
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
    text = tomlkit.dumps(document)
    if "\r\n" in before:
        text = re.sub(r"(?<!\r)\n", "\r\n", text)
    try:
        write_atomically(path, text.encode("utf-8"))
    except OSError as error:
        raise StorageError(f"{path}: cannot be written ({error.strerror}); it was left as it is.") from error
    return text
