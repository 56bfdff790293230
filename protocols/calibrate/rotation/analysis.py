"""From the run folder of a rotation calibration to its values; nothing is stored here.

What cannot be a calibration is refused with DataError; the run folder stays as it is.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from drivers.calibration.rotationfigures import RotationFigures, Turn, fit_turns
from engine.errors import DataError
from engine.record.document import RunDocument
from engine.record.endings import Status
from engine.record.frametable import DATA_FILE, FramesFile
from engine.record.trace import open_trace
from protocols.calibrate.measured import Analysed, Measured
from protocols.calibrate.rotation.delay import Delay, Way, delay_of
from protocols.calibrate.rotation.plan import MEASURED, WATCHED
from protocols.calibrate.truth import truth_of

NS = 1e9
FITTING = 0.05
"""Of the speed: a stage that turns faster or slower than told by more is not as its driver takes it to be."""


def analyse(folder: Path) -> Analysed:
    """The calibration of a run, with a picture in its `report` folder. Raises DataError for what makes none."""
    from protocols.calibrate.rotation.drawing import draw_rotation

    run = RunDocument.read(folder)
    if run.protocol != "rotation":
        raise DataError(f"{folder}: is a run of {run.protocol}, not of rotation; nothing was stored")
    if run.status != Status.DONE.value:
        raise DataError(f"{folder}: did not come to its end ({run.status}: {run.reason}); nothing was stored")
    _, records = open_trace(folder)
    turned = [record for record in records if (record["kind"], record["name"]) == ("note", MEASURED)]
    try:
        turns = turns_of(turned)
        figures = fit_turns(turns[1:])  # nobody knows which way the stage had turned before the first
        delay, call_s = _watched(folder) if run.plan["watch"] else (None, 0.0)
    except DataError as error:
        raise DataError(f"{folder}: {error}; nothing was stored.") from error
    values = {
        "rotation_speed_share": Measured(*figures.share, "1"),
        "run_in_s": Measured(*figures.run_in_s, "s"),
    }
    if figures.backlash_deg is not None:
        values["backlash_deg"] = Measured(*figures.backlash_deg, "deg")
    if delay is not None:
        values["read_delay_s"] = Measured(delay.delay_s[0] + call_s / 2, delay.delay_s[1], "s")
    path = folder / "report" / "rotation.png"
    draw_rotation(path, turns, figures, delay)
    truth = truth_of(folder)
    return Analysed(
        values, (f"{path}: speeds, lateness, and the two ways", *_told(turns, figures, delay, call_s)),
        truth={name: truth[name] for name in values if name in truth},
    )  # fmt: skip


def turns_of(records: Sequence[Any]) -> list[Turn]:
    """The rotations of a trace that had readings enough. Raises DataError where the stage did not turn."""
    turns = []
    for record in records:
        speed = record["speed_deg_s"]
        if speed is None:
            continue
        if not speed > 0:
            raise DataError("the stage was told to turn and did not")
        late_s = float(record["time_s"]) - float(record["call_s"]) - float(record["span_deg"]) / float(speed)
        turns.append(
            Turn(
                float(record["asked_deg_s"]),
                float(record["span_deg"]),
                float(speed),
                float(record["sigma_deg_s"]),
                late_s,
            )
        )
    return turns


def _watched(folder: Path) -> tuple[Delay, float]:
    """What the camera saw, and how long a reading's call takes."""
    with FramesFile(folder / DATA_FILE) as file:
        if WATCHED.name not in file.kinds or not len(file.table(WATCHED.name)):
            raise DataError("the run has no pictures of the rotation")
        table, ways = file.table(WATCHED.name), []
        for direction in (1, -1):
            rows = np.flatnonzero(table["direction"] == direction)
            if not len(rows):
                raise DataError("the rotation was watched one way only")
            read = table["read_deg"][rows]
            end = read[-1]
            steady = np.flatnonzero(np.abs(read - end) > 0.02 * np.ptp(read))  # the last ones stand at the end
            rows = rows[steady]
            # A picture belongs to the line as long as it ended before the last reading of it.
            ways.append(
                Way(
                    (table["start_ns"][rows] + table["end_ns"][rows]) / 2 / NS,
                    np.array([file.picture(WATCHED.name, int(row)) for row in rows], np.float32).astype(np.float64),
                    (table["asked_ns"][rows] + table["told_ns"][rows]) / 2 / NS,
                    np.asarray(table["read_deg"][rows], np.float64),
                )
            )
        call_s = float(np.median(table["told_ns"] - table["asked_ns"])) / NS
    return delay_of(*ways), call_s


def _told(turns: Sequence[Turn], figures: RotationFigures, delay: Delay | None, call_s: float) -> list[str]:
    """The calibration in words."""
    speeds: dict[float, list[float]] = {}
    for turn in turns:
        speeds.setdefault(turn.asked_deg_s, []).append(turn.speed_deg_s)
    told = ", ".join(f"{asked:.4g}: {float(np.median(found)):.5g}" for asked, found in speeds.items())
    lines = [f"asked for deg/s, and turned at: {told}"]
    if abs(figures.share[0] - 1) > FITTING:
        lines.append(
            f"the stage turns at {figures.share[0]:.3f} times the speed that it is told: calibrate its driver "
            "(credline devices check --move), or every frame covers another angle than planned"
        )
    if figures.backlash_deg is None:
        lines.append("the speeds are too alike to tell the backlash apart from the run-in; it is not stored")
    if delay is None:
        lines.append("not watched by the camera, so how old a reading is is not known")
    else:
        lines.append(
            f"a reading is true {1000 * (delay.delay_s[0] + call_s / 2):.1f} ms after it was asked for; its call takes "
            f"{1000 * call_s:.1f} ms"
        )
    return lines
