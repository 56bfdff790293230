"""The machine of cRED: its states, and its diagram in the documentation."""

from pathlib import Path

from protocols.cred.machine import State, cred_machine

DIAGRAM = Path(__file__).parents[3] / "docs" / "cred-machine.md"


def test_the_states_are_exactly_those_of_the_design_and_of_the_pre_scan() -> None:
    assert {state.value for state in State} == {
        "relax", "prescan-goto", "prescan-snapshot", "prescan-return", "wait-for-rotation",
        "delay", "expose", "defocus-snapshot", "refocus", "finalize",
        "done", "stopped", "aborted", "failed",
    }  # fmt: skip


def test_the_committed_diagram_is_current() -> None:
    assert cred_machine().mermaid() in DIAGRAM.read_text(encoding="utf-8"), "renew it: credline graph cred"
