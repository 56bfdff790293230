"""Reciprocal space to be turned by mouse and keys, for a page without a network: one canvas, and the script for it."""

import json

import numpy as np

from protocols.products.foundcrystal import FoundCrystal
from protocols.products.reciprocalplot import brightness, reach_per_A

UNKNOWN_PER_A = 0.2
"""Length of the axes that are shown where no lattice is known."""

FRAGMENT = """<div><button id="space-a">along {names[0]}</button> <button id="space-b">{names[1]}</button>
<button id="space-c">{names[2]}</button> <button id="space-all">all of it</button>
<label><input type="checkbox" id="space-others" checked> not of the lattice</label>
<span style="color: #666">drag or arrow keys turn, Shift and drag roll, wheel or + and - zoom</span></div>
<canvas id="space" tabindex="0" aria-label="Reciprocal space, to be turned"
style="width: 100%; height: 30rem; background: #10151f; touch-action: none; cursor: grab"></canvas>
<script>
{script}
({data});
</script>
"""

SCRIPT = """(space => {
const canvas = document.getElementById("space"), others = document.getElementById("space-others");
const STEP = 0.05;
let view = [[1, 0, 0], [0, 1, 0], [0, 0, 1]], zoom = 1, grip = null;

const times = (m, v) => m.map(row => row[0] * v[0] + row[1] * v[1] + row[2] * v[2]);
const product = (m, n) => m.map(row => [0, 1, 2].map(k => row[0] * n[0][k] + row[1] * n[1][k] + row[2] * n[2][k]));
const cross = (u, v) => [u[1] * v[2] - u[2] * v[1], u[2] * v[0] - u[0] * v[2], u[0] * v[1] - u[1] * v[0]];
const unit = v => { const n = Math.hypot(...v); return v.map(x => x / n); };

function turn(right, up, roll) {
  const turned = (i, j, angle) => {
    const m = [[1, 0, 0], [0, 1, 0], [0, 0, 1]];
    m[i][i] = m[j][j] = Math.cos(angle);
    m[j][i] = Math.sin(angle);
    m[i][j] = -m[j][i];
    return m;
  };
  view = product(turned(0, 1, roll), product(turned(1, 2, -up), product(turned(2, 0, right), view)));
  draw();
}

function along(number) {
  const z = unit(space.axes[number]), next = space.axes[(number + 1) % 3];
  const y = unit(cross(z, next));
  view = [cross(y, z), y, z];
  draw();
}

function place(v, size) {
  // From infinitely far away: rows of the lattice stay rows.
  const [x, y, z] = times(view, v), scale = zoom * size / 2 / space.reach;
  return [canvas.clientWidth / 2 + x * scale, canvas.clientHeight / 2 - y * scale, z / space.reach];
}

function line(pen, size, from, to, colour, width) {
  const a = place(from, size), b = place(to, size);
  pen.strokeStyle = colour;
  pen.lineWidth = width;
  pen.beginPath();
  pen.moveTo(a[0], a[1]);
  pen.lineTo(b[0], b[1]);
  pen.stroke();
}

function draw() {
  if (canvas.clientWidth <= 0) return;  // not shown yet
  const pen = canvas.getContext("2d"), sharp = window.devicePixelRatio || 1;
  const size = Math.min(canvas.clientWidth, canvas.clientHeight) * 0.9;
  canvas.width = canvas.clientWidth * sharp;
  canvas.height = canvas.clientHeight * sharp;
  pen.scale(sharp, sharp);
  pen.font = "12px system-ui, sans-serif";
  space.axes.forEach((axis, k) => {
    const end = unit(axis).map(x => x * space.reach), back = end.map(x => -x);
    line(pen, size, back, end, "rgba(143, 163, 191, 0.35)", 0.7);
    line(pen, size, [0, 0, 0], axis, "#8fa3bf", 2.5);
    const [x, y] = place(end, size);
    pen.fillStyle = "#d6e0ee";
    pen.fillText(space.names[k], x + 4, y - 4);
  });
  const seen = [];
  for (const [x, y, z, light, mine] of space.points) {
    if (mine || others.checked) seen.push([...place([x, y, z], size), light, mine]);
  }
  seen.sort((p, q) => p[2] - q[2]);
  for (const [x, y, depth, light, mine] of seen) {
    pen.globalAlpha = Math.min(1, light * (0.75 + 0.3 * depth));
    pen.fillStyle = mine ? "#ffffff" : "#ff7a59";
    pen.beginPath();
    pen.arc(x, y, (0.9 + 2.1 * light) * (1 + 0.2 * depth) * Math.sqrt(zoom), 0, 2 * Math.PI);
    pen.fill();
  }
  pen.globalAlpha = 1;
}

function zoomed(factor) { zoom = Math.min(20, Math.max(0.3, zoom * factor)); draw(); }

canvas.addEventListener("pointerdown", event => {
  grip = [event.clientX, event.clientY];
  canvas.setPointerCapture(event.pointerId);
  canvas.focus({preventScroll: true});
});
canvas.addEventListener("pointermove", event => {
  if (grip === null) return;
  const x = (event.clientX - grip[0]) / 200, y = (event.clientY - grip[1]) / 200;
  grip = [event.clientX, event.clientY];
  if (event.shiftKey) turn(0, 0, -x); else turn(x, -y, 0);
});
canvas.addEventListener("pointerup", () => { grip = null; });
canvas.addEventListener("pointercancel", () => { grip = null; });
canvas.addEventListener("wheel", event => {
  event.preventDefault();
  zoomed(Math.exp(-event.deltaY / 500));
}, {passive: false});
canvas.addEventListener("keydown", event => {
  const roll = event.shiftKey;
  const keys = {
    ArrowLeft: () => roll ? turn(0, 0, STEP) : turn(-STEP, 0, 0),
    ArrowRight: () => roll ? turn(0, 0, -STEP) : turn(STEP, 0, 0),
    ArrowUp: () => turn(0, STEP, 0), ArrowDown: () => turn(0, -STEP, 0),
    "+": () => zoomed(1.2), "=": () => zoomed(1.2), "-": () => zoomed(1 / 1.2),
    a: () => along(0), b: () => along(1), c: () => along(2),
  };
  if (event.ctrlKey || event.metaKey || event.altKey || !(event.key in keys)) return;
  event.preventDefault();
  keys[event.key]();
});
["a", "b", "c"].forEach((name, k) => {
  document.getElementById("space-" + name).addEventListener("click", () => along(k));
});
document.getElementById("space-all").addEventListener("click", () => { zoom = 1; draw(); });
others.addEventListener("change", draw);
window.addEventListener("resize", draw);
along(0);
turn(0.35, 0.25, 0);
})"""


def fragment(crystal: FoundCrystal) -> str:
    """HTML for a page; once in it, for its names are fixed."""
    light = brightness(crystal.points[:, 3])
    rows = [
        [*(round(float(x), 4) for x in point[:3]), round(float(bright), 2), int(point[4])]
        for point, bright in zip(crystal.points, light, strict=True)
    ]
    axes = crystal.axes if crystal.determined else UNKNOWN_PER_A * np.eye(3)
    names = ["a*", "b*", "c*"] if crystal.determined else ["x", "y", "z"]
    data = {
        "points": rows,
        "axes": [[round(float(x), 5) for x in axis] for axis in axes.T],
        "names": names,
        "reach": round(reach_per_A(crystal), 4),
    }
    text = json.dumps(data, separators=(",", ":")).replace("<", "\\u003c")
    return FRAGMENT.format(script=SCRIPT, data=text, names=names)
