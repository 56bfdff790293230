// What the protocol declares to be shown beside the frames: maps and tables, row by row as the records say.

import { element, setText } from "./dom.js";
import { GridMap } from "./gridmap.js";

export class Panels {
  constructor(box, { onFrame, onOffer, onRun }) {
    this.box = box;
    this.onFrame = onFrame;
    this.onRun = onRun;
    this.onOffer = onOffer;
    this.clear();
  }

  clear() {
    this.told = "";
    this.rows = new Map();
    this.shown = new Map();
    this.box.replaceChildren();
    this.box.hidden = true;
  }

  // Which panels there are. steering: whether what a row offers may be asked for.
  set(panels, steering) {
    this.steering = steering;
    const told = JSON.stringify(panels);
    if (told !== this.told) {
      this.told = told;
      this.shown.clear();
      this.box.hidden = !panels.length;
      this.box.replaceChildren(...panels.map((panel) => this.#figure(panel)));
    }
    for (const { offer } of this.shown.values()) offer.disabled = !steering;
  }

  // Rows that are new, or have changed; a row keeps its place.
  add(rows) {
    for (const row of rows) {
      const of = this.rows.get(row.panel) || new Map();
      of.set(row.key, row);
      this.rows.set(row.panel, of);
      const shown = this.shown.get(row.panel);
      if (shown) shown.stale = true;
    }
  }

  draw() {
    for (const [name, shown] of this.shown) {
      if (!shown.stale) continue;
      shown.stale = false;
      shown.draw(this.rows.get(name) || new Map());
      if (shown.chosen) this.#say(shown, (this.rows.get(name) || new Map()).get(shown.chosen));
    }
  }

  redraw() { for (const shown of this.shown.values()) shown.stale = true; this.draw(); }

  #figure(panel) {
    const shown = { panel, stale: true, chosen: "" };
    shown.words = element("output", { class: "faint" });
    shown.offer = element("button", { type: "button", hidden: true, text: "Queue runs of it",
      on: { click: () => this.onOffer(panel.name, shown.chosen) } });
    const under = element("div", { class: "bar" }, shown.words, element("span", { class: "stretch" }), shown.offer);
    const caption = element("figcaption", { text: panel.title });
    let body;
    if (panel.type === "map") {
      body = element("canvas", { class: "grid-map", tabindex: "0", role: "img", "aria-label": `${panel.title}: arrows go from point to point, Enter shows its frame` });
      const map = new GridMap(body, panel);
      shown.draw = (rows) => { map.draw(rows); setText(caption, `${panel.title}: ${map.said}`); };
      map.onPoint = (row) => setText(shown.words, row ? words(row) : shown.chosen ? words(this.rows.get(panel.name).get(shown.chosen)) : "");
      map.onChoose = (row) => this.#choose(shown, row);
    } else {
      const head = panel.columns.some(([, title]) => title)
        ? [element("thead", {}, element("tr", {}, ...panel.columns.map(([, title, unit]) => element("th", { text: unit ? `${title} / ${unit}` : title }))))] : [];
      const rows = element("tbody");
      body = element("div", { class: head.length ? "told-table" : "told-table plain", tabindex: "0", role: "group", "aria-label": panel.title }, element("table", {}, ...head, rows));
      shown.draw = (of) => { setText(caption, of.size ? panel.title : `${panel.title}: none yet`); body.hidden = !of.size; rows.replaceChildren(...[...of.values()].sort((a, b) => a.place - b.place).map((row) => this.#row(shown, row))); };
    }
    this.shown.set(panel.name, shown);
    return element("figure", { class: panel.columns?.length > 6 ? "panel wide" : "panel", "aria-label": panel.title }, caption, body, under);
  }

  #row(shown, row) {
    const cells = shown.panel.columns.map(([key, , , digits]) => element("td", { text: cell(row.values[key], digits) }));
    if (row.frame || shown.panel.offers || row.values[shown.panel.runs]) {
      const first = cells[0], text = first.textContent;
      first.replaceChildren(element("button", { type: "button", class: "quiet", text, on: { click: () => this.#choose(shown, row) } }));
    }
    return element("tr", { class: row.key === shown.chosen ? "chosen" : null }, ...cells);
  }

  #choose(shown, row) {
    shown.chosen = row.key;
    shown.stale = shown.panel.type !== "map";
    this.#say(shown, row);
    if (row.frame) this.onFrame(row.frame[0], row.frame[1]);
    else if (row.values[shown.panel.runs]) this.onRun(row.values[shown.panel.runs]);
    this.draw();
  }

  #say(shown, row) {
    setText(shown.words, row ? words(row) : "");
    shown.offer.hidden = !(row && shown.panel.offers && row.values.side === undefined);
  }
}

function cell(value, digits) {
  if (value === null || value === undefined) return "";
  return typeof value === "number" && !Number.isInteger(value) ? value.toFixed(digits) : String(value);
}

function words({ values }) {
  const value = typeof values.value === "number" ? `: ${values.value.toFixed(2)}` : "";
  return `${values.words || ""}${value}${values.why ? ` (${values.why})` : ""}`;
}
