// A frame on a canvas: counts to colours by a table, zoom, and what the protocol says of the kind drawn over it.

import { colourMap } from "./colours.js";
import { sized } from "./dom.js";

const COUNTS = 65536;
const LEAST_PX = 600; // below which no frame is made coarser (engine/console/picture.py)
const FINER = 1.5; // so many pixels of a frame for each of the screen are asked for, since they come in whole squares

// The message of the stream: length of the head, the head, counts of 16 bits (engine/console/picture.py).
export function unpacked(buffer) {
  const length = new DataView(buffer).getUint32(0, true);
  const head = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
  return { ...head, counts: new Uint16Array(buffer, 4 + length) };
}

export class Picture {
  constructor(canvas, { plain = false } = {}) {
    this.canvas = canvas;
    this.plain = plain;
    this.frame = null;
    this.over = null;
    this.view = { log: !plain, rings: true, map: plain ? "gray" : "fire", low: 0, high: 60, auto: true };
    this.zoom = 1;
    this.middle = [0.5, 0.5]; // which part of the frame is in the middle of the canvas
    this.pixels = document.createElement("canvas");
    this.onPixel = () => {};
    this.onFineness = () => {}; // told how many pixels of a side are wanted, where the frame has come coarser or finer
    this.onClick = () => {}; // told a place in pixels of the camera, from the middle of the first one
    this.marks = new Map(); // of frames, by `kind/row`
    this.pointed = null; // a place that was clicked, and waits to be confirmed
    if (!plain) this.#listen();
    new ResizeObserver(() => this.draw()).observe(canvas);
  }

  show(frame) {
    this.frame = frame;
    this.#colours();
    this.draw();
  }

  clear() { this.frame = null; this.marks.clear(); this.pointed = null; this.draw(); }

  // What is marked on frames, as it comes; a frame that is shown is drawn anew.
  mark(marks) {
    for (const each of marks) this.marks.set(`${each.kind}/${each.row}`, each);
    if (this.frame && marks.some(({ kind }) => kind === this.frame.kind)) this.draw();
  }

  get marked() { return this.frame ? this.marks.get(`${this.frame.kind}/${this.frame.row}`) : undefined; }

  // How many pixels of a side can be seen, of all of the frame; null where it has come so already.
  get wanted() {
    const { width, height } = this.canvas, { shape, binned } = this.frame;
    const px = Math.max(LEAST_PX, Math.ceil(FINER * Math.min(width, height) * this.zoom));
    return Math.max(1, Math.ceil((Math.max(...shape) * binned) / px)) !== binned ? px : null;
  }

  point(place) { this.pointed = place; this.draw(); }

  set(changes) { Object.assign(this.view, changes); this.#colours(); this.draw(); }

  fit() { this.zoom = 1; this.middle = [0.5, 0.5]; this.draw(); }

  // From which count to which the colours go: by the share of pixels above, or as the sliders say.
  #range() {
    const { counts, most } = this.frame, { auto, low, high } = this.view;
    if (!auto) {
      const top = Math.log1p(Math.max(most, 1));
      return [Math.expm1((low / 100) * top), Math.max(Math.expm1((high / 100) * top), 1)];
    }
    const histogram = new Uint32Array(COUNTS);
    const step = Math.max(1, Math.floor(counts.length / 100000));
    let seen = 0;
    for (let k = 0; k < counts.length; k += step, seen += 1) histogram[counts[k]] += 1;
    const quantile = (share) => {
      let left = share * seen, k = 0;
      for (; k < COUNTS - 1; k += 1) { left -= histogram[k]; if (left <= 0) break; }
      return k;
    };
    if (this.plain) return [quantile(0.01), Math.max(quantile(0.995), quantile(0.01) + 1)];
    return [0, Math.max(quantile(this.view.log ? 0.9995 : 0.998), 4)];
  }

  #colours() {
    if (!this.frame) return;
    const { counts, shape: [rows, columns], most } = this.frame;
    const [from, to] = this.#range(), map = colourMap(this.view.map);
    const table = new Uint32Array(Math.min(most, COUNTS - 1) + 1);
    const scale = this.view.log ? Math.log1p : (value) => value;
    const begin = scale(from), over = Math.max(scale(to) - begin, 1e-9);
    for (let k = 0; k < table.length; k += 1) {
      table[k] = map[Math.max(0, Math.min(255, Math.round(((scale(k) - begin) / over) * 255)))];
    }
    this.pixels.width = columns;
    this.pixels.height = rows;
    const image = new ImageData(columns, rows), into = new Uint32Array(image.data.buffer);
    for (let k = 0; k < counts.length; k += 1) into[k] = table[counts[k]];
    this.pixels.getContext("2d").putImageData(image, 0, 0);
  }

  // Where the frame lies on the canvas, and how large a pixel is.
  #place(width, height) {
    const [rows, columns] = this.frame.shape;
    const scale = Math.min(width / columns, height / rows) * this.zoom;
    return { scale, left: width / 2 - this.middle[0] * columns * scale, top: height / 2 - this.middle[1] * rows * scale };
  }

  draw() {
    const { context, width, height } = sized(this.canvas);
    if (!this.frame || !width) {
      context.fillStyle = "#8b98a5";
      context.font = "13px system-ui, sans-serif";
      context.textAlign = "center";
      if (!this.plain) context.fillText("no frame yet", width / 2, height / 2);
      return;
    }
    if (this.wanted) this.onFineness(this.wanted);
    const [rows, columns] = this.frame.shape, { scale, left, top } = this.#place(width, height);
    context.imageSmoothingEnabled = scale < 1;
    context.drawImage(this.pixels, left, top, columns * scale, rows * scale);
    const over = this.frame.seen?.centre ? this.frame.seen : this.over;
    if (this.view.rings && over?.centre) this.#rings(context, over, scale, left, top);
    if (this.view.rings || this.plain) this.#marks(context, scale, left, top);
    if (this.view.rings && this.frame.seen && !this.plain) this.#seen(context, scale, left, top);
    if (this.pointed) this.#cross(context, this.#at(this.pointed, scale, left, top));
  }

  #at([fast, slow], scale, left, top) {
    const { binned } = this.frame;
    return [left + ((fast + 0.5) / binned) * scale, top + ((slow + 0.5) / binned) * scale];
  }

  // Circles, and the way that the first mark of the frames before has gone.
  #marks(context, scale, left, top) {
    const told = this.marked, { kind, row, binned } = this.frame;
    if (told?.trail) {
      const way = [...this.marks.values()].filter((each) => each.kind === kind && each.row <= row && each.marks.length)
        .sort((a, b) => a.row - b.row).map(({ marks: [[fast, slow]] }) => this.#at([fast, slow], scale, left, top));
      context.strokeStyle = "rgb(255 212 121 / 85%)";
      context.lineWidth = 1.5;
      context.beginPath();
      way.forEach(([x, y], k) => (k ? context.lineTo(x, y) : context.moveTo(x, y)));
      context.stroke();
    }
    context.strokeStyle = "rgb(110 231 220 / 95%)";
    context.lineWidth = 1.6;
    for (const [fast, slow, radius] of told?.marks || []) {
      const [x, y] = this.#at([fast, slow], scale, left, top);
      context.beginPath();
      context.arc(x, y, Math.max((radius / binned) * scale, 3), 0, 2 * Math.PI);
      context.stroke();
    }
  }

  // What the protocol has found in this picture, and the middle of it as a thin cross.
  #seen(context, scale, left, top) {
    const [rows, columns] = this.frame.shape, x = left + (columns / 2) * scale, y = top + (rows / 2) * scale;
    context.strokeStyle = "rgb(147 164 181 / 80%)";
    context.lineWidth = 1;
    context.strokeRect(x - 5, y - 5, 10, 10);
    context.font = "11px system-ui, sans-serif";
    context.textAlign = "left";
    for (const [fast, slow, word] of this.frame.seen.crosses) {
      const at = this.#at([fast, slow], scale, left, top);
      this.#cross(context, at);
      context.fillStyle = "#ffd479";
      this.#words(context, word, at[0] + 15, at[1] - 5);
    }
  }

  // With a dark edge, so that they stand out from a bright place too.
  #words(context, words, x, y) {
    context.save();
    context.strokeStyle = "rgb(0 0 0 / 75%)";
    context.lineWidth = 3;
    context.lineJoin = "round";
    context.strokeText(words, x, y);
    context.restore();
    context.fillText(words, x, y);
  }

  #cross(context, [x, y]) {
    context.beginPath();
    for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
      context.moveTo(x + 3 * dx, y + 3 * dy);
      context.lineTo(x + 13 * dx, y + 13 * dy);
    }
    for (const [style, wide] of [["rgb(0 0 0 / 75%)", 4], ["#ffd479", 1.6]]) {
      context.strokeStyle = style;
      context.lineWidth = wide;
      context.stroke();
    }
  }

  #rings(context, over, scale, left, top) {
    const { binned } = this.frame, [x, y] = this.#at(over.centre, scale, left, top);
    context.strokeStyle = "rgb(110 231 220 / 62%)";
    context.fillStyle = "rgb(150 245 235 / 95%)";
    context.lineWidth = 1;
    context.font = "11px system-ui, sans-serif";
    context.textAlign = "center";
    over.rings.forEach(([radius, words], k) => {
      const turn = -Math.PI / 2 + (k % 5) * 0.5;
      const r = (radius / binned) * scale;
      context.beginPath();
      context.arc(x, y, r, 0, 2 * Math.PI);
      context.stroke();
      if (!this.plain) this.#words(context, words, x + r * Math.cos(turn), y + r * Math.sin(turn) - 4);
    });
    if (this.plain) return;
    context.beginPath();
    for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
      context.moveTo(x + 4 * dx, y + 4 * dy);
      context.lineTo(x + 11 * dx, y + 11 * dy);
    }
    context.stroke();
  }

  #listen() {
    const { canvas } = this;
    canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      this.#zoomAt(event.offsetX, event.offsetY, Math.exp(-event.deltaY * 0.0015));
    }, { passive: false });
    canvas.addEventListener("dblclick", () => this.fit());
    let moved = 0;
    canvas.addEventListener("pointerdown", (event) => { moved = 0; canvas.setPointerCapture(event.pointerId); });
    canvas.addEventListener("pointerup", (event) => { if (moved < 4) this.#click(event.offsetX, event.offsetY); });
    canvas.addEventListener("pointermove", (event) => {
      if (event.buttons & 1) { moved += Math.abs(event.movementX) + Math.abs(event.movementY); this.#move(event.movementX, event.movementY); }
      this.#tell(event.offsetX, event.offsetY);
    });
    canvas.addEventListener("pointerleave", () => this.onPixel(""));
    canvas.addEventListener("keydown", (event) => {
      const { width, height } = canvas.getBoundingClientRect(), step = 40;
      const moves = { ArrowLeft: [step, 0], ArrowRight: [-step, 0], ArrowUp: [0, step], ArrowDown: [0, -step] };
      if (event.shiftKey && moves[event.key]) this.#stepPoint(...moves[event.key].map((by) => -by / step));
      else if (event.key === "Enter" && this.pointed) this.onClick(...this.pointed);
      else if (event.key === "+") this.#zoomAt(width / 2, height / 2, 1.25);
      else if (event.key === "-") this.#zoomAt(width / 2, height / 2, 0.8);
      else if (event.key === "0") this.fit();
      else if (moves[event.key]) this.#move(...moves[event.key]);
      else return;
      event.preventDefault();
    });
  }

  #click(x, y) {
    if (!this.frame) return;
    const { width, height } = this.canvas.getBoundingClientRect(), { scale, left, top } = this.#place(width, height);
    const { binned, shape: [rows, columns] } = this.frame;
    const place = [((x - left) / scale) * binned - 0.5, ((y - top) / scale) * binned - 0.5];
    if (place[0] > -0.5 && place[1] > -0.5 && place[0] < columns * binned && place[1] < rows * binned) this.onClick(...place);
  }

  // The same by keys: with shift the arrows move a cross, and Enter clicks there.
  #stepPoint(dx, dy) {
    if (!this.frame) return;
    const { shape: [rows, columns], binned } = this.frame, [first] = this.marked?.marks || [];
    const [fast, slow] = this.pointed || (first ? [first[0], first[1]] : [(columns * binned) / 2, (rows * binned) / 2]);
    this.point([fast + 2 * dx, slow + 2 * dy]);
  }

  #move(dx, dy) {
    if (!this.frame) return;
    const { width, height } = this.canvas.getBoundingClientRect();
    const { scale } = this.#place(width, height), [rows, columns] = this.frame.shape;
    this.middle[0] = Math.max(0, Math.min(1, this.middle[0] - dx / (columns * scale)));
    this.middle[1] = Math.max(0, Math.min(1, this.middle[1] - dy / (rows * scale)));
    this.draw();
  }

  #zoomAt(x, y, factor) {
    if (!this.frame) return;
    const { width, height } = this.canvas.getBoundingClientRect(), [rows, columns] = this.frame.shape;
    const before = this.#place(width, height);
    const point = [(x - before.left) / (columns * before.scale), (y - before.top) / (rows * before.scale)];
    this.zoom = Math.max(1, Math.min(40, this.zoom * factor));
    const { scale } = this.#place(width, height);
    this.middle = this.zoom === 1 ? [0.5, 0.5]
      : [point[0] + (width / 2 - x) / (columns * scale), point[1] + (height / 2 - y) / (rows * scale)];
    this.draw();
  }

  #tell(x, y) {
    if (!this.frame) return;
    const { width, height } = this.canvas.getBoundingClientRect(), { scale, left, top } = this.#place(width, height);
    const [rows, columns] = this.frame.shape, { binned } = this.frame;
    const fast = Math.floor((x - left) / scale), slow = Math.floor((y - top) / scale);
    if (fast < 0 || slow < 0 || fast >= columns || slow >= rows) { this.onPixel(""); return; }
    this.onPixel(`${fast * binned}, ${slow * binned}: ${this.frame.counts[slow * columns + fast]} counts${binned > 1 ? ` in ${binned} x ${binned} px` : ""}`);
  }
}
