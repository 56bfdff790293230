// The timing strip: what every part did when, as it happens; below it how late each step began.

import { colour, sized } from "./dom.js";

const ROW = 17, LEFT = 92, LATE = 46, KEPT = 6000;
const ORDER = ["state", "steps", "camera", "beam", "stage", "optics", "detector"];
const COLOURS = { state: "--violet", step: "--good", frame: "--blue", call: "--accent", computation: "--amber", mark: "--ink", bad: "--bad" };

export class Strip {
  constructor(canvas, words) {
    this.canvas = canvas;
    this.words = words;
    this.span = 30;
    this.clear();
    canvas.addEventListener("pointermove", (event) => this.#tell(event.offsetX, event.offsetY));
    canvas.addEventListener("pointerleave", () => { words.textContent = ""; });
    new ResizeObserver(() => this.draw()).observe(canvas);
  }

  clear() {
    this.bars = [];
    this.late = [];
    this.now = 0;
    this.heard = performance.now();
    this.running = false;
    this.boxes = [];
  }

  add(bars, late) {
    this.bars.push(...bars);
    this.late.push(...late);
    if (this.bars.length > KEPT) this.bars.splice(0, this.bars.length - KEPT);
    if (this.late.length > KEPT) this.late.splice(0, this.late.length - KEPT);
    for (const [, begin, length] of bars) {
      if (begin + length > this.now) { this.now = begin + length; this.heard = performance.now(); }
    }
  }

  // The present state has no end yet: it is drawn up to now.
  set(running, state, sinceS, nowS) {
    this.running = running;
    this.open = running && state ? [state, sinceS] : null;
    if (nowS > this.now) { this.now = nowS; this.heard = performance.now(); }
  }

  // Between two messages time goes on, but not for ever: a run that says nothing is seen to say nothing.
  get #end() { return this.now + (this.running ? Math.min((performance.now() - this.heard) / 1000, 5) : 0.3); }

  draw() {
    const { context, width, height } = sized(this.canvas);
    if (!width) return;
    const end = this.#end, begin = end - this.span, scale = (width - LEFT - 8) / this.span;
    const at = (seconds) => LEFT + (seconds - begin) * scale;
    const shown = this.bars.filter(([, from, length]) => from + length >= begin && from <= end);
    if (this.open) shown.push(["state", this.open[1], end - this.open[1], "state", this.open[0]]);
    const names = [...new Set(shown.map(([row]) => row))].sort((a, b) => this.#rank(a) - this.#rank(b) || a.localeCompare(b));
    const most = Math.max(1, Math.floor((height - LATE - 18) / ROW)), rows = names.slice(0, most);
    this.boxes = [];
    context.font = "11.5px system-ui, sans-serif";
    context.textBaseline = "middle";
    this.#seconds(context, begin, end, at, height);
    context.save();
    context.beginPath();
    context.rect(LEFT, 0, width - LEFT, height);
    context.clip();
    for (const [row, from, length, of, words] of shown) {
      const place = rows.indexOf(row);
      if (place < 0) continue;
      const x = at(Math.max(from, begin)), wide = Math.max((Math.min(from + length, end) - Math.max(from, begin)) * scale, 1.6);
      const y = place * ROW + 3, tall = ROW - 5;
      context.fillStyle = colour(COLOURS[of] || "--faint");
      context.globalAlpha = of === "state" ? 0.45 : 0.85;
      context.fillRect(x, y, wide, tall);
      context.globalAlpha = 1;
      if (of === "state" && wide > 50) {
        context.fillStyle = colour("--ink");
        context.textAlign = "left";
        context.save();
        context.beginPath();
        context.rect(x, y, wide, tall);
        context.clip();
        context.fillText(words, x + 4, y + tall / 2 + 0.5);
        context.restore();
      }
      this.boxes.push([x, y, Math.max(wide, 3), tall, `${words}: ${(length * 1000).toFixed(1)} ms at ${from.toFixed(2)} s`]);
    }
    this.#lateness(context, begin, end, at, height);
    context.restore();
    context.fillStyle = colour("--faint");
    context.textAlign = "right";
    rows.forEach((name, place) => context.fillText(name, LEFT - 8, place * ROW + ROW / 2));
  }

  #rank(name) {
    const place = ORDER.indexOf(name);
    return place >= 0 ? place : name === "marks" ? 99 : 50;
  }

  #seconds(context, begin, end, at, height) {
    const every = this.span > 60 ? 20 : this.span > 15 ? 5 : 1;
    context.strokeStyle = colour("--line");
    context.fillStyle = colour("--faint");
    context.lineWidth = 1;
    context.textAlign = "center";
    context.beginPath();
    for (let k = Math.ceil(Math.max(begin, 0) / every) * every; k <= end; k += every) {
      context.moveTo(at(k), 0);
      context.lineTo(at(k), height - 14);
      context.fillText(`${k} s`, Math.max(at(k), LEFT), height - 7);
    }
    context.stroke();
  }

  // Late on a scale that shows 0.01 ms and 100 ms; what it was early to be ready by (slack) below the line.
  #lateness(context, begin, end, at, height) {
    const base = height - 17, size = LATE - 6;
    const up = (ms) => base - size * Math.max(0, Math.min(1, (Math.log10(Math.max(ms, 0.001)) + 3) / 5));
    context.fillStyle = colour("--faint");
    context.textAlign = "right";
    for (const [ms, words] of [[0.001, "1 us"], [1, "1 ms"], [100, "100 ms late"]]) {
      context.globalAlpha = 0.6;
      context.fillRect(LEFT, up(ms), this.canvas.clientWidth - LEFT, 0.5);
      context.globalAlpha = 1;
      context.textAlign = "left";
      context.fillText(words, LEFT + 3, up(ms) - 5);
    }
    for (const [t, ms, slack, slot] of this.late) {
      if (t < begin || t > end) continue;
      const x = at(t);
      context.fillStyle = colour(ms > 5 ? "--bad" : "--good");
      context.beginPath();
      context.arc(x, up(ms), 2.2, 0, 2 * Math.PI);
      context.fill();
      this.boxes.push([x - 3, base - size, 6, size, `slot ${slot}: began ${ms.toFixed(3)} ms late, was ready ${slack.toFixed(1)} ms before`]);
    }
  }

  #tell(x, y) {
    const found = this.boxes.findLast(([left, top, wide, tall]) => x >= left && x <= left + wide && y >= top && y <= top + tall);
    this.words.textContent = found ? found[4] : "";
  }
}
