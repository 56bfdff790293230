"""How much a run has to do, told from the header of its trace, for whoever watches it from another program."""

from engine.clock import RealClock
from engine.record.jsonobject import JsonDict
from engine.record.trace import Record
from engine.run.contract import AnyExperiment
from engine.run.planfile import build_plan_from
from engine.run.registry import recorded_microscope


def total_of(kind: AnyExperiment | None, header: Record) -> int:
    """How much there is to do, from plan and facts in the header of a trace; 0 where that cannot be told."""
    if kind is None or (kind.path_keys and any(_named(header["plan"], key) for key in kind.path_keys)):
        return 0  # the trace holds no folders
    try:
        facts = recorded_microscope()(RealClock(), header["instrument"], []).facts
        return kind.prepare(build_plan_from(kind, header["plan"]), facts).total
    except Exception:  # of another version, or damaged
        return 0


def _named(plan: JsonDict, key: str) -> bool:
    table, _, name = key.partition(".")
    inner = plan.get(table)
    return bool(inner.get(name)) if isinstance(inner, dict) else bool(inner)
