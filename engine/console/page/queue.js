// Runs to come: their order by dragging and by keys, started and stood. The instrument process keeps them.

import { act } from "./ask.js";
import { byId, element, setText } from "./dom.js";

export class Queue {
  constructor(onSay) {
    this.onSay = onSay;
    this.told = "";
    this.dragged = "";
    this.runs = [];
    byId("go").addEventListener("click", () => this.#ask(this.going ? "stand queue" : "start queue"));
  }

  async #ask(what, more) {
    const told = await act(what, more);
    if (!told.ok) this.onSay(told.error, "bad");
    return told.ok;
  }

  add(run) { return this.#ask("queue", run); }

  // queue: as the stream tells it. may: whether this page steers.
  show(queue, may) {
    const { runs = [], going = false, why = "" } = queue || {};
    this.going = going;
    setText(byId("tab-queue"), runs.length ? `Queue (${runs.length})` : "Queue");
    byId("go").disabled = !may || !(going || runs.length);
    setText(byId("go"), going ? "Stop after this run" : "Start the queue");
    setText(byId("queue-stands"), going ? "going" : "stands");
    setText(byId("queue-why"), why);
    if (why && !going && this.why !== undefined && why !== this.why && why !== "the queue is done.") this.onSay(why, "bad");
    this.why = why;
    const told = JSON.stringify([runs, may]);
    if (told === this.told || this.dragged) return;
    this.told = told;
    this.runs = runs;
    const focused = document.activeElement?.dataset?.key, name = document.activeElement?.dataset?.does;
    byId("queue-list").replaceChildren(...runs.map((run, place) => this.#item(run, place, may)));
    if (!runs.length) byId("queue-list").append(element("li", { class: "faint", text: "No runs to come. Fill in New run, and add it." }));
    if (focused) byId("queue-list").querySelector(`[data-key="${focused}"][data-does="${name}"]`)?.focus();
  }

  #item({ key, protocol, title, who }, place, may) {
    const button = (does, text, label, act_) => element("button", { type: "button", class: "quiet", "data-key": key, "data-does": does, "aria-label": `${label}: ${title}`,
      text, disabled: !may, on: { click: act_ } });
    const item = element("li", { draggable: may ? "true" : null, "data-place": String(place) },
      element("div", {}, element("b", { text: title }), element("small", { text: `${protocol}, put in by ${who}` })),
      button("up", "\u2191", "Earlier", () => this.#ask("move", { key, place: place - 1 })),
      button("down", "\u2193", "Later", () => this.#ask("move", { key, place: place + 1 })),
      button("remove", "\u00d7", "Remove", () => this.#ask("unqueue", { key })));
    if (!may) return item;
    item.addEventListener("dragstart", (event) => { this.dragged = key; event.dataTransfer.setData("text/plain", title); item.classList.add("dragged"); });
    item.addEventListener("dragend", () => { this.dragged = ""; item.classList.remove("dragged"); });
    item.addEventListener("dragover", (event) => { if (this.dragged) { event.preventDefault(); item.classList.add("over"); } });
    item.addEventListener("dragleave", () => item.classList.remove("over"));
    item.addEventListener("drop", (event) => {
      event.preventDefault();
      item.classList.remove("over");
      if (this.dragged && this.dragged !== key) this.#ask("move", { key: this.dragged, place });
      this.dragged = "";
    });
    return item;
  }
}
