"""The strip that a browser zooms: everything inside one page, and what its script draws where."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from engine.errors import Refused
from engine.record.trace import Record
from engine.views.strip import KIND_COLOURS
from engine.views.zoom import fragment, page
from tests.engine.traces import trace, write_trace
from tests.engine.views.test_strip import HEADER, long_run

BROWSER = """
const drawn = [], listeners = {};
const element = name => ({
  clientWidth: 1200, style: {}, textContent: "",
  addEventListener: (what, act) => { listeners[name + "." + what] = act; },
  setPointerCapture: () => {},
  getContext: () => ({
    scale: () => { drawn.length = 0; },
    fillRect(x, y, w, h) { drawn.push({x, y, w, h, colour: this.fillStyle}); },
    fillText(text, x, y) { drawn.push({text, x, y}); },
  }),
});
const elements = {};
globalThis.document = {getElementById: name => elements[name] ??= element(name)};
globalThis.window = {devicePixelRatio: 2, addEventListener: () => {}};
globalThis.ResizeObserver = class { constructor(act) { this.act = act; } observe() { this.act(); } };
const bars = colour => drawn.filter(d => d.colour == colour);
"""
"""As much of a browser as the script asks for; a drawing begins with `scale`."""


def numbered(records: list[Record]) -> list[Record]:
    return [HEADER, *({"seq": seq, **record} for seq, record in enumerate(records, start=1))]


def run_script(path: Path, asked: str) -> Any:
    """What `asked`, an expression after the page's script has run, is in a JavaScript engine."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("there is no node to run the script of the page")
    found = re.search("<script>(.*)</script>", fragment(path), re.DOTALL)
    assert found is not None
    program = f"{BROWSER}{found[1]}\nconsole.log(JSON.stringify({asked}));"
    done = subprocess.run([node, "-"], input=program, capture_output=True, text=True, check=True, timeout=60)
    return json.loads(done.stdout)


def test_the_page_needs_nothing_outside_of_it(tmp_path: Path) -> None:
    text = page(write_trace(tmp_path / "t.jsonl", numbered(long_run(3))), "<a>")
    assert "<title>&lt;a&gt;</title>" in text
    assert not re.findall(r"(?:src|href)=|https?:|import", text)


def test_nothing_in_a_trace_ends_the_script(tmp_path: Path) -> None:
    evil = {"t_ns": 1, "kind": "state", "name": "</script><b>$`", "trigger": ""}
    path = write_trace(tmp_path / "t.jsonl", numbered([evil]))
    assert fragment(path).count("</script>") == 1
    assert "</script><b>$`" in run_script(path, "drawn.map(d => d.text)")


def test_each_short_frame_is_drawn_wide_enough_to_be_seen(tmp_path: Path) -> None:
    path = write_trace(tmp_path / "t.jsonl", numbered(long_run(55)))
    short = run_script(path, f"bars('{KIND_COLOURS[1]}')")
    assert len(short) == 55
    assert {bar["w"] for bar in short} == {2}
    assert {bar["y"] for bar in short} == {short[0]["y"]}
    assert all(190 <= bar["x"] <= 1190 - 2 for bar in short)


def test_zooming_shows_less_larger_and_the_whole_run_comes_back(tmp_path: Path) -> None:
    path = write_trace(tmp_path / "t.jsonl", numbered(long_run(55)))
    colour = KIND_COLOURS[1]
    clicks = "listeners['strip-in.click']();" * 8
    told = run_script(
        path,
        f"(() => {{ {clicks} const near = bars('{colour}').length, long = bars('{KIND_COLOURS[0]}').map(d => d.w);"
        f"listeners['strip-all.click'](); return [near, Math.max(...long), bars('{colour}').length]; }})()",
    )
    near, widest, whole = told
    assert near < 2  # 275 s / 2^8 are some two slots
    assert 300 < widest <= 1000
    assert whole == 55


def test_the_wheel_zooms_about_the_cursor_and_dragging_moves(tmp_path: Path) -> None:
    path = write_trace(tmp_path / "t.jsonl", numbered(long_run(20)))
    wheel = "listeners['strip.wheel']({ctrlKey: true, deltaY: -600, offsetX: 690, preventDefault: () => {}});"
    drag = (
        "listeners['strip.pointerdown']({offsetX: 700, pointerId: 1}); listeners['strip.pointermove']({offsetX: 600});"
    )
    ticks = "drawn.filter(d => d.text && d.text.endsWith(' s')).map(d => [parseFloat(d.text), d.x])"
    zoomed, moved = run_script(
        path, f"(() => {{ {wheel} const zoomed = {ticks}; {drag} return [zoomed, {ticks}]; }})()"
    )

    def at(px: float, seen: list[list[float]]) -> float:
        (t0, x0), (t1, x1) = seen[0], seen[-1]
        return t0 + (px - x0) / (x1 - x0) * (t1 - t0)

    middle_s = 99.51 / 2  # of the run, under the cursor
    assert at(690, zoomed) == pytest.approx(middle_s, abs=0.05)
    assert at(1190, zoomed) - at(190, zoomed) == pytest.approx(99.51 * 0.1353, rel=0.02)
    assert at(600, moved) == pytest.approx(at(700, zoomed), abs=0.05)


def test_the_cursor_is_told_what_is_under_it(tmp_path: Path) -> None:
    call = {"t_ns": 3, "kind": "call", "name": "beam.on", "args": [], "begin_ns": 500_000_000, "end_ns": 1_500_000_000}
    records = [call, {"t_ns": 2_000_000_000, "kind": "note", "name": "a"}]
    path = write_trace(tmp_path / "t.jsonl", numbered(records))
    move = "listeners['strip.pointermove']({offsetX: 690, offsetY: 8});"
    assert run_script(path, f"(() => {{ {move} return elements['strip-told'].textContent; }})()") == (
        "beam: 0.500000 s, 1000.000 ms"
    )


def test_plot_makes_the_page_by_its_ending(tmp_path: Path) -> None:
    path = write_trace(tmp_path / "t.jsonl", numbered(long_run(2)))
    assert trace("plot", path, "-o", tmp_path / "strip.html").exit_code == 0
    assert "<canvas" in (tmp_path / "strip.html").read_text(encoding="utf-8")
    assert isinstance(trace("plot", path, "-o", tmp_path / "strip.htm").exception, Refused)
