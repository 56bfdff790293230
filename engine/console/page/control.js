// Who steers: seen on every page; asked for, handed over, refused. The red button is nobody's, it works for all.

import { act, callMe, name } from "./ask.js";
import { byId, setText } from "./dom.js";

const NEW_MS = 30_000;

export class Control {
  constructor(onSay) {
    this.onSay = onSay;
    this.mine = false;
    this.begun = false;
    this.refused = "";
    byId("me").value = name();
    byId("me").addEventListener("change", ({ target }) => {
      callMe(target.value.trim());
      if (this.mine) this.#ask("take");
    });
    byId("control").addEventListener("click", () => this.#ask(this.mine ? "hand over" : "take"));
    byId("give").addEventListener("click", () => this.#ask("hand over"));
    byId("keep").addEventListener("click", () => this.#ask("refuse"));
  }

  async #ask(what) {
    const told = await act(what);
    if (!told.ok) this.onSay(told.error, "bad");
    else if (what === "take" && told.words !== "this page steers") this.onSay(told.words);
  }

  // As the stream tells it. Where nobody steers, a page that has just come and may, does.
  show({ steering, me, instrument }) {
    const control = instrument?.control;
    const held = control?.holder || "", who = control?.who || "";
    this.mine = Boolean(steering && held && held === me);
    if (this.mine) this.begun = true; // who has handed over does not take it back
    else if (steering && control && !held && !this.begun && performance.now() < NEW_MS) {
      this.begun = true;
      this.#ask("take");
    }
    const asks = control?.asks || "", iAsk = Boolean(asks) && asks === me;
    const text = this.mine ? "you steer" : !steering ? (held ? `${who} steers; watching only` : "watching only") : held ? `${who} steers` : "nobody steers";
    setText(byId("who"), text);
    byId("who").className = `chip ${this.mine ? "live" : held && steering ? "warm" : ""}`;
    byId("who").title = steering ? text : `${text}. Open the link that the console has printed to steer from here`;
    byId("me").hidden = byId("control").hidden = !steering || !control;
    byId("control").disabled = iAsk;
    setText(byId("control"), this.mine ? "Hand over" : iAsk ? `asked, ${Math.ceil(control.left_s)} s` : "Take over");
    byId("asked").hidden = !(asks && (this.mine || iAsk));
    byId("give").hidden = byId("keep").hidden = !this.mine;
    if (asks && this.mine) setText(byId("asked-words"), `${control.asks_who} asks to steer, and does in ${Math.ceil(control.left_s)} s unless you refuse.`);
    else if (iAsk) setText(byId("asked-words"), `${who} was asked; you steer in ${Math.ceil(control.left_s)} s unless you are refused.`);
    const refused = control?.refused === me && me ? control.refused_by : "";
    if (refused && refused !== this.refused) this.onSay(`${refused} goes on steering: you were refused.`, "bad");
    this.refused = refused;
  }
}
