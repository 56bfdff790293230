"""What may be asked of an opened instrument, on virtual time."""

import asyncio
import json
from typing import Any

import pytest

from engine.record.document import RunDocument
from tests.engine.run.toy_session import ToyKind

SHORT = ["range_deg=5", "snapshot_interval=0", "relax_cycles=0", "formats=[]"]


async def _begin(asked: Any, *settings: str) -> str:
    told = await asked("run", protocol="cred", settings=[*SHORT, *settings])
    assert told["ok"], told
    return str(told["run"])


def _commands(asked: Any, name: str) -> list[dict[str, Any]]:
    lines = (asked.out / name / "trace.jsonl").read_text().splitlines()
    return [record for record in map(json.loads, lines) if record["kind"] == "command"]


def test_a_run_is_begun_and_told_of_to_its_end(on_instrument):
    async def scene(asked):
        name = await _begin(asked)
        await asked.clock.sleep_s(8)
        during = await asked("status")
        after = await asked.until_over()
        return name, during, after, RunDocument.read(asked.out / name)

    name, during, after, document = on_instrument(scene)
    assert during["run"]["name"] == name == "mordenite_001"
    assert during["run"]["state"] == "expose"
    assert during["blanked"] is False
    assert (after["last"]["status"], after["last"]["run"], after["blanked"]) == ("done", name, True)
    assert document.status == "done"


@pytest.mark.parametrize("ask", ["stop", "abort"])
def test_whoever_ends_a_run_stands_in_its_trace(on_instrument, ask):
    async def scene(asked):
        name = await _begin(asked)
        await asked.clock.sleep_s(8)
        assert (await asked(ask))["ok"]
        status = await asked.until_over()
        return status, _commands(asked, name)

    status, commands = on_instrument(scene)
    assert status["last"]["status"] == {"stop": "stopped", "abort": "aborted"}[ask]
    assert [command["reason"] for command in commands] == [f"{status['last']['status']}, from the console (a test)"]


def test_the_red_button_blanks_stops_and_reads_back_within_half_a_second(on_instrument):
    async def scene(asked):
        await _begin(asked)
        await asked.clock.sleep_s(8)
        told = await asked("blank")
        return told, await asked("status"), await asked.until_over()

    told, at_once, over = on_instrument(scene)
    assert told["ok"]
    assert told["blanked"] is True
    assert told["after_ms"] < 500
    assert at_once["blanked"] is True
    assert over["last"]["status"] == "stopped"


def test_the_red_button_works_between_two_runs(on_instrument):
    async def scene(asked):
        await asked.instrument.microscope.beam.unblank()
        before = await asked.instrument.reads_blanked()
        return before, await asked("blank"), await asked.instrument.reads_blanked()

    before, told, after = on_instrument(scene)
    assert not before
    assert told["ok"]
    assert after


def test_the_red_button_says_so_where_the_blanker_stays_open(on_instrument):
    async def scene(asked):
        async def does_nothing():
            pass

        asked.instrument.microscope.beam.blank = does_nothing
        await asked.instrument.microscope.beam.unblank()
        return await asked("blank")

    told = on_instrument(scene)
    assert not told["ok"]
    assert "THE BEAM MAY STILL BE ON" in told["error"]


def test_the_red_button_before_a_run_has_begun_ends_it_as_it_begins(on_instrument, monkeypatch):
    async def look(self, plan, microscope):
        await asyncio.sleep(2)
        return {}

    monkeypatch.setattr("protocols.cred.experiment.Cred.look", look)

    async def scene(asked):
        begun = asyncio.create_task(asked("run", protocol="cred", settings=SHORT))
        await asked.clock.sleep_s(1)
        told = await asked("blank")
        name = (await begun)["run"]
        status = await asked.until_over()
        lines = (asked.out / name / "trace.jsonl").read_text().splitlines()
        return told, status, [record["name"] for record in map(json.loads, lines)]

    told, status, records = on_instrument(scene)
    assert told["blanked"] is True
    assert status["last"]["status"] == "stopped"
    assert "red button" in status["last"]["reason"]
    assert "beam.unblank" not in records


def test_a_request_that_was_made_before_does_nothing_again(on_instrument):
    async def scene(asked):
        request = {"ask": "run", "id": "the-same-id", "protocol": "cred", "settings": SHORT}
        first = await asked.controls.answer(request)
        await asked("abort")
        await asked.until_over()
        return first, await asked.controls.answer(request), [path.name for path in asked.out.iterdir() if path.is_dir()]

    first, again, folders = on_instrument(scene)
    assert first["ok"]
    assert not again["ok"]
    assert "made before" in again["error"]
    assert folders == ["mordenite_001"]


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        ({"ask": "explode", "id": "12345678"}, "nothing that can be asked"),
        ({"ask": "stop"}, "without an id"),
        ({"ask": "stop", "id": "12345678"}, "no run is under way"),
        ({"ask": "pause", "id": "12345678"}, "no run is under way"),
        ({"ask": "tell", "id": "12345678", "words": "track offset 1 1"}, "no run is under way"),
        ({"ask": "run", "id": "12345678", "protocol": "../cred"}, "is not known"),
        ({"ask": "run", "id": "12345678", "protocol": "cred", "settings": ["exposure_s=x"]}, "exposure_s"),
        ({"ask": "run", "id": "12345678", "protocol": "cred", "settings": ["snapshot_interval=1"]}, "snapshot"),
        ({"ask": "run", "id": "12345678", "protocol": "cred", "settings": ["sample=../../x"]}, "sample"),
        ({"ask": "run", "id": "12345678", "protocol": "cred", "settings": ["sample=<script>"]}, "sample"),
        ({}, "nothing that can be asked"),
    ],
)
def test_what_cannot_be_is_refused_in_a_line_and_makes_nothing(on_instrument, request_, words):
    async def scene(asked):
        return await asked.controls.answer(request_), asked.out.exists() and any(asked.out.iterdir())

    told, made = on_instrument(scene)
    assert not told["ok"]
    assert words in told["error"]
    assert "\n" not in told["error"]
    assert not made


def test_a_second_run_is_refused_while_one_is_under_way(on_instrument):
    async def scene(asked):
        await _begin(asked)
        return await asked("run", protocol="cred", settings=SHORT)

    told = on_instrument(scene)
    assert not told["ok"]
    assert "a run has the instrument" in told["error"]


def test_a_run_that_cannot_be_paused_says_so(on_instrument):
    async def scene(asked):
        await _begin(asked)
        return await asked("pause")

    assert "no place where it could be paused" in on_instrument(scene)["error"]


def test_words_that_a_run_does_not_follow_are_refused_and_end_nothing(on_instrument):
    async def scene(asked):
        await _begin(asked)
        told = await asked("tell", words="track offset 100 0")
        return told, (await asked.until_over())["last"]["status"]

    told, status = on_instrument(scene)
    assert "brings no crystal back" in told["error"]
    assert status == "done"


def test_a_run_that_failed_leaves_an_instrument_for_the_next_one(on_instrument):
    async def scene(asked):
        await _begin(asked)
        failed = await asked.until_over()
        await _begin(asked)
        return failed, await asked.until_over()

    failed, after = on_instrument(scene, faults=("beam.unblank 1 error",))
    assert failed["last"]["status"] == "failed"
    assert failed["blanked"] is True
    assert after["last"]["status"] == "done"


def test_it_does_not_close_under_a_run(on_instrument):
    async def scene(asked):
        await _begin(asked)
        refused = await asked("close")
        await asked.controls.shut("told to end")
        return refused, await asked("status"), await asked("close"), asked.controls.closing.is_set()

    refused, status, closed, closing = on_instrument(scene)
    assert "stays open" in refused["error"]
    assert status["last"]["reason"] == "told to end"
    assert closed["ok"]
    assert closing


def test_facts_are_those_from_which_a_plan_can_be_made_again(on_instrument):
    from engine.console.planning import planned

    async def scene(asked):
        return await asked("facts")

    told = json.loads(json.dumps(on_instrument(scene)))
    plan = planned("cred", ["range_deg=20"], "simulated-timing", told["facts"])
    assert plan["fits"]
    assert plan["total"] == 87


def test_while_somebody_watches_the_trace_is_written_with_frames_and_never_at_the_end_of_a_step(on_instrument):
    async def scene(asked, watchers):
        asked.controls.watchers = watchers
        await _begin(asked)
        behind: dict[str, list[int]] = {"frame": [], "step": []}

        def observe(record):
            if record["kind"] in behind:
                behind[record["kind"]].append(run.trace.pending)

        run = asked.controls._now.run
        run.trace.observe(observe)
        await asked.until_over()
        return behind

    watched = on_instrument(lambda asked: scene(asked, 1))
    alone = on_instrument(lambda asked: scene(asked, 0))
    assert max(watched["frame"]) == 0
    assert min(watched["step"]) > 0  # a millisecond before the next exposure
    assert max(alone["frame"]) > 10


@pytest.fixture
def toy(monkeypatch):
    """A session of small runs, as if it were installed."""
    kind = ToyKind()
    kind.pauses = True
    for place in ("controls", "following"):
        monkeypatch.setattr(f"engine.console.{place}.experiment_type", lambda name: kind)
    return kind


def test_a_session_is_paused_between_its_runs_and_goes_on(on_instrument, toy):
    async def scene(asked):
        told = await asked("run", protocol="toy", settings=["children=2"])
        assert told["ok"], told
        assert (await asked("pause"))["ok"]
        await asked.clock.sleep_s(600)
        paused = await asked("status")
        assert (await asked("resume"))["ok"]
        return paused, await asked.until_over()

    paused, over = on_instrument(scene)
    assert paused["run"]["paused"] is True
    assert paused["run"]["within"] == []
    assert over["last"]["status"] == "done"


def test_the_red_button_reaches_the_run_within_a_run(on_instrument, toy):
    async def scene(asked):
        await asked("run", protocol="toy", settings=["children=2", "light_s=20"])
        await asked.clock.sleep_s(30)
        during = await asked("status")
        return during, await asked("blank"), await asked.until_over()

    during, told, over = on_instrument(scene)
    assert len(during["run"]["within"]) == 1
    assert during["blanked"] is False
    assert told["ok"]
    assert told["after_ms"] < 500
    assert over["last"]["status"] == "stopped"


def test_a_view_gives_way_to_a_run_which_waits_for_its_end(on_instrument):
    async def scene(asked):
        view = (await asked("run", protocol="view", settings=[]))["run"]
        await asked.clock.sleep_s(3)
        assert (await asked("tell", words="unblank"))["ok"]
        await asked.clock.sleep_s(3)
        during = await asked("status")
        wrong = await asked("run", protocol="cred", settings=["exposure_s=100"])
        still = await asked("status")
        name = await _begin(asked)
        at_begin = RunDocument.read(asked.out / view), await asked.instrument.reads_blanked()
        await asked.until_over()
        return during, wrong, still, at_begin, _commands(asked, view), RunDocument.read(asked.out / name)

    during, wrong, still, (view, blanked), commands, after = on_instrument(scene)
    assert (during["run"]["gives_way"], during["blanked"]) == (True, False)
    assert not wrong["ok"]
    assert still["run"]["name"] == during["run"]["name"]  # what cannot be ends no view
    assert (view.status, blanked) == ("stopped", True)
    assert [(each["name"], each["reason"], each.get("by")) for each in commands] == [
        ("told", "unblank", "a test"),
        ("stopped", "ended for a run of cred, from the console (a test)", None),
    ]
    assert after.status == "done"


def test_of_two_runs_that_end_a_view_one_is_begun(on_instrument):
    async def scene(asked):
        await asked("run", protocol="view", settings=[])
        await asked.clock.sleep_s(2)
        both = await asyncio.gather(*(asked("run", protocol="cred", settings=SHORT) for _ in range(2)))
        await asked.until_over()
        return [told["ok"] for told in both], len(list(asked.out.glob("mordenite_*")))

    assert on_instrument(scene) == ([True, False], 1)


def test_no_other_run_gives_way(on_instrument):
    async def scene(asked):
        await _begin(asked)
        await asked.clock.sleep_s(5)
        return await asked("run", protocol="view", settings=[])

    told = on_instrument(scene)
    assert "a run has the instrument" in told["error"]


def test_a_view_gives_way_to_the_queue_and_to_the_end_of_the_console(on_instrument):
    async def scene(asked):
        await asked("queue", protocol="cred", settings=SHORT)
        first = (await asked("run", protocol="view", settings=[]))["run"]
        await asked.clock.sleep_s(2)
        assert (await asked("start queue"))["ok"]
        await asked.clock.sleep_s(5)
        run = (await asked("status"))["run"]["protocol"]
        await asked.until_over()
        second = (await asked("run", protocol="view", settings=[]))["run"]
        closed = await asked("close")
        return run, closed["ok"], [RunDocument.read(asked.out / name).reason for name in (first, second)]

    run, closed, reasons = on_instrument(scene)
    assert (run, closed) == ("cred", True)
    assert reasons == [
        "ended for the queue, from the console (a test)",
        "ended with the console, from the console (a test)",
    ]


@pytest.mark.parametrize("accepted", [True, False, "yes"])
def test_a_machine_that_is_too_slow_is_accepted_where_that_is_asked_for(on_instrument, monkeypatch, accepted):
    from engine.run.instrument import Instrument

    seen = []
    perform = Instrument.perform

    async def performed(self, *given, **more):
        seen.append(more["accept_timing"])
        return await perform(self, *given, **more)

    monkeypatch.setattr(Instrument, "perform", performed)

    async def scene(asked):
        told = await asked("run", protocol="cred", settings=SHORT, accept_timing=accepted)
        assert told["ok"]
        await asked("stop")
        await asked.until_over()

    on_instrument(scene)
    assert seen == [accepted is True]


async def _view(asked: Any) -> str:
    told = await asked("run", protocol="view", settings=[])
    assert told["ok"], told
    return str(told["run"])


def test_a_view_that_no_page_looks_at_any_more_ends_with_the_beam_off(on_instrument):
    async def scene(asked):
        name = await _view(asked)
        for _ in range(20):  # a page is there for 100 s
            await asked("status", pages=["a page"])
            await asked.clock.sleep_s(5)
        during = await asked("status")
        begun_ns = asked.clock.now_ns()
        status = await asked.until_over()  # a console that asks, and has no page
        return name, during, status, (asked.clock.now_ns() - begun_ns) / 1e9

    name, during, status, took_s = on_instrument(scene, devices="simulated")
    assert during["run"]["name"] == name
    assert status["last"]["status"] == "stopped"
    assert "no page has been open that looks at it for 60 s" in status["last"]["reason"]
    assert status["blanked"] is True
    assert 50 < took_s < 65


def test_a_run_that_measures_goes_on_whoever_looks(on_instrument):
    async def scene(asked):
        await asked("status", pages=["a page"])
        await _begin(asked, "range_deg=60")
        return await asked.until_over()

    assert on_instrument(scene)["last"]["status"] == "done"


def test_a_blanker_that_was_told_and_not_read_is_said_to_be_just_that(on_instrument):
    async def scene(asked):
        await _view(asked)
        await asked("status", pages=["a page"])
        seen = []
        for words in ("unblank", "blank"):
            assert (await asked("tell", words=words))["ok"]
            for _ in range(60):
                await asked.clock.sleep_s(0.01)
                status = await asked("status")
                seen.append((status["blanked"], status["told_off"]))
        await asked("stop")
        await asked.until_over()
        return list(dict.fromkeys(seen))

    assert [each for each in on_instrument(scene, devices="simulated") if not each[0]] == [
        (False, False),
        (False, True),
    ]
