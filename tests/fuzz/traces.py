"""Readers of traces and of what is asked about them, and inputs for them."""

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from random import Random

from drivers.replayed.whatif import Latency
from engine.commands.trace import stats
from engine.errors import CredlineError
from engine.record.salvage import salvage_trace
from engine.record.trace import Record, open_trace, read_trace
from engine.replay.replay import first_divergence, load_run, replay_with_result
from engine.replay.whatif import ask, parse_question, parse_sweep
from engine.views.bluesky import Documents, WallTime, bluesky_text
from engine.views.lines import Selection, view
from engine.views.perfetto import Perfetto, perfetto_text
from engine.views.stats import TraceStats
from protocols.cred import CRED
from tests.fuzz.mutations import (
    ODD_WORDS,
    noise,
)
from tests.fuzz.plans import BETWEEN
from tests.fuzz.target import Broken, Use


def use_trace(folder: Path, content: bytes) -> None:
    """Everything of `credline trace` but the picture. What one of them refuses, another may show."""
    path = folder / "trace.jsonl"
    path.write_bytes(content)
    attempts: tuple[Callable[[], object], ...] = (
        lambda: printable(view(path, Selection())),
        lambda: printable(view(path, Selection(("expose",), ("detector",), ("call", "frame"), (1, 3)))),
        lambda: stats(path),
        lambda: json.dumps(TraceStats.read(read_trace(path)).document()),
        lambda: _perfetto(path),
        lambda: _bluesky(path),
        lambda: salvage_trace(path),
    )
    refusal: CredlineError | None = None
    for attempt in attempts:
        try:
            attempt()
        except CredlineError as error:
            refusal = error
    if refusal is not None:
        raise refusal


def printable(lines: Iterable[str]) -> None:
    for line in lines:
        if "\n" in line or "\x1b" in line:
            raise Broken(f"a line that a terminal would obey: {line!r}")


def _strict(text: str) -> object:
    """JSON as other programs read it: NaN and Infinity are none."""

    def none_of_these(name: str) -> object:
        raise Broken(f"{name} in JSON")

    return json.loads(text, parse_constant=none_of_these)


def _perfetto(path: Path) -> None:
    header, records = open_trace(path)
    _strict("".join(perfetto_text(Perfetto(header), records)))


def _bluesky(path: Path) -> None:
    header, records = open_trace(path)
    for line in bluesky_text(Documents(header, WallTime.of_run(path, header)), records):
        _strict(line)


def use_plot(folder: Path, content: bytes) -> None:
    """`credline trace plot`, which loads the plotting library."""
    from engine.views.strip import draw_strip
    from engine.views.zoom import page

    path = folder / "trace.jsonl"
    path.write_bytes(content)
    open_trace(path)
    page(path, path.name)
    draw_strip(path, folder / "timing.svg")


def use_replay(folder: Path, content: bytes) -> None:
    """`credline replay`: the run again, whatever it was, compared to its end."""
    path = folder / "trace.jsonl"
    path.write_bytes(content)
    records = load_run(path)
    made, result = replay_with_result(records, None)
    for record in made:
        if record["kind"] in ("fault", "command") and "internal error" in record["reason"]:
            raise Broken(record["reason"])
    first_divergence(records, made)
    CRED.figures(made, result)


QUESTIONS = (
    "api_latency=60ms",
    "api_latency=x1.5",
    "stage.angle=resample",
    "optics.set_focus=80ms",
    "settling=300ms",
    "dead_time=20ms",
    "exposure=0.3",
    "snapshot_exposure_s=0.05",
    "interval=3",
    "defocus=900",
)


def use_what_if(folder: Path, content: bytes) -> None:
    """`credline replay --what-if` of a damaged trace; the question is chosen by its length."""
    path = folder / "trace.jsonl"
    path.write_bytes(content)
    words = [QUESTIONS[len(content) % len(QUESTIONS)], QUESTIONS[len(content) // 7 % len(QUESTIONS)]]
    ask(load_run(path), parse_question(words, Latency), seed=len(content))


QUESTION_KEYS = (
    "api_latency stage.angle optics.set_focus beam.unblank detector.start settling dead_time exposure interval "
    "snapshot_interval defocus range_deg crystal.cif relax_cycles rotation_timeout_s start_deg x"
).split()
TIMES = (
    "60ms 0.06s 0.06 x1.5 x0 x-1 x1e5 xnan resample nan inf 1e400 -1 3599s 1e-12ms ms s x @ @nowhere @x:stage.angle "
    "20ms:100ms:5ms 0:1:0 1:0:1 0:1:1e-9 nan:1:1 0:1"
).split()


def questions_of(random: Random) -> bytes:
    """Some words of --what-if, `BETWEEN` them; the last one may be of --sweep."""
    words = []
    for _ in range(random.randrange(1, 3)):
        if random.random() < 0.5:
            words.append(random.choice((*QUESTIONS, "api_latency=20ms:60ms:20ms")))
            continue
        value = (
            random.choice(TIMES)
            if random.random() < 0.6
            else random.choice((*ODD_WORDS, noise(random, 20).decode("latin-1")))
        )
        words.append(f"{random.choice(QUESTION_KEYS)}={value}")
    return BETWEEN.join(words).encode("utf-8", "surrogatepass")


def asked_of(records: list[Record]) -> Use:
    """`credline replay --what-if` and `--sweep` of a whole trace, with odd words."""

    def use(folder: Path, content: bytes) -> None:
        words = content.decode("utf-8", "surrogateescape").split(BETWEEN)
        if words[-1].count(":") == 2:
            parse_sweep(words[-1], Latency)
        else:
            ask(records, parse_question(words, Latency))

    return use
