"""kill -9 at random instants of real-clock runs, each recovered and judged: python benchmarks/kills.py --kills 200

Instants are spread over a run's whole life: start-up, relax, waiting, exposing, snapshots, writing, export. What the
camera had delivered, and what the blanker really did, is known independently of the run: the simulated devices of the
child write it, unbuffered, into a file of their own. A run passes when at most the last delivered frame is lost, the
files agree, the products that can be made are made, nothing unsafe is called safe, and recovering again changes
nothing. Every fifth recovery is itself killed and repeated. Exit status 1 if any run does not pass.
"""

import argparse
import asyncio
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import zlib
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np

TIMING = {
    "sample": "timing",
    "exposure_s": 0.03,
    "speed_deg_s": 2.0,
    "range_deg": 4.0,
    "relax_cycles": 1,
    "snapshot_interval": 14,
    "formats": [],
}
PICTURES = {**TIMING, "sample": "pictures", "exposure_s": 0.05, "formats": ["smv", "tiff", "xds"]}
KINDS = {"simulated-timing": TIMING, "simulated": PICTURES}
OVERDUE_S = 180.0


def child(log: Path, words: list[str]) -> None:
    """Be credline, with devices that say in a file of their own what they do."""
    from drivers.simulated.column import Blanker
    from drivers.simulated.detector import Timepix
    from engine.commands.main import main
    from engine.run.run import Run

    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def say(*what: object) -> None:
        os.write(file, (" ".join(str(item) for item in what) + "\n").encode())

    class Delivering:
        """The camera's queue; what is put there, it has delivered."""

        def __init__(self, queue: "asyncio.Queue[Any]") -> None:
            self._queue = queue

        def put_nowait(self, item: Any) -> None:
            if not isinstance(item, Exception):
                say("frame", item.number, item.start_ns, zlib.crc32(np.ascontiguousarray(item.counts).data))
            self._queue.put_nowait(item)

    expose, blanker, entered = Timepix._expose, Blanker._set, Run.entered  # noqa: SLF001

    async def exposing(self: Timepix, queue: Any, *rest: Any) -> None:
        await expose(self, Delivering(queue), *rest)  # type: ignore[arg-type]

    async def setting(self: Blanker, blanked: bool) -> None:
        say("beam", "off?" if blanked else "on")  # on as soon as it was asked for, off only when it is
        await blanker(self, blanked)
        say("beam", "off" if blanked else "on")

    def entering(self: Run, state: Any, trigger: str) -> None:
        say("state", state.value)
        entered(self, state, trigger)

    Timepix._expose, Blanker._set, Run.entered = exposing, setting, entering  # type: ignore # noqa: SLF001
    sys.argv = ["credline", *words]
    main()


@dataclass
class Verdict:
    """One kill: where it struck, what was lost, and what is wrong with the outcome."""

    state: str
    delivered: int = 0
    lost: int = 0
    wrong: list[str] = field(default_factory=list)
    recover_s: float = 0.0
    recovery_killed: bool = False


def start(kind: str, out: Path, log: Path) -> "subprocess.Popen[bytes]":
    words = ["run", "cred", "--devices", kind, "--accept-timing", "--accept-gaps", "--out", str(out), "--seed", "1"]
    for key, value in KINDS[kind].items():
        words += ["--set", f"{key}={value!r}".replace("'", '"')]
    return subprocess.Popen(
        [sys.executable, __file__, "--child", str(log), "--", *words],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def kill(process: "subprocess.Popen[bytes]") -> None:
    """The program itself first, as the operating system would; then what it leaves behind of its own helpers."""
    os.kill(process.pid, signal.SIGKILL)
    process.wait()


def left_behind(group: int) -> list[str]:
    """What of a program's own processes is still there, some time after it was killed; on Linux only."""
    overdue = time.monotonic() + OVERDUE_S / 6  # the watchdog has its time to blank the beam
    while True:
        found = []
        for place in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                state, _, its_group = (place / "stat").read_text().rsplit(")", 1)[1].split()[:3]
                if int(its_group) == group and state != "Z":
                    found.append((place / "cmdline").read_text().replace("\0", " ")[:100])
        if not found or time.monotonic() > overdue:
            return found
        time.sleep(0.1)


def sweep(process: "subprocess.Popen[bytes]") -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)  # its own session: nobody else's processes
    except ProcessLookupError:
        pass


def wait_for_folder(out: Path, process: "subprocess.Popen[bytes]") -> Path | None:
    overdue = time.monotonic() + OVERDUE_S
    while process.poll() is None and time.monotonic() < overdue:
        if folders := [entry for entry in out.glob("*_001") if entry.is_dir()]:
            return folders[0]
        time.sleep(0.002)
    return next(out.glob("*_001"), None)


def wait_for_frames(folder: Path, process: "subprocess.Popen[bytes]") -> None:
    spool, overdue, seen = folder / "frames.spool", time.monotonic() + OVERDUE_S, False
    first_frame = 2_000_000 if folder.name.startswith("pictures") else 2_000  # a flatfield comes before it
    while process.poll() is None and time.monotonic() < overdue:
        with suppress(FileNotFoundError):
            if spool.stat().st_size > first_frame:
                return
            seen = True
            time.sleep(0.002)
            continue
        if seen:
            return
        time.sleep(0.002)


Life = tuple[float, float, float]


def lives(kind: str, place: Path) -> Life:
    """How long a run takes until its folder is there, from then to its end, and from its first frame to its end."""
    out = place / f"whole-{kind}"
    out.mkdir()
    begin = time.monotonic()
    process = start(kind, out, place / f"whole-{kind}.log")
    folder = wait_for_folder(out, process)
    ready = time.monotonic()
    if folder is not None:
        wait_for_frames(folder, process)
    framed = time.monotonic()
    process.wait(OVERDUE_S)
    if folder is None or process.returncode != 0:
        raise SystemExit(f"{kind}: a run that nobody kills failed with status {process.returncode}")
    end = time.monotonic()
    return ready - begin, end - ready, end - framed


def one_kill(number: int, seed: int, kind: str, life: Life, place: Path) -> Verdict | None:
    """One run killed at a random instant and judged; None if it was over before."""
    rng = random.Random(f"{seed} {number}")
    out, log = place / f"{number:04d}", place / f"{number:04d}.log"
    out.mkdir()
    process = start(kind, out, log)
    try:
        if rng.random() < 0.05:
            time.sleep(rng.uniform(0, life[0]))
        else:
            folder = wait_for_folder(out, process)
            if folder is not None and rng.random() < 0.5:  # half of them while there are frames to lose
                wait_for_frames(folder, process)
                time.sleep(rng.uniform(0, life[2]))
            else:
                time.sleep(rng.uniform(0, life[1]))
        if process.poll() is not None:
            failed = [f"ended by itself with status {process.returncode}"] if process.returncode else []
            return Verdict("ended", wrong=failed) if failed else None
        kill(process)
        verdict = judge(out, log, rng, killed_too=number % 5 == 0)
        if left := left_behind(process.pid):
            verdict.wrong.append(f"processes left behind: {left}")
    finally:
        if process.poll() is None:
            kill(process)
        sweep(process)
    if not verdict.wrong:
        shutil.rmtree(out, ignore_errors=True)
    return verdict


def judge(out: Path, log: Path, rng: random.Random, *, killed_too: bool) -> Verdict:
    from engine.errors import CredlineError
    from engine.run.recovery import recover_run
    from protocols.cred.soak.agreement import check_run

    said = [line.split() for line in log.read_text().splitlines()] if log.exists() else []
    states = [words[1] for words in said if words[0] == "state"]
    verdict = Verdict(states[-1] if states else "start-up")
    delivered = [(int(start_ns), int(crc)) for what, _, start_ns, crc in (w for w in said if w[0] == "frame")]
    verdict.delivered = len(delivered)
    folder = next(out.glob("*_001"), None)
    if folder is None:
        return verdict
    if killed_too:
        verdict.recovery_killed = kill_recovery(folder, rng)
    begin = time.monotonic()
    try:
        told = "\n".join(recover_run(folder))
    except CredlineError as error:
        if any(folder.iterdir()):
            verdict.wrong.append(f"recover: {error}")
        return verdict
    verdict.recover_s = time.monotonic() - begin
    if not (folder / "run.json").exists():
        if states:
            verdict.wrong.append("no run.json although the run had begun")
        return verdict
    on_disk = held(folder)
    lost = [k for k, frame in enumerate(delivered) if frame not in on_disk]
    verdict.lost = len(lost)
    if lost and lost != [len(delivered) - 1]:
        verdict.wrong.append(f"lost {len(lost)} of {len(delivered)} delivered frames: {lost}")
    verdict.wrong += [f"files disagree: {line}" for line in check_run(folder)]
    verdict.wrong += products_wrong(folder, told)
    beam_on = [words[1] for words in said if words[0] == "beam"][-1:] in (["on"], ["off?"])
    if beam_on and "MAY STILL BE ON THE CRYSTAL" not in told:
        verdict.wrong.append("the beam was on and recover does not say so")
    before = contents(folder)
    again = recover_run(folder)
    if "nothing to recover" not in again[0] or contents(folder) != before:
        verdict.wrong.append(f"recovering again changed something: {again}")
    return verdict


def kill_recovery(folder: Path, rng: random.Random) -> bool:
    """Begin to recover and be killed on the way; whether it was still at it."""
    program = (
        "import sys, pathlib, protocols.cred.experiment, protocols.products.export; "
        "from engine.run.recovery import recover_run; print('go', flush=True); "
        "recover_run(pathlib.Path(sys.argv[1]))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        process.stdout.readline()  # type: ignore[union-attr]
        time.sleep(rng.uniform(0, 0.1) ** 2 * 40)  # most of the work is done in the first moments
        alive = process.poll() is None
        if alive:
            kill(process)
        return alive
    finally:
        process.stdout.close()  # type: ignore[union-attr]
        if process.poll() is None:
            kill(process)
        sweep(process)


def held(folder: Path) -> set[tuple[int, int]]:
    """Begin and CRC-32 of every picture on disk."""
    import json

    from fabio import open as open_image

    found = set()
    if (folder / "frames.h5").exists():
        with h5py.File(folder / "frames.h5") as file:
            for row, counts in zip(file["diffraction/frames"][:], file["diffraction/data"], strict=True):
                found.add((int(row["start_ns"]), zlib.crc32(np.ascontiguousarray(counts).data)))
    for shot in json.loads((folder / "run.json").read_text())["snapshots"]:
        counts = np.ascontiguousarray(open_image(str(folder / shot["file"])).data)
        found.add((shot["start_ns"], zlib.crc32(counts.data)))
    return found


def products_wrong(folder: Path, told: str) -> list[str]:
    import json

    document = json.loads((folder / "run.json").read_text())
    result, wanted = document["result"], document["plan"]["formats"]
    possible = wanted and result["frames"] and result["oscillation_deg"] is not None
    if not possible or document["status"] == "aborted":
        return []
    pictures = len(list((folder / "tiff").glob("*.tiff")))
    wrong = [] if pictures == result["frames"] else [f"{pictures} TIFF pictures of {result['frames']} frames: {told}"]
    return wrong if (folder / "SMV" / "XDS.INP").exists() else [*wrong, "no XDS.INP"]


def contents(folder: Path) -> dict[str, int]:
    return {str(p.relative_to(folder)): zlib.crc32(p.read_bytes()) for p in sorted(folder.rglob("*")) if p.is_file()}


@contextmanager
def ending(pool: ThreadPoolExecutor) -> Iterator[None]:
    """On Ctrl-C begin nothing more."""
    try:
        yield
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def main() -> int:
    if sys.argv[1:2] == ["--child"]:
        child(Path(sys.argv[2]), sys.argv[4:])
        return 0
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=3)
    parser.add_argument("--pictures", type=float, default=0.2, help="share of runs with pictures and an export")
    options = parser.parse_args()
    place = Path(tempfile.mkdtemp(prefix="kills-"))
    begin = time.monotonic()
    wanted = dict.fromkeys(KINDS, 0)
    wanted["simulated"] = round(options.kills * options.pictures)
    wanted["simulated-timing"] = options.kills - wanted["simulated"]
    life = {kind: lives(kind, place) for kind, number in wanted.items() if number}
    for kind, (ready_s, run_s, frames_s) in life.items():
        print(
            f"{kind}: folder after {ready_s:.1f} s, ended {run_s:.1f} s later; frames and after: {frames_s:.1f} s",
            flush=True,
        )
    order = [kind for kind, number in wanted.items() for _ in range(number)]
    random.Random(options.seed).shuffle(order)
    verdicts: list[Verdict] = []
    over = number = 0
    with ThreadPoolExecutor(options.jobs) as pool, ending(pool):
        while order:
            tasks = []
            for kind in order:
                tasks.append((kind, pool.submit(one_kill, number, options.seed, kind, life[kind], place)))
                number += 1
            order = []
            for kind, task in tasks:
                verdict = task.result()
                if verdict is None:  # it ended before the instant: another instead
                    over += 1
                    order.append(kind)
                    continue
                verdicts.append(verdict)
                for line in verdict.wrong:
                    print(f"WRONG, killed in {verdict.state}: {line}", flush=True)
    states = Counter(verdict.state for verdict in verdicts)
    print("killed in: " + ", ".join(f"{state} {number}" for state, number in states.most_common()))
    slowest = max((verdict.recover_s for verdict in verdicts), default=0.0)
    wrong = sum(bool(verdict.wrong) for verdict in verdicts)
    print(
        f"{len(verdicts)} kills ({over} runs were over before), {sum(v.delivered for v in verdicts)} frames delivered, "
        f"lost per run: {dict(sorted(Counter(v.lost for v in verdicts).items()))}; "
        f"{sum(v.recovery_killed for v in verdicts)} recoveries killed and repeated; slowest recovery {slowest:.1f} s; "
        f"{wrong} runs wrong; {time.monotonic() - begin:.0f} s"
    )
    if wrong:
        print(f"the folders of what went wrong: {place}")
    else:
        shutil.rmtree(place, ignore_errors=True)
    return 1 if wrong or len(verdicts) < options.kills else 0


if __name__ == "__main__":
    sys.exit(main())
