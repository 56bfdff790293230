"""A run that was cut off, by kill -9 or in the middle of its writing, put together again."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest

from engine.errors import DataError
from engine.record.lock import drop_lock, take_lock
from engine.record.spool import read_infos, read_spool
from engine.record.spoolformat import MAGIC
from engine.record.trace import Record
from engine.run.recovery import recover_run
from engine.run.run import Run
from protocols.products.source import open_run
from tests.protocols.cred.conftest import Finished, Perform


def cut_off(perform: Perform, folder: Path, at_slot: int, **plan: object) -> tuple[Finished, Path]:
    """A finished run, and a folder as it would be had the program been killed just after a slot's frame was stored."""

    def copy(record: Record, run: Run) -> None:
        if record["kind"] == "frame" and record["slot"] == at_slot:
            # The writer has one queue: what this job finds on disk is what a kill here would have left.
            run.write_trace()
            run.writer.submit_observation(lambda: shutil.copytree(run.folder, folder))

    return perform(on=copy, **plan), folder


@pytest.mark.parametrize("at_slot", [1, 9, 11, 25, 50])
def test_everything_up_to_the_cut_is_there_again(perform: Perform, tmp_path: Path, at_slot: int) -> None:
    whole, folder = cut_off(perform, tmp_path / "cut", at_slot)
    lines = recover_run(folder)
    document = json.loads((folder / "run.json").read_text())
    assert document["status"] == "failed"
    assert "recovered" in document["reason"]
    frames = whole.frames()
    expected = frames[frames["slot"] < at_slot]
    with h5py.File(folder / "frames.h5") as file, h5py.File(whole.folder / "frames.h5") as other:
        table = file["diffraction/frames"][:]
        # The frame being stored may or may not have reached the disk.
        assert len(table) in (len(expected), len(expected) + 1)
        for name in ("slot", "start_ns", "end_ns", "late_ns", "kept"):
            assert np.array_equal(table[name], frames[name][: len(table)])
        assert np.array_equal(file["diffraction/data"][:], other["diffraction/data"][: len(table)])
    if at_slot >= 11:
        assert np.abs(table["start_deg"] - frames["start_deg"][: len(table)]).max() < 0.05
        assert (folder / "snapshots" / "00010.tiff").exists()
    assert not (folder / "frames.spool").exists()
    assert f"{document['result']['frames']} frames" in lines[0]
    assert ("slots; a snapshot takes 1 of them." in lines[0]) == (at_slot >= 11)
    assert not [line for line in lines if line.endswith("..")]


def test_recovering_twice_changes_nothing(perform: Perform, tmp_path: Path) -> None:
    _, folder = cut_off(perform, tmp_path / "cut", 25)
    recover_run(folder)
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    assert "nothing to recover" in recover_run(folder)[0]
    assert before == {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


@pytest.mark.parametrize("left", [None, 0.0, 0.1, 0.9])
def test_of_lost_frames_recovery_and_export_say_the_same_and_what_helps(
    perform: Perform, tmp_path: Path, left: float | None
) -> None:
    """left: how much of frames.h5 is left; None where the file is gone."""
    folder = Path(shutil.copytree(perform(range_deg=3.0).folder, tmp_path / "damaged"))
    data = folder / "frames.h5"
    whole = data.read_bytes()
    data.unlink()
    if left is not None:
        data.write_bytes(whole[: int(len(whole) * left)])
    before = {path.name for path in folder.iterdir()}
    with pytest.raises(DataError) as recovered:
        recover_run(folder)
    with pytest.raises(DataError) as exported:
        open_run(folder)
    assert str(recovered.value) == str(exported.value)
    assert "There is no spool beside it to make it anew from: take a copy of the run" in str(recovered.value)
    assert {path.name for path in folder.iterdir()} == before


def test_a_finished_run_needs_no_recovery(perform: Perform) -> None:
    run = perform(range_deg=3.0)
    assert "nothing to recover" in recover_run(run.folder)[0]
    assert json.loads((run.folder / "run.json").read_text())["status"] == "done"


def test_a_reason_with_a_full_stop_of_its_own_is_not_given_a_second(perform: Perform) -> None:
    def fail(record: Record, run: Run) -> None:
        if record["kind"] == "frame" and record["slot"] == 3:
            run.commands.fail("device: test of a failure; nothing was done.")

    [line] = recover_run(perform(range_deg=3.0, on=fail).folder)
    assert line.endswith("its status is 'failed': device: test of a failure; nothing was done.")


def test_a_run_that_is_still_going_is_not_touched(perform: Perform, tmp_path: Path) -> None:
    _, folder = cut_off(perform, tmp_path / "cut", 25)
    lock = take_lock(folder)
    assert lock is not None
    before = (folder / "frames.spool").read_bytes()
    with pytest.raises(DataError, match="still at work"):
        recover_run(folder)
    assert (folder / "frames.spool").read_bytes() == before
    drop_lock(folder, lock)
    recover_run(folder)
    assert not (folder / "run.lock").exists()


def test_a_run_cut_off_after_its_data_were_whole_keeps_its_result(perform: Perform) -> None:
    states: list[dict[str, object]] = []

    def look(record: Record, run: Run) -> None:
        if record["kind"] == "state" and record["name"] == "done":
            states.append(json.loads((run.folder / "run.json").read_text()))

    run = perform(range_deg=3.0, on=look)
    assert states[0]["status"] == "running"
    (run.folder / "run.json").write_text(json.dumps(states[0]))
    recover_run(run.folder)
    document = json.loads((run.folder / "run.json").read_text())
    assert (document["status"], document["reason"]) == (
        "done",
        "so its trace says; why stood in run.json, which was not written any more",
    )
    assert document["result"] == run.result


@pytest.mark.parametrize("left", [None, '{"a":'], ids=["missing", "damaged"])
def test_a_run_whose_document_is_lost_is_exported_as_soon_as_it_is_recovered(
    perform: Perform, left: str | None
) -> None:
    folder = perform(range_deg=3.0).folder
    (folder / "run.json").unlink()
    if left is not None:
        (folder / "run.json").write_text(left)
    with pytest.raises(DataError, match="credline recover"):
        open_run(folder)
    written_s = (folder / "trace.jsonl").stat().st_mtime
    recover_run(folder)
    last_s = json.loads((folder / "trace.jsonl").read_text().splitlines()[-1])["t_ns"] / 1e9
    with open_run(folder) as source:
        assert source.info.created_at.timestamp() == pytest.approx(written_s - last_s, abs=0.01)
    lost = json.loads((folder / "run.json").read_text())["recovered"]["lost_records"]
    assert any("is taken from the time at which its trace was last written" in line for line in lost)
    assert "nothing to recover" in recover_run(folder)[0]


def test_a_recovered_document_without_a_date_is_given_one(perform: Perform) -> None:
    folder = perform(range_deg=3.0).folder
    (folder / "run.json").unlink()
    recover_run(folder)
    document = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps({**document, "created_at": None}))  # as an older version left it
    recover_run(folder)
    again = json.loads((folder / "run.json").read_text())
    assert again["recovered"].pop("lost_records")[:-1] == document["recovered"].pop("lost_records")
    assert again == document


def test_a_torn_last_frame_costs_that_frame_only(perform: Perform, tmp_path: Path) -> None:
    _, folder = cut_off(perform, tmp_path / "cut", 25)
    spool = folder / "frames.spool"
    frames = sum(frame.kind == "diffraction" for frame in read_spool(spool))
    with spool.open("r+b") as file:
        file.truncate(spool.stat().st_size - 7)
    recover_run(folder)
    assert json.loads((folder / "run.json").read_text())["result"]["frames"] == frames - 1


def test_a_spool_of_which_nothing_is_left_says_so(perform: Perform, tmp_path: Path) -> None:
    _, folder = cut_off(perform, tmp_path / "cut", 25)
    (folder / "frames.spool").write_bytes(MAGIC[:4])
    lines = recover_run(folder)
    assert "0 frames and 0 snapshots" in lines[0]
    assert any(line.startswith("Missing: slots 1-") and "did not reach the disk" in line for line in lines)


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="neither"):
        recover_run(tmp_path)
    with pytest.raises(DataError, match="is no folder"):
        recover_run(tmp_path / "none")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.realtime
@pytest.mark.skipif(sys.platform == "win32", reason="kill -9 as on Unix")
@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.long) for seed in (1, 2))])
def test_a_run_killed_at_a_random_instant_loses_no_frame_but_the_one_in_flight(tmp_path: Path, seed: int) -> None:
    words = ["run", "cred", "--devices", "simulated-timing", "--accept-timing", "--accept-gaps", "--out", str(tmp_path)]
    for setting in ("relax_cycles=0", "exposure_s=0.02", "speed_deg_s=2", "range_deg=40", "snapshot_interval=30"):
        words += ["--set", setting]
    program = "from engine.commands.main import main; main()"
    process = subprocess.Popen(
        [sys.executable, "-c", program, *words], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    )
    folder = tmp_path / "mordenite_001"
    spool, wanted = folder / "frames.spool", 20 + random.Random(seed).randrange(60)
    overdue = time.monotonic() + 60
    while not (spool.exists() and spool.stat().st_size > wanted * 32 * 32 * 2) and time.monotonic() < overdue:
        time.sleep(0.001)  # leaves the processor to the run
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    whole = sum(1 for _ in read_infos(spool))
    recover_run(folder)
    result = json.loads((folder / "run.json").read_text())["result"]
    # On a busy machine the period may have been lengthened, and only the longer part is kept: all count here.
    held = result["frames"] + result["frames_not_kept"] + result["snapshots"]
    assert held == whole
    with h5py.File(folder / "frames.h5") as file:
        numbers = sorted(
            [*file["diffraction/frames"]["slot"], *(10 * 3 * k for k in range(1, result["snapshots"] + 1))]
        )
        assert len(numbers) == len(set(numbers)) == held
