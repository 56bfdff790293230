"""What an open console costs a run on the real clock, and how fast it answers; docs/console.md has the figures.

    python benchmarks/console.py lateness --pairs 5
    python benchmarks/console.py red --times 10

`lateness`: the same run alternately with nobody connected and with a console whose page takes up to 20 frames a second
(a client without a browser). `red`: from the request to what the blanker says, while a run exposes. Each run is
simulated, with pictures, in an instrument process of its own on loopback; other load of the machine is in the figures.
"""

import argparse
import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from statistics import median

from websockets.asyncio.client import connect
from websockets.typing import Origin

from engine.clock import RealClock
from engine.console.link import InstrumentLink, start, until_ready
from engine.record.document import RunDocument

PLAN = ["exposure_s=0.5", "range_deg=8", "snapshot_interval=0", "relax_cycles=0", "formats=[]"]
CAMERA = """instrument = "instrument.toml"
[microscope]
driver = "simulated"
[microscope.pictures]
shape = [{size}, {size}]
wide_cross = false
[microscope.geometry]
beam_fast_px = {middle}
beam_slow_px = {middle}
"""
PROGRAM = "import sys; from engine.commands.program import main; sys.argv[0] = 'credline'; main()"


@contextmanager
def instrument_process(*, fifo: bool, size_px: int = 0) -> Iterator[tuple[Path, int]]:
    """An instrument process with simulated devices and a lock folder of its own: where its runs go, and its id.
    size_px: of the camera, without a wide cross; 0 for the usual one.
    """
    with tempfile.TemporaryDirectory() as folder:
        os.environ["TMPDIR"] = tempfile.tempdir = folder
        out, devices = Path(folder) / "runs", "simulated"
        if size_px:
            devices = str(Path(folder) / "devices.toml")
            Path(devices).write_text(CAMERA.format(size=size_px, middle=size_px / 2 + 3))
        process = start(devices, out, 1)
        try:
            until_ready(process)
            if fifo and sys.platform == "linux":
                os.sched_setscheduler(process.pid, os.SCHED_FIFO, os.sched_param(20))
            yield out, process.pid
        finally:
            process.terminate()
            process.wait()


def devices_of(out: Path) -> str:
    """The devices of `instrument_process`."""
    file = out.parent / "devices.toml"
    return str(file) if file.exists() else "simulated"


async def run_once(out: Path, asked: list[str]) -> Path:
    """Begin a run and let the connection go; its folder."""
    link = InstrumentLink(devices_of(out), RealClock())
    told = await link.ask(
        {
            "ask": "run",
            "id": os.urandom(8).hex(),
            "who": "benchmark",
            "protocol": "cred",
            "settings": asked,
            "accept_gaps": True,
        }
    )
    await link.close()
    return out / str(told["run"])


async def until_over(folder: Path) -> RunDocument:
    while not (document := RunDocument.read(folder)).has_ended:  # noqa: ASYNC110 another process writes it
        await asyncio.sleep(0.5)
    await asyncio.sleep(2.0)  # until the instrument process has let the run go
    return document


@contextmanager
def console(out: Path, tell: bool = False):
    """A console that finds the instrument process; its port, or with `tell` port, process, and what it has said. Killed
    at the end, so that the instrument stays.
    """
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, "console", "--port", "0", "--out", str(out)]
            + (["--devices", devices_of(out)] if devices_of(out) != "simulated" else []),
            stderr=log,
        )
        try:
            while True:
                log.seek(0)
                if found := re.search(r"127\.0\.0\.1:(\d+)/enter", log.read()):
                    break
                time.sleep(0.2)
            log.seek(0)
            yield (int(found[1]), process, log.read()) if tell else int(found[1])
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()


async def watch(port: int, folder: Path, came: list[tuple[int, float]]) -> None:
    """A page without a browser: takes every frame it is sent, and says so at once."""
    async with connect(
        f"ws://127.0.0.1:{port}/feed", origin=Origin(f"http://127.0.0.1:{port}"), max_size=None
    ) as stream:
        await stream.send(json.dumps({"run": folder.name}))
        async for message in stream:
            if isinstance(message, bytes):
                head = json.loads(message[4 : 4 + int.from_bytes(message[:4], "little")])
                came.append((head["row"], time.time()))
                await stream.send('{"ready":true}')


def delays_ms(folder: Path, came: list[tuple[int, float]]) -> list[float]:
    """From the arrival of a frame in the instrument process to that at the client."""
    zero = datetime.fromisoformat(str(RunDocument.read(folder).created_at)).timestamp()
    lines = map(json.loads, (folder / "trace.jsonl").read_text().splitlines())
    arrived = [zero + record["arrived_ns"] / 1e9 for record in lines if record["kind"] == "frame"]
    return [(at - arrived[row]) * 1000 for row, at in came if row < len(arrived)]


def late_ms(folder: Path) -> list[float]:
    """How late each diffraction frame of a run began."""
    lines = map(json.loads, (folder / "trace.jsonl").read_text().splitlines())
    steps = [record for record in lines if record["kind"] == "step" and record["name"] == "frame"]
    return [(step["start_ns"] - step["planned_ns"]) / 1e6 for step in steps if "start_ns" in step]


def p99(values: list[float]) -> float:
    return sorted(values)[int(0.99 * (len(values) - 1))]


async def lateness(out: Path, pairs: int) -> None:
    late: dict[str, list[list[float]]] = {"alone": [], "watched": []}
    delays: list[float] = []
    for k in range(2 * pairs):
        which = "watched" if k % 4 in (1, 2) else "alone"
        came: list[tuple[int, float]] = []
        if which == "watched":
            with console(out) as port:
                folder = await run_once(out, PLAN)
                watching = asyncio.create_task(watch(port, folder, came))
                await until_over(folder)
                watching.cancel()
            delays += delays_ms(folder, came)
        else:
            folder = await run_once(out, PLAN)
            await until_over(folder)
        late[which].append(late_ms(folder))
        load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
        told = f"median {median(late[which][-1]):.3f}, p99 {p99(late[which][-1]):.3f} ms"
        print(f"{which:8} {told}, {len(late[which][-1])} frames, load {load:.1f}", flush=True)
    for which, runs in late.items():
        every = [value for run in runs for value in run]
        print(f"{which}: {len(every)} frames, late median {median(every):.3f}, p99 {p99(every):.3f} ms")
    differences = [p99(b) - p99(a) for a, b in zip(late["alone"], late["watched"], strict=True)]
    print(f"p99 of pairs differs by {median(differences):+.3f} ms ({min(differences):+.3f} to {max(differences):+.3f})")
    if delays:
        print(f"frame to client: median {median(delays):.0f}, p99 {p99(delays):.0f} ms ({len(delays)} frames)")


async def red(out: Path, times: int) -> None:
    took = []
    for _ in range(times):
        folder = await run_once(out, PLAN)
        while "expose" not in (folder / "journal.jsonl").read_text():  # noqa: ASYNC110 another process writes it
            await asyncio.sleep(0.2)
        await asyncio.sleep(1.0)
        link, clock = InstrumentLink("simulated", RealClock()), RealClock()
        await link.ask({"ask": "status"})
        begun_ns = clock.now_ns()
        told = await link.ask({"ask": "blank", "id": os.urandom(8).hex(), "who": "benchmark"}, urgent=True)
        took.append((clock.now_ns() - begun_ns) / 1e6)
        print(f"{told['after_ms']} ms in the instrument process, {took[-1]:.1f} ms from outside", flush=True)
        await link.close()
        await until_over(folder)
    print(f"red button to read-back, ms: median {median(took):.0f}, most {max(took):.0f} ({times})")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("lateness", "red"))
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--times", type=int, default=10)
    parser.add_argument("--fifo", action="store_true", help="The instrument's loop before all other programs (root).")
    asked = parser.parse_args()
    with instrument_process(fifo=asked.fifo) as (out, _):
        asyncio.run(lateness(out, asked.pairs) if asked.what == "lateness" else red(out, asked.times))


if __name__ == "__main__":
    main()
