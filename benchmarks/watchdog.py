"""What the watchdog costs a run, and how soon it acts: lateness of frames with and without it, time to a blanked beam.

Runs cRED with `simulated-timing` and a register on the real clock, with and without the watchdog by turns so that both
see the same machine, then kills and suspends runs. Prints a Markdown table; figures depend on the machine.

    .venv/bin/python benchmarks/watchdog.py [--rounds N] [--slots N]
"""

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PROGRAM = [
    sys.executable,
    "-c",
    "from engine.commands.main import main; main()",
    "run",
    "cred",
    "--accept-timing",
    "--json",
]


def command(folder: Path, slots: int, *words: str) -> list[str]:
    """A run of so many slots of 0.1 s without snapshots."""
    devices = folder / "devices.toml"
    devices.write_text(f"[microscope]\ndriver = 'simulated-timing'\nregister = '{folder / 'instrument'}'\n")
    settings = ["exposure_s=0.1", "speed_deg_s=0.5", f"range_deg={slots * 0.056}", "snapshot_interval=0"]
    words = (*words, *(word for setting in [*settings, "relax_cycles=0"] for word in ("--set", setting)))
    return [*PROGRAM, "--devices", str(devices), "--out", str(folder / "out"), *words]


def late_ms(folder: Path, slots: int, *words: str) -> list[float]:
    """How late every frame of one run began."""
    done = subprocess.run(command(folder, slots, *words), capture_output=True, text=True, check=True)
    trace = Path(json.loads(done.stdout.splitlines()[-1])["run_dir"]) / "trace.jsonl"
    records = [json.loads(line) for line in trace.read_text().splitlines()]
    frames = [r for r in records if r["kind"] == "step" and r["name"] == "frame" and "start_ns" in r]
    return [(frame["start_ns"] - frame["planned_ns"]) / 1e6 for frame in frames]


def time_to_dark_s(folder: Path, number: int) -> float:
    """From a signal to the engine to the moment at which the register reads blanked."""
    register = folder / "instrument"
    engine = subprocess.Popen(command(folder, 1000), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not (register.exists() and register.read_text().strip().endswith("0")):
        time.sleep(0.01)
    time.sleep(0.7)
    begin_s = time.perf_counter()
    os.kill(engine.pid, number)
    while not register.read_text().strip().endswith("1"):
        time.sleep(0.001)
    took_s = time.perf_counter() - begin_s
    engine.kill()
    engine.wait()
    return took_s


def start_time_s() -> float:
    """From the start of the process to its word that it is ready."""
    order = {"function": "drivers.simulated.register:blank_beam", "arguments": {}, "silence_s": 3.0, "limit_s": 3.0}
    begin_s = time.perf_counter()
    with subprocess.Popen(
        [sys.executable, "-P", "-m", "engine.run.watchdogprocess"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        if process.stdin is None or process.stdout is None:
            raise RuntimeError("no pipes")
        process.stdin.write(json.dumps(order).encode() + b"\n")
        process.stdin.flush()
        process.stdout.readline()
        took_s = time.perf_counter() - begin_s
        process.stdin.close()
    return took_s


def show(name: str, values: list[float], unit: str) -> None:
    """One line of the table."""
    values = sorted(values)
    p99 = values[int(0.99 * (len(values) - 1))]
    print(f"| {name} | {len(values)} | {statistics.median(values):.3f} | {p99:.3f} | {values[-1]:.3f} {unit} |")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3, help="runs with and without the watchdog, and of each signal")
    parser.add_argument("--slots", type=int, default=200)
    words = parser.parse_args()
    print("| what | number | median | p99 | max |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        late: dict[str, list[float]] = {"": [], "--no-watchdog": []}
        for _ in range(words.rounds):
            for option in late:
                late[option] += late_ms(folder, words.slots, *([option] if option else []))
        show("frame starts late, watched", late[""], "ms")
        show("frame starts late, not watched", late["--no-watchdog"], "ms")
        show("start of the watchdog", [start_time_s() for _ in range(10)], "s")
        for number, what in ((signal.SIGKILL, "killed"), (signal.SIGSTOP, "suspended")):
            show(f"{what} to blanked", [time_to_dark_s(folder, number) for _ in range(words.rounds)], "s")


if __name__ == "__main__":
    main()
