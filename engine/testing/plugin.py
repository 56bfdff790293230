"""The test kit, a pytest plugin: virtual time, a simulated microscope, whole runs and golden traces for a lab's tests.

pytest finds it through its entry point wherever credline is installed, so it must not get in anybody's way: it imports
nothing of credline before a test asks for a fixture, and gives a loop only to tests that ask for one. docs/testing.md
shows it at work.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol, TypeVar, cast

import pytest

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from collections.abc import AsyncIterator

    from engine.clock.virtual import VirtualClock, VirtualLoop
    from engine.record.jsonobject import JsonDict
    from engine.record.trace import Record
    from engine.replay.replay import Divergence
    from engine.run.contract import AnyExperiment, Prepared
    from engine.run.entries import Driver
    from engine.run.microscope import Microscope
    from engine.run.run import Run

AsyncFixture = TypeVar("AsyncFixture", bound=Callable[..., object])

NEEDS = "virtual time in tests needs pytest-asyncio 1.4 or newer: pip install -e '.[test]' in credline's folder."
RENEW = "--credline-renew-golden"
RENEWED = pytest.StashKey[list[Path]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option that renews golden traces."""
    group = parser.getgroup("credline")
    group.addoption(RENEW, action="store_true", help="Write the golden traces anew instead of comparing with them.")


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known."""
    text = "microscope(driver, seed=1, **options): which driver `simulated_microscope` connects, and its options."
    config.addinivalue_line("markers", text)
    config.stash[RENEWED] = []


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Name the golden traces that were written."""
    for path in terminalreporter.config.stash[RENEWED]:
        terminalreporter.write_line(f"golden trace renewed: {path}")


class _VirtualLoops:
    """Answers pytest-asyncio's question for loop factories."""

    @pytest.hookimpl(optionalhook=True, tryfirst=True)
    def pytest_asyncio_loop_factories(self) -> Mapping[str, Callable[[], AbstractEventLoop]]:
        from engine.clock.virtual import VirtualLoop

        return {"virtual": VirtualLoop}


_virtual_loops = _VirtualLoops()


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_generate_tests(metafunc: pytest.Metafunc) -> Generator[None, None, None]:
    """Give a test that uses `virtual_loop`, itself or through other fixtures, a VirtualLoop to run on.

    pytest-asyncio asks its hook for every asynchronous test and takes no "none" for an answer, so the answer is
    registered for these tests only; all others, and hooks of a project's own, remain as they were.
    """
    if "virtual_loop" not in metafunc.fixturenames:
        return (yield)
    _check_scope(metafunc)
    manager = metafunc.config.pluginmanager
    manager.register(_virtual_loops)
    try:
        return (yield)
    finally:
        manager.unregister(_virtual_loops)


def _check_scope(metafunc: pytest.Metafunc) -> None:
    """Fixtures of a test live on its own loop: one that tests share would be another, with another time."""
    marker = metafunc.definition.get_closest_marker("asyncio")
    scope = marker.kwargs.get("loop_scope") if marker else None
    if scope is None and metafunc.config.pluginmanager.hasplugin("asyncio"):
        scope = metafunc.config.getini("asyncio_default_test_loop_scope")
    if scope not in (None, "function"):
        pytest.fail(
            f"{metafunc.definition.nodeid}: virtual time begins anew with every test, but this one is to share a loop "
            f"(loop_scope {scope!r}). Mark it with pytest.mark.asyncio(loop_scope='function').",
            pytrace=False,
        )


def _on_the_loop(function: AsyncFixture) -> AsyncFixture:
    """An asynchronous fixture on the test's own loop; without pytest-asyncio, one that says what is missing."""
    try:
        from pytest_asyncio import fixture
    except ImportError:

        def missing() -> None:
            pytest.fail(NEEDS, pytrace=False)

        return cast(AsyncFixture, pytest.fixture(name=function.__name__)(missing))
    return cast(AsyncFixture, fixture(loop_scope="function")(function))


@_on_the_loop
async def virtual_loop() -> VirtualLoop:
    """The loop of this test, a `VirtualLoop`: waits end at once, in order, and a hang is a diagnosis."""
    import asyncio

    from engine.clock.virtual import VirtualLoop

    loop = asyncio.get_running_loop()
    if not isinstance(loop, VirtualLoop):
        pytest.fail(
            "virtual_loop, and what builds on it, is for 'async def' tests run by pytest-asyncio that name it, or a "
            f"fixture that uses it, among their arguments. For a whole run use record_run. Also: {NEEDS}",
            pytrace=False,
        )
    return loop


@pytest.fixture
def virtual_clock(virtual_loop: VirtualLoop) -> VirtualClock:
    """The clock of this test's loop; it begins at 0."""
    from engine.clock.virtual import VirtualClock

    return VirtualClock(virtual_loop)


@_on_the_loop
async def simulated_microscope(
    request: pytest.FixtureRequest, virtual_clock: VirtualClock
) -> AsyncIterator[Microscope]:
    """A connected `simulated-timing` microscope, or what the marker `microscope` asks for, on the virtual clock."""
    from engine.run.registry import registered

    marker = request.node.get_closest_marker("microscope") or pytest.mark.microscope().mark
    options = dict(marker.kwargs)
    driver = options.pop("driver", marker.args[0] if marker.args else "simulated-timing")
    seed = options.pop("seed", 1)
    drivers = registered("drivers")
    if driver not in drivers:
        pytest.fail(f"microscope: no driver {driver!r}; registered are: {', '.join(sorted(drivers))}.", pytrace=False)
    loaded: Driver = drivers[driver].load()
    async with loaded.connect(virtual_clock, seed, options) as parts:
        yield parts.assembled()


@dataclass(frozen=True, slots=True)
class RecordedRun:
    """A run folder, read: `document` is its run.json, `trace` its records."""

    folder: Path
    document: JsonDict
    trace: list[Record]

    @property
    def result(self) -> JsonDict:
        """What was measured, as the protocol puts it."""
        result: JsonDict = self.document["result"]
        return result

    def of(self, kind: str, name: str | None = None) -> list[Record]:
        """The records of a kind, and of a name where one is given."""
        return [r for r in self.trace if r["kind"] == kind and name in (None, r["name"])]

    def states(self) -> list[str]:
        """The states the run went through, in order."""
        return [record["name"] for record in self.of("state")]


Traced = RecordedRun | str | Path | Sequence["Record"]
"""Where a trace may come from: a run, a run folder or trace file, or records."""


class RecordRun(Protocol):
    """Performs a run of a protocol into a folder of the test and reads it."""

    def __call__(
        self,
        protocol: str | AnyExperiment,
        *,
        devices: str | Path | Mapping[str, object] = "simulated-timing",
        seed: int = 1,
        clock: Literal["virtual", "real"] = "virtual",
        on: Callable[[Record, Run], object] | None = None,
        **plan: object,
    ) -> RecordedRun:
        """Perform it with these keys of its plan.

        devices: a driver, a devices file, or its tables as `{"microscope": {"driver": ..., ...}, ...}`. on: called
        with every record as it is made, and the run, to give commands. Not for use within a running loop.
        """
        ...


@pytest.fixture
def record_run(tmp_path: Path) -> RecordRun:
    """Performs runs of registered protocols; see `RecordRun`."""
    made = 0

    def recording(
        protocol: str | AnyExperiment,
        *,
        devices: str | Path | Mapping[str, object] = "simulated-timing",
        seed: int = 1,
        clock: Literal["virtual", "real"] = "virtual",
        on: Callable[[Record, Run], object] | None = None,
        **plan: object,
    ) -> RecordedRun:
        from engine.run.perform import Request, execute
        from engine.run.registry import experiment_type

        nonlocal made
        made += 1
        kind = experiment_type(protocol) if isinstance(protocol, str) else protocol
        if isinstance(devices, Mapping):
            file = tmp_path / f"run-{made}" / "devices.toml"  # the trace holds its name, the same for all runs
            file.parent.mkdir()
            file.write_text("\n".join(_toml(devices)) + "\n", encoding="utf-8")
            devices = file

        def watch(run: Run, _: Prepared) -> None:
            def observe(record: Record) -> None:
                if on is not None:
                    on(record, run)

            run.trace.observe(observe)

        request = Request(
            kind,
            kind.plan_type.model_validate(plan),
            tmp_path / "runs",
            str(devices),
            virtual=clock == "virtual",
            seed=seed,
            accept_timing=True,
            accept_gaps=True,
            draw=False,
        )
        return _read(execute(request, watch).folder)

    return recording


def _read(folder: Path) -> RecordedRun:
    document = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    return RecordedRun(folder, document, _records(folder))


def _records(source: Traced) -> list[Record]:
    from engine.record.trace import read_trace

    if isinstance(source, RecordedRun):
        return source.trace
    if isinstance(source, str | Path):
        path = Path(source)
        return list(read_trace(path / "trace.jsonl" if path.is_dir() else path))
    return list(source)


def _toml(table: Mapping[str, object], *path: str) -> list[str]:
    """The lines of a TOML file: numbers, words, lists of them, and tables of tables."""
    lines = [f"[{'.'.join(path)}]"] if path else []
    lines += [f"{key} = {json.dumps(value)}" for key, value in table.items() if not isinstance(value, Mapping)]
    for key, value in table.items():
        if isinstance(value, Mapping):
            lines += _toml(value, *path, key)
    return lines


@pytest.fixture
def assert_trace_matches(request: pytest.FixtureRequest) -> Callable[[Traced, Traced], None]:
    """`assert_trace_matches(trace, golden)`: fails with the first divergence; with the option, renews a golden file.

    All is compared, to the nanosecond, save the version of the program that wrote it.
    """

    def matching(trace: Traced, golden: Traced) -> None:
        __tracebackhide__ = True
        file = Path(golden) if isinstance(golden, str | Path) else None
        # As a file would hold them: tuples are lists there.
        made = json.loads(json.dumps(_records(trace)))
        if file is not None and request.config.getoption(RENEW):
            file.parent.mkdir(parents=True, exist_ok=True)
            lines = [json.dumps(record, separators=(",", ":")) + "\n" for record in made]
            file.write_text("".join(lines), encoding="utf-8", newline="\n")
            request.config.stash[RENEWED].append(file)
            return
        command = f"pytest {RENEW} {request.node.nodeid.split('::')[0]}"
        if file is not None and not file.exists():
            pytest.fail(f"{file}: there is no golden trace yet. Make it: {command}", pytrace=False)
        if (difference := _difference(_records(golden), made)) is not None:
            hint = f"\nIf this is as it should be, renew {file}: {command}" if file is not None else ""
            pytest.fail(difference + hint, pytrace=False)

    return matching


def _difference(golden: list[Record], made: list[Record]) -> str | None:
    """Where two traces part, in words; None when they agree."""
    from engine.replay.replay import first_divergence

    schemas = [records[0].get("schema") if records else "none" for records in (golden, made)]
    if schemas[0] != schemas[1]:
        return f"the golden trace has schema {schemas[0]}, this one {schemas[1]}: what they say cannot be compared."
    divergence = first_divergence(_any_version(json.loads(json.dumps(golden))), _any_version(made))
    return None if divergence is None else _explain(divergence)


def _any_version(records: list[Record]) -> list[Record]:
    return [{**records[0], "version": ""}, *records[1:]] if records else []


def _explain(divergence: Divergence) -> str:
    """The first divergence for a person: what led to it, both sides, and which fields differ by how much."""
    golden, made = divergence.recorded, divergence.replayed
    where = f"in state {divergence.state!r}" if divergence.state else "before the first state"
    lines = [f"traces differ first at record {divergence.seq}, {where}; what led to it:"]
    lines += [f"    {_line(record)}" for record in divergence.before]
    lines += [f"  - golden: {_line(golden)}", f"  + made:   {_line(made)}"]
    if golden is not None and made is not None:
        lines.append(f"  differ in {', '.join(_fields(golden, made))}")
    return "\n".join(lines)


def _line(record: Record | None) -> str:
    if record is None:
        return "(the trace has ended)"
    own = ("seq", "t_ns", "kind", "name")
    rest = " ".join(f"{key}={json.dumps(value)}" for key, value in record.items() if key not in own)
    return f"{record['seq']:>5} {record['t_ns'] / 1e9:11.6f} s  {record['kind']} {record['name']} {rest}".rstrip()


def _fields(golden: Mapping[str, object], made: Mapping[str, object], path: str = "") -> Iterator[str]:
    """The fields that differ, by their path; instants with by how much."""
    for key in {**golden, **made}:
        old, new = golden.get(key), made.get(key)
        if old == new:
            continue
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            yield from _fields(old, new, f"{path}{key}.")
        elif key.endswith("_ns") and isinstance(old, int) and isinstance(new, int):
            yield f"{path}{key} ({(new - old) / 1e6:+.6f} ms)"
        else:
            yield path + key
