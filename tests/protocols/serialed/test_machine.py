from pathlib import Path

from protocols.serialed.machine import serialed_machine


def test_the_diagram_of_the_docs_is_that_of_the_machine() -> None:
    page = (Path(__file__).parents[3] / "docs" / "serialed.md").read_text(encoding="utf-8")
    assert serialed_machine().mermaid() in page
