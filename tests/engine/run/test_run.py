"""Every way through a run and out of it: the right status, the data kept, and the instrument always left safe."""

import asyncio
import errno
import json
from collections.abc import Callable
from contextlib import suppress

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from engine.clock import NS_PER_S, ns
from engine.clock.virtual import VirtualClock
from engine.errors import DeviceError, DeviceLost, StorageError
from engine.record.endings import WORK_DONE, Ending, Status
from engine.run.machine import FINISH
from engine.run.safety import LET_GO_S
from tests.engine.small_experiment import SAFE, WHOLE_S, State, hang, raising, rehearsal
from tests.engine.virtually import virtual

# --- the way that is planned


@virtual
async def test_left_to_itself_a_run_is_done(clock: VirtualClock) -> None:
    with rehearsal(clock) as r:
        assert await r.drive() == WORK_DONE
        assert r.states == ["prepare", "measure", "finalize", "done"]
        assert r.products
        assert r.now_s == WHOLE_S
        assert r.safe_log == [("blank", 11.0), ("stop rotation", 11.1), ("disarm", 11.2), ("refocus", 11.3)]
        assert r.run.alarms == []


@virtual
async def test_an_activity_may_say_why_the_run_is_done(clock: VirtualClock) -> None:
    with rehearsal(clock) as r:

        async def measure() -> str:
            return r.run.finish(Status.DONE, "range reached")

        r.works[State.MEASURE] = measure
        assert await r.drive() == Ending(Status.DONE, "range reached")


@virtual
async def test_the_journal_holds_every_state_in_order(clock: VirtualClock) -> None:
    with rehearsal(clock) as r:
        await r.drive()
        await r.run.flush()
        lines = [json.loads(line) for line in (r.run.folder / "journal.jsonl").read_text().splitlines()]
        assert [line["state"] for line in lines] == ["prepare", "measure", "finalize", "done"]
        assert [line["t_ns"] for line in lines] == [0, ns(1), ns(11), ns(WHOLE_S)]
        trace = [json.loads(line) for line in (r.run.folder / "trace.jsonl").read_text().splitlines()]
        assert trace == r.records


# --- the operator's commands


@pytest.mark.parametrize("at_s", [0.5, 5.0], ids=["prepare", "measure"])
@virtual
async def test_a_stop_ends_the_work_at_once_and_keeps_the_products(clock: VirtualClock, at_s: float) -> None:
    with rehearsal(clock) as r:
        ending = await r.drive(at_s, lambda: r.run.commands.stop("operator"))
        assert ending == Ending(Status.STOPPED, "operator")
        assert r.safe_log[0] == ("blank", at_s)
        assert r.made_safe == list(SAFE)
        assert r.products
        assert r.states[-2:] == ["finalize", "stopped"]


@virtual
async def test_a_stop_before_the_start_is_honoured_in_the_first_state(clock: VirtualClock) -> None:
    with rehearsal(clock) as r:
        r.run.commands.stop("too early")
        assert (await r.drive()).status is Status.STOPPED
        assert r.states == ["prepare", "finalize", "stopped"]
        assert r.safe_log[0] == ("blank", 0.0)


@pytest.mark.parametrize("at_s", [11.0, 11.15, 12.0], ids=["entering", "while made safe", "while writing"])
@virtual
async def test_a_stop_while_finalizing_does_not_cost_the_products(clock: VirtualClock, at_s: float) -> None:
    with rehearsal(clock) as r:
        ending = await r.drive(at_s + 1e-6, lambda: r.run.commands.stop("operator"))
        assert r.products
        assert r.now_s == WHOLE_S
        assert r.made_safe == list(SAFE)
        assert ending.status is Status.STOPPED


@pytest.mark.parametrize("at_s", [0.5, 5.0, 11.15, 12.0], ids=["prepare", "measure", "made safe", "writing"])
@virtual
async def test_an_abort_ends_in_the_safe_state_without_products(clock: VirtualClock, at_s: float) -> None:
    with rehearsal(clock) as r:
        ending = await r.drive(at_s, lambda: r.run.commands.abort("operator"))
        assert ending == Ending(Status.ABORTED, "operator")
        assert not r.products
        assert r.made_safe == list(SAFE)
        assert r.states[-1] == "aborted"


@virtual
async def test_a_stop_followed_by_an_abort_is_an_abort(clock: VirtualClock) -> None:
    with rehearsal(clock) as r:
        asyncio.get_running_loop().call_at(6.0, r.run.commands.abort, "second Ctrl-C")
        ending = await r.drive(5.0, lambda: r.run.commands.stop("first Ctrl-C"))
        assert ending == Ending(Status.ABORTED, "second Ctrl-C")
        assert not r.products
        assert [record["reason"] for record in r.records if record["kind"] == "command"] == [
            "first Ctrl-C",
            "second Ctrl-C",
        ]


def test_a_command_after_the_end_harms_nobody() -> None:
    @virtual
    async def scenario(clock: VirtualClock) -> None:
        with rehearsal(clock) as r:
            await r.drive()
            r.run.commands.abort("too late")
            await clock.sleep_s(1)
            assert r.run.ending is None

    scenario()


DECISIONS = [
    ([("done", "range")], ("done", "range")),
    ([("stopped", "a"), ("done", "b")], ("stopped", "a")),
    ([("done", "a"), ("stopped", "b")], ("done", "a")),
    ([("done", "a"), ("failed", "b")], ("failed", "b")),
    ([("stopped", "a"), ("aborted", "b")], ("aborted", "b")),
    ([("failed", "a"), ("aborted", "b")], ("failed", "a")),
    ([("aborted", "a"), ("failed", "b")], ("aborted", "a")),
    ([("failed", "a"), ("failed", "b")], ("failed", "a")),
]


@pytest.mark.parametrize(("decisions", "expected"), DECISIONS)
@virtual
async def test_the_first_decision_stands_unless_success_turns_into_failure(
    clock: VirtualClock, decisions: list[tuple[str, str]], expected: tuple[str, str]
) -> None:
    with rehearsal(clock) as r:
        for status, reason in decisions:
            assert r.run.finish(Status(status), reason) == FINISH
        assert r.run.ending == Ending(Status(expected[0]), expected[1])


# --- failures of the work


@virtual
async def test_a_device_error_fails_the_run_with_its_own_words(clock: VirtualClock) -> None:
    with rehearsal(clock) as r:
        r.works[State.MEASURE] = raising(DeviceError("stage: limit switch; nothing moved."))
        assert await r.drive() == Ending(Status.FAILED, "stage: limit switch; nothing moved.")
        assert r.products
        assert r.made_safe == list(SAFE)
        assert next(x for x in r.records if x["kind"] == "fault")["name"] == "DeviceError"


@pytest.mark.parametrize(
    ("command", "ending"),
    [
        ("stop", Ending(Status.FAILED, "stage: limit switch; nothing moved.")),
        ("abort", Ending(Status.ABORTED, "operator")),
        ("fail", Ending(Status.FAILED, "operator")),
    ],
)
@virtual
async def test_a_command_at_the_instant_of_a_failure_does_not_hide_its_reason(
    clock: VirtualClock, command: str, ending: Ending
) -> None:
    with rehearsal(clock) as r:

        async def measure() -> str:
            await clock.sleep_s(4)
            getattr(r.run.commands, command)("operator")
            raise DeviceError("stage: limit switch; nothing moved.")

        r.works[State.MEASURE] = measure
        assert await r.drive() == ending
        told = [(x["kind"], x["reason"]) for x in r.records if x["kind"] in ("command", "fault")]
        assert told == [("command", "operator"), ("fault", "stage: limit switch; nothing moved.")]
        assert r.made_safe == list(SAFE)


@virtual
async def test_a_bug_fails_the_run_and_is_written_down_in_full(clock: VirtualClock) -> None:
    with rehearsal(clock) as r:
        r.works[State.PREPARE] = raising(KeyError("slot"))
        ending = await r.drive()
        assert ending.status is Status.FAILED
        assert ending.reason == "internal error (KeyError: 'slot'); please report it with the run's error.txt."
        assert "Traceback" in (r.run.folder / "error.txt").read_text()
        assert r.made_safe == list(SAFE)


@virtual
async def test_a_failure_while_finalizing_turns_done_into_failed(clock: VirtualClock) -> None:
    with rehearsal(clock) as r:
        r.works[State.FINALIZE] = raising(StorageError("disk full"))
        assert await r.drive() == Ending(Status.FAILED, "disk full")
        assert r.made_safe == list(SAFE)
        assert r.states[-1] == "failed"


@virtual
async def test_an_activity_that_answers_nonsense_fails_the_run(clock: VirtualClock) -> None:
    with rehearsal(clock) as r:

        async def measure() -> str:
            return "relaxed"  # no trigger of this machine

        r.works[State.MEASURE] = measure
        ending = await r.drive()
        assert ending.status is Status.FAILED
        assert "relaxed" in ending.reason
        assert r.made_safe == list(SAFE)


@virtual
async def test_a_state_without_work_fails_the_run(clock: VirtualClock) -> None:
    with rehearsal(clock) as r, capture_logs():
        del r.works[State.MEASURE]
        assert (await r.drive()).status is Status.FAILED
        assert r.made_safe == list(SAFE)


def no_space() -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


@virtual
async def test_a_journal_that_cannot_be_written_ends_the_run_as_failed(clock: VirtualClock) -> None:
    with rehearsal(clock) as r:
        asyncio.get_running_loop().call_at(0.5, r.writer.submit, no_space)
        ending = await r.drive()
        assert ending.status is Status.FAILED
        assert "No space left" in ending.reason
        assert "Free some space" in ending.reason
        assert r.safe_log[0] == ("blank", 0.5)  # at once, not at the next state boundary
        assert r.made_safe == list(SAFE)


@virtual
async def test_a_failure_in_the_background_while_finalizing_does_not_cost_the_products(clock: VirtualClock) -> None:
    with rehearsal(clock) as r:
        assert await r.drive(12.0, lambda: r.run.commands.fail("late")) == Ending(Status.FAILED, "late")
        assert r.products
        assert r.states[-1] == "failed"


# --- work in the background


@virtual
async def test_a_failure_in_the_background_fails_the_run(clock: VirtualClock) -> None:
    with rehearsal(clock) as r:

        async def pump() -> None:
            await clock.sleep_s(4)
            raise DeviceLost("detector: no answer")

        r.run.in_background(pump(), "frame pump")
        assert await r.drive() == Ending(Status.FAILED, "detector: no answer")
        assert r.safe_log[0] == ("blank", 4.0)
        assert r.products


@virtual
async def test_background_work_ends_while_the_beam_is_blanked_and_before_all_else(clock: VirtualClock) -> None:
    with rehearsal(clock) as r:
        ended_s: list[float] = []

        async def watch() -> None:
            try:
                await hang()
            finally:
                ended_s.append(r.now_s)
                assert r.made_safe in ([], ["blank"])

        r.run.in_background(watch(), "watch")
        assert (await r.drive()).status is Status.DONE
        assert ended_s == [11.0]


@virtual
async def test_background_work_that_will_not_end_does_not_keep_the_beam_on(clock: VirtualClock) -> None:
    with rehearsal(clock) as r:

        async def stubborn() -> None:
            try:
                await hang()
            finally:
                await clock.sleep_s(3600)

        r.run.in_background(stubborn(), "stubborn")
        await r.drive()
        assert r.made_safe == list(SAFE)
        assert r.safe_log[0][1] <= 11.0 + 1.0
        assert any(x["kind"] == "fault" and "stubborn" in str(x) for x in r.records)


@virtual
async def test_work_that_will_not_let_go_does_not_keep_the_beam_on(clock: VirtualClock) -> None:
    with rehearsal(clock) as r:

        async def stubborn() -> str:
            try:
                await hang()
            finally:
                await clock.sleep_s(3600)
            return FINISH

        r.works[State.MEASURE] = stubborn
        assert (await r.drive(5.0, lambda: r.run.commands.stop("operator"))).status is Status.STOPPED
        assert r.safe_log[0][1] <= 5.0 + 1.0
        assert any(x["kind"] == "fault" and "measure" in str(x) for x in r.records)


# --- the safe state


@virtual
async def test_a_failing_blanker_raises_the_alarm_and_the_rest_is_still_done(clock: VirtualClock) -> None:
    with rehearsal(clock) as r, capture_logs() as logs:
        r.actions["blank"] = raising(DeviceError("blanker: stuck"))
        await r.drive()
        assert r.made_safe[:10] == ["blank"] * 10  # again and again until its limit
        assert r.made_safe[-4:] == list(SAFE)
        assert r.run.alarms == ["THE BEAM MAY BE ON (blank failed: blanker: stuck)"]
        assert [entry["event"] for entry in logs if entry["log_level"] == "critical"] == ["THE BEAM MAY BE ON"]


@virtual
async def test_a_blanker_that_comes_back_in_time_raises_no_alarm(clock: VirtualClock) -> None:
    with rehearsal(clock) as r, capture_logs():

        async def back_after_half_a_second() -> None:
            if r.now_s < 11.5:
                raise DeviceError("blanker: not connected")

        r.actions["blank"] = back_after_half_a_second
        await r.drive()
        assert r.run.alarms == []
        assert r.made_safe[-4:] == list(SAFE)


@virtual
async def test_a_device_that_clings_to_its_call_does_not_keep_the_others_from_safety(clock: VirtualClock) -> None:
    with rehearsal(clock) as r, capture_logs():

        async def cling() -> None:
            while r.now_s < 100:
                with suppress(asyncio.CancelledError):
                    await clock.sleep_until(100 * NS_PER_S)

        r.actions["blank"] = cling
        await r.drive()
        assert r.made_safe == list(SAFE)
        assert r.safe_log[1] == ("stop rotation", 11.0 + 1.0 + LET_GO_S)
        assert r.run.alarms == ["THE BEAM MAY BE ON (blank failed: its device does not let go of the call)"]
        await clock.sleep_until(101 * NS_PER_S)


@virtual
async def test_a_hanging_blanker_costs_its_limit_and_no_more(clock: VirtualClock) -> None:
    with rehearsal(clock) as r, capture_logs():
        r.actions["blank"] = hang
        await r.drive()
        assert r.safe_log == [("blank", 11.0), ("stop rotation", 12.0), ("disarm", 12.1), ("refocus", 12.2)]
        assert r.run.alarms == ["THE BEAM MAY BE ON (blank failed: no answer)"]


@virtual
async def test_when_everything_hangs_the_safe_state_still_ends(clock: VirtualClock) -> None:
    with rehearsal(clock) as r, capture_logs():
        r.actions = dict.fromkeys(SAFE, hang)
        assert (await r.drive()).status is Status.DONE
        assert r.now_s == 11.0 + 4 * 1.0 + 2.0
        assert len(r.run.alarms) == 1  # only the blanker has one
        assert [x["name"] for x in r.records if x["kind"] == "fault"] == list(SAFE)


@pytest.mark.parametrize("error", [KeyError("bug"), asyncio.CancelledError(), TimeoutError()])
@virtual
async def test_whatever_an_action_raises_the_next_ones_are_tried(clock: VirtualClock, error: BaseException) -> None:
    with rehearsal(clock) as r, capture_logs():
        r.actions["blank"] = raising(error)
        await r.drive()
        assert r.made_safe[-4:] == list(SAFE)
        assert len(r.run.alarms) == 1


@virtual
async def test_the_instrument_is_made_safe_once(clock: VirtualClock) -> None:
    with rehearsal(clock) as r:
        await r.drive()
        await r.run.make_safe(r)
        assert r.made_safe == list(SAFE)


@virtual
async def test_a_second_caller_waits_until_the_instrument_is_safe(clock: VirtualClock) -> None:
    with rehearsal(clock) as r:
        async with asyncio.TaskGroup() as group:
            group.create_task(r.run.make_safe(r))
            await clock.sleep_s(0.05)
            await r.run.make_safe(r)
            assert r.now_s == 0.4
        assert r.made_safe == list(SAFE)


@virtual
async def test_making_safe_cannot_be_cancelled_but_says_afterwards_that_it_was(clock: VirtualClock) -> None:
    with rehearsal(clock) as r:
        task = asyncio.create_task(r.run.make_safe(r))
        for at_s in (0.05, 0.15, 0.25):
            asyncio.get_running_loop().call_at(at_s, task.cancel)
        await asyncio.wait([task])
        assert task.cancelled()
        assert r.made_safe == list(SAFE)
        assert r.now_s == 0.4


# --- cancelled from outside


@pytest.mark.parametrize("at_s", [0.5, 5.0, 11.15, 12.0], ids=["prepare", "measure", "made safe", "writing"])
@virtual
async def test_cancellation_from_outside_still_reaches_the_safe_state(clock: VirtualClock, at_s: float) -> None:
    with rehearsal(clock) as r:
        task = asyncio.create_task(r.run.drive(r))
        asyncio.get_running_loop().call_at(at_s, task.cancel)
        with pytest.raises(asyncio.CancelledError):
            await task
        assert r.made_safe == list(SAFE)
        assert r.now_s >= max(s for _, s in r.safe_log) + 0.1  # not before the last was done
        assert task.cancelled()


@given(cancels_ms=st.lists(st.integers(0, 15_000), min_size=1, max_size=6))
@example(cancels_ms=[11_150, 11_200])  # twice while finalizing makes the instrument safe
@virtual
async def test_however_often_it_is_cancelled_a_run_ends_safe(clock: VirtualClock, cancels_ms: list[int]) -> None:
    with rehearsal(clock) as r:
        task = asyncio.create_task(r.run.drive(r))
        await asyncio.sleep(0)
        for cancel_ms in cancels_ms:
            asyncio.get_running_loop().call_at(cancel_ms / 1000, task.cancel)
        await asyncio.wait([task])
        assert r.made_safe == list(SAFE)
        assert clock.now_ns() >= ns(r.safe_log[-1][1] + 0.1)


@given(
    at_ms=st.integers(0, 14_000),
    kinds=st.lists(st.sampled_from(["stop", "abort", "fail", "cancel"]), min_size=1, max_size=3),
    broken=st.sets(st.sampled_from(SAFE)),
)
@virtual
async def test_at_any_instant_every_way_out_tries_every_safe_action_once_and_in_order(
    clock: VirtualClock, at_ms: int, kinds: list[str], broken: set[str]
) -> None:
    with rehearsal(clock) as r, capture_logs():
        r.actions = dict.fromkeys(broken, hang)
        task = asyncio.create_task(r.run.drive(r))
        await asyncio.sleep(0)
        ways: dict[str, Callable[[], object]] = {
            "stop": lambda: r.run.commands.stop("x"),
            "abort": lambda: r.run.commands.abort("x"),
            "fail": lambda: r.run.commands.fail("x"),
            "cancel": task.cancel,
        }
        for kind in kinds:
            asyncio.get_running_loop().call_at(at_ms / 1000, ways[kind])
        await asyncio.wait([task])
        assert r.made_safe == list(SAFE)
        assert len(r.run.alarms) == ("blank" in broken)
        if not task.cancelled():
            ending = task.result()
            assert r.states[-1] == ending.status.value == r.machine.state.value
            assert r.products or "abort" in kinds
