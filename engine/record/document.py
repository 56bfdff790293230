"""run.json: what was asked of a run and what came of it."""

import json
from pathlib import Path
from typing import Any

from engine.errors import DataError


def read_run_document(folder: Path) -> dict[str, Any]:
    """The run.json of a run folder. Raises DataError when there is none, or it is no run's."""
    path = folder / "run.json"
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); give the folder of a run.") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: is damaged ({error}); the other files of the run are untouched.") from error
    if not isinstance(document, dict) or not isinstance(document.get("protocol"), str):
        raise DataError(f"{path}: is not the run.json of credline.")
    return document
