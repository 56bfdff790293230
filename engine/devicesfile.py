"""Write measured figures into a devices file; everything else stays as a person wrote it, comments included."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from engine.errors import Refused, StorageError


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
    new = path.with_name(path.name + ".new")
    try:
        with new.open("w", encoding="utf-8", newline="") as file:
            file.write(text)
        os.replace(new, path)
    except OSError as error:
        raise StorageError(f"{path}: cannot be written ({error.strerror}); it was left as it is.") from error
    return text
