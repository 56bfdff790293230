// A quantity over time beside its plan: what was read as a line, the plan from the first frame on as a dashed one.

import { colour, sized } from "./dom.js";

const LEFT = 44, BELOW = 18, ABOVE = 8, KEPT = 8000;

export class Course {
  constructor(canvas) {
    this.canvas = canvas;
    this.clear();
    new ResizeObserver(() => this.draw()).observe(canvas);
  }

  clear() { this.points = []; this.told = null; }

  add(points) {
    this.points.push(...points);
    if (this.points.length > KEPT) this.points.splice(0, this.points.length - KEPT);
  }

  set(told) { this.told = told; }

  draw() {
    const { context, width, height } = sized(this.canvas);
    if (!width || !this.told) return;
    const { begin, end, rate, unit, from } = this.told;
    const start = from ? from[0] : 0;
    const last = this.points.length ? this.points[this.points.length - 1][0] : 0;
    const until = Math.max(last, start + Math.abs((end - begin) / (rate || 1)), 1);
    const low = Math.min(begin, end), high = Math.max(begin, end), spare = (high - low || 1) * 0.08;
    const x = (t) => LEFT + (t / until) * (width - LEFT - 8);
    const y = (v) => ABOVE + (1 - (v - low + spare) / (high - low + 2 * spare)) * (height - ABOVE - BELOW);
    context.font = "11px system-ui, sans-serif";
    context.fillStyle = colour("--faint");
    context.strokeStyle = colour("--line");
    context.lineWidth = 1;
    for (const value of [begin, end]) {
      context.textAlign = "right";
      context.fillText(value.toFixed(Math.abs(value) < 10 ? 1 : 0), LEFT - 5, y(value) + 4);
      context.beginPath();
      context.moveTo(LEFT, y(value));
      context.lineTo(width - 8, y(value));
      context.stroke();
    }
    context.textAlign = "left";
    context.fillText(unit, LEFT + 3, ABOVE + 6);
    context.textAlign = "right";
    context.fillText(`${Math.round(until)} s`, width - 8, height - 5);
    if (from) {
      context.strokeStyle = colour("--amber");
      context.setLineDash([5, 4]);
      context.beginPath();
      context.moveTo(x(from[0]), y(from[1]));
      context.lineTo(x(from[0] + (end - from[1]) / (rate || 1)), y(end));
      context.stroke();
      context.setLineDash([]);
    }
    context.strokeStyle = colour("--accent");
    context.lineWidth = 1.8;
    context.beginPath();
    this.points.forEach(([t, v], k) => (k ? context.lineTo(x(t), y(v)) : context.moveTo(x(t), y(v))));
    context.stroke();
    if (this.points.length) {
      const [t, v] = this.points[this.points.length - 1];
      context.fillStyle = colour("--accent");
      context.beginPath();
      context.arc(x(t), y(v), 3.2, 0, 2 * Math.PI);
      context.fill();
    }
  }
}
