// What a run under way may be told by one press each, as its protocol declares, with a field where a number belongs to it, two
// arrows where that is a distance, and a list where there is a choice.

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

  #handle({ label, words, hint, value, unit, both_ways: bothWays, choices }) {
    const named = unit ? `${label}, ${unit}` : label, of = element("span", { class: "unit", text: unit });
    const button = (text, told, called = null) => element("button", { type: "button", text, title: hint, "aria-label": called, on: { click: told } });
    if (choices.length) {
      const list = element("select", { "aria-label": named }, ...choices.map(([follows, text]) => element("option", { value: follows, text })));
      return element("span", { class: "handle" }, button(label, () => this.#tell(`${words} ${list.value}`.trim())), list, of);
    }
    if (value === null) return button(label, () => this.#tell(words));
    const field = element("input", { type: "text", inputmode: "decimal", value, size: Math.max(4, value.length + 1), "aria-label": named });
    const press = (sign = "") => this.#tell(`${words} ${turned(field.value.trim(), sign)}`);
    field.addEventListener("keydown", ({ key, shiftKey }) => { if (key === "Enter") press(bothWays && shiftKey ? "-" : ""); });
    if (!bothWays) return element("span", { class: "handle" }, button(label, () => press()), field, of);
    field.title = `${hint}. Enter: forwards, Shift and Enter: back`;
    return element("span", { class: "handle", role: "group", "aria-label": label }, element("span", { text: label }),
      button("\u25c0", () => press("-"), `${label}, back`), field, of, button("\u25b6", () => press(), `${label}, forwards`));
  }

  async #tell(words) {
    const told = await act("tell", { words });
    this.onSay(told.ok ? `Told: ${told.told}.` : told.error, told.ok ? "" : "bad");
  }
}

// A number as it is typed, with its sign turned where that is wanted.
function turned(typed, sign) {
  if (!sign) return typed;
  return typed.startsWith("-") ? typed.slice(1) : `-${typed.replace(/^\+/, "")}`;
}
