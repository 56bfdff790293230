"""What a plan would be, before anything moves: for a form that is being filled in.

Done in the console's own process, from the facts that the connected instrument has told, as a replay does it from the
header of a trace: what takes milliseconds would make the frames of a run late in the instrument's process. That checks
the plan once more before it runs.
"""

from collections.abc import Sequence
from shlex import quote

import structlog
from pydantic import BaseModel

from engine.clock import RealClock
from engine.errors import CredlineError, Refused, shown
from engine.record.jsonobject import JsonDict, JsonObject
from engine.run.budget import Budget
from engine.run.contract import AnyExperiment
from engine.run.microscope import Facts
from engine.run.planbasis import declared_basis
from engine.run.planfile import build_plan
from engine.run.registry import experiment_type, recorded_microscope, registered

log = structlog.get_logger()

SETTINGS_MOST = 200


def load_protocols() -> None:
    """Load all of them now: to load one takes seconds, for which a page would wait, and which the watchdog of an
    instrument would take for a program that hangs.
    """
    for name in registered("protocols"):
        try:
            experiment_type(name)
        except Exception as error:  # somebody's package: a run of it is refused, and no other suffers
            log.warning("a protocol cannot be loaded", protocol=name, cause=f"{type(error).__name__}: {error}")


def protocols() -> list[JsonDict]:
    """What can be run, with a line on each; of a package that cannot be loaded, why."""
    told = []
    for name in sorted(registered("protocols")):
        try:
            kind = experiment_type(name)
            if not kind.begun_by:
                told.append({"name": name, "summary": kind.summary, "gives_way": kind.gives_way, "problem": ""})
        except Exception as error:
            told.append({"name": name, "summary": "", "problem": shown(f"{type(error).__name__}: {error}")})
    return told


def planned(protocol: str, settings: Sequence[str], devices: str, facts: JsonObject | None) -> JsonDict:
    """The plan with these words of `--set`: `fits`, budgets, words, remarks and objections; or `error` and why not.

    facts: as the connected instrument told them; without, as its drivers declare them. Blocks, some 10 ms. Raises
    Refused for a protocol that is not known.
    """
    kind = experiment_type(protocol)
    if len(settings) > SETTINGS_MOST:
        raise Refused("more settings than any plan has keys; nothing was done.")
    try:
        plan = build_plan(kind, None, settings)
        prepared = kind.prepare(plan, _facts(kind, plan, devices, facts))
    except CredlineError as error:
        return {"fits": False, "error": str(error), "command": command(kind, settings)}
    return {
        "fits": True,
        "label": kind.label(plan),
        "budgets": [_told(budget) for budget in prepared.budgets],
        "words": [[name, text] for name, text in prepared.words.items()],
        "remarks": list(prepared.remarks),
        "objections": list(prepared.objections),
        "total": prepared.total,
        "unit": kind.unit,
        "command": command(kind, settings),
    }


def _facts(kind: AnyExperiment, plan: BaseModel, devices: str, facts: JsonObject | None) -> Facts:
    if facts is None:
        return declared_basis(devices, kind.device_options(plan)).facts
    return recorded_microscope()(RealClock(), facts, []).facts


def _told(budget: Budget) -> JsonDict:
    """Milliseconds, as a person reads them."""
    return {
        "name": budget.name,
        "available_ms": round(budget.available_s * 1000, 1),
        "slack_ms": round(budget.slack_s * 1000, 1),
        "typical_slack_ms": round((budget.available_s - budget.typical_s) * 1000, 1),
        "steps": [
            [step.name, round(step.typical_s * 1000, 1), round(step.worst_s * 1000, 1), step.source]
            for step in budget.steps
        ],
    }


def command(kind: AnyExperiment, settings: Sequence[str]) -> str:
    """The same run from a command line."""
    return " ".join(["credline run", kind.name, *(f"--set {quote(word)}" for word in settings)])
