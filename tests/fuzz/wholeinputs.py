"""Whole inputs, made once: runs and their traces, logs of Instamatic."""

import shutil
from pathlib import Path
from typing import Any

import structlog

from drivers.instamatic.log import import_instamatic
from engine.record.trace import Record
from engine.run.perform import Request, execute
from engine.run.run import Run
from protocols.cred import CRED
from protocols.cred.plan import CredPlan
from tests.engine.traces import CRED_LOG, merlin_log


class Whole:
    """Whole inputs, made once by short runs under virtual time; `folder` keeps them."""

    def __init__(self, folder: Path) -> None:
        structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
        self.folder = folder
        self.cut_off = folder / "cut_off"
        tiny = {"range_deg": 2.0, "relax_cycles": 1, "snapshot_interval": 4, "formats": ()}
        self.run = self._perform(tiny, cut_off_at=7)
        commanded = self._perform({**tiny, "rotation": "commanded", "snapshot_interval": 0, "start_deg": 1.0})
        stopped = self._perform(tiny, stop_at="refocus")
        self.traces = [(run / "trace.jsonl").read_bytes() for run in (self.run, commanded, stopped)]
        day = folder / "day.log"
        day.write_text(merlin_log(), encoding="utf-8")
        self.logs = [CRED_LOG.encode(), merlin_log().encode()]
        self.traces.append("".join(import_instamatic(day).lines()).encode())

    def _perform(self, plan: dict[str, Any], cut_off_at: int = 0, stop_at: str = "") -> Path:
        def watch(run: Run, _: object) -> None:
            def look(record: Record) -> None:
                if record["kind"] == "frame" and record["slot"] == cut_off_at and not self.cut_off.exists():
                    run.write_trace()
                    run.writer.submit_observation(lambda: shutil.copytree(run.folder, self.cut_off))
                if record["kind"] == "state" and record["name"] == stop_at:
                    run.commands.stop("enough")

            run.trace.observe(look)

        request = Request(CRED, CredPlan(**plan), self.folder, "simulated-timing", True, 1, draw=False)
        return execute(request, watch).folder
