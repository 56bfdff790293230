"""What if? A recorded run again with other latencies or another plan, and what that does to its slots.

The protocol, its machine and its scheduling are the real ones; the instrument answers from the recording
(`drivers.replayed.whatif`). The answer is a table beside the original.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engine.clock import NS_PER_S
from engine.clock.virtual import VirtualClock, VirtualLoop
from engine.errors import CredlineError, Refused
from engine.record.trace import Record, read_trace
from engine.replay.rehearsal import rehearse
from engine.run.planfile import build_plan_from, parse_setting
from engine.run.registry import experiment_type, registered
from engine.views.stats import TraceStats

SWEEP_LIMIT = 500
ALIASES = {"exposure": "exposure_s", "interval": "snapshot_interval", "snapshot_exposure": "snapshot_exposure_s"}
ROWS = (
    ("period_s", "period / s"),
    ("slots", "slots"),
    ("frames", "frames"),
    ("snapshot_slots", "slots a snapshot takes"),
    ("lost_slots", "lost slots"),
    ("missing_deg", "missing wedge / deg"),
    ("slack_min_ms", "slack, min / ms"),
    ("slack_median_ms", "slack, median / ms"),
    ("overruns", "steps over their budget"),
)


@dataclass(frozen=True, slots=True)
class Question:
    """Changes to a recorded run: plan keys, latencies by call (as words), settling and camera dead time in seconds."""

    plan: Mapping[str, Any] = field(default_factory=dict)
    latencies: Mapping[str, str] = field(default_factory=dict)
    settling_s: float | None = None
    dead_time_s: float | None = None


def parse_question(words: Sequence[str], latency: Any) -> Question:
    """`key=value` words to a question. latency: the class that reads a time, factor or `resample`.

    Keys: `api_latency`, `device.method` (latencies, also `@TRACE:call` of another trace), `settling`, `dead_time`
    (times), and keys of the plan.
    """
    plan: dict[str, Any] = {}
    latencies: dict[str, str] = {}
    times: dict[str, float] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals:
            raise Refused(f"--what-if {word!r}: write key=value, for example api_latency=60ms.")
        if key == "api_latency" or key.split(".")[0] in ("stage", "beam", "optics", "detector"):
            latencies[key] = value
        elif key in ("settling", "dead_time"):
            parsed = latency.parse(value)
            if parsed.fixed_s is None:
                raise Refused(f"--what-if {word!r}: give a time, for example {key}=400ms.")
            times[key] = parsed.fixed_s
        else:
            keys, setting = parse_setting(word)
            plan[ALIASES.get(keys[0], keys[0])] = setting
    return Question(plan, latencies, times.get("settling"), times.get("dead_time"))


def figures(records: Sequence[Record], result: Mapping[str, Any]) -> dict[str, Any]:
    """What the table shows of a run, from its records and its result."""
    frames = sorted(r["slot"] for r in records if r["kind"] == "frame" and r["name"] == "diffraction")
    shots = [r["slot"] for r in records if r["kind"] == "frame" and r["name"] == "snapshot"]
    after = {slot: next((f for f in frames if f > slot), None) for slot in shots}
    cycles = [end - slot for slot, end in after.items() if end is not None]
    missing = result["slots"] - len(frames)
    return {
        "period_s": result["period_s"],
        "slots": result["slots"],
        "frames": len(frames),
        "snapshot_slots": min(cycles, default=0),
        "lost_slots": result["lost_slots"],
        "lost_slot_numbers": result["lost_slot_numbers"],
        "gap_slots": sorted(set(range(1, result["slots"] + 1)) - set(frames)),
        "missing_deg": round(abs(missing * (result["oscillation_deg"] or 0.0)), 3),
        "slack_min_ms": result["slack_ms"]["min"],
        "slack_median_ms": result["slack_ms"]["median"],
        "overruns": sum(r["kind"] == "step" and r["verdict"] in ("over", "underflow") for r in records),
    }


def original(records: Sequence[Record]) -> dict[str, Any]:
    """The figures of the recorded run itself: it is replayed, for its result is not in the trace."""
    from engine.replay.replay import replay_with_result

    made, result = replay_with_result(records)
    return figures(made, result)


def ask(records: Sequence[Record], question: Question, seed: int = 0) -> dict[str, Any]:
    """The figures of the run as changed. Raises Refused when the changed plan cannot fit, saying by how much."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(_ask(list(records), question, seed))


async def _ask(records: list[Record], question: Question, seed: int) -> dict[str, Any]:
    loop = asyncio.get_running_loop()
    if not isinstance(loop, VirtualLoop):
        raise TypeError("a what-if needs virtual time")
    if decided := sorted({record["name"] for record in records if record["kind"] == "computation"}):
        raise Refused(
            f"--what-if: this run feeds back from data: what it computed from its pictures ({', '.join(decided)}) "
            "decided what it did next, and there are no other pictures. Nothing was computed. Make a run of it instead."
        )
    header = records[0]
    kind = experiment_type(header["protocol"])
    _check_answerable(build_plan_from(kind, header["plan"]).model_dump(), question)
    plan = build_plan_from(kind, {**header["plan"], **question.plan})
    make, latency = (registered("recorded")[name].load() for name in ("what_if", "latency"))
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
    made, document = await rehearse(kind, plan, clock, microscope, {"protocol": kind.name, "what_if": True})
    if document["status"] in ("failed", "aborted"):
        raise CredlineError(f"what-if: the run would end as {document['status']}: {document['reason']}")
    return figures(made, document["result"])


# A recording knows where the stage went and how the lens settled then, and nothing of another way.
UNANSWERABLE = ("start_deg", "speed_deg_s", "rotation", "crystal", "sample", "formats", "truth")


def _check_answerable(recorded: Mapping[str, Any], question: Question) -> None:
    for key, value in question.plan.items():
        turned = key == "range_deg" and isinstance(value, int | float) and (value < 0) != (recorded.get(key, 0) < 0)
        if key in UNANSWERABLE or turned or (key == "defocus" and question.settling_s is None):
            hint = " Give settling=... with it." if key == "defocus" else " Make a run of it instead."
            raise Refused(f"--what-if {key}: a recorded run cannot tell what that would have changed.{hint}")


def _latency(name: str, word: str, latency: Any) -> Any:
    """`@TRACE` or `@TRACE:call` draws from the calls of another trace; anything else is read by `latency`."""
    if not word.startswith("@"):
        return latency.parse(word)
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
    figures: dict[str, Any] | None
    refusal: str


def parse_sweep(word: str, latency: Any) -> tuple[str, list[float]]:
    """`api_latency=20ms:100ms:5ms` to the key and its values in seconds, ends included."""
    key, equals, span = word.partition("=")
    parts = [latency.parse(part).fixed_s for part in span.split(":")]
    if not equals or len(parts) != 3 or None in parts or not parts[2] or parts[1] < parts[0]:
        raise Refused(f"--sweep {word!r}: write key=first:last:step, for example api_latency=20ms:100ms:5ms.")
    first, last, step = parts
    if (last - first) / step > SWEEP_LIMIT:
        raise Refused(f"--sweep {word!r}: more than {SWEEP_LIMIT} values; take larger steps.")
    return key, [first + k * step for k in range(int((last - first) / step + 1e-9) + 1)]


def sweep(
    records: Sequence[Record], key: str, values_s: Sequence[float], base: Sequence[str], latency: Any
) -> list[SweepPoint]:
    """Ask the same question for each value of one key."""
    points = []
    for value_s in values_s:
        question = parse_question([*base, f"{key}={value_s:.9g}"], latency)
        try:
            points.append(SweepPoint(value_s, ask(records, question), ""))
        except CredlineError as error:
            points.append(SweepPoint(value_s, None, str(error)))
    return points


def plot_sweep(key: str, points: Sequence[SweepPoint], picture: Path) -> None:
    """Draw missing wedge, lost slots and slack against the swept value; refused values in red."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 7))
    FigureCanvasAgg(figure)
    good = [(point.value_s * 1000, point.figures) for point in points if point.figures]
    shown = (("missing_deg", "missing wedge / deg"), ("lost_slots", "lost slots"), ("slack_min_ms", "slack, min / ms"))
    for axes, (name, label) in zip(figure.subplots(3, 1, sharex=True), shown, strict=True):
        axes.plot([x for x, _ in good], [f[name] for _, f in good], ".-", color="#4477aa")
        for point in points:
            if point.figures is None:
                axes.axvline(point.value_s * 1000, color="#ee6677")
        axes.set_ylabel(label)
    axes.set_xlabel(f"{key} / ms (red: the plan is refused)")
    figure.subplots_adjust(0.1, 0.08, 0.98, 0.97, hspace=0.1)
    figure.savefig(picture, dpi=100)
