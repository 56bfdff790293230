"""How quickly the command line starts, beside bare Python and an empty program of the same library.

Each command runs several times, in turns, in processes of their own; the best time counts, for everything that makes
it longer is the machine's. Prints a Markdown table with the times as multiples of the empty program's. The last line
is a run on `simulated-timing`: how long from its call to the first state in its trace, without the timing test.

    .venv/bin/python benchmarks/startup.py [--times N]
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from engine.clock.selftest import TEST_STEP_S, TEST_WAITS

CREDLINE = "from engine.commands.main import main; main()"
EMPTY = """
import typer
app = typer.Typer({looks}context_settings={{"help_option_names": ["-h", "--help"]}})
@app.command()
def one(number: int = 1) -> None:
    "One."
@app.command()
def other(number: int = 1) -> None:
    "Other."
app()
"""
EMPTY_PLAIN = EMPTY.format(looks="rich_markup_mode=None, add_completion=False, ")
"""With the plain help that credline has."""

CASES: dict[str, tuple[str, ...]] = {
    "bare Python": ("pass",),
    "empty typer program -h": (EMPTY.format(looks=""), "-h"),
    "the same with plain help": (EMPTY_PLAIN, "-h"),
    "the same, help of one command": (EMPTY_PLAIN, "one", "-h"),
    "credline -h": (CREDLINE, "-h"),
    "credline --version": (CREDLINE, "--version"),
    "credline run -h": (CREDLINE, "run", "-h"),
}


def took_s(program: str, *words: str) -> float:
    """One call of a program, in a process of its own."""
    begin = time.perf_counter()
    subprocess.run([sys.executable, "-c", program, *words], stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - begin


def to_first_state_s(out: Path) -> float:
    """From the call of `credline run` to the first state in the trace, less the test of the machine's timing."""
    words = ("run", "cred", "--devices", "simulated-timing", "--accept-timing", "--set", "range_deg=5")
    begin = time.perf_counter()
    with subprocess.Popen(
        [sys.executable, "-c", CREDLINE, *words, "--out", str(out)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as run:
        while not has_a_state(out) and run.poll() is None:
            time.sleep(0.005)
        took = time.perf_counter() - begin
        run.terminate()  # it stops in the safe state
    if not has_a_state(out):
        raise SystemExit("the run ended before its first state")
    return took - TEST_WAITS * TEST_STEP_S


def has_a_state(out: Path) -> bool:
    """Whether the trace of the one run in this folder has come to a state; its last line may be half written."""
    lines = [line for trace in out.glob("*/trace.jsonl") for line in trace.read_text().splitlines(keepends=True)]
    return any(json.loads(line)["kind"] == "state" for line in lines if line.endswith("\n"))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--times", type=int, default=7, help="calls of each command")
    times = parser.parse_args().times
    taken: dict[str, list[float]] = {name: [] for name in CASES}
    first_states = []
    for k in range(times):
        for name, words in CASES.items():
            taken[name].append(took_s(*words))
        if k < max(3, times // 2):
            with tempfile.TemporaryDirectory() as folder:
                first_states.append(to_first_state_s(Path(folder)))
    best = {name: min(values) for name, values in taken.items()}
    best["credline run, to its first state"] = min(first_states)
    print("| command | best ms | x empty typer | x with plain help |")
    print("|---|---|---|---|")
    for name, value in best.items():
        ratios = (value / best["empty typer program -h"], value / best["the same with plain help"])
        print(f"| {name} | {value * 1000:.0f} | {ratios[0]:.2f} | {ratios[1]:.2f} |")


if __name__ == "__main__":
    main()
