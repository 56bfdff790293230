"""The live lines of a run: every figure is there at 60 columns, and warnings are known by their records."""

import re
from typing import Any

import pytest

from engine.commands.liveline import Figures, live_text, warning_of

FULL = Figures(
    "wait-for-rotation", 123, 2600, "-12.34 deg", late_ms=12.34, lost=17, left_s=4321.0, elapsed_s=3601.0
)  # fmt: skip
SHOWN = ("wait-for-rotation", "123/2600", "1:12:01 left", "-12.34 deg", "late 12.34 ms", "17 lost", "1:00:01")


@pytest.mark.parametrize("width", [60, 80, 200])
def test_every_figure_is_shown_within_the_width(width: int) -> None:
    text = live_text(FULL, width)
    assert [word for word in SHOWN if word not in text] == []
    assert max(map(len, text.splitlines())) <= width


@pytest.mark.parametrize("width", [1, 20, 40])
def test_on_a_narrower_terminal_the_bar_gives_way_and_no_figure(width: int) -> None:
    text = live_text(FULL, width)
    assert [word for word in SHOWN if word not in text] == []
    assert not re.search("[#]", text)


@pytest.mark.parametrize(
    ("figures", "lines"),
    [
        (Figures("relax"), ["relax             0"]),
        (Figures("expose", 5, 10), [f"expose            {'#' * 15}{'.' * 15} 5/10"]),
        (Figures("expose", 12, 10, elapsed_s=59.6), [f"expose            {'#' * 30} 12/10", "1:00 since the start"]),
        (Figures("writing products", 1, 2, left_s=5.0), [f"writing products  {'#' * 15}{'.' * 15} 1/2  0:05 left"]),
    ],
)
def test_what_is_not_known_is_left_out(figures: Figures, lines: list[str]) -> None:
    assert live_text(figures, 80).splitlines() == lines


@pytest.mark.parametrize(
    ("record", "says"),
    [
        (
            {"kind": "slot", "name": "lost", "slot": 7, "reason": "the disk was behind"},
            "slot 7 is lost: the disk was behind",
        ),
        (
            {"kind": "slot", "name": "stretched", "slot": 7, "start_ns": 0, "period_ns": 530_000_000},
            "from slot 7 on slots are longer than planned: 0.5300 s",
        ),
        ({"kind": "slot", "name": "stretched", "slot": 7}, "from slot 7 on slots are longer than planned"),
        ({"kind": "refused", "name": "frame", "reason": "all dark"}, "a frame was not kept: all dark"),
        ({"kind": "fault", "name": "DeviceError", "reason": "stage: no answer"}, None),
        ({"kind": "frame", "name": "still", "slot": 7}, None),
        ({"kind": "slot", "name": "begun", "slot": 7}, None),
    ],
)
def test_a_record_of_what_goes_wrong_is_a_warning(record: dict[str, Any], says: str | None) -> None:
    told = warning_of(record)
    assert (told.text if told else None) == says
