"""The pytest plugin, tested by running pytest: docs/testing.md as it stands, and what it must not do to others."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import engine.clock.virtual  # noqa: F401

# Loaded here: pytester forgets what was first imported during a run, and compiled modules cannot be loaded twice. Tests
# that perform runs have a process of their own.
from engine.record.trace import SCHEMA, Record

pytest_plugins = ["pytester"]

PAGE = Path(__file__).parents[3] / "docs" / "testing.md"
SETTINGS = (
    "[pytest]\nasyncio_default_fixture_loop_scope = function\nfilterwarnings = error\naddopts = --strict-markers\n"
)


@pytest.fixture
def lab(pytester: pytest.Pytester) -> pytest.Pytester:
    """A project of somebody else's."""
    pytester.makeini(SETTINGS)
    return pytester


def blocks_of(page: Path) -> dict[str, str]:
    """The files that a page shows, by the name in their first line."""
    found = re.findall(r"```\w+\n# ([\w.]+)\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    return dict(found)


def install(lab: pytest.Pytester, pyproject: str) -> None:
    """Register a project as an editable installation does: by its entry points, found through the import path."""
    project = tomllib.loads(pyproject)["project"]
    info = lab.path / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    info.mkdir()
    metadata = f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    info.joinpath("METADATA").write_text(metadata, encoding="utf-8")
    lines = []
    for group, points in project["entry-points"].items():
        lines += [f"[{group}]", *(f"{name} = {value}" for name, value in points.items())]
    info.joinpath("entry_points.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    lab.syspathinsert(lab.path)


@pytest.mark.long
def test_the_example_in_the_documentation_works(lab: pytest.Pytester) -> None:
    files = blocks_of(PAGE)
    assert set(files) == {"shutter.py", "pyproject.toml", "test_shutter.py"}
    for name, text in files.items():
        lab.path.joinpath(name).write_text(text, encoding="utf-8")
    install(lab, files["pyproject.toml"])
    missing = lab.runpytest_subprocess()
    missing.assert_outcomes(passed=3, failed=1)
    missing.stdout.fnmatch_lines(["*there is no golden trace yet. Make it: pytest --credline-renew-golden*"])
    renewing = lab.runpytest_subprocess("--credline-renew-golden")
    renewing.assert_outcomes(passed=4)
    renewing.stdout.fnmatch_lines(["golden trace renewed: *guarded.jsonl"])
    lab.runpytest_subprocess().assert_outcomes(passed=4)


@pytest.mark.parametrize("mode", ["strict", "auto"])
def test_only_tests_that_ask_for_it_get_virtual_time(lab: pytest.Pytester, mode: str) -> None:
    lab.makepyfile(
        """
        import asyncio
        import pytest, pytest_asyncio
        from engine.errors import VirtualDeadlock
        from engine.clock.virtual import VirtualLoop

        @pytest.fixture
        def started_ns(virtual_clock):
            return virtual_clock.now_ns()

        @pytest_asyncio.fixture
        async def slept(virtual_loop):
            await asyncio.sleep(1000)
            yield virtual_loop.time()
            await asyncio.sleep(1000)

        @pytest.mark.asyncio
        async def test_named(virtual_loop):
            assert asyncio.get_running_loop() is virtual_loop
            await asyncio.sleep(3600)
            assert virtual_loop.time() == 3600

        @pytest.mark.asyncio
        async def test_clock(virtual_clock):
            assert await virtual_clock.sleep_s(86400) == 86400 * 10**9

        @pytest.mark.asyncio
        async def test_through_a_fixture(started_ns):
            assert started_ns == 0
            assert isinstance(asyncio.get_running_loop(), VirtualLoop)

        @pytest.mark.asyncio
        async def test_through_an_asynchronous_fixture(slept, virtual_clock):
            assert slept == 1000 and virtual_clock.now_ns() == 1000 * 10**9

        @pytest.mark.asyncio
        @pytest.mark.usefixtures("virtual_loop")
        class TestMany:
            @pytest.mark.parametrize("hours", [1, 2])
            async def test_hours(self, hours):
                await asyncio.sleep(3600 * hours)

        @pytest.mark.asyncio
        async def test_hang(virtual_loop):
            with pytest.raises(VirtualDeadlock, match="test_hang"):
                virtual_loop.jump()

        @pytest.mark.asyncio
        async def test_other():
            assert not isinstance(asyncio.get_running_loop(), VirtualLoop)

        @pytest.mark.asyncio
        @pytest.mark.parametrize("k", [1, 2])
        async def test_other_too(k):
            assert not isinstance(asyncio.get_running_loop(), VirtualLoop)

        def test_plain():
            pass
        """
    )
    result = lab.runpytest("-v", f"--asyncio-mode={mode}")
    result.assert_outcomes(passed=11)
    result.stdout.fnmatch_lines(["*::test_named PASSED*", "*::test_other PASSED*"])


def test_auto_mode_needs_no_marks(lab: pytest.Pytester) -> None:
    lab.makepyfile("async def test_it(virtual_clock, simulated_microscope):\n    await virtual_clock.sleep_s(1e6)\n")
    lab.runpytest_subprocess("--asyncio-mode=auto").assert_outcomes(passed=1)


def test_a_project_with_loop_factories_of_its_own_keeps_them(lab: pytest.Pytester) -> None:
    lab.makeconftest(
        """
        import asyncio
        class Own(asyncio.SelectorEventLoop): pass
        def pytest_asyncio_loop_factories(config, item):
            return {"one": Own, "two": Own}
        """
    )
    lab.makepyfile(
        """
        import asyncio, pytest
        @pytest.mark.asyncio
        async def test_own():
            assert type(asyncio.get_running_loop()).__name__ == "Own"
        @pytest.mark.asyncio
        async def test_virtual(virtual_loop):
            assert type(asyncio.get_running_loop()).__name__ == "VirtualLoop"
        """
    )
    result = lab.runpytest("-v")
    result.assert_outcomes(passed=3)
    result.stdout.fnmatch_lines(["*test_own?one*", "*test_own?two*", "*::test_virtual PASSED*"])


def test_virtual_time_where_there_can_be_none_is_explained(lab: pytest.Pytester) -> None:
    lab.makepyfile(
        """
        def test_plain(virtual_clock): pass
        """,
        test_shared="""
        import pytest
        @pytest.mark.asyncio(loop_scope="module")
        async def test_shared(virtual_loop): pass
        """,
    )
    result = lab.runpytest("--continue-on-collection-errors")
    result.assert_outcomes(errors=2)
    result.stdout.fnmatch_lines(["*is for 'async def' tests*"])
    result.stdout.fnmatch_lines(["*Mark it with pytest.mark.asyncio(loop_scope='function')*"])


def test_the_microscope_is_what_the_marker_says(lab: pytest.Pytester) -> None:
    lab.makepyfile(
        """
        import pytest
        pytestmark = pytest.mark.asyncio

        async def test_default(simulated_microscope, virtual_clock):
            reading = await simulated_microscope.stage.angle()
            assert 0 < reading.t_after_ns == virtual_clock.now_ns() < 200_000_000
            assert simulated_microscope.detector.facts.shape[0] < 512

        @pytest.mark.microscope("simulated", start_deg=12.0)
        async def test_another(simulated_microscope):
            assert (await simulated_microscope.stage.angle()).value == pytest.approx(12.0, abs=0.02)
            assert simulated_microscope.detector.facts.shape == (512, 512)

        @pytest.mark.parametrize("call_s", [
            pytest.param(s, marks=pytest.mark.microscope(seed=k, api_call_s=s)) for k, s in enumerate((0.02, 0.2))])
        async def test_options(simulated_microscope, call_s):
            assert simulated_microscope.timing.api_call_s == call_s

        @pytest.mark.microscope("simulatd")
        async def test_unknown(simulated_microscope): pass

        @pytest.mark.microscope(api_call=1)
        async def test_unknown_option(simulated_microscope): pass
        """
    )
    result = lab.runpytest_subprocess()
    result.assert_outcomes(passed=4, errors=2)
    result.stdout.fnmatch_lines(["*no driver 'simulatd'; registered are: *simulated-timing*"])
    result.stdout.fnmatch_lines(["*has no option 'api_call'*"])


def test_runs_take_devices_plans_and_commands(lab: pytest.Pytester) -> None:
    lab.makepyfile(
        """
        import pytest
        from protocols.cred import CRED

        SHORT = dict(range_deg=1.5, snapshot_interval=0, relax_cycles=0, formats=())

        def test_tables(record_run):
            devices = {"microscope": {"driver": "simulated-timing", "api_call_s": 0.06, "stage": {"encoder_deg": 0.0}},
                       "detector": {"driver": "simulated-timing", "detector": {"overhead_s": [0.001, 0.002]}}}
            run = record_run("cred", devices=devices, seed=4, **SHORT)
            assert run.trace[0]["instrument"]["timing"]["api_call_s"] == 0.06
            assert run.trace[0]["seed"] == 4
            assert run.result["frames"] == len(run.of("frame", "diffraction")) > 3
            assert run.folder.joinpath("frames.h5").exists()

        def test_same_seed_same_run(record_run, assert_trace_matches):
            first = record_run("cred", **SHORT)
            second = record_run(CRED, **SHORT)
            assert first.folder != second.folder
            assert_trace_matches(second, first)
            assert_trace_matches(second.folder, first.trace)
            with pytest.raises(pytest.fail.Exception, match="differ first at record 0, before the first state"):
                assert_trace_matches(record_run("cred", seed=2, **SHORT), first)

        def test_mistake(record_run):
            with pytest.raises(ValueError, match="exposure"):
                record_run("cred", exposure=1)
        """
    )
    lab.runpytest_subprocess().assert_outcomes(passed=3)


TRACE: list[Record] = [
    {"seq": 0, "t_ns": 0, "kind": "header", "name": "credline", "schema": SCHEMA, "version": "1"},
    {"seq": 1, "t_ns": 5, "kind": "state", "name": "expose", "trigger": ""},
    {
        "seq": 2,
        "t_ns": 10_000_000,
        "kind": "call",
        "name": "beam.blank",
        "args": [],
        "end_ns": 10_000_000,
        "result": {"t_ns": 4},
    },
    {"seq": 3, "t_ns": 10_000_001, "kind": "note", "name": "end"},
]


def differing(lab: pytest.Pytester, made: list[Record], golden: list[Record]) -> pytest.RunResult:
    lab.makepyfile(
        f"""
        def test_it(assert_trace_matches):
            assert_trace_matches({made!r}, {golden!r})
        """
    )
    return lab.runpytest()


def test_a_difference_is_shown_with_both_sides_the_state_and_what_came_before(lab: pytest.Pytester) -> None:
    made = [*TRACE[:2], {**TRACE[2], "end_ns": 12_500_000, "result": {"value": 1.0, "t_ns": 4}}, TRACE[3]]
    result = differing(lab, made, TRACE)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "traces differ first at record 2, in state 'expose'; what led to it:",
            "*0*0.000000 s  header credline*",
            "*1*0.000000 s  state expose*",
            "*- golden:*2*0.010000 s  call beam.blank args=[[]] end_ns=10000000 result=*",
            "*+ made:*2*0.010000 s  call beam.blank args=[[]] end_ns=12500000 result=*",
            "*differ in end_ns (+2.500000 ms), result.value",
        ]
    )


def test_a_trace_that_ends_early_or_late_differs(lab: pytest.Pytester) -> None:
    early = differing(lab, TRACE[:3], TRACE)
    early.stdout.fnmatch_lines(["*at record 3*", "*golden:*note end*", "*made:*(the trace has ended)*"])
    late = differing(lab, TRACE, TRACE[:3])
    late.stdout.fnmatch_lines(["*at record 3*", "*golden:*(the trace has ended)*", "*made:*note end*"])


def test_the_version_of_the_program_does_not_matter_but_the_schema_does(lab: pytest.Pytester) -> None:
    differing(lab, [{**TRACE[0], "version": "2"}, *TRACE[1:]], TRACE).assert_outcomes(passed=1)
    other = differing(lab, [{**TRACE[0], "schema": SCHEMA + 1}, *TRACE[1:]], TRACE)
    other.assert_outcomes(failed=1)
    other.stdout.fnmatch_lines([f"*the golden trace has schema {SCHEMA}, this one {SCHEMA + 1}*"])


def test_a_golden_trace_of_a_newer_schema_is_refused(lab: pytest.Pytester) -> None:
    header = {**TRACE[0], "schema": SCHEMA + 1, "plan": {}, "protocol": "cred", "instrument": {}}
    lab.makepyfile(
        f"""
        def test_it(assert_trace_matches, tmp_path):
            import json
            golden = tmp_path / "golden.jsonl"
            golden.write_text("".join(json.dumps(r) + "\\n" for r in [{header!r}, *{TRACE[1:]!r}]))
            assert_trace_matches({TRACE!r}, golden)
        """
    )
    result = lab.runpytest()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([f"*schema {SCHEMA + 1}*"])


ALONE = """
def test_it():
    import sys
    ours = [name for name in sys.modules if name.partition(".")[0] in ("engine", "drivers", "protocols")]
    assert sorted(ours) == ["engine", "engine.testing", "engine.testing.plugin"], ours
    heavy = {"numpy", "scipy", "h5py", "pydantic", "transitions", "typer", "structlog"} & set(sys.modules)
    assert not heavy, heavy
"""


def test_a_project_that_does_not_use_it_has_nothing_of_it_loaded(tmp_path: Path) -> None:
    tmp_path.joinpath("test_alone.py").write_text(ALONE, encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:hypothesispytest", "-p", "no:cacheprovider", "."]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def test_without_pytest_asyncio_the_fixtures_say_what_is_missing(tmp_path: Path) -> None:
    text = """
    import sys
    import pytest
    def test_run(record_run): pass
    def test_virtual(virtual_clock): pass
    """.replace("\n    ", "\n")
    tmp_path.joinpath("test_it.py").write_text(text, encoding="utf-8")
    # A module that cannot be imported stands in for one that is not installed.
    tmp_path.joinpath("pytest_asyncio.py").write_text("raise ImportError('not installed')\n", encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "engine.testing.plugin", "."]
    environment = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=60
    )
    assert "1 passed, 1 error" in done.stdout, done.stdout + done.stderr
    assert "needs pytest-asyncio 1.4 or newer" in done.stdout
