"""The page of the session shows its machine."""

from pathlib import Path

from protocols.session.machine import session_machine


def test_the_page_shows_the_machine_as_it_is() -> None:
    page = (Path(__file__).parents[3] / "docs" / "session.md").read_text(encoding="utf-8")
    assert session_machine().mermaid() in page
