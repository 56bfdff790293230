"""Fuzzing of all readers: damaged plans, devices files, settings, traces, logs, spools, run folders.

.venv/bin/python -m benchmarks.fuzz --inputs 100000 --seed 1 --jobs 2
.venv/bin/python -m benchmarks.fuzz --target trace --seed 1 --only 4711      # one input again, with its traceback

An input that brings anything but a result or a one-line refusal, or takes longer than the limit, is saved beside its
traceback and named with the words that make it again. Exit status 1 when there was one.
"""

import argparse
import faulthandler
import multiprocessing
import resource
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Sequence
from multiprocessing.connection import Connection, wait
from pathlib import Path
from random import Random

from tests.fuzz.target import Target, feed
from tests.fuzz.targets import targets
from tests.fuzz.wholeinputs import Whole

LIMIT_S = 30.0
"""No input takes a second on a quiet machine; a shared one may stand still for a while."""
MEMORY_BYTES = 6 * 2**30
BATCH = 200
Finding = tuple[str, int, str, bytes]
"""Target, number of the input, traceback, input."""


def made(target: Target, seed: int, number: int) -> bytes:
    """The input of this number: always the same."""
    return target.make(Random(f"{seed} {target.name} {number}"))


def work(connection: Connection, seed: int, limit_s: float, crash_file: str) -> None:
    """In a worker process: take (target, first, last) and tell of each input before it is fed."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    with tempfile.TemporaryDirectory(prefix="fuzz-") as name, open(crash_file, "w") as crash:
        faulthandler.enable(crash)
        by_name = {target.name: target for target in targets(Whole(Path(name) / "whole"))}
        connection.send(("ready", 0, "", b""))
        while (task := connection.recv()) is not None:
            target = by_name[task[0]]
            for number in range(task[1], task[2]):
                content = made(target, seed, number)
                connection.send(("begun", number, "", b""))
                faulthandler.dump_traceback_later(limit_s, exit=True, file=crash)
                try:
                    outcome = feed(target, Path(name) / "input", content)
                    connection.send((outcome, number, "", b""))
                except Exception:
                    connection.send(("bug", number, traceback.format_exc(), content))
                finally:
                    faulthandler.cancel_dump_traceback_later()
            connection.send(("done", 0, "", b""))


class Worker:
    """One process and what it is at."""

    def __init__(self, seed: int, limit_s: float, folder: Path, number: int) -> None:
        self._begin = (seed, limit_s, str(folder / f".crash{number}"))
        self.task: tuple[str, int, int] | None = None
        self.at = 0
        self.start()

    def start(self) -> None:
        """Begin, or begin again after a crash."""
        context = multiprocessing.get_context("spawn")
        self.connection, other = context.Pipe()
        self.process = context.Process(target=work, args=(other, *self._begin), daemon=True)
        self.process.start()
        other.close()

    def give(self, task: tuple[str, int, int] | None) -> None:
        """Hand it a batch, or its end."""
        self.task = task
        if task is not None:
            self.at = task[1]
        self.connection.send(task)

    def last_words(self) -> str:
        """Where it was when it died."""
        self.process.join()
        return f"exit status {self.process.exitcode}\n{Path(self._begin[2]).read_text(errors='replace')}"


def run(names: Sequence[tuple[str, int]], seed: int, jobs: int, limit_s: float, folder: Path) -> int:
    """Feed so many inputs to each target; print counts and findings. The number of findings."""
    begun = time.perf_counter()
    batches = [(name, at, min(at + BATCH, count)) for name, count in names for at in range(0, count, BATCH)]
    total, fed, found = sum(count for _, count in names), 0, 0
    counts: dict[str, Counter[str]] = {name: Counter() for name, _ in names}
    shown: Counter[str] = Counter()
    workers = [Worker(seed, limit_s, folder, number) for number in range(jobs)]

    def finding(name: str, number: int, text: str, content: bytes) -> None:
        nonlocal found
        found += 1
        last = text.strip().splitlines()[-1][:200] if text.strip() else "?"
        shown[f"{name}: {last}"] += 1
        stem = f"{name.replace(' ', '-')}-{seed}-{number}"
        (folder / f"{stem}.input").write_bytes(content)
        (folder / f"{stem}.txt").write_text(text, errors="backslashreplace")
        if shown[f"{name}: {last}"] == 1:
            print(f"BUG {name}: {last}\n    again: --target '{name}' --seed {seed} --only {number}", flush=True)

    def next_batch(worker: Worker) -> None:
        worker.give(batches.pop(0) if batches else None)

    busy = {worker.connection: worker for worker in workers}
    while busy:
        for connection in wait(list(busy)):
            worker = busy[connection]  # type: ignore[index]
            try:
                what, number, text, content = worker.connection.recv()
            except EOFError:  # ended by the limit, by the memory, or by a library
                del busy[worker.connection]
                if worker.task is None:
                    continue
                name, first, last = worker.task
                finding(name, worker.at, worker.last_words(), b"see --only")
                counts[name]["bug"] += 1
                fed += worker.at + 1 - first
                if worker.at + 1 < last:
                    batches.insert(0, (name, worker.at + 1, last))
                worker.start()
                busy[worker.connection] = worker
                continue
            if what == "begun":
                worker.at = number
            elif what in ("taken", "refused") and worker.task is not None:
                counts[worker.task[0]][what] += 1
            elif what == "bug" and worker.task is not None:
                counts[worker.task[0]]["bug"] += 1
                finding(worker.task[0], number, text, content)
            elif what == "ready":
                next_batch(worker)
            elif what == "done" and worker.task is not None:
                name, first, last = worker.task
                fed += last - first
                next_batch(worker)
                if sys.stderr.isatty():
                    print(f"\r{fed} of {total}", end="", file=sys.stderr)
    took_s = time.perf_counter() - begun
    print(f"{'target':<22}{'inputs':>9}{'taken':>9}{'refused':>9}{'bugs':>7}")
    for name, of in counts.items():
        print(f"{name:<22}{sum(of.values()):>9}{of['taken']:>9}{of['refused']:>9}{of['bug']:>7}")
    all_of = sum(counts.values(), Counter[str]())
    print(f"{'all':<22}{sum(all_of.values()):>9}{all_of['taken']:>9}{all_of['refused']:>9}{all_of['bug']:>7}")
    print(f"seed {seed}, {took_s:.0f} s with {jobs} jobs, {sum(all_of.values()) / took_s:.0f} inputs/s")
    for text, times in shown.most_common():
        print(f"{times:6} x {text}")
    return found


def again(name: str, seed: int, number: int) -> None:
    """Feed one input here, so that its traceback is seen."""
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        target = next(t for t in targets(Whole(Path(folder) / "whole")) if t.name == name)
        content = made(target, seed, number)
        print(content[:3000])
        print(feed(target, Path(folder) / "input", content))


def main() -> int:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--limit-s", type=float, default=LIMIT_S)
    parser.add_argument("--target", help="only this one")
    parser.add_argument("--only", type=int, help="only the input of this number, in this process")
    parser.add_argument("--keep", type=Path, default=Path("fuzz-findings"), help="where findings are saved")
    words = parser.parse_args()
    if words.only is not None:
        again(words.target, words.seed, words.only)
        return 0
    words.keep.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        shares = {target.name: target.share for target in targets(Whole(Path(folder) / "whole"))}
    if words.target:
        shares = {words.target: 1}
    whole = sum(shares.values())
    counts = [(name, max(1, round(words.inputs * share / whole))) for name, share in shares.items()]
    return 1 if run(counts, words.seed, words.jobs, words.limit_s, words.keep) else 0


if __name__ == "__main__":
    sys.exit(main())
