"""What a protocol declares of its frames is refused when it is loaded, not when a frame has come."""

import pytest

from engine.record.framekinds import Column, FrameKind


@pytest.mark.parametrize(
    ("name", "arrival", "final", "why"),
    [
        ("two words", [], [], "named by identifiers"),
        ("still", ["x-nm"], [], "named by identifiers"),
        ("still", ["x_nm"], ["x_nm"], "column 'x_nm' is there twice"),
        ("still", ["number"], [], "column 'number' is there twice"),
        ("still", ["kind"], [], "column 'kind' is a field of every frame's record"),
        ("still", ["arrived_ns"], [], "column 'arrived_ns' is a field of every frame's record"),
    ],
)
def test_names_that_could_not_be_written_are_refused(name: str, arrival: list[str], final: list[str], why: str) -> None:
    first, second = (tuple(Column(each, "<f8", "a value") for each in names) for names in (arrival, final))
    with pytest.raises(ValueError, match=why):
        FrameKind(name, first, second)


def test_a_type_that_a_table_cannot_hold_is_refused() -> None:
    with pytest.raises(ValueError, match="column 'when' is no number"):
        FrameKind("still", (Column("when", "<M8[ns]", "a date"),))
