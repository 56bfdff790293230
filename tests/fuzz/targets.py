"""What is fuzzed: everything that reads what somebody else wrote, each with whole inputs to begin from.

A target takes one input and either makes something of it or raises a `CredlineError` of one line. Anything else, be it
an exception of another kind, a file destroyed by a refusal or an output that no reader takes, is a bug.
"""

import asyncio
import io
import json
import shutil
from collections.abc import Callable, Iterable, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import structlog

from drivers.contract import Microscope
from drivers.instamatic.log import import_instamatic
from drivers.replayed.whatif import Latency
from engine.clock.virtual import VirtualClock, VirtualLoop
from engine.commands.trace import stats
from engine.errors import CredlineError
from engine.record.document import RunDocument
from engine.record.journal import read_journal
from engine.record.salvage import salvage_journal, salvage_spool, salvage_trace
from engine.record.spool import SpooledFrame, read_spool
from engine.record.trace import Record, open_trace, read_trace
from engine.replay.replay import first_divergence, load_run, replay_with_result
from engine.replay.whatif import ask, parse_question, parse_sweep
from engine.run.devicesfile import connect_devices
from engine.run.perform import Request, execute
from engine.run.planbasis import declared_basis
from engine.run.planfile import build_plan, parse_setting
from engine.run.recovery import recover_run
from engine.run.run import Run
from engine.views.bluesky import Documents, WallTime, bluesky_text
from engine.views.lines import Selection, view
from engine.views.perfetto import Perfetto, perfetto_text
from engine.views.stats import TraceStats
from protocols.cred import CRED
from protocols.cred.plan import CredPlan
from protocols.products.crystalreport import crystal_section
from protocols.products.export import export_run
from protocols.products.foundcrystal import found_crystal
from protocols.products.metadata import run_header
from protocols.products.refinedgeometry import geometry_questions
from protocols.products.source import open_run
from tests.engine.traces import CRED_LOG, merlin_log
from tests.fuzz.mutations import (
    ANY,
    ODD_WORDS,
    Change,
    json_changed,
    mutated,
    noise,
    records_changed,
)
from tests.protocols.products.test_foundcrystal import kept

MESSAGE_LIMIT = 3000
"""A refusal is a line that a person can read; the name of a temporary folder is part of it."""

Use = Callable[[Path, bytes], object]
Make = Callable[[Random], bytes]


class Broken(AssertionError):
    """An input brought something that must not be, without an exception of its own."""


@dataclass(frozen=True, slots=True)
class Target:
    """One reader. share: of a hundred inputs, roughly. make: an input; use: feeds it, with an empty folder at hand."""

    name: str
    share: int
    make: Make
    use: Use


def feed(target: Target, folder: Path, content: bytes) -> str:
    """One input to one target, in a folder that is emptied first: `taken` or `refused`; a bug is raised."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            target.use(folder, content)
    except CredlineError as error:
        text = str(error)
        if "internal error" in text:
            raise Broken(text) from error
        if not text or "\n" in text or len(text) > MESSAGE_LIMIT:
            what = f"{type(error).__name__} of {len(text)} characters"
            raise Broken(f"no readable line: {what}, {text[:300]!r}") from error
        text.encode("utf-8", "backslashreplace")
        return "refused"
    return "taken"


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


# --- plans, settings, devices

PLANS = (
    b"""# every key
sample = "grain_7"
exposure_s = 0.5
speed_deg_s = 0.45
start_deg = -30.0
range_deg = 60.0
rotation = "pedal"
rotation_timeout_s = 120.0
snapshot_interval = 10
snapshot_exposure_s = 0.01
defocus = 1500
relax_cycles = 5
unblank = true
formats = ["smv", "tiff", "xds"]
truth = false

[crystal]
orientation_seed = 3
""",
    b"exposure_s = 0.3\nrange_deg = -20\nstart_deg = 10\nrotation = 'commanded'\nsnapshot_interval = 0\nformats = []\n",
    b'[crystal]\ncif = "no_such.cif"\norientation_seed = 4\n',
    b"sample = '''a'''\ncrystal = {orientation_seed = 1}\n",
)
DEVICES = (
    b"""[microscope]
driver = "simulated-timing"
start_deg = 3.0
beam_on = true
api_call_s = 0.035
api_jitter = 0.5
crystal = {orientation_seed = 1}
[microscope.geometry]
wavelength_A = 0.0251
beam_fast_px = 20.0
beam_slow_px = 20.0
[microscope.stage]
limits_deg = [-70, 70]
acceleration_s = 0.1
backlash_deg = 0.1
speed_error = 0.001
encoder_deg = 0.002
stage_read_s = 0.05
pedal_wait_s = [0.5, 3.0]
stops_at_deg = 12.5
[microscope.lens]
focus = 31000
shift_px = [6.4, 4.8]
hysteresis_left = 0.35
[microscope.detector]
readout_s = 0.008
overhead_s = [0.003, 0.004]
exposure_limits_s = [0.001, 10.0]
slow_first_s = [1.2, 1.0]
[microscope.pictures]
shape = [32, 32]
wide_cross = false
saturation = 11810
""",
    b"""[microscope]
driver = "simulated-timing"
[detector]
driver = "simulated-timing"
detector = {arm_s = 0.2}
[stage]
driver = "simulated-timing"
start_deg = 1
[geometry]
camera_length_mm = 300.0
rotation_axis_deg = -38.5
distortion_amplitude_percent = 2.4
[timing]
api_call_s = 0.04
""",
    b'microscope = {driver = "simulated-timing"}\n[beam]\ndriver = "simulated-timing"\n',
)
UNCONNECTED = (
    b"""[microscope]
driver = "instamatic"
host = "10.0.0.2"
limits_deg = [-60, 60]
settling_s = 0.4
rotation = {pace = 1.2, windup = 0.3}
[microscope.mode]
diff = [250.0, 500.0]
[detector]
driver = "merlin"
depth = 24
subframe_s = 0.01
[geometry]
camera_length_mm = 300.0
rotation_axis_deg = -38.5
beam_fast_px = 128.0
beam_slow_px = 128.0
""",
    b"""[microscope]
driver = "thermo"
motion_port = 8081
rotation = {limits = [0.001, 1.0], pace = 0.03}
[stage]
driver = "jeol"
fixed_speed_deg_s = 0.5
still = 187
[detector]
driver = "dectris"
series = "external"
depth_bits = 32
[geometry]
camera_length_mm = 300.0
rotation_axis_deg = -38.5
beam_fast_px = 128.0
beam_slow_px = 128.0
[timing]
api_call_s = 0.04
""",
)
"""Of instruments that are not there: a plan reads all of their options and asks nobody."""
KEYS = (*CredPlan.model_fields, *"crystal.cif crystal.orientation_seed exposure crystal crystal.x a.b.c".split(), "")
BETWEEN = "\x1e"
"""Stands between the words of a command line within one input."""


JOURNAL = b"""{"t_ns":0,"began":true,"timing":{"p99_ms":0.01,"checks":[1,2.5,null]}}
{"t_ns":12,"state":"relax"}
{"t_ns":9000000000,"state":"expose"}
{"t_ns":90000000000,"state":"done","note":"gr\xc3\xbcn"}
"""


def words_of(random: Random) -> bytes:
    """Some `--set` words, `BETWEEN` them."""
    words = []
    for _ in range(random.randrange(1, 4)):
        if random.random() < 0.6:
            words.append(random.choice(PLAUSIBLE))
            continue
        value = random.choice(ODD_WORDS) if random.random() < 0.7 else noise(random, 30).decode("latin-1")
        words.append(random.choice(KEYS) + random.choice(("=", "=", "=", "=", " = ", "", "==", ".=", "\n=")) + value)
    return BETWEEN.join(words).encode("utf-8", "surrogatepass")


PLAUSIBLE = (
    "exposure_s=0.3 speed_deg_s=1 start_deg=-10 range_deg=20 range_deg=-20 rotation=commanded snapshot_interval=0 "
    "snapshot_interval=5 defocus=-900 relax_cycles=0 unblank=false formats=[] formats=['smv'] truth=true sample=g_1 "
    "crystal.orientation_seed=7 snapshot_exposure_s=0.02 rotation_timeout_s=9"
).split()


def use_plan(folder: Path, content: bytes) -> None:
    """`credline plan cred --config FILE`."""
    path = folder / "plan.toml"
    path.write_bytes(content)
    prepare(build_plan(CRED, path, []), "simulated-timing")


def use_settings(folder: Path, content: bytes) -> None:
    """`credline plan cred --set ... --set ...`."""
    words = content.decode("utf-8", "surrogateescape").split(BETWEEN)
    for word in words:
        try:
            parse_setting(word)
        except CredlineError:
            continue
    prepare(build_plan(CRED, None, words), "simulated-timing")


def use_devices(folder: Path, content: bytes) -> None:
    """`credline plan cred --devices FILE`."""
    path = folder / "devices.toml"
    path.write_bytes(content)
    prepare(CredPlan(), str(path))


def use_unconnected(folder: Path, content: bytes) -> None:
    """`credline plan cred --devices FILE` of an instrument that is not there."""
    path = folder / "devices.toml"
    path.write_bytes(content)
    plan_unconnected(CredPlan(), str(path))


def plan_unconnected(plan: CredPlan, devices: str) -> None:
    """What `credline plan` does with a plan."""
    declared = declared_basis(devices, CRED.device_options(plan))
    facts: Any = declared.facts  # the engine knows less of them than a protocol does
    json.dumps([declared.rows, dict(declared.unknown), dict(CRED.prepare(plan, facts).words)])


def prepare(plan: CredPlan, devices: str) -> None:
    """What `credline plan` and `plan --connected` do with a plan, and `credline run` before it begins."""

    async def connected() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        async with connect_devices(devices, VirtualClock(loop), 0, CRED.device_options(plan)) as microscope:
            assert isinstance(microscope, Microscope)
            prepared = CRED.prepare(plan, microscope.facts)
            json.dumps(
                [microscope.facts.as_dict(), dict(prepared.words), prepared.size_bytes, prepared.smallest_margin_s]
            )
            _ = [(budget.available_s, budget.slack_s) for budget in prepared.budgets]

    json.dumps(plan.model_dump(mode="json"))
    plan_unconnected(plan, devices)
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(connected())


# --- traces


def use_trace(folder: Path, content: bytes) -> None:
    """Everything of `credline trace` but the picture. What one of them refuses, another may show."""
    path = folder / "trace.jsonl"
    path.write_bytes(content)
    attempts: tuple[Callable[[], object], ...] = (
        lambda: _printable(view(path, Selection())),
        lambda: _printable(view(path, Selection(("expose",), ("detector",), ("call", "frame"), (1, 3)))),
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


def _printable(lines: Iterable[str]) -> None:
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


# --- words of what-if

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


# --- logs, spool, documents


def use_log(folder: Path, content: bytes) -> None:
    """`credline trace import`, from a summary, a log of a day, or both; what it makes must be a trace."""
    for name, text in (("cRED_log.txt", CRED_LOG), ("day.log", merlin_log())):
        (folder / name).write_text(text, encoding="utf-8")
    damaged = folder / "damaged.log"
    damaged.write_bytes(content)
    pairs = ((damaged, None), (damaged, folder / "day.log"), (folder / "cRED_log.txt", damaged))
    refusal: CredlineError | None = None
    for log, day_log in pairs:
        try:
            imported = import_instamatic(log, day_log)
            trace = folder / "trace.jsonl"
            trace.write_text("".join(imported.lines()), encoding="utf-8", newline="\n")
        except CredlineError as error:
            refusal = error
            continue
        _ = imported.summary
        try:
            _printable(view(trace, Selection()))
        except CredlineError as error:
            raise Broken(f"the imported trace is not one: {error}") from error
    if refusal is not None:
        raise refusal


def use_spool(folder: Path, content: bytes) -> None:
    """The pictures of a spool: all, and those of one kind."""
    path = folder / "frames.spool"
    path.write_bytes(content)
    for kind in (None, "snapshot", "flatfield"):
        for frame in read_spool(path, kind):
            _ = frame.counts.sum()


def use_salvage(folder: Path, content: bytes) -> None:
    """What recovery finds in a damaged spool: never an error, and never more than is there."""
    path = folder / "frames.spool"
    path.write_bytes(content)
    pictures_bytes = 0
    for item in salvage_spool(path):
        if isinstance(item, SpooledFrame):
            pictures_bytes += item.counts.nbytes
    if pictures_bytes > len(content):
        raise Broken(f"{pictures_bytes} bytes of pictures in a spool of {len(content)}")


def use_journal(folder: Path, content: bytes) -> None:
    """journal.jsonl, read strictly and as far as it goes."""
    path = folder / "journal.jsonl"
    path.write_bytes(content)
    salvage_journal(path)
    for line in read_journal(folder):
        json.dumps(line)


def use_document(folder: Path, content: bytes) -> None:
    """run.json as every command reads it first, and beside a trace that is exported."""
    (folder / "run.json").write_bytes(content)
    document = RunDocument.read(folder)
    WallTime.of_run(folder, {"t_ns": 5})
    from engine.run.registry import experiment_type

    experiment_type(document.protocol)


def damaged_run(source: Path, name: str) -> Use:
    """`credline recover`, and `credline export` of what became of it, of a run whose file `name` is damaged."""

    def use(folder: Path, content: bytes) -> None:
        run = folder / "run"
        shutil.copytree(source, run)
        (run / name).write_bytes(content)
        spool = run / "frames.spool"
        before = spool.read_bytes() if spool.exists() else None
        try:
            recover_run(run)
        except BaseException:
            if before is not None and (not spool.exists() or spool.read_bytes() != before):
                raise Broken("the spool was lost by a recovery that failed") from None
            raise
        with open_run(run) as opened:
            for index in range(len(opened.info.slot)):
                opened.raw(index)

    return use


def exported(source: Path, name: str) -> Use:
    """`credline export` of a finished run whose file `name` is damaged."""

    def use(folder: Path, content: bytes) -> None:
        run = folder / "run"
        run.mkdir()
        for part in ("run.json", "frames.h5"):
            shutil.copy(source / part, run / part)
        (run / name).write_bytes(content)
        with open_run(run) as opened:
            opened.flatfield()
        export_run(run, ("xds", "dials", "redp", "pets") if len(content) % 4 else ("nexus",))

    return use


def with_crystal(source: Path) -> Use:
    """`credline export` of a run whose crystal.json is damaged, and the crystal in its report."""

    def use(folder: Path, content: bytes) -> None:
        run = folder / "run"
        run.mkdir()
        for part in ("run.json", "frames.h5"):
            shutil.copy(source / part, run / part)
        (run / "crystal.json").write_bytes(content)
        export_run(run, ("xds", "dials", "pets"))
        with open_run(run) as opened:
            crystal = found_crystal(opened.info)
        if crystal is not None:
            header = run_header(opened.info, (256.0, 256.0))
            list(geometry_questions(opened.info, header, crystal))
            "".join(crystal_section(opened.info, header, crystal))

    return use


def crystal_of(run: Path) -> bytes:
    """A whole crystal.json for this run, which stays in its folder."""
    kept(run)
    return (run / "crystal.json").read_bytes()


def with_pictures(source: Path) -> Use:
    """`credline replay` of a run folder whose frames.h5 is damaged."""

    def use(folder: Path, content: bytes) -> None:
        run = folder / "run"
        shutil.copytree(source, run)
        (run / "frames.h5").write_bytes(content)
        replay_with_result(load_run(run), run)

    return use


def targets(whole: Whole) -> tuple[Target, ...]:
    """All of them."""

    def changed(seeds: Sequence[bytes], *changes: Change) -> Make:
        return lambda random: mutated(random, seeds, changes)

    lines = (*ANY, records_changed, records_changed, records_changed)
    document = (*ANY, json_changed, json_changed, json_changed)
    run, cut_off = whole.run, whole.cut_off
    own = whole.traces[:3]
    return (
        Target("plan", 14, changed(PLANS, *ANY), use_plan),
        Target("settings", 14, words_of, use_settings),
        Target("devices", 14, changed(DEVICES, *ANY), use_devices),
        Target("unconnected", 8, changed(UNCONNECTED, *ANY), use_unconnected),
        Target("trace", 16, changed(whole.traces, *lines), use_trace),
        Target("plot", 1, changed(whole.traces, *lines), use_plot),
        Target("replay", 6, changed(own, records_changed, records_changed, records_changed, *ANY), use_replay),
        Target("what-if", 4, changed(own, records_changed, records_changed, records_changed, *ANY), use_what_if),
        Target("question", 4, questions_of, asked_of(load_run(run))),
        Target("log", 10, changed(whole.logs, *ANY), use_log),
        Target("spool", 8, changed([(cut_off / "frames.spool").read_bytes()], *ANY), use_spool),
        Target("salvage", 4, changed([(cut_off / "frames.spool").read_bytes()], *ANY), use_salvage),
        Target("journal", 6, changed([(run / "journal.jsonl").read_bytes(), JOURNAL], *lines), use_journal),
        Target("run.json", 6, changed([(run / "run.json").read_bytes()], *document), use_document),
        *(
            Target(
                f"recover {name}",
                1,
                changed([(cut_off / name).read_bytes()], *(lines if name == "trace.jsonl" else document)),
                damaged_run(cut_off, name),
            )
            for name in ("run.json", "trace.jsonl", "frames.spool")
        ),
        Target("export crystal.json", 1, changed([crystal_of(run)], *document), with_crystal(run)),
        Target("replay frames.h5", 1, changed([(run / "frames.h5").read_bytes()], *ANY), with_pictures(run)),
        *(
            Target(f"export {name}", 1, changed([(run / name).read_bytes()], *document), exported(run, name))
            for name in ("run.json", "frames.h5")
        ),
    )


def asked_of(records: list[Record]) -> Use:
    """`credline replay --what-if` and `--sweep` of a whole trace, with odd words."""

    def use(folder: Path, content: bytes) -> None:
        words = content.decode("utf-8", "surrogateescape").split(BETWEEN)
        if words[-1].count(":") == 2:
            parse_sweep(words[-1], Latency)
        else:
            ask(records, parse_question(words, Latency))

    return use
