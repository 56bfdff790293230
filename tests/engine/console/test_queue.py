"""Runs to come: their order, their file, and how one run's end makes the queue go on or stand. On virtual time."""

import json

import pytest

from engine.console.queue import FILE, RunQueue
from tests.engine.console.test_controls import SHORT, _commands


async def _queue(asked, *samples, **more):
    keys = []
    for sample in samples:
        told = await asked("queue", protocol="cred", settings=[*SHORT, f"sample={sample}"], title=sample, **more)
        assert told["ok"], told
        keys.append(told["key"])
    return keys


def _titles(status):
    return [run["title"] for run in status["queue"]["runs"]]


def test_runs_are_begun_in_their_order_one_after_the_other(on_instrument):
    async def scene(asked):
        first, _, last = await _queue(asked, "one", "two", "three")
        await asked("move", key=last, place=0)
        before = await asked("status")
        await asked("unqueue", key=first)
        assert (await asked("start queue"))["ok"]
        await asked.clock.sleep_s(5)
        assert "a run has the instrument" in (await asked("run", protocol="cred", settings=SHORT))["error"]
        return before, await asked.until_over(), sorted(path.name for path in asked.out.glob("*_*"))

    before, after, folders = on_instrument(scene)
    assert _titles(before) == ["three", "one", "two"]
    assert folders == ["three_001", "two_001"]
    assert after["last"]["run"] == "two_001"
    assert after["queue"] == {"runs": [], "going": False, "why": "the queue is done."}


@pytest.mark.parametrize("ask", ["stop", "abort", "blank"])
def test_a_run_that_somebody_ends_makes_the_queue_stand(on_instrument, ask):
    async def scene(asked):
        await _queue(asked, "one", "two")
        await asked("start queue")
        await asked.clock.sleep_s(8)
        assert (await asked(ask))["ok"]
        return await asked.until_over()

    after = on_instrument(scene)
    assert _titles(after) == ["two"]
    assert not after["queue"]["going"]
    assert "(a test)" in after["queue"]["why"]


@pytest.mark.parametrize("ask", ["stop", "blank", "stand queue"])
def test_who_ends_all_between_two_runs_has_none_begun(on_instrument, ask):
    async def scene(asked):
        await _queue(asked, "one", "two")
        take = asked.controls.queue.take

        async def slowly():
            run = await take()
            await asked.clock.sleep_s(2)  # a slow disk
            return run

        asked.controls.queue.take = slowly
        await asked("start queue")
        await asked.clock.sleep_s(1)
        assert (await asked(ask))["ok"]
        return await asked.until_over(), list(asked.out.glob("*_*"))

    after, folders = on_instrument(scene)
    assert folders == []
    assert _titles(after) == ["one", "two"]
    assert not after["queue"]["going"]


def test_a_run_that_fails_makes_the_queue_stand_and_is_named(on_instrument):
    async def scene(asked):
        await _queue(asked, "one", "two")
        await asked("start queue")
        return await asked.until_over()

    after = on_instrument(scene, faults=("detector.start 3 error",))
    assert after["last"]["status"] == "failed"
    assert _titles(after) == ["two"]
    assert "one_001 was failed" in after["queue"]["why"]


def test_a_run_that_is_refused_at_its_turn_makes_the_queue_stand(on_instrument):
    async def scene(asked):
        await _queue(asked, "one", "two")
        await asked("queue", protocol="cred", settings=["exposure_s=0.5", "speed_deg_s=90"], title="too fast")
        await asked("move", key=(await asked("status"))["queue"]["runs"][-1]["key"], place=0)
        await asked("start queue")
        return await asked.until_over()

    after = on_instrument(scene)
    assert after["last"]["status"] == "refused"
    assert _titles(after) == ["one", "two"]
    assert "refused" in after["queue"]["why"]


def test_a_queue_that_is_told_to_stand_ends_after_the_run_under_way(on_instrument):
    async def scene(asked):
        await _queue(asked, "one", "two")
        await asked("start queue")
        await asked.clock.sleep_s(8)
        await asked("stand queue")
        return await asked.until_over()

    after = on_instrument(scene)
    assert after["last"]["status"] == "done"
    assert _titles(after) == ["two"]


def test_the_queue_outlives_its_process_and_stands_then(on_instrument, tmp_path):
    async def put(asked):
        await _queue(asked, "one", "two")
        await asked("start queue")
        await asked.clock.sleep_s(8)

    async def again(asked):
        status = await asked("status")
        await asked.clock.sleep_s(20)
        return status, await asked("status")

    on_instrument(put)
    assert [run["title"] for run in json.loads((tmp_path / "runs" / FILE).read_text())["runs"]] == ["two"]
    status, later = on_instrument(again)
    assert _titles(status) == ["two"]
    assert "opened anew" in status["queue"]["why"]
    assert later["run"] is None


@pytest.mark.parametrize("text", ["", "[]", "{", '{"runs": [1]}', '{"runs": [{"key": 1}]}', "[" * 5000])
def test_a_file_that_cannot_be_read_is_said(tmp_path, text):
    (tmp_path / FILE).write_text(text)
    queue = RunQueue(tmp_path)
    queue.read()
    assert queue.told()["runs"] == []
    assert "could not be read" in queue.why


@pytest.mark.parametrize(
    ("ask", "more", "words"),
    [
        ("start queue", {}, "the queue is empty"),
        ("unqueue", {"key": "gone"}, "no more"),
        ("move", {"key": "gone", "place": 0}, "no more"),
        ("move", {"key": "gone", "place": "first"}, "no place"),
        ("queue", {"protocol": "cred", "settings": ["exposure_s=half"]}, "exposure_s"),
        ("queue", {"protocol": "nothing", "settings": []}, "nothing"),
        ("queue", {"protocol": "cred", "settings": ["range_deg=5"] * 900}, "longer than"),
        ("mark", {"words": "  "}, "without words"),
        ("mark", {"words": "here"}, "no run is under way"),
        ("hand over", {}, "does not steer"),
    ],
)
def test_what_cannot_be_is_refused_in_a_line(on_instrument, ask, more, words):
    told = on_instrument(lambda asked: asked(ask, **more))
    assert not told["ok"]
    assert words in told["error"]
    assert "\n" not in told["error"]


def test_a_page_that_does_not_steer_ends_a_run_and_begins_none(on_instrument):
    async def scene(asked):
        await asked("status", pages=["a", "b"])
        name = (await asked("run", protocol="cred", settings=SHORT, by="a", who="Anna"))["run"]
        await asked.clock.sleep_s(6)
        await asked("status", pages=["a", "b"])
        refused = [
            await asked(ask, by="b", who="Bo", words="x", key="x", place=0, protocol="cred", settings=SHORT)
            for ask in ("abort", "pause", "tell", "mark", "queue", "unqueue", "move", "start queue", "claim", "run")
        ]
        await asked("mark", words="ice  here", by="a", who="Anna")
        stopped = await asked("blank", by="b", who="Bo")
        await asked.until_over()
        return refused, stopped, _commands(asked, name)

    refused, stopped, commands = on_instrument(scene)
    assert [told["error"] for told in refused] == ["Anna steers; nothing was done. Take over first."] * len(refused)
    assert stopped["blanked"] is True
    marked, ended = commands
    assert (marked["name"], marked["reason"], marked["by"]) == ("marked", "ice here", "Anna")
    assert "Bo" in ended["reason"]
