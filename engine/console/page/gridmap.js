// A map: squares by their state, points by their value. Wheel zooms, dragging moves, a double click shows all of it.

import { colour, sized } from "./dom.js";

const REACH_PX = 9, POINT_PX = 3, STEPS = 32;
const SCALES = { dark: ["#6f7ff0", "#3fc0cf", "#ffd84d"], light: ["#3544a8", "#0b8793", "#b87700"] };

function ramp() {
  const stops = (SCALES[document.documentElement.dataset.theme] || SCALES.dark).map((hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16)));
  return Array.from({ length: STEPS }, (_, k) => {
    const at = (k / (STEPS - 1)) * (stops.length - 1), from = Math.min(Math.floor(at), stops.length - 2), part = at - from;
    return `rgb(${[0, 1, 2].map((c) => Math.round(stops[from][c] * (1 - part) + stops[from + 1][c] * part)).join(" ")})`;
  });
}

export class GridMap {
  constructor(canvas, { unit, states, points, value_title: valueTitle }) {
    Object.assign(this, { canvas, unit, states, pointsTitle: points, valueTitle });
    this.rows = new Map();
    this.zoom = 1;
    this.middle = null;
    this.chosen = null;
    this.said = "";
    this.onPoint = this.onChoose = () => {};
    this.#listen();
    new ResizeObserver(() => this.draw(this.rows)).observe(canvas);
  }

  draw(rows) {
    this.rows = rows;
    const { context, width, height } = sized(this.canvas);
    const placed = [...rows.values()].filter(({ values }) => typeof values.x === "number" && typeof values.y === "number");
    if (!width || !placed.length) { this.said = "nothing yet"; return; }
    this.areas = placed.filter(({ values }) => typeof values.side === "number");
    this.points = placed.filter(({ values }) => typeof values.side !== "number");
    this.#fit(placed, width, height - 18);
    for (const row of this.areas) this.#area(context, row);
    const colours = ramp(), faint = colour("--faint");
    for (const { values } of this.points) {
      const known = typeof values.value === "number";
      context.fillStyle = known ? colours[Math.max(0, Math.min(STEPS - 1, Math.round(values.value * (STEPS - 1))))] : faint;
      context.beginPath();
      context.arc(this.#x(values.x), this.#y(values.y), POINT_PX * Math.min(this.zoom, 2.5), 0, 2 * Math.PI);
      context.fill();
    }
    const chosen = this.chosen && rows.get(this.chosen);
    if (chosen) {
      context.strokeStyle = colour("--ink");
      context.lineWidth = 2;
      context.beginPath();
      context.arc(this.#x(chosen.values.x), this.#y(chosen.values.y), POINT_PX * Math.min(this.zoom, 2.5) + 4, 0, 2 * Math.PI);
      context.stroke();
    }
    this.#legend(context, colours, width, height);
    const number = (name) => this.areas.filter(({ values }) => values.state === name).length;
    const told = this.states.map(([name, text]) => [number(name), text]).filter(([count]) => count).map(([count, text]) => `${count} ${text}`);
    this.said = `${told.join(", ")}; ${this.points.length} ${this.pointsTitle}`;
  }

  #fit(placed, width, height) {
    const at = (key, sign) => placed.map(({ values }) => values[key] + (sign * (values.side || 0)) / 2);
    const least = (list) => list.reduce((a, b) => Math.min(a, b)), most = (list) => list.reduce((a, b) => Math.max(a, b));
    const box = [least(at("x", -1)), most(at("x", 1)), least(at("y", -1)), most(at("y", 1))];
    const wide = Math.max(box[1] - box[0], 1e-9), tall = Math.max(box[3] - box[2], 1e-9);
    if (this.zoom === 1 || !this.middle) this.middle = [(box[0] + box[1]) / 2, (box[2] + box[3]) / 2];
    this.scale = Math.min((width - 16) / wide, (height - 12) / tall) * this.zoom;
    this.size = [width, height];
  }

  #x(x) { return this.size[0] / 2 + (x - this.middle[0]) * this.scale; }

  #y(y) { return this.size[1] / 2 - (y - this.middle[1]) * this.scale; }

  #area(context, { values }) {
    const place = this.states.findIndex(([name]) => name === values.state), side = values.side * this.scale - 2;
    const left = this.#x(values.x) - side / 2, top = this.#y(values.y) - side / 2;
    context.lineWidth = 1;
    context.strokeStyle = colour(place === 1 ? "--accent" : "--line");
    context.fillStyle = colour("--raised");
    if (place !== 0) context.fillRect(left, top, side, side);
    if (place === 1) context.lineWidth = 2.5;
    context.strokeRect(left, top, side, side);
    if (place > 2) { // looked at and nothing there, or left out
      context.strokeStyle = colour("--line");
      context.beginPath();
      context.moveTo(left, top);
      context.lineTo(left + side, top + side);
      if (place > 4) { context.moveTo(left + side, top); context.lineTo(left, top + side); }
      context.stroke();
    }
  }

  #legend(context, colours, width, height) {
    context.font = "11px system-ui, sans-serif";
    context.fillStyle = colour("--faint");
    context.textBaseline = "middle";
    context.textAlign = "left";
    const y = height - 9;
    colours.forEach((of, k) => { context.fillStyle = of; context.fillRect(8 + k * 2, y - 4, 2, 8); });
    context.fillStyle = colour("--faint");
    context.fillText(`0 to 1: ${this.valueTitle}`, 14 + 2 * STEPS, y);
    const long = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000].find((each) => each * this.scale > 40) || 1000;
    const right = width - 8;
    context.fillRect(right - long * this.scale, y + 5, long * this.scale, 1.5);
    context.textAlign = "right";
    context.fillText(`${long} ${this.unit}`, right, y - 2);
  }

  #near(x, y) {
    let best = null, away = REACH_PX ** 2;
    for (const row of this.points || []) {
      const off = (this.#x(row.values.x) - x) ** 2 + (this.#y(row.values.y) - y) ** 2;
      if (off < away) { away = off; best = row; }
    }
    return best || (this.areas || []).find(({ values }) => Math.max(Math.abs(this.#x(values.x) - x), Math.abs(this.#y(values.y) - y)) < (values.side * this.scale) / 2) || null;
  }

  // The nearest point in a direction: near along it, and not far beside it. The first one is that in the middle.
  #next(dx, dy) {
    const from = this.chosen && this.rows.get(this.chosen), here = from ? [from.values.x, from.values.y] : this.middle;
    let best = null, least = Infinity;
    for (const row of this.points || []) {
      const away = [row.values.x - here[0], row.values.y - here[1]], along = away[0] * dx + away[1] * dy;
      const cost = from ? along + 2.5 * Math.abs(away[0] * dy - away[1] * dx) : Math.hypot(...away);
      if (row !== from && (along > 0 || !from) && cost < least) { least = cost; best = row; }
    }
    return best;
  }

  #choose(row, show) {
    if (!row) return;
    this.chosen = row.key;
    this.draw(this.rows);
    if (show) this.onChoose(row); else this.onPoint(row);
  }

  #listen() {
    const { canvas } = this;
    let moved = 0;
    canvas.addEventListener("pointerdown", (event) => { moved = 0; canvas.setPointerCapture(event.pointerId); });
    canvas.addEventListener("pointermove", (event) => {
      if (event.buttons & 1 && this.scale) {
        moved += Math.abs(event.movementX) + Math.abs(event.movementY);
        if (this.zoom > 1) {
          this.middle = [this.middle[0] - event.movementX / this.scale, this.middle[1] + event.movementY / this.scale];
          this.draw(this.rows);
        }
      } else if (this.scale) this.onPoint(this.#near(event.offsetX, event.offsetY));
    });
    canvas.addEventListener("pointerup", (event) => { if (moved < 4 && this.scale) this.#choose(this.#near(event.offsetX, event.offsetY), true); });
    canvas.addEventListener("pointerleave", () => this.onPoint(null));
    canvas.addEventListener("dblclick", () => { this.zoom = 1; this.draw(this.rows); });
    canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      if (this.scale) this.#zoom(Math.exp(-event.deltaY * 0.0015), event.offsetX, event.offsetY);
    }, { passive: false });
    canvas.addEventListener("keydown", (event) => {
      const ways = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
      if (!this.scale) return;
      if (ways[event.key]) this.#choose(this.#next(...ways[event.key]), false);
      else if (event.key === "Enter" || event.key === " ") this.#choose(this.rows.get(this.chosen), true);
      else if (event.key === "+") this.#zoom(1.3, this.size[0] / 2, this.size[1] / 2);
      else if (event.key === "-") this.#zoom(1 / 1.3, this.size[0] / 2, this.size[1] / 2);
      else return;
      event.preventDefault();
    });
  }

  #zoom(factor, x, y) {
    const before = [this.middle[0] + (x - this.size[0] / 2) / this.scale, this.middle[1] - (y - this.size[1] / 2) / this.scale];
    const zoom = Math.max(1, Math.min(40, this.zoom * factor));
    this.scale *= zoom / this.zoom;
    this.zoom = zoom;
    this.middle = [before[0] - (x - this.size[0] / 2) / this.scale, before[1] + (y - this.size[1] / 2) / this.scale];
    this.draw(this.rows);
  }
}
