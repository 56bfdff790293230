// The state machine from left to right, by how many steps a state is from the first; the active state is lit.

import { clock, drawn } from "./dom.js";

const TALL = 104, BOX = 34, GAP = 18, LETTER = 6.7;

export class Machine {
  constructor(svg) { this.svg = svg; this.told = ""; this.nodes = new Map(); }

  show(machine, state, spent, sinceS, nowS, status) {
    const told = JSON.stringify(machine) + this.svg.clientWidth;
    if (told !== this.told) { this.told = told; this.#draw(machine); }
    const seen = new Set(Object.keys(spent));
    for (const [name, { group, time }] of this.nodes) {
      const lit = name === state, seconds = (spent[name] || 0) + (lit && !machine.final.includes(name) ? Math.max(0, nowS - sinceS) : 0);
      const badly = lit && ["failed", "aborted"].includes(name) ? " ended-badly" : "";
      group.setAttribute("class", lit ? `lit${badly}` : seen.has(name) ? "been" : "never");
      time.textContent = seconds >= 0.05 ? (seconds < 60 ? `${seconds.toFixed(1)} s` : clock(seconds)) : "";
    }
    this.svg.setAttribute("aria-label", state ? `State machine; active: ${state}${status ? `, ${status}` : ""}` : "State machine");
  }

  #draw(machine) {
    this.svg.replaceChildren();
    this.nodes.clear();
    if (!machine.states.length) return;
    const columns = this.#columns(machine), wide = this.svg.clientWidth || 900;
    this.svg.setAttribute("viewBox", `0 0 ${wide} ${TALL}`);
    const sizes = columns.map((names) => Math.max(...names.map((name) => name.length)) * LETTER + 20);
    const spare = Math.max(8, (wide - 4 - sizes.reduce((a, b) => a + b, 0)) / Math.max(columns.length - 1, 1));
    const gap = Math.min(spare, GAP * 2.6), boxes = new Map();
    let x = 2;
    columns.forEach((names, column) => {
      names.forEach((name, row) => {
        const height = Math.min(BOX, (TALL - 14) / names.length - 4);
        const y = TALL / 2 + (row - (names.length - 1) / 2) * (height + 6);
        boxes.set(name, { x, y, wide: sizes[column], height, column });
      });
      x += sizes[column] + gap;
    });
    const edges = [...machine.edges];
    for (const [from, to] of edges) this.#edge(boxes.get(from), boxes.get(to));
    const last = boxes.get(machine.finalizing);
    if (last) for (const name of machine.final) this.#edge(last, boxes.get(name));
    for (const [name, box] of boxes) {
      const time = drawn("text", { class: "time", x: box.x + box.wide / 2, y: box.y + 9 });
      const group = drawn("g", { class: "never" },
        drawn("rect", { x: box.x, y: box.y - box.height / 2, width: box.wide, height: box.height }),
        drawn("text", { x: box.x + box.wide / 2, y: box.y - (box.height > 26 ? 5 : 0), text: name }));
      if (box.height > 26) group.append(time);
      this.svg.append(group);
      this.nodes.set(name, { group, time });
    }
  }

  #columns(machine) {
    const depth = new Map([[machine.states[0], 0]]), edge = [machine.states[0]];
    while (edge.length) {
      const from = edge.shift();
      for (const [source, dest] of machine.edges) {
        if (source === from && !depth.has(dest)) { depth.set(dest, depth.get(from) + 1); edge.push(dest); }
      }
    }
    const working = machine.states.filter((name) => name !== machine.finalizing && !machine.final.includes(name));
    const columns = [];
    for (const name of working) (columns[depth.get(name) ?? 0] ||= []).push(name);
    return [...columns.filter(Boolean), [machine.finalizing], machine.final];
  }

  #edge(from, to) {
    if (!from || !to) return;
    const begin = [from.x + from.wide, from.y], end = [to.x, to.y];
    let way;
    if (to.column > from.column) {
      const middle = (begin[0] + end[0]) / 2;
      way = `M${begin} C${middle},${begin[1]} ${middle},${end[1]} ${end}`;
    } else {
      if (from.y < TALL / 2) {
        const a = from.x + from.wide / 2, b = to.x + to.wide / 2;
        this.svg.append(drawn("path", { d: `M${a},${from.y - from.height / 2} C${a},-3 ${b},-3 ${b},${to.y - to.height / 2}` }));
        return;
      }
      const low = TALL - 3, a = from.x + from.wide / 2, b = to.x + to.wide / 2;
      way = `M${a},${from.y + from.height / 2} C${a},${low + 6} ${b},${low + 6} ${b},${to.y + to.height / 2}`;
    }
    this.svg.append(drawn("path", { d: way }));
  }
}
