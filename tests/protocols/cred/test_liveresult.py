"""What of the looks at a crystal stands in the result of its run."""

from typing import Any

from protocols.cred.liveresult import OF_THE_LOOK, live_result


def look(deg: float, *, determined: bool, name: str = "live", **more: Any) -> dict[str, Any]:
    return {"kind": "computation", "name": name, "result": {"deg": deg, "determined": determined} | more}


def test_a_run_without_looks_has_none() -> None:
    assert live_result([]) is None
    assert live_result([look(3.0, determined=True, name="live_frames")]) is None
    assert live_result([{"kind": "computation", "name": "live", "error": "late"}]) is None


def test_the_last_look_that_knew_the_lattice_counts() -> None:
    told = live_result([look(3, determined=True), look(6, determined=True, bravais="oC"), look(9, determined=False)])
    assert told is not None
    assert (told["deg"], told["bravais"], told["ended_by"]) == (6, "oC", None)
    assert set(told) == {*OF_THE_LOOK, "ended_by"}


def test_without_a_lattice_the_last_look_counts_and_what_ended_the_run_is_said() -> None:
    note = {"kind": "note", "name": "decision", "key": "stop_if.no_lattice_after_deg"}
    told = live_result([look(3, determined=False), look(30, determined=False, reasons=["none"]), note])
    assert told is not None
    assert (told["deg"], told["reasons"], told["ended_by"]) == (30, ["none"], "stop_if.no_lattice_after_deg")
