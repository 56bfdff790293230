"""Traces for tests: short cRED runs under virtual time, and logs as Instamatic writes them."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from typer.testing import CliRunner, Result

from engine.commands.trace import trace_app
from engine.record.trace import Record
from engine.run.perform import Request, execute
from engine.run.run import Run
from protocols.cred import CRED
from protocols.cred.plan import CredPlan

SHORT = {"range_deg": 6.0, "relax_cycles": 1}  # 26 slots, snapshots in slots 10 and 20


def record_run(
    out: Path, seed: int = 1, stop_at: str | None = None, devices: str = "simulated-timing", **plan: Any
) -> Path:
    """The folder of a run under virtual time; `stop_at` names a state in which the operator ends it."""

    def watch(run: Run, _: object) -> None:
        def stop(record: Record) -> None:
            if record["kind"] == "state" and record["name"] == stop_at:
                run.commands.stop("enough")

        run.trace.observe(stop)

    request = Request(CRED, CredPlan(**{**SHORT, **plan}), out, devices, True, seed, draw=False)
    return execute(request, watch).folder


def records_of(run: Path) -> list[Record]:
    """The records of a run, read by nothing of ours."""
    return [json.loads(line) for line in (run / "trace.jsonl").read_text(encoding="utf-8").splitlines()]


def write_trace(path: Path, records: Sequence[Any]) -> Path:
    """A trace file of these records, whatever they are."""
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return path


def trace(*words: object) -> Result:
    """`credline trace WORDS`; a refusal is the result's exception."""
    return CliRunner().invoke(trace_app, [str(word) for word in words])


CRED_LOG = """\
Program: Instamatic v2.0.5
Data Collection Time: 2024-11-18 11:33:30
Time Period Start: 1234.5678901
Time Period End: 1240.9876543
Starting angle: -30.05 degrees
Ending angle: -27.15 degrees
Rotation range: 2.90 degrees
Exposure Time: 0.500 s
Acquisition time: 0.535 s
Total time: 6.420 s
Spot Size: 3
Camera length: 250 mm
Pixelsize: 0.00636 px/Angstrom
Physical pixelsize: 0.055 um
Wavelength: 0.02508 Angstrom
Stretch amplitude: 83.37 %
Stretch azimuth: 2.43 degrees
Rotation axis: -0.6720353 radians
Oscillation angle: 0.2417 degrees
Number of frames: 10
Stage start: X -33299 | Y  17720 | Z    132 | A -30.25 | B -0.10
Stage end:   X -33301 | Y  17719 | Z    132 | A -27.15 | B -0.10
Image interval: every 10 frames an image with defocus 31500 (t=0.01 s).
Number of images: 1

References:
 - nobody: nothing
"""

FRAME_BYTES = 525_312


def merlin_log() -> str:
    """A log of a day: the live view, then one run with two frames and one defocused picture."""
    lines = [
        "2024-11-18 11:32:59,100 | main:201 | INFO | Instamatic started: {'verbose': 1}",
        "2024-11-18 11:33:00,000 | camera_merlin:233 | INFO | Set up soft trigger with exposure 0.05 s",
        *command("11:33:00,001", "11:33:00,003", "CMD", "STARTACQUISITION"),
        "2024-11-18 11:33:00,010 | camera_merlin:109 | INFO | Received 14 bytes in 1 steps (0.000050 s)",
        *command("11:33:00,011", "11:33:00,012", "CMD", "SOFTTRIGGER"),
        "2024-11-18 11:33:00,070 | camera_merlin:109 | INFO | Received 14 bytes in 1 steps (0.052000 s)",
        f"2024-11-18 11:33:00,071 | camera_merlin:251 | INFO | Received header: {FRAME_BYTES} (b'MPX,0000525312')",
        f"2024-11-18 11:33:00,075 | camera_merlin:109 | INFO | Received {FRAME_BYTES} bytes in 9 steps (0.003000 s)",
        "2024-11-18 11:33:30,000 | experiment:135 | INFO | Data recording started at: 2024-11-18 11:33:30",
        "2024-11-18 11:33:30,001 | experiment:136 | INFO | Data collection exposure time: 0.5 s",
        "2024-11-18 11:33:31,000 | camera_merlin:236 | INFO | Change exposure to 0.5 s",
        *command("11:33:31,001", "11:33:31,004", "CMD", "STOPACQUISITION"),
        *command("11:33:31,005", "11:33:31,011", "SET", "ACQUISITIONTIME", "500.0"),
        "2024-11-18 11:33:31,011 | camera_merlin:133 | DEBUG | Remembering state for ACQUISITIONTIME value 500.0",
        *command("11:33:31,012", "11:33:31,014", "GET", "DETECTORSTATUS", answer="1"),
        *frame("11:33:31,020", "11:33:31,022", "11:33:31,540", "0.517000"),
        *frame("11:33:31,560", "11:33:31,563", "11:33:32,081", "0.516000"),
        "2024-11-18 11:33:37,207 | camera_merlin:242 | INFO | Change exposure to 0.01 s",
        *command("11:33:37,208", "11:33:37,210", "SET", "ACQUISITIONTIME", "10.0", status="2"),
        *frame("11:33:37,300", "11:33:37,301", "11:33:37,320", "0.018000"),
        "2024-11-18 11:33:38,000 | experiment:354 | INFO | Experiment finished, stage is moving: False",
        "2024-11-18 11:33:38,100 | controller:99 | ERROR | something broke",
        "Traceback (most recent call last):",
        "2024-11-18 11:33:39,000 | cred_frame:292 | INFO | Finish cRED experiment",
        "2024-11-18 11:34:00,000 | main:300 | INFO | another day's work",
    ]
    return "\n".join(lines) + "\n"


def command(
    asked: str,
    answered: str,
    kind: str,
    name: str,
    value: str | None = None,
    answer: str | None = None,
    status: str = "0",
) -> list[str]:
    """The two lines of a command to the Merlin and its answer."""
    sent = ",".join(part for part in ("MPX", "0000000016", kind, name, value) if part is not None)
    got = ",".join(part for part in ("MPX", "0000000018", kind, name, answer, status) if part is not None)
    return [
        f"2024-11-18 {asked} | camera_merlin:71 | DEBUG | {sent}",
        f"2024-11-18 {answered} | camera_merlin:149 | DEBUG | {got}",
    ]


def frame(asked: str, answered: str, arrived: str, waited_s: str) -> list[str]:
    """The lines of one frame."""
    size = FRAME_BYTES + 14
    received = f"2024-11-18 {arrived} | camera_merlin:109 | INFO | Received {size} bytes in 9 steps ({waited_s} s)"
    return [*command(asked, answered, "CMD", "SOFTTRIGGER"), received]
