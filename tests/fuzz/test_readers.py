"""No input brings a traceback: a small share of what benchmarks/fuzz.py feeds, and every input that once did."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from drivers.replayed.whatif import Latency
from engine.errors import CredlineError, shown
from engine.replay.replay import load_run
from engine.replay.whatif import ask, parse_question
from tests.engine.traces import CRED_LOG, merlin_log
from tests.fuzz.mutations import json_changed, mutated, records_changed, value_changed
from tests.fuzz.plans import DEVICES, PLANS, UNCONNECTED
from tests.fuzz.target import Target, feed
from tests.fuzz.targets import targets
from tests.fuzz.wholeinputs import Whole


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Whole]:
    with capture_logs():
        yield Whole(tmp_path_factory.mktemp("whole"))


@pytest.fixture(scope="module")
def by_name(whole: Whole) -> dict[str, Target]:
    return {target.name: target for target in targets(whole)}


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("scratch") / "input"


def test_some_of_every_kind_are_taken_or_refused_with_one_line(by_name: dict[str, Target], scratch: Path) -> None:
    for target in by_name.values():
        for number in range(max(2, target.share)):
            content = target.make(Random(f"suite {target.name} {number}"))
            assert feed(target, scratch, content) in ("taken", "refused"), (target.name, number)


@settings(max_examples=60)
@given(content=st.binary(max_size=300))
def test_bytes_that_mean_nothing_are_refused_everywhere(
    by_name: dict[str, Target], scratch: Path, content: bytes
) -> None:
    for name in ("trace", "spool", "journal", "run.json", "devices", "log"):
        feed(by_name[name], scratch, content)


@settings(max_examples=40)
@given(text=st.text(max_size=60), key=st.sampled_from(("sample", "formats", "crystal.cif", "exposure_s", "x")))
def test_whatever_is_set_is_taken_or_refused(by_name: dict[str, Target], scratch: Path, text: str, key: str) -> None:
    feed(by_name["settings"], scratch, f"{key}={text}".encode("utf-8", "surrogatepass"))


# --- inputs that once brought a traceback, a hang or a page of text, each by the name of what was wrong


def header_with(**changes: Any) -> Callable[[bytes], bytes]:
    """The trace with values of its header changed; `instrument__detector__shape` is a path."""
    return record_with(0, **changes)


def record_with(at: int, /, **changes: Any) -> Callable[[bytes], bytes]:
    def change(content: bytes) -> bytes:
        records = [json.loads(line) for line in content.splitlines()]
        for path, value in changes.items():
            *keys, last = path.split("__")
            node = records[at]
            for key in keys:
                node = node[key]
            if value is ...:
                del node[last]
            else:
                node[last] = value
        return b"".join(json.dumps(record).encode() + b"\n" for record in records)

    return change


def first(of_kind: str, called: str, /, **changes: Any) -> Callable[[bytes], bytes]:
    """The trace with the first record of a kind and name changed."""

    def change(content: bytes) -> bytes:
        records = [json.loads(line) for line in content.splitlines()]
        at = next(k for k, record in enumerate(records) if (record["kind"], record["name"]) == (of_kind, called))
        return record_with(at, **changes)(content)

    return change


def text(content: bytes) -> Callable[[bytes], bytes]:
    return lambda _: content


def riddled(content: bytes) -> bytes:
    """Every 97th byte is another, but for the first ones, which say what the file is."""
    return bytes(byte ^ (0x55 if k > 40 and k % 97 == 0 else 0) for k, byte in enumerate(content))


BRACKETS = b"[" * 5000
DIGITS = b"7" * 5000
FOUND: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    # plans and settings
    "brackets without end in a plan": ("plan", text(b"exposure_s = " + BRACKETS)),
    "a number of 5000 digits in a plan": ("plan", text(b"exposure_s = " + DIGITS)),
    "a name of 5000 letters in a plan": ("plan", text(b'sample = "' + b"x" * 5000 + b'"')),
    "a key of 5000 letters in a plan": ("plan", text(b"x" * 5000 + b" = 1")),
    "an option of 5000 letters of a real driver": (
        "unconnected",
        text(b'[microscope]\ndriver = "jeol"\n' + b"x" * 5000 + b" = 1"),
    ),
    "a rotation of 5000 letters": ("unconnected", lambda devices: devices.replace(b"windup", b"x" * 5000)),
    "a format of 5000 letters": ("plan", text(b'formats = ["' + b"x" * 5000 + b'"]')),
    "a file name that no file can have": ("plan", text(b'[crystal]\ncif = "' + b"x" * 5000 + b'"')),
    "a line end in a file name": ("settings", text(b"crystal.cif=a\nb")),
    "brackets without end in a setting": ("settings", text(b"exposure_s=" + BRACKETS)),
    "a speed of almost nothing": ("settings", text(b"speed_deg_s=5e-324")),
    "a speed of almost nothing, slots beyond counting": ("settings", text(b"speed_deg_s=1e-300")),
    "an exposure of 1e308 s": ("settings", text(b"exposure_s=1e308")),
    "an exposure of almost nothing": ("settings", text(b"exposure_s=5e-324")),
    "a defocus beyond floating point": ("settings", text(b"defocus=1" + b"0" * 400)),
    "a range of 1e308 deg": ("settings", text(b"range_deg=1e308")),
    # devices files
    "brackets without end in a devices file": ("devices", text(b"[microscope]\ndriver = " + BRACKETS)),
    "a number of 5000 digits in a devices file": ("devices", text(b"[microscope]\nstart_deg = " + DIGITS)),
    "a driver of 5000 letters": ("devices", text(b'[microscope]\ndriver = "' + b"x" * 5000 + b'"')),
    "a table of 5000 letters": ("devices", text(b"[" + b"x" * 5000 + b"]\na = 1")),
    "a line end in the name of a table": ("devices", text(b'["a\\nb"]\na = 1')),
    "an option of 5000 letters": ("devices", lambda devices: devices.replace(b"api_jitter", b"x" * 5000)),
    "a figure of 5000 letters": ("devices", lambda devices: devices.replace(b"wavelength_A", b"x" * 5000)),
    "a readout of nan s": ("devices", lambda devices: devices.replace(b"readout_s = 0.008", b"readout_s = nan")),
    "a readout of less than no time": ("devices", lambda devices: devices.replace(b"= 0.008", b"= -8.0")),
    "a lens that shifts the beam by 1e308": (
        "devices",
        lambda devices: devices.replace(b"[6.4, 4.8]", b"[1e308, 0]"),
    ),
    "a figure of 400 digits": ("devices", lambda _: DEVICES[1].replace(b"300.0", b"3" + b"0" * 400)),
    # traces
    "a slot beyond counting": ("recover trace.jsonl", first("frame", "diffraction", slot=2**62)),
    "an origin that is a number": ("trace", header_with(origin={"program": 5})),
    "a state that the table took for markup": ("trace", first("state", "expose", name="[/b] [bold")),
    "a state of 5000 letters": ("trace", first("state", "expose", name="x" * 5000)),
    "a reading at an instant of 400 digits": (
        "trace",
        first("call", "stage.angle", result={"value": 1.0, "t_before_ns": 10**400, "t_after_ns": 5}),
    ),
    "a reading of more degrees than floating point has": (
        "trace",
        first("call", "stage.angle", result={"value": 10**400, "t_before_ns": 5, "t_after_ns": 5}),
    ),
    "a source of 5000 letters": ("trace", header_with(source="x" * 5000)),
    "a source of 5000 letters, replayed": ("replay", header_with(source="x" * 5000)),
    # replays and what-ifs
    "a plan that is none": ("replay", header_with(plan__exposure_s=-1)),
    "a crystal that is no table": ("replay", header_with(plan__crystal=7)),
    "a header without a protocol": ("replay", header_with(protocol=None)),
    "a header without an instrument": ("replay", header_with(instrument=...)),
    "a geometry without the beam": ("replay", header_with(instrument__geometry__beam_fast_px=...)),
    "a picture's shape that is none": ("replay", header_with(instrument__detector__shape=True)),
    "a readout of nan": ("replay", header_with(instrument__detector__readout_s=float("nan"))),
    "a time after which virtual time cannot count single nanoseconds": ("replay", header_with(t_ns=2**53 + 1)),
    "a frame without its arrival": ("replay", first("frame", "diffraction", arrived_ns=None)),
    "a call without a result": ("replay", first("call", "optics.focus", result=...)),
    "a focus that is no number": ("replay", first("call", "optics.focus", result="x")),
    "a command that nobody can give": ("replay", first("note", "safe state", kind="command", name="x", reason="y")),
    "a frame's number beyond its place in the spool": ("replay", first("frame", "diffraction", number=2**62)),
    "a checksum beyond its place in the spool": ("replay", first("frame", "diffraction", crc=-1)),
    "a call whose name is no text": ("what-if", first("call", "beam.unblank", name="\ud800")),
    "a reading that is a number": ("what-if", first("call", "stage.angle", result=5)),
    "a reading with other names": ("what-if", first("call", "stage.angle", result={"8246591084021558948": 1})),
    "a timing that is none": ("what-if", header_with(instrument__timing={"api_call_s": None})),
    "a range that is text": ("what-if", header_with(plan__range_deg="x")),
    # logs
    "a run that began at brackets without end": (
        "log",
        lambda log: log.replace(b"started at: 2024-11-18 11:33:30", b"started at: " + BRACKETS),
    ),
    # run folders
    "brackets without end in run.json": ("run.json", text(b'{"protocol": ' + BRACKETS)),
    "a protocol of 5000 letters": ("run.json", text(json.dumps({"protocol": "x" * 5000}).encode())),
    "a protocol that is a list": ("run.json", text(b'{"protocol": []}')),
    "brackets without end in run.json, recovered": ("recover run.json", text(BRACKETS)),
    "brackets without end in run.json, exported": ("export run.json", text(BRACKETS)),
    "a picture's shape without end": (
        "recover run.json",
        lambda run: json.dumps({**json.loads(run), "detector": {"shape": [float("inf"), 32]}}).encode(),
    ),
    "a result that is a list": (
        "recover run.json",
        lambda run: json.dumps({**json.loads(run), "result": [1], "alarms": 5}).encode(),
    ),
    "a reading of 400 digits": (
        "recover trace.jsonl",
        first("call", "stage.angle", result={"value": 10**400, "t_before_ns": 5, "t_after_ns": 5}),
    ),
    "a stretch of the spool twice": ("recover frames.spool", lambda spool: spool + spool[8:]),
    "a reading at no time": (
        "export run.json",
        lambda run: json.dumps(
            {
                **json.loads(run),
                "stage_readings": [{"t_before_ns": float("inf"), "t_after_ns": 1, "residual_deg": 0.0}],
            }
        ).encode(),
    ),
    "a sample that HDF5 cannot hold": (
        "export run.json",
        lambda run: json.dumps({**json.loads(run), "sample": "a\0b"}).encode(),
    ),
    "a date of 5000 letters": (
        "export run.json",
        lambda run: json.dumps({**json.loads(run), "created_at": "2" * 5000}).encode(),
    ),
    "damage within the tables of frames.h5": ("export frames.h5", lambda frames: riddled(frames)),
    "damage within the tables of frames.h5, replayed": ("replay frames.h5", lambda frames: riddled(frames)),
    "a frames.h5 that is none, replayed": ("replay frames.h5", text(b"x")),
}


@pytest.mark.parametrize("name", FOUND)
def test_what_once_broke_a_reader_is_taken_or_refused(
    whole: Whole, by_name: dict[str, Target], scratch: Path, name: str
) -> None:
    target, damage = FOUND[name]
    seeds = {
        "plan": PLANS[0],
        "settings": b"",
        "devices": DEVICES[0],
        "unconnected": UNCONNECTED[0],
        "log": merlin_log().encode(),
        "trace": whole.traces[0],
        "replay": whole.traces[0],
        "what-if": whole.traces[0],
        "run.json": b"",
    }
    file = target.partition(" ")[2]
    if file:
        source = whole.run if target.startswith(("export", "replay")) else whole.cut_off
        seeds[target] = (source / file).read_bytes()
    feed(by_name[target], scratch, damage(seeds[target]))


# --- the fuzzing itself


def test_an_input_is_made_again_from_its_seed(by_name: dict[str, Target]) -> None:
    for target in by_name.values():
        assert target.make(Random("1 a")) == target.make(Random("1 a"))


def test_inputs_differ_from_one_another(by_name: dict[str, Target]) -> None:
    for target in by_name.values():
        assert len({target.make(Random(f"1 {k}")) for k in range(20)}) > 8, target.name


def test_whole_inputs_are_taken(whole: Whole, by_name: dict[str, Target], scratch: Path) -> None:
    assert feed(by_name["plan"], scratch, PLANS[0]) == "taken"
    assert [feed(by_name["devices"], scratch, devices) for devices in DEVICES] == ["taken"] * 3
    assert [feed(by_name["unconnected"], scratch, devices) for devices in UNCONNECTED] == ["taken"] * 2
    assert feed(by_name["log"], scratch, CRED_LOG.encode()) == "taken"
    assert feed(by_name["settings"], scratch, b"exposure_s=0.3") == "taken"
    assert ask(load_run(whole.run), parse_question(["api_latency=60ms"], Latency))["frames"] > 0
    for name in ("trace", "plot", "replay"):
        assert feed(by_name[name], scratch, whole.traces[0]) == "taken", name
    for name, target in by_name.items():
        task, _, file = name.partition(" ")
        if file:
            source = whole.run if task in ("export", "replay") else whole.cut_off
            assert feed(target, scratch, (source / file).read_bytes()) == "taken", name


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        (CredlineError(""), "no readable line"),
        (CredlineError("a\nb"), "no readable line"),
        (CredlineError("x" * 5000), "no readable line"),
        (CredlineError("failed: internal error (KeyError: 'x')"), "internal error"),
        (KeyError("x"), "x"),
    ],
)
def test_what_is_no_refusal_is_found(scratch: Path, wrong: Exception, complaint: str) -> None:
    def use(folder: Path, content: bytes) -> None:
        raise wrong

    with pytest.raises((AssertionError, KeyError), match=complaint):
        feed(Target("bad", 1, lambda _: b"", use), scratch, b"")


@given(seed=st.integers(0, 2**32))
def test_a_changed_document_is_still_json(seed: int) -> None:
    document = {"a": [1, 2.5, {"b": None}], "c": "d", "e": True}
    changed = value_changed(Random(seed), document)
    json.loads(json.dumps(changed))
    lines = b'{"seq": 0, "kind": "header"}\n{"seq": 1}\n'
    for change in (records_changed, json_changed):
        json.dumps([json.loads(line) for line in change(Random(seed), lines[:29], [lines]).splitlines()])
    assert len(mutated(Random(seed), [lines], [records_changed])) < 100_000


@pytest.mark.parametrize(
    ("written", "expected"),
    [("a", "a"), ("a\nb", "a\\nb"), ("\x1b[2J", "\\x1b[2J"), ("x" * 101, "x" * 100 + "..."), ("\ud800", "\\ud800")],
)
def test_what_is_shown_in_a_message_fits_on_a_line_and_commands_no_terminal(written: str, expected: str) -> None:
    assert shown(written) == expected
