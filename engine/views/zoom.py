"""The timing strip as a page that a browser zooms: all rows and events inside, no other file and no network.

For a look at any place of a run, where `engine.views.strip` chooses two. `fragment` goes into a page that has more to
say, `page` is one of its own.
"""

import html
import json
from pathlib import Path

from engine.views.lanes import Bar, Rows, is_alarm, read_rows
from engine.views.strip import COLOURS, kinds_of, layers

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title></head>
<body style="font: 14px/1.5 system-ui, sans-serif; margin: 1rem"><h1 style="font-size: 1.1rem">{title}</h1>
{fragment}
</body></html>
"""

FRAGMENT = """<div><button id="strip-in">+</button> <button id="strip-out">-</button>
<button id="strip-all">whole run</button>
<span style="color: #666">drag to move, Ctrl and wheel to zoom</span> <b id="strip-told"></b></div>
<canvas id="strip" style="width: 100%; height: {height}px; touch-action: pan-y; cursor: crosshair"></canvas>
<script>
{script}
({data});
</script>
"""

ROW_PX, AXIS_PX = 17, 30

SCRIPT = """(strip => {
const LEFT = 190, SHORTEST = 2, ROW = strip.row, AXIS = strip.axis;
const canvas = document.getElementById("strip"), told = document.getElementById("strip-told");
let a = strip.first, b = strip.last, grip = null;

const width = () => canvas.clientWidth - LEFT - 10;
const x = t => LEFT + (t - a) / (b - a) * width();
const t = px => a + (px - LEFT) / width() * (b - a);

function show(begin, end) {
  const whole = strip.last - strip.first, length = Math.min(whole, Math.max(end - begin, 1e-6));
  a = Math.min(Math.max(begin, strip.first), strip.last - length);
  b = a + length;
  draw();
}

function zoom(factor, around) { show(around - (around - a) * factor, around + (b - around) * factor); }

function step() {
  const rough = (b - a) / 8, power = 10 ** Math.floor(Math.log10(rough));
  return [1, 2, 5, 10].map(n => n * power).find(s => s >= rough);
}

function bar(pen, row, begin, length, colour) {
  const from = Math.max(x(begin), LEFT), to = Math.min(Math.max(x(begin + length), from + SHORTEST), LEFT + width());
  if (begin > b || begin + length < a) return;
  pen.fillStyle = colour;
  pen.fillRect(Math.min(from, LEFT + width() - SHORTEST), row * ROW + 2, Math.max(to - from, SHORTEST), ROW - 4);
}

function draw() {
  if (width() <= 0) return;  // not shown yet
  const pen = canvas.getContext("2d"), sharp = window.devicePixelRatio || 1, bottom = strip.rows.length * ROW;
  canvas.width = canvas.clientWidth * sharp;
  canvas.height = (bottom + AXIS) * sharp;
  pen.scale(sharp, sharp);
  pen.font = "11px system-ui, sans-serif";
  strip.rows.forEach((row, k) => {
    pen.fillStyle = "#808080";
    pen.textAlign = "left";
    if (k == 0 || strip.rows[k - 1].group != row.group) {
      pen.fillText(row.group, 0, k * ROW + 12);
      pen.fillRect(LEFT, k * ROW, width(), 0.5);
    }
    pen.fillStyle = "#000000";
    pen.textAlign = "right";
    pen.fillText(row.name, LEFT - 6, k * ROW + 12);
    for (const [colour, bars] of row.bars) for (const [begin, length] of bars) bar(pen, k, begin, length, colour);
  });
  pen.fillStyle = strip.alarm;
  for (const at of strip.alarms) if (at >= a && at <= b) pen.fillRect(x(at), 0, 0.7, bottom);
  pen.fillStyle = "#000000";
  pen.textAlign = "center";
  pen.fillRect(LEFT, bottom, width(), 1);
  const s = step(), digits = Math.max(0, -Math.floor(Math.log10(s)));
  for (let n = Math.ceil(a / s); n * s <= b; n++) {
    pen.fillRect(x(n * s), bottom, 1, 4);
    pen.fillText((n * s).toFixed(digits) + " s", x(n * s), bottom + 17);
  }
}

function under(px, py) {
  const row = strip.rows[Math.floor(py / ROW)], reach = SHORTEST / width() * (b - a), at = t(px);
  if (!row) return "";
  for (const [, bars] of row.bars)
    for (const [begin, length] of bars)
      if (begin - reach <= at && at <= begin + length + reach)
        return row.name + ": " + begin.toFixed(6) + " s" + (length ? ", " + (1000 * length).toFixed(3) + " ms" : "");
  return "";
}

canvas.addEventListener("wheel", e => {
  if (!e.ctrlKey) return;
  e.preventDefault();
  zoom(Math.exp(e.deltaY / 300), t(e.offsetX));
}, {passive: false});
canvas.addEventListener("pointerdown", e => { grip = t(e.offsetX); canvas.setPointerCapture(e.pointerId); });
canvas.addEventListener("pointerup", () => { grip = null; });
canvas.addEventListener("pointermove", e => {
  if (grip === null) told.textContent = under(e.offsetX, e.offsetY);
  else { const by = grip - t(e.offsetX); show(a + by, b + by); }
});
document.getElementById("strip-in").addEventListener("click", () => zoom(0.5, (a + b) / 2));
document.getElementById("strip-out").addEventListener("click", () => zoom(2, (a + b) / 2));
document.getElementById("strip-all").addEventListener("click", () => show(strip.first, strip.last));
new ResizeObserver(draw).observe(canvas);
})"""


def fragment(trace: Path) -> str:
    """The strip of a run folder or trace file as part of a page, once in it. Raises DataError as `read_trace` does."""
    rows = read_rows(trace)
    # Nothing in a trace may end the script.
    data = json.dumps(strip_data(rows), separators=(",", ":")).replace("<", r"\u003c")
    return FRAGMENT.format(height=ROW_PX * len(rows.lanes) + AXIS_PX, script=SCRIPT, data=data)


def page(trace: Path, title: str) -> str:
    """The same as a page of its own."""
    return PAGE.format(title=html.escape(title), fragment=fragment(trace))


def strip_data(rows: Rows) -> dict[str, object]:
    """What the script draws: rows with their bars by colour, the later over the earlier."""
    kinds = kinds_of(rows.lanes)
    return {
        "row": ROW_PX,
        "axis": AXIS_PX,
        "first": rows.whole.begin_s,
        "last": rows.whole.end_s,
        "rows": [
            {
                "group": lane.group,
                "name": lane.name,
                "bars": [(hue, [_rounded(bar) for bar in bars]) for hue, bars in layers(lane, kinds) if bars],
            }
            for lane in rows.lanes
        ],
        "alarm": COLOURS["alarm"],
        "alarms": sorted({at_s for lane in rows.lanes if is_alarm(lane) for at_s in lane.marks}),
    }


def _rounded(bar: Bar) -> Bar:
    """To whole nanoseconds, as the trace has it."""
    return round(bar[0], 9), round(bar[1], 9)
