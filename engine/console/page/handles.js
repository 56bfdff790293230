// What a run under way may be told by one press each, as its protocol declares, with a field where a number belongs to it.

import { act } from "./ask.js";
import { element } from "./dom.js";

export class Handles {
  constructor(box, onSay) {
    this.box = box;
    this.onSay = onSay;
    this.told = "";
  }

  // may: whether this page steers, and the run is the one that goes.
  set(buttons, may) {
    this.box.hidden = !buttons.length || !may;
    const told = JSON.stringify(buttons);
    if (told === this.told) return;
    this.told = told;
    this.box.replaceChildren(...buttons.map((button) => this.#handle(button)));
  }

  #handle({ label, words, hint, value, unit }) {
    if (value === null) return element("button", { type: "button", text: label, title: hint, on: { click: () => this.#tell(words) } });
    const field = element("input", { type: "text", inputmode: "decimal", value, size: Math.max(4, value.length + 1), "aria-label": unit ? `${label}, ${unit}` : label });
    const press = () => this.#tell(`${words} ${field.value.trim()}`);
    field.addEventListener("keydown", ({ key }) => { if (key === "Enter") press(); });
    return element("span", { class: "handle" }, element("button", { type: "button", text: label, title: hint, on: { click: press } }), field, element("span", { class: "unit", text: unit }));
  }

  async #tell(words) {
    const told = await act("tell", { words });
    this.onSay(told.ok ? `Told: ${told.told}.` : told.error, told.ok ? "" : "bad");
  }
}
