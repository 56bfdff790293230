"""A small night, killed twice by `kill -9` and gone on with: nothing is done twice, and each folder replays alone."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine.record.document import RUN_FILE, RunDocument
from engine.record.folder import children_of
from engine.replay.replay import first_divergence, load_run, only_cut_off, replay
from protocols.session.status import FILE
from tests.protocols.serialed.runs import devices, toml
from tests.protocols.session.nights import PLAN, SMALL

CRYSTALS = 4


def program(out: Path, *words: str) -> "subprocess.Popen[bytes]":
    call = [sys.executable, "-c", "from engine.commands.program import main; main()", "run", *words]
    common = ["--devices", str(out / "devices.toml"), "--clock", "virtual", "--out", str(out), "--accept-gaps"]
    return subprocess.Popen([*call, *common], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def killed(out: Path, when: Callable[[], bool], *words: str) -> None:
    running = program(out, *words)
    while running.poll() is None and not when():
        time.sleep(0.02)
    os.kill(running.pid, signal.SIGKILL)
    running.wait()


def replays(folder: Path) -> bool:
    records = load_run(folder)
    found = first_divergence(records, replay(records))
    return found is None or only_cut_off(records, found)


@pytest.mark.long
@pytest.mark.realtime
def test_a_night_that_is_killed_twice_goes_on_where_it_was(tmp_path: Path) -> None:
    (tmp_path / "devices.toml").write_text(toml(devices(**SMALL)), encoding="utf-8")
    plan: dict[str, Any] = {**PLAN, "set_height": True, "choose": {**PLAN["choose"], "crystals": CRYSTALS}}
    (tmp_path / "plan.toml").write_text(toml(plan), encoding="utf-8")
    nights = [tmp_path / f"session_00{n}" for n in (1, 2, 3)]

    def has(night: Path, children: int, label: str) -> Callable[[], bool]:
        return lambda: len(list(night.glob(f"[0-9]*_{label}"))) >= children

    killed(tmp_path, has(nights[0], 2, "crystal"), "session", "--config", str(tmp_path / "plan.toml"))
    killed(tmp_path, has(nights[1], 1, "recall"), "--continue", str(nights[0]))
    assert program(tmp_path, "--continue", str(nights[1])).wait() == 0
    documents = [RunDocument.read(night) for night in nights]
    assert [document.status for document in documents] == ["failed", "failed", "done"]
    assert [json.loads((night / FILE).read_text())["status"] for night in nights] == ["failed", "failed", "done"]
    last = documents[-1]
    assert last.result["tried"] == CRYSTALS
    told = last.own["session"]
    over = [each["crystal"] for each in (*told["data_sets"], *told["set_aside"])]
    assert len(set(over)) == len(over) == CRYSTALS
    assert [each["stage"] for each in told["set_aside"]][:1] == ["collect"]  # the one whose rotation was cut off
    for each in told["data_sets"]:
        child = RunDocument.read(nights[-1] / each["run_dir"])
        assert (child.protocol, child.status) == ("cred", "done")
    # One that was killed at its very beginning has left a folder without run.json.
    children = [child for night in nights for child in children_of(night) if (child / RUN_FILE).exists()]
    assert sum(RunDocument.read(child).protocol == "serialed" for child in children) == 1
    assert all(RunDocument.read(child).has_ended for child in children)
    assert all(replays(night) for night in nights)
