"""What the measured times mean for a plan: what would not work, what is good to know, what to write down instead.

Used by `credline devices check`, with what drivers/check/measure.py measured and drivers/check/settling.py saw. Pure
functions of facts and figures.
"""

from dataclasses import asdict, dataclass, replace
from typing import Any

from drivers.check.measure import CHANGE_NOTED_S, CameraTimes, Measured
from drivers.check.settling import Settling
from drivers.facts import DetectorFacts, Facts, Timing
from engine.clock import NS_PER_MS, ns
from engine.errors import Refused
from engine.run.contract import AnyExperiment

# Starts at the declared pace that the camera may refuse; each costs a slot.
BUSY_SHARE = 0.1
# A declared dead time is too long that is longer than what the middle frame needs by more than this. Of other frames a
# slot's tolerance takes what they need more, and with this to spare it does not add up: a run lengthens its period to
# 1 ms more than its own middle frame needs.
SPARE_S = 0.002
# A first frame this much longer than the median is worth a word.
SLOW_FIRST = 1.2
# Of what a defocus does to the picture, what may be left when plans count on a lens in focus. The check sees less than
# that move, which harms no frame.
STILL_SHARE = 0.05


def as_measured(facts: Facts, measured: Measured) -> Facts:
    """The facts of an instrument that declares the times which it was measured to take."""
    cadence, detector = measured.cadence, facts.detector
    if detector is None:
        return replace(facts, timing=Timing(**measured.timing))
    late_s = max(cadence.rest.p99_s - cadence.declared_s, 0.0) if cadence.busy else 0.0
    # The longer exposure last: where both are of one length it holds.
    cycles_s = {
        cadence.snapshot_exposure_s: detector.cycle_s(cadence.snapshot_exposure_s) + late_s,
        cadence.exposure_s: cadence.declared_s + late_s,
    }
    change_s = max(cadence.change_s, detector.change_s)
    camera = replace(detector, cycles_s=tuple(cycles_s.items()), change_s=change_s)
    return replace(facts, timing=Timing(**measured.timing), detector=camera)


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a measurement means for a plan. problems: what would not work. remarks: what is good to know."""

    problems: tuple[str, ...]
    remarks: tuple[str, ...]


def judge(kind: AnyExperiment, plan: Any, facts: Facts, measured: Measured) -> Judgement:
    """Compare with what the plan was told by the drivers, in words for the person at the microscope."""
    problems: list[str] = list(measured.faults)
    remarks: list[str] = []
    cadence, timing = measured.cadence, measured.timing
    if cadence.missing > 0:
        problems.append(f"The camera lost {cadence.missing} frames of {2 * (cadence.paced + 1)}: find out why first.")
    if cadence.busy:
        (problems if cadence.busy > BUSY_SHARE * cadence.paced else remarks).append(
            f"The camera is not ready again after the {_ms(cadence.declared_s)} that its driver declares for frames of "
            f"{_ms(cadence.exposure_s)} ({cadence.busy} of {cadence.paced} starts refused): it needs "
            f"{_ms(cadence.rest.median_s)}, at times {_ms(cadence.rest.p99_s)}. Runs would lose slots, or lengthen "
            "their period. Correct the driver's options, or lengthen exposure_s."
        )
    for name, seconds in (("first", cadence.first_s), ("second", cadence.second_s)):
        if seconds > SLOW_FIRST * cadence.rest.median_s:
            remarks.append(
                f"The {name} frame after arming took {_ms(seconds)}, the others {_ms(cadence.rest.median_s)}. The grid "
                "of slots is not moved by that; the slot is lost."
            )
    remarks += _of_camera(facts.detector, cadence)
    declared = asdict(facts.timing)
    for name, what in (
        ("api_call_s", "A call to the microscope usually takes"),
        ("api_call_worst_s", "One call in a hundred takes"),
        ("stage_read_s", "A stage reading takes"),
    ):
        if timing[name] > 1.1 * declared[name] + 0.001:
            remarks.append(f"{what} {_ms(timing[name])}, plans have counted on {_ms(declared[name])}.")
    problems += _refusals(kind, plan, facts, measured, remarks)
    return Judgement(tuple(problems), tuple(remarks))


def judge_settling(found: Settling, declared_s: float) -> Judgement:
    """What the lens does, beside what plans count on."""
    if found.settled_s is None and not found.left:
        return Judgement((), (f"How long the pattern takes to settle cannot be told: {found.why}.",))
    when = f"it was as at rest {_ms(found.settled_s)} after that" if found.settled_s is not None else found.why
    told = (
        f"The lens was told to go back from a defocus of {found.defocus}, and the pattern was looked at: {when}; plans "
        f"count on {_ms(declared_s)}"
    )
    if found.settled_s is not None and found.settled_s <= declared_s:
        return Judgement((), (f"{told}.",))
    share = found.left_share(declared_s)
    told += f", when {100 * share:.1f} % of what the defocus does to it are left."
    if share <= STILL_SHARE:
        return Judgement((), (told,))
    remedy = (
        " So the first frame after a snapshot would be out of focus: give the lens more time, by an option of its "
        "driver such as settling_s (credline devices list DRIVER tells them), or defocus less."
    )
    return Judgement((told + remedy,), ())


def proposed(detector: Any, cadence: CameraTimes) -> dict[str, float]:
    """What to write into the camera's table of a devices file: of its options that can be measured (as it says itself,
    `options_measured`), those that were declared otherwise.
    """
    facts, can = detector.facts, getattr(detector, "options_measured", ())
    lines: dict[str, float] = {}
    dead_s = round(cadence.dead_s + SPARE_S, 3)
    if "readout_s" in can and facts.dead_time_s > dead_s:
        lines["readout_s"] = dead_s
    if "change_s" in can and cadence.change_s > facts.change_s + CHANGE_NOTED_S:
        lines["change_s"] = round(cadence.change_s, 3)
    return lines


def _of_camera(facts: DetectorFacts | None, cadence: CameraTimes) -> list[str]:
    """What is good to know of a camera's dead time and of its changes."""
    remarks = []
    if facts is not None and facts.paced is None:
        spare_s = cadence.declared_s - cadence.exposure_s - cadence.dead_s
        if spare_s > SPARE_S:
            remarks.append(
                f"A frame of {_ms(cadence.exposure_s)} mostly takes {_ms(cadence.exposure_s + cadence.dead_s)}, its "
                f"driver declares {_ms(cadence.declared_s)}: {_ms(spare_s)} of each slot are lost."
            )
    if facts is not None and cadence.change_s > facts.change_s + CHANGE_NOTED_S:
        remarks.append(
            f"An exposure of another length than the one before it takes {_ms(cadence.change_s)} more, its driver "
            f"declares {_ms(facts.change_s)}: changing the exposure costs time on this camera, and it is open when "
            "the frame after a change was exposed. With snapshot_exposure_s = exposure_s nothing is changed."
        )
    return remarks


def _refusals(kind: AnyExperiment, plan: Any, facts: Facts, measured: Measured, remarks: list[str]) -> list[str]:
    """Prepare the plan as declared and as measured; what no longer fits, and (as remarks) what turns out otherwise."""
    try:
        before = kind.prepare(plan, facts).words
    except Refused as error:
        return [f"The plan does not fit this instrument, however fast it is: {error}"]
    try:
        prepared = kind.prepare(plan, as_measured(facts, measured))
    except Refused as error:
        return [f"The plan does not fit what was measured: {error}"]
    after = prepared.words
    remarks += [*facts.questions, *prepared.remarks, *prepared.objections]
    remarks += [
        f"{name}: {_figure(after[name])} as measured, {_figure(before[name])} as declared."
        for name in after
        if name in before and before[name] != after[name]
    ]
    return []


def _figure(words: str) -> str:
    """What a plan says of itself, without what it would advise: `credline plan` says that."""
    return words.partition(";")[0]


def _ms(seconds: float) -> str:
    return f"{ns(seconds) / NS_PER_MS:.4g} ms"
