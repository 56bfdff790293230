// What the protocol sees in the pictures that are shown: figures of the newest one, and one of them over the last minutes.

import { colour, element, setText, sized } from "./dom.js";

const KEPT = 240;

export class Seen {
  constructor(list, canvas) {
    this.list = list;
    this.canvas = canvas;
    this.clear();
    new ResizeObserver(() => this.draw()).observe(canvas);
  }

  clear() {
    this.values = [];
    this.name = "";
    this.set({ seen: null });
  }

  set({ seen }) {
    const figures = seen?.figures || [];
    this.list.hidden = !figures.length;
    while (this.list.children.length > figures.length) this.list.lastChild.remove();
    figures.forEach(([name, text], k) => {
      if (!this.list.children[k]) this.list.append(element("div", {}, element("dt"), element("dd")));
      setText(this.list.children[k].firstChild, name);
      setText(this.list.children[k].lastChild, text);
    });
    this.canvas.parentElement.hidden = !seen?.followed;
    if (!seen?.followed) return;
    const [name, value] = seen.followed;
    if (name !== this.name) { this.name = name; this.values = []; }
    this.values.push(value);
    if (this.values.length > KEPT) this.values.shift();
    setText(this.canvas.nextElementSibling, `${name} of the last ${this.values.length} pictures; dashed: the best of them`);
    this.draw();
  }

  draw() {
    const { context, width, height } = sized(this.canvas);
    if (!width || this.values.length < 2) return;
    const high = Math.max(...this.values), low = Math.min(...this.values, 0.8 * high), room = high - low || 1;
    const left = 46, x = (k) => left + (k / (KEPT - 1)) * (width - left - 4), y = (value) => 6 + (1 - (value - low) / room) * (height - 12);
    context.strokeStyle = colour("--amber");
    context.setLineDash([5, 4]);
    context.beginPath();
    context.moveTo(left, y(high));
    context.lineTo(width - 4, y(high));
    context.stroke();
    context.setLineDash([]);
    context.fillStyle = colour("--faint");
    context.font = "11px system-ui, sans-serif";
    context.textAlign = "right";
    for (const value of high > low ? [low, high] : [high]) context.fillText(value.toPrecision(3), left - 5, y(value) + 4);
    context.strokeStyle = colour("--accent");
    context.lineWidth = 1.8;
    context.beginPath();
    const first = KEPT - this.values.length;
    this.values.forEach((value, k) => (k ? context.lineTo(x(first + k), y(value)) : context.moveTo(x(first), y(value))));
    context.stroke();
  }
}
