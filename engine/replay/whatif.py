"""What if? A recorded run again with other latencies or another plan, and what that does to its slots.

The protocol, its machine and its scheduling are the real ones; the instrument answers from the recording
(`drivers.replayed.whatif`). The answer is a table beside the original.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from engine.clock import NS_PER_S
from engine.clock.virtual import VirtualClock, VirtualLoop
from engine.errors import CredlineError, Refused
from engine.record.jsonobject import JsonDict, JsonObject
from engine.record.trace import Record, read_trace
from engine.replay.rehearsal import rehearse
from engine.run.contract import Figure, WhatIf
from engine.run.framewatch import FRAME_CHECK
from engine.run.planfile import build_plan_from, parse_setting
from engine.run.registry import experiment_type, latencies, what_if_microscope
from engine.views.stats import TraceStats

if TYPE_CHECKING:
    from engine.run.entries import Latencies, Latency

SWEEP_LIMIT = 500
NO_KEYS = "api_latency, settling, dead_time, and calls such as optics.set_focus"


@dataclass(frozen=True, slots=True)
class Question:
    """Changes to a recorded run: plan keys, latencies by call (as words), settling and camera dead time in seconds."""

    plan: JsonObject = field(default_factory=dict)
    latencies: Mapping[str, str] = field(default_factory=dict)
    settling_s: float | None = None
    dead_time_s: float | None = None


def parse_question(words: Sequence[str], latency: "Latencies", aliases: Mapping[str, str] | None = None) -> Question:
    """`key=value` words to a question. latency: the class that reads a time, factor or `resample`. aliases: short names
    of plan keys (`ExperimentType.what_if`).

    Keys: `api_latency`, `device.method` (latencies, also `@TRACE:call` of another trace), `settling`, `dead_time`
    (times), and keys of the plan.
    """
    plan: JsonDict = {}
    calls: dict[str, str] = {}
    times: dict[str, float] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals:
            raise Refused(f"--what-if {word!r}: write key=value, for example api_latency=60ms.")
        if _is_call(key):
            calls[key] = value
        elif _is_time(key):
            parsed = _parsed(key, value, latency)
            if parsed.fixed_s is None:
                raise Refused(f"--what-if {word!r}: give a time, for example {key}=400ms.")
            times[key] = parsed.fixed_s
        else:
            keys, setting = parse_setting(word)
            plan[(aliases or {}).get(keys[0], keys[0])] = setting
    return Question(plan, calls, times.get("settling"), times.get("dead_time"))


def _is_call(key: str) -> bool:
    return key == "api_latency" or key.split(".")[0] in ("stage", "beam", "optics", "detector")


def _is_time(key: str) -> bool:
    return _is_call(key) or key in ("settling", "dead_time")


def _parsed(name: str, word: str, latency: "Latencies") -> "Latency":
    try:
        return latency.parse(word)
    except Refused as error:
        raise Refused(f"--what-if {name}={word}: {error} Nothing was computed.") from error


def original(records: Sequence[Record]) -> JsonDict:
    """The figures of the recorded run itself: it is replayed, for its result is not in the trace."""
    from engine.replay.replay import replay_with_result

    made, result = replay_with_result(records)
    return dict(experiment_type(records[0]["protocol"]).figures(made, result))


def ask(records: Sequence[Record], question: Question, seed: int = 0) -> JsonDict:
    """The figures of the run as changed. Raises Refused when the changed plan cannot fit, saying by how much."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(_ask(list(records), question, seed))


async def _ask(records: list[Record], question: Question, seed: int) -> JsonDict:
    loop = asyncio.get_running_loop()
    if not isinstance(loop, VirtualLoop):
        raise TypeError("a what-if needs virtual time")
    header = records[0]
    kind = experiment_type(header["protocol"])
    _check_answerable(kind.what_if, build_plan_from(kind, header["plan"]).model_dump(), question)
    try:
        plan = build_plan_from(kind, {**header["plan"], **question.plan})
    except Refused as error:
        others = f" Beside the plan's keys there are {NO_KEYS}." if set(question.plan) - set(header["plan"]) else ""
        raise Refused(f"--what-if: {error}{others} Nothing was computed.") from error
    computed = {record["name"] for record in records if record["kind"] == "computation"}
    if decided := sorted(computed - {FRAME_CHECK.name}):  # a rehearsal watches no frames: they are what they were
        plan = kind.unwatched(plan, decided)
        if plan is None:
            raise Refused(
                f"--what-if: this run feeds back from data: what it computed from its pictures ({', '.join(decided)}) "
                "decided what it did next, and there are no other pictures. Nothing was computed. Make a run of it "
                "instead."
            )
    make, latency = what_if_microscope(), latencies()
    clock = VirtualClock(loop)
    microscope = make(
        clock,
        records,
        {name: _latency(name, word, latency) for name, word in question.latencies.items()},
        settling_s=question.settling_s,
        dead_time_s=question.dead_time_s,
        beam_on=bool(kind.device_options(plan).get("beam_on", False)),
        seed=seed,
    )
    before = {"continued": header["continued"]} if "continued" in header else {}
    made, document = await rehearse(kind, plan, clock, microscope, {"protocol": kind.name, "what_if": True, **before})
    if document["status"] in ("failed", "aborted"):
        raise CredlineError(f"what-if: the run would end as {document['status']}: {document['reason']}")
    return dict(kind.figures(made, document["result"]))


def _check_answerable(asked: WhatIf, recorded: JsonObject, question: Question) -> None:
    for key, value in question.plan.items():
        before = recorded.get(key, 0)
        turned = key in asked.signed and isinstance(value, int | float) and (value < 0) != (before < 0)
        settling = key in asked.needs_settling and question.settling_s is None
        if key in asked.unanswerable or turned or settling:
            hint = " Give settling=... with it." if settling else " Make a run of it instead."
            raise Refused(f"--what-if {key}: a recorded run cannot tell what that would have changed.{hint}")


def _latency(name: str, word: str, latency: "Latencies") -> "Latency":
    """`@TRACE` or `@TRACE:call` draws from the calls of another trace; anything else is read by `latency`."""
    if not word.startswith("@"):
        return _parsed(name, word, latency)
    path, _, call = word[1:].partition(":")
    recorded = TraceStats.read(read_trace(Path(path))).latencies_ns()
    tem = ("stage.", "beam.", "optics.")
    if call or name != "api_latency":
        chosen = [call or name]
    else:  # what waits for the operator is no latency
        chosen = [key for key in recorded if key.startswith(tem) and key != "stage.release_to_pedal"]
    drawn_s = tuple(float(took) / NS_PER_S for key in chosen for took in recorded.get(key, ()))
    if not drawn_s:
        raise Refused(
            f"--what-if {name}={word}: that trace has no times of {call or name}; it has {', '.join(sorted(recorded))}."
        )
    return latency(drawn_s=drawn_s)


@dataclass(frozen=True, slots=True)
class SweepPoint:
    """One value of a sweep: figures, or why the plan is refused there."""

    value_s: float
    figures: JsonDict | None
    refusal: str


def parse_sweep(word: str, latency: "Latencies") -> tuple[str, list[float]]:
    """`api_latency=20ms:100ms:5ms` to the key and its values in seconds, ends included."""
    key, equals, span = word.partition("=")
    parts = [latency.parse(part).fixed_s for part in span.split(":")]
    times_s = [part for part in parts if part is not None]
    if not equals or not len(parts) == len(times_s) == 3 or not times_s[2] or times_s[1] < times_s[0]:
        raise Refused(f"--sweep {word!r}: write key=first:last:step, for example api_latency=20ms:100ms:5ms.")
    first, last, step = times_s
    if (last - first) / step > SWEEP_LIMIT:
        raise Refused(f"--sweep {word!r}: more than {SWEEP_LIMIT} values; take larger steps.")
    return key, [first + k * step for k in range(int((last - first) / step + 1e-9) + 1)]


def sweep(
    records: Sequence[Record], key: str, values_s: Sequence[float], base: Sequence[str], latency: "Latencies"
) -> list[SweepPoint]:
    """Ask the same question for each value of one key."""
    points = []
    aliases = experiment_type(records[0]["protocol"]).what_if.aliases
    for value_s in values_s:
        unit = "s" if _is_time(key) else ""  # what the sweep says is meant so, however long
        question = parse_question([*base, f"{key}={value_s:.9g}{unit}"], latency, aliases)
        try:
            points.append(SweepPoint(value_s, ask(records, question), ""))
        except CredlineError as error:
            points.append(SweepPoint(value_s, None, str(error)))
    return points


def plot_sweep(key: str, points: Sequence[SweepPoint], shown: Sequence[Figure], picture: Path) -> None:
    """Draw figures against the swept value; refused values in red."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(8, 7))
    FigureCanvasAgg(figure)
    good = [(point.value_s * 1000, point.figures) for point in points if point.figures]
    axes_of = figure.subplots(len(shown), 1, sharex=True, squeeze=False)[:, 0]
    for axes, what in zip(axes_of, shown, strict=True):
        values = [f[what.key] for _, f in good]
        axes.plot([x for x, _ in good], values, ".-", color="#4477aa")
        if values and all(isinstance(value, int) for value in values):  # of slots there are no halves
            axes.yaxis.set_major_locator(MaxNLocator(integer=True))
            low, high = min(0, *values), max(1, *values)
            axes.set_ylim(low - 0.05 * (high - low), high + 0.05 * (high - low))
        for point in points:
            if point.figures is None:
                axes.axvline(point.value_s * 1000, color="#ee6677")
        axes.set_ylabel(what.name)
    axes_of[-1].set_xlabel(f"{key} / ms (red: the plan is refused)")
    figure.subplots_adjust(0.12, 0.08, 0.98, 0.97, hspace=0.1)
    figure.savefig(picture, dpi=100)
