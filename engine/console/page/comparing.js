// Two runs side by side, and how one figure is spread over all runs.

import { read } from "./ask.js";
import { byId, drawn, element } from "./dom.js";

const BINS = 12, WIDE = 300, TALL = 120, BELOW = 16;

export class Comparing {
  constructor(runs) {
    this.runs = [];
    runs.onMarked = (names) => this.#compare(names);
    byId("compared-close").addEventListener("click", () => runs.unmark());
    byId("of-kind").addEventListener("change", () => { if (byId("spread").open) this.#load(); });
    byId("spread").addEventListener("toggle", () => { if (byId("spread").open) this.#load(); });
    byId("figure").addEventListener("change", () => this.#draw());
  }

  async #compare(names) {
    const table = byId("compared");
    byId("comparison").hidden = names.length < 2;
    if (names.length < 2) return;
    const { runs, error } = await read(`/api/figures?${names.map((name) => `run=${encodeURIComponent(name)}`).join("&")}`);
    if (error) { table.replaceChildren(element("tr", {}, element("td", { text: error }))); return; }
    const texts = runs.map(({ status, protocol, told, numbers }) => {
      const figures = Object.entries(numbers).map(([name, value]) => [name, String(Math.round(value * 1000) / 1000)]);
      return new Map([["experiment", protocol], ["status", status], ...figures, ...told]);
    });
    const keys = [...new Set(texts.flatMap((of) => [...of.keys()]))];
    table.replaceChildren(
      element("thead", {}, element("tr", {}, element("th", { text: "figure" }), ...runs.map(({ name }) => element("th", { scope: "col", text: name })))),
      element("tbody", {}, ...keys.map((key) => {
        const values = texts.map((of) => of.get(key) ?? "");
        return element("tr", {}, element("td", { text: key }), ...values.map((text) => element("td", { class: values[0] === values[1] ? null : "differs", text })));
      })));
  }

  async #load() {
    const { runs = [] } = await read("/api/numbers"), kind = byId("of-kind").value, before = byId("figure").value;
    this.runs = runs.filter(({ protocol }) => !kind || protocol === kind);
    const names = [...new Set(this.runs.flatMap(({ numbers }) => Object.keys(numbers)))];
    byId("figure").replaceChildren(...names.map((name) => element("option", { value: name, text: name })));
    if (names.includes(before)) byId("figure").value = before;
    this.#draw();
  }

  #draw() {
    const name = byId("figure").value, svg = byId("bars");
    const values = this.runs.map(({ numbers }) => numbers[name]).filter((value) => typeof value === "number");
    svg.replaceChildren();
    byId("spread-words").textContent = values.length ? "" : "No run tells a figure yet.";
    if (!values.length) return;
    const low = Math.min(...values), high = Math.max(...values), wide = (high - low || Math.abs(low) || 1) / BINS;
    const counts = new Array(BINS).fill(0);
    for (const value of values) counts[Math.min(BINS - 1, Math.floor((value - low) / wide))] += 1;
    const most = Math.max(...counts);
    counts.forEach((count, k) => {
      const height = ((TALL - BELOW - 12) * count) / most, x = (k * WIDE) / BINS;
      svg.append(drawn("rect", { x: x + 1, y: TALL - BELOW - height, width: WIDE / BINS - 2, height },
        drawn("title", { text: `${(low + k * wide).toFixed(1)} to ${(low + (k + 1) * wide).toFixed(1)}: ${count} runs` })));
      if (count) svg.append(drawn("text", { x: x + WIDE / BINS / 2, y: TALL - BELOW - height - 3, "text-anchor": "middle", text: String(count) }));
    });
    svg.append(drawn("text", { x: 1, y: TALL - 4, text: low.toFixed(1) }), drawn("text", { x: WIDE - 1, y: TALL - 4, "text-anchor": "end", text: (low + BINS * wide).toFixed(1) }));
    const middle = [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)];
    svg.setAttribute("aria-label", `${name} of ${values.length} runs, ${low.toFixed(1)} to ${high.toFixed(1)}`);
    byId("spread-words").textContent = `${name}: ${values.length} runs, median ${middle.toFixed(1)}`;
  }
}
