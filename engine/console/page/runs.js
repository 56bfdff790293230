// The runs that there are, newest first.

import { read } from "./ask.js";
import { byId, element } from "./dom.js";

const LOOK = { done: "good", stopped: "good", running: "live" };

export class Runs {
  constructor(onOpen) {
    this.onOpen = onOpen;
    this.runs = [];
    this.open = "";
    byId("filter").addEventListener("input", () => this.draw());
  }

  async load() {
    const { runs } = await read("/api/runs");
    if (runs) { this.runs = runs; this.draw(); }
  }

  running() { return this.runs.find(({ status }) => status === "running"); }

  show(name) { this.open = name; this.draw(); }

  draw() {
    const wanted = byId("filter").value.toLowerCase();
    const found = this.runs.filter((run) => JSON.stringify(Object.values(run)).toLowerCase().includes(wanted));
    byId("list").replaceChildren(...found.map((run) => this.#item(run)));
    if (!found.length) byId("list").append(element("li", { class: "faint", text: this.runs.length ? "None like that." : "No runs in this folder yet." }));
  }

  #item({ name, status, protocol, created_at: at, own }) {
    const [word] = status.split(","), when = at ? new Date(at) : null;
    const time = when && !Number.isNaN(when.valueOf()) ? when.toLocaleString([], { dateStyle: "short", timeStyle: "short" }) : "";
    const figures = own.map(([key, text]) => `${key} ${text}`).join(", ");
    return element("li", {}, element("button", { type: "button", "aria-current": name === this.open ? "true" : null, on: { click: () => this.onOpen(name) } },
      element("b", { text: name }), " ", element("span", { class: LOOK[word] || "bad", text: status }),
      element("small", { text: [protocol, time].filter(Boolean).join(", ") }), element("small", { text: figures })));
  }
}
