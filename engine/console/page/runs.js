// The runs that there are, newest first: by name, experiment and status, each with a picture of its report.

import { read } from "./ask.js";
import { byId, element } from "./dom.js";

const LOOK = { done: "good", stopped: "good", running: "live" };

export class Runs {
  constructor(onOpen) {
    this.onOpen = onOpen;
    this.onMarked = () => {};
    this.runs = [];
    this.open = "";
    this.marked = []; // to be compared
    this.drawn = "";
    byId("filter").addEventListener("input", () => this.draw());
    for (const id of ["of-kind", "of-status"]) byId(id).addEventListener("change", () => this.draw());
  }

  async load() {
    const { runs } = await read("/api/runs");
    if (runs) { this.runs = runs; this.draw(); }
  }

  running() { return this.runs.find(({ status }) => status === "running"); }

  show(name) { this.open = name; this.draw(); }

  draw() {
    this.#choices("of-kind", "all experiments", this.runs.map(({ protocol }) => protocol));
    this.#choices("of-status", "any status", this.runs.map(({ status }) => status.split(",")[0]));
    const wanted = byId("filter").value.toLowerCase(), kind = byId("of-kind").value, status = byId("of-status").value;
    const found = this.runs.filter((run) => (!kind || run.protocol === kind) && (!status || run.status.split(",")[0] === status)
      && JSON.stringify([run.name, run.label, run.status, run.own]).toLowerCase().includes(wanted));
    const drawn = JSON.stringify([found, this.open, this.marked]);
    if (drawn === this.drawn) return;
    this.drawn = drawn;
    byId("list").replaceChildren(...found.map((run) => this.#item(run)));
    if (!found.length) byId("list").append(element("li", { class: "faint", text: this.runs.length ? "None like that." : "No runs in this folder yet." }));
  }

  #choices(id, all, values) {
    const select = byId(id), wanted = ["", ...new Set(values)].filter((value, k) => value || !k), before = select.value;
    if ([...select.options].map(({ value }) => value).join("|") === wanted.join("|")) return;
    select.replaceChildren(...wanted.map((value) => element("option", { value, text: value || all })));
    select.value = wanted.includes(before) ? before : "";
  }

  #item({ name, status, protocol, created_at: at, own, picture }) {
    const [word] = status.split(","), when = at ? new Date(at) : null;
    const time = when && !Number.isNaN(when.valueOf()) ? when.toLocaleString([], { dateStyle: "short", timeStyle: "short" }) : "";
    const figures = own.map(([key, text]) => `${key} ${text}`).join(", "), place = name.split("/").map(encodeURIComponent).join("/");
    const image = picture ? element("img", { src: `/report/${place}/${encodeURIComponent(picture)}`, alt: "", loading: "lazy" }) : null;
    const box = element("input", { type: "checkbox", "aria-label": `Compare ${name}`, on: { change: () => this.#mark(name) } });
    box.checked = this.marked.includes(name);
    return element("li", {}, element("label", {}, box),
      element("button", { type: "button", "aria-current": name === this.open ? "true" : null, on: { click: () => this.onOpen(name) } },
        image, element("b", { text: name }), " ", element("span", { class: LOOK[word] || "bad", text: status }),
        element("small", { text: [protocol, time].filter(Boolean).join(", ") }), element("small", { text: figures })));
  }

  unmark() {
    this.marked = [];
    this.draw();
    this.onMarked([]);
  }

  // Two at most: a third takes the place of the first.
  #mark(name) {
    this.marked = this.marked.includes(name) ? this.marked.filter((each) => each !== name) : [...this.marked, name].slice(-2);
    this.draw();
    this.onMarked(this.marked);
  }
}
