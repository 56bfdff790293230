"""A disk that cannot keep up: memory stays bounded, no frame is dropped, and the slots that it costs are named."""

import time
from collections import Counter
from pathlib import Path
from typing import Any, BinaryIO

import h5py
import pytest

from engine.record.disk import Disk
from engine.record.trace import Record, read_trace
from engine.replay.replay import first_divergence, load_run, replay
from engine.run.perform import Report, Request, execute
from engine.run.run import Run
from protocols.cred import CRED
from protocols.cred.plan import CredPlan

PICTURE_BYTES = 256 * 256 * 2
LIMIT_BYTES = 3 * PICTURE_BYTES
SLOTS = 60
WRITE_S = 0.15
"""A slot lasts 0.062 s, so less than half of the frames could be written in their time."""


class SlowDisk(Disk):
    """Every picture takes a while."""

    def write(self, file: BinaryIO, data: bytes | memoryview) -> None:
        if len(data) == PICTURE_BYTES:
            time.sleep(WRITE_S)
        super().write(file, data)


@pytest.fixture(scope="module")
def behind(tmp_path_factory: pytest.TempPathFactory) -> tuple[Report, Run, list[Record]]:
    runs: list[Run] = []

    def watch(run: Run, _: object) -> None:
        run.writer.disk = SlowDisk()
        run.writer.limit_bytes = LIMIT_BYTES
        runs.append(run)

    plan: dict[str, Any] = {"exposure_s": 0.05, "speed_deg_s": 5.0, "start_deg": -10.0, "relax_cycles": 0}
    plan |= {"range_deg": SLOTS * 0.062 * 5.0, "snapshot_interval": 20, "rotation": "commanded", "formats": ()}
    out = tmp_path_factory.mktemp("runs")
    devices = out / "devices.toml"
    devices.write_text('[microscope]\ndriver = "simulated-timing"\npictures = {shape = [256, 256]}\n')
    request = Request(
        CRED, CredPlan(**plan), out, str(devices), False, 1, accept_timing=True, accept_gaps=True, draw=False
    )
    report = execute(request, watch)
    return report, runs[0], list(read_trace(report.folder))


def of(records: list[Record], kind: str, name: str) -> list[Record]:
    return [record for record in records if (record["kind"], record["name"]) == (kind, name)]


@pytest.mark.realtime
def test_what_waits_for_the_disk_stays_within_its_limit(behind: tuple[Report, Run, list[Record]]) -> None:
    _, run, records = behind
    # Room is asked for before a picture is queued, so one may stand above the limit, with lines of journal and trace.
    assert LIMIT_BYTES <= run.writer.most_pending_bytes <= LIMIT_BYTES + 2 * PICTURE_BYTES
    assert of(records, "call", "disk.room")


@pytest.mark.realtime
def test_every_exposure_is_a_frame_on_disk(behind: tuple[Report, Run, list[Record]]) -> None:
    report, _, records = behind
    exposures = of(records, "call", "detector.start")
    frames, snapshots = (of(records, "frame", name) for name in ("diffraction", "snapshot"))
    assert len(exposures) == len(frames) + len(snapshots)
    with h5py.File(report.folder / "frames.h5") as file:
        assert list(file["diffraction/frames"]["slot"]) == [frame["slot"] for frame in frames]
        numbers = [int(picture[0, 0]) for picture in file["diffraction/data"]]
    assert numbers == [frame["number"] for frame in frames]
    # On a machine that is slow itself there may be no snapshot at all, and no folder.
    assert len(list((report.folder / "snapshots").glob("*"))) == len(snapshots)


@pytest.mark.realtime
def test_the_slots_that_it_costs_are_lost_by_name_and_with_a_reason(behind: tuple[Report, Run, list[Record]]) -> None:
    report, _, records = behind
    result = report.document["result"]
    lost = of(records, "slot", "lost")
    # On a machine that is slow itself the run may begin so late that the stage comes to its end first.
    assert report.ending.status.value == "done" or report.ending.reason.startswith("the stage stopped at")
    assert lost
    assert all(record["reason"] for record in lost)
    named = [record["slot"] for record in lost] + [frame["slot"] for frame in of(records, "frame", "diffraction")]
    for shot in of(records, "frame", "snapshot"):
        following = min((slot for slot in named if slot > shot["slot"]), default=result["slots"] + 1)
        named += range(shot["slot"], following)
    assert [slot for slot, times in Counter(named).items() if times > 1] == []
    assert set(range(1, result["slots"] + 1)) <= set(named)


@pytest.mark.realtime
def test_a_replay_waits_for_the_disk_as_the_run_did(behind: tuple[Report, Run, list[Record]]) -> None:
    records = load_run(behind[0].folder)
    assert first_divergence(records, replay(records, Path(behind[0].folder))) is None
